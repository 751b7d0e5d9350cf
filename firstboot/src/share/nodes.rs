//! Which nodes a share has seen: `.habuild/nodes/INSTANCE.json`, one small file a node, written anew with each proof of the
//! share while Harbor runs. A node that is gone for good leaves its file until somebody has it forgotten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;

const DIRECTORY: &str = ".habuild/nodes";
const SCHEMA: u32 = 1;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seen {
    schema: u32,
    /// cloud-init's instance id.
    pub(crate) instance: String,
    /// The host name.
    pub(crate) name: String,
    /// The version of Harbor in its image.
    pub(crate) harbor: String,
    /// The verity root hash of its image; nothing where the kernel was started without one.
    pub(crate) image: Option<String>,
    /// When it last proved the share, by its own clock: seconds since 1970.
    pub(crate) seen: u64,
}

impl Seen {
    /// This node, now.
    pub(crate) fn now(host: &Host, instance: &str, harbor: &str) -> Self {
        let text = |path: &str| {
            let bytes = host.read(Path::new(path)).map(|content| content.bytes).unwrap_or_default();
            String::from_utf8_lossy(&bytes).trim().to_owned()
        };
        let command_line = text("/proc/cmdline");
        let hash = command_line.split(' ').find_map(|word| word.strip_prefix("habuild.root="));
        Self {
            schema: SCHEMA,
            instance: instance.to_owned(),
            name: text("/proc/sys/kernel/hostname"),
            harbor: harbor.to_owned(),
            image: hash.map(str::to_owned),
            seen: host.now().as_secs(),
        }
    }

    /// Writes it, and reads it back; `false` when something else was read.
    pub(crate) fn leave(&self, host: &Host, share: &Path) -> io::Result<bool> {
        let directory = share.join(DIRECTORY);
        host.make_directory(&directory, 0o700)?;
        let text = serde_json::to_string(self)? + "\n";
        let path = directory.join(file(&self.instance));
        host.write(&path, text.as_bytes(), 0o600)?;
        Ok(host.read(&path)?.bytes == text.as_bytes())
    }
}

/// An instance id may hold anything; a file's name may not.
fn file(instance: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}.json", instance.chars().map(plain).collect::<String>())
}

/// Every node that the share has seen, the last first. What cannot be read is named in the second list.
pub(crate) fn all(host: &Host, share: &Path) -> io::Result<(Vec<Seen>, Vec<String>)> {
    let (mut nodes, mut wrong) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(host.below(&share.join(DIRECTORY))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((nodes, wrong)),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "json")) {
        let read = fs::read(path).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_slice::<Seen>(&text).map_err(|error| error.to_string())) {
            Ok(node) => nodes.push(node),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    nodes.sort_by(|a, b| (b.seen, &a.instance).cmp(&(a.seen, &b.instance)));
    Ok((nodes, wrong))
}

/// Removes a node's file; `false` when there is none.
pub(crate) fn forget(host: &Host, share: &Path, instance: &str) -> io::Result<bool> {
    let path = share.join(DIRECTORY).join(file(instance));
    let there = host.exists(&path);
    host.remove(&path)?;
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_and_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let share = Path::new("/srv/share");
        assert_eq!(all(&host, share).unwrap(), (Vec::new(), Vec::new()));
        for (path, text) in [("cmdline", "quiet habuild.root=ab12 ro\n"), ("sys/kernel/hostname", "node-1\n")] {
            let path = root.path().join("proc").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let one = Seen { seen: 100, ..Seen::now(&host, "i-1", "v1.1.2") };
        assert_eq!((one.name.as_str(), one.image.as_deref()), ("node-1", Some("ab12")));
        let two = Seen { seen: 200, ..Seen::now(&host, "../i 2", "v1.1.2") };
        assert!(one.leave(&host, share).unwrap() && two.leave(&host, share).unwrap());
        let directory = root.path().join("srv/share/.habuild/nodes");
        fs::write(directory.join("torn.json"), "").unwrap();
        let (nodes, wrong) = all(&host, share).unwrap();
        assert_eq!(nodes, [two, one.clone()]);
        assert!(wrong.len() == 1 && wrong[0].contains("torn.json: EOF"), "{wrong:?}");
        assert!(directory.join(".._i_2.json").exists());
        assert!(forget(&host, share, "../i 2").unwrap() && !forget(&host, share, "i-3").unwrap());
        assert_eq!(all(&host, share).unwrap().0, [one]);
    }
}
