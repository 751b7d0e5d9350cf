//! Mode `prepare`: from harbor.yml to a compose file, a configuration and directories, as the image `goharbor/prepare`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::compose;
use super::config::Config;
use super::render;
use super::secrets::{self, Secrets};

const HARBOR: u32 = 10000;
/// PostgreSQL's and Redis's.
const SERVER: u32 = 999;
const ROOT: u32 = 0;

/// Where the container sees what it works on.
pub struct Places {
    pub input: PathBuf,
    pub data: PathBuf,
    pub compose: PathBuf,
    pub config: PathBuf,
    pub host: PathBuf,
    /// Whether files get Harbor's owners; only root can give them.
    pub owners: bool,
}

pub fn run(words: &[String]) -> Result<()> {
    let flags: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    if words.first().map(String::as_str) != Some("prepare") || flags.iter().any(|flag| *flag != "--with-trivy") {
        bail!("the stand-in knows `prepare [--with-trivy]` only");
    }
    let place = |path: &str| PathBuf::from(path);
    Places {
        input: place("/input"),
        data: place("/data"),
        compose: place("/compose_location"),
        config: place("/config"),
        host: place("/hostfs"),
        owners: true,
    }
    .prepare(!flags.is_empty())
}

impl Places {
    /// The whole run. What lies in `config` is deleted before harbor.yml is looked at.
    pub fn prepare(&self, with_trivy: bool) -> Result<()> {
        delete_files(&self.config)?;
        let input = self.input.join("harbor.yml");
        let text = fs::read_to_string(&input).with_context(|| input.display().to_string())?;
        let config = Config::parse(&text)?;
        self.write_config(&config, &Secrets::new()?, with_trivy)?;
        self.make_data(&config, with_trivy)?;
        self.keep_keys()?;
        self.file(&self.compose.join("docker-compose.yml"), &compose::render(&config, with_trivy)?, 0o644, ROOT)?;
        println!("prepared; now start it with compose");
        Ok(())
    }

    fn write_config(&self, config: &Config, secrets: &Secrets, with_trivy: bool) -> Result<()> {
        let at = |path: &str| self.config.join(path);
        for (path, owner) in [
            ("core/certificates", ROOT),
            ("db", ROOT),
            ("jobservice", HARBOR),
            ("log", ROOT),
            ("nginx", ROOT),
            ("nginx/conf.d", HARBOR),
            ("portal", HARBOR),
            ("registry", ROOT),
            ("registryctl", ROOT),
        ] {
            self.directory(&at(path), 0o755, owner)?;
        }
        let trust = at("shared/trust-certificates");
        if trust.exists() {
            fs::remove_dir_all(&trust)?;
        }
        self.directory(&trust, 0o755, ROOT)?;
        let registryctl_env = format!("CORE_SECRET={}\nJOBSERVICE_SECRET={}\n", secrets.core, secrets.jobservice);
        let db_env = format!("POSTGRES_PASSWORD={}\n", config.database()?.password);
        for (path, text, mode, owner) in [
            ("core/env", render::core_env(config, secrets, with_trivy)?, 0o640, ROOT),
            ("core/app.conf", render::APP_CONF.to_owned(), 0o640, HARBOR),
            ("db/env", db_env, 0o640, ROOT),
            ("jobservice/env", render::jobservice_env(config, secrets)?, 0o640, ROOT),
            ("jobservice/config.yml", render::jobservice_config(config)?, 0o640, HARBOR),
            ("log/logrotate.conf", render::logrotate(config), 0o640, HARBOR),
            ("log/rsyslog_docker.conf", render::RSYSLOG.to_owned(), 0o640, HARBOR),
            ("nginx/nginx.conf", render::proxy(config)?, 0o640, HARBOR),
            ("portal/nginx.conf", render::PORTAL.to_owned(), 0o640, HARBOR),
            ("registry/config.yml", render::registry_config(config)?, 0o640, HARBOR),
            ("registry/passwd", secrets::passwd(render::REGISTRY_USER, &secrets.registry)?, 0o644, ROOT),
            ("registryctl/env", registryctl_env, 0o640, ROOT),
            ("registryctl/config.yml", render::REGISTRYCTL.to_owned(), 0o640, HARBOR),
        ] {
            self.file(&at(path), &text, mode, owner)?;
        }
        if with_trivy {
            self.directory(&at("trivy-adapter"), 0o755, ROOT)?;
            self.file(&at("trivy-adapter/env"), &render::trivy_env(config)?, 0o644, ROOT)?;
        }
        if config.is("metric.enabled") {
            self.directory(&at("exporter"), 0o755, ROOT)?;
            self.file(&at("exporter/env"), &render::exporter_env(config)?, 0o644, ROOT)?;
        }
        Ok(())
    }

