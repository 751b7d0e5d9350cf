//! Container images in the form of `docker save` before 25: a manifest, a config and a directory for each layer.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{EPOCH, add, trim};

/// A layer's tar.
pub struct Layer {
    tar: Vec<u8>,
    digest: String,
}

impl Layer {
    fn new(tar: Vec<u8>) -> Self {
        let digest = hex(&tar);
        Self { tar, digest }
    }

    /// The core, and what little of a system every container needs.
    pub fn core(program: &[u8]) -> Result<Self> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode) in [
            ("dev/", 0o755),
            ("etc/", 0o755),
            ("harbor/", 0o755),
            ("home/", 0o755),
            ("home/scanner/", 0o755),
            ("home/scanner/.cache/", 0o755),
            ("proc/", 0o755),
            ("run/", 0o755),
            ("storage/", 0o755),
            ("sys/", 0o755),
            ("tmp/", 0o1777),
            ("var/", 0o755),
            ("var/lib/", 0o755),
            ("var/lib/mysql/", 0o755),
            ("var/lib/nginx/", 0o755),
            ("var/log/", 0o755),
            ("var/log/docker/", 0o755),
            ("var/log/jobs/", 0o755),
            ("var/log/nginx/", 0o755),
            ("var/tmp/", 0o1777),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(mode);
            header.set_mtime(EPOCH);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, &[][..])?;
        }
        let users = "root:x:0:0::/:/\nharbor:x:10000:10000::/:/\nserver:x:999:999::/:/\nwww-data:x:33:33::/:/\nnobody:x:65534:65534::/:/\n";
        add(&mut tar, "etc/passwd", users.as_bytes(), 0o644)?;
        add(
            &mut tar,
            "etc/group",
            b"root:x:0:\nharbor:x:10000:\nserver:x:999:\nwww-data:x:33:\nnogroup:x:65534:\n",
            0o644,
        )?;
        add(&mut tar, "etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n", 0o644)?;
        add(&mut tar, "harbor/core", program, 0o755)?;
        Ok(Self::new(tar.into_inner()?))
    }

    /// A tree of packages, without what no container reads.
    pub fn packages(path: &Path) -> Result<Self> {
        let file = fs::File::open(path).with_context(|| path.display().to_string())?;
        Ok(Self::new(trim::trimmed(file)?))
    }

    /// A layer of one file.
    pub fn file(path: &str, bytes: &[u8]) -> Result<Self> {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, path, bytes, 0o644)?;
        Ok(Self::new(tar.into_inner()?))
    }

    /// A layer that removes one file.
    pub fn whiteout(path: &str) -> Result<Self> {
        let (directory, name) = path.rsplit_once('/').context("a path without a directory")?;
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, &format!("{directory}/.wh.{name}"), b"", 0o644)?;
        Ok(Self::new(tar.into_inner()?))
    }
}

/// An image: its name, its layers and what it runs.
pub struct Image<'l> {
    name: String,
    layers: Vec<&'l Layer>,
    config: Value,
}

impl<'l> Image<'l> {
    pub fn new(name: &str, layers: &[&'l Layer]) -> Self {
        let config =
            json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"});
        Self { name: name.to_owned(), layers: layers.to_vec(), config }
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.config["Env"].as_array_mut().into_iter().for_each(|list| list.push(json!(format!("{name}={value}"))));
        self
    }

    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.config["Entrypoint"] = json!(words);
        self
    }

    pub fn volume(mut self, path: &str) -> Self {
        self.config["Volumes"] = json!({path: {}});
        self
    }

    pub fn user(mut self, user: &str) -> Self {
        self.config["User"] = json!(user);
        self
    }

    pub fn stop_signal(mut self, name: &str) -> Self {
        self.config["StopSignal"] = json!(name);
        self
    }

    /// A health check that asks an address of the container's own.
    pub fn healthy(mut self, url: &str) -> Self {
        self.config["Healthcheck"] = json!({"Test": ["CMD", "/harbor/core", "healthy", url]});
        self
    }

    fn config(&self) -> Vec<u8> {
        // 2017-06-01T00:00:00Z, as EPOCH.
        let created = "2017-06-01T00:00:00Z";
        let history: Vec<Value> =
            self.layers.iter().map(|_| json!({"created": created, "created_by": "stand-in"})).collect();
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": created, "config": self.config, "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        config.to_string().into_bytes()
    }
}

/// An archive of images, each layer in it once.
#[derive(Default)]
pub struct Archive<'l> {
    images: Vec<Image<'l>>,
}

impl<'l> Archive<'l> {
    pub fn add(&mut self, image: Image<'l>) {
        self.images.push(image);
    }

    /// As `docker save`, compressed at `level`.
    pub fn write(&self, level: u32) -> Result<Vec<u8>> {
        let gzip = GzEncoder::new(Vec::new(), Compression::new(level));
        let mut tar = tar::Builder::new(gzip);
        let mut manifest = Vec::new();
        let mut written: Vec<&str> = Vec::new();
        for image in &self.images {
            let config = image.config();
            let name = format!("{}.json", hex(&config));
            for layer in &image.layers {
                if !written.contains(&layer.digest.as_str()) {
                    written.push(&layer.digest);
                    add(&mut tar, &format!("{}/VERSION", layer.digest), b"1.0", 0o644)?;
                    add(&mut tar, &format!("{}/layer.tar", layer.digest), &layer.tar, 0o644)?;
                }
            }
            add(&mut tar, &name, &config, 0o644)?;
            let layers: Vec<String> = image.layers.iter().map(|layer| format!("{}/layer.tar", layer.digest)).collect();
            manifest.push(json!({"Config": name, "RepoTags": [image.name], "Layers": layers}));
        }
        add(&mut tar, "manifest.json", Value::from(manifest).to_string().as_bytes(), 0o644)?;
        let mut gzip = tar.into_inner()?;
        gzip.flush()?;
        Ok(gzip.finish()?)
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