    fn make_data(&self, config: &Config, with_trivy: bool) -> Result<()> {
        for (path, mode, owner) in [
            ("ca_download", 0o755, HARBOR),
            ("job_logs", 0o755, HARBOR),
            ("registry", 0o755, HARBOR),
            ("database", 0o700, SERVER),
            ("redis", 0o755, SERVER),
            ("secret", 0o755, ROOT),
            ("secret/core", 0o755, ROOT),
            ("secret/keys", 0o755, ROOT),
            ("secret/registry", 0o755, ROOT),
        ] {
            self.directory(&self.data.join(path), mode, owner)?;
        }
        for path in ["trivy-adapter/trivy", "trivy-adapter/reports"].into_iter().filter(|_| with_trivy) {
            self.directory(&self.data.join(path), 0o755, HARBOR)?;
        }
        if !config.is_https() {
            return Ok(());
        }
        // Deleted and made anew, as Harbor does: a proxy that runs sees an empty directory then.
        let cert = self.data.join("secret/cert");
        if cert.exists() {
            fs::remove_dir_all(&cert)?;
        }
        self.directory(&cert, 0o755, HARBOR)?;
        for (key, name) in [("https.certificate", "server.crt"), ("https.private_key", "server.key")] {
            let path = config.must(key)?;
            let within = Path::new(&path);
            let source = match within.strip_prefix("/data") {
                Ok(rest) => self.data.join(rest),
                Err(_) => self.host.join(path.trim_start_matches('/')),
            };
            let text = fs::read_to_string(&source).with_context(|| format!("{key}: {path}"))?;
            self.file(&cert.join(name), &text, 0o600, HARBOR)?;
        }
        Ok(())
    }

    /// The key of stored passwords and the pair for tokens. If one of the pair is missing, both are made.
    fn keep_keys(&self) -> Result<()> {
        let secret = self.data.join("secret");
        let key = secret.join("keys/secretkey");
        let text = if key.is_file() { fs::read_to_string(&key)? } else { secrets::word(16)? };
        ensure!(text.len() == 16, "{}: has {} characters and not 16", key.display(), text.len());
        self.file(&key, &text, 0o600, HARBOR)?;
        let pair = [secret.join("core/private_key.pem"), secret.join("registry/root.crt")];
        if pair.iter().all(|path| path.is_file()) {
            return pair.iter().try_for_each(|path| self.own(path, HARBOR));
        }
        let (private, certificate) = secrets::key_pair()?;
        self.file(&pair[0], &private, 0o600, HARBOR)?;
        self.file(&pair[1], &certificate, 0o600, HARBOR)
    }

    fn file(&self, path: &Path, text: &str, mode: u32, owner: u32) -> Result<()> {
        fs::write(path, text).with_context(|| path.display().to_string())?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        self.own(path, owner)
    }

    /// A directory. What lies in one of another owner is given to the right one too.
    fn directory(&self, path: &Path, mode: u32, owner: u32) -> Result<()> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        if path.metadata()?.mode() & 0o777 != mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        if owner != ROOT && path.metadata()?.uid() != owner { self.own_all(path, owner) } else { Ok(()) }
    }

    fn own_all(&self, path: &Path, owner: u32) -> Result<()> {
        self.own(path, owner)?;
        if !path.is_dir() || path.is_symlink() {
            return Ok(());
        }
        fs::read_dir(path)?.try_for_each(|entry| self.own_all(&entry?.path(), owner))
    }

    fn own(&self, path: &Path, owner: u32) -> Result<()> {
        if self.owners {
            chown(path, Some(owner), Some(owner)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Deletes every file below a directory; directories stay, so that a bind of one goes on showing it.
fn delete_files(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { delete_files(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
