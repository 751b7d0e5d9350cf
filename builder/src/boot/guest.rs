//! What the machine is told about itself: host name, instance id, and the user-data of `habuild boot` without any.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::sys::digest::Digest;

/// The user that a machine without user-data gets.
pub(super) const USER: &str = "guest";

/// The host name: the image's name, as far as host names allow.
pub(super) fn hostname(image: &Path) -> String {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
}

/// The instance id: the same image with the same user-data is the same instance.
pub(super) fn instance_id(image: &Path, user_data: &[u8]) -> String {
    let image = image.as_os_str().as_encoded_bytes();
    format!("habuild-boot-{}", Digest::of(&[image, b"\0", user_data].concat()).short())
}

/// The user-data of a machine that was given none: a user who may do everything, with the person's own ssh keys, with
/// `password` when there is somebody to read it, and a Harbor that needs nothing outside the machine.
pub(super) fn default_user_data(keys: &[String], password: Option<&str>, admin_password: &str) -> String {
    // Every value is a JSON string, which YAML reads as it is.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut data = format!(
        "#cloud-config\nssh_pwauth: false\nusers:\n  - name: {USER}\n    shell: /bin/bash\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n"
    );
    if let Some(password) = password {
        data += &format!("    lock_passwd: false\n    plain_text_passwd: {}\n", quoted(password));
    }
    if !keys.is_empty() {
        data += "    ssh_authorized_keys:\n";
        data.extend(keys.iter().map(|key| format!("      - {}\n", quoted(key))));
    }
    data + &trial(TRIAL_URL, 80, admin_password)
}

/// The part of user-data that makes a machine a Harbor of its own, which clients call `url` and which listens on `port`:
/// the share is a directory, and database and Redis are the bundle's own.
#[must_use]
pub fn trial(url: &str, port: u16, admin_password: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let node = format!(
        "version: 1
cluster: trial
harbor: {{external_url: {}, http_port: {port}, admin_password: {}}}
storage: {{local: {{path: /var/lib/harbor/share}}}}
database: bundled
redis: bundled
",
        quoted(url),
        quoted(admin_password)
    );
    format!("write_files:\n  - {{path: /etc/habuild/node.yaml, permissions: '0600', content: {}}}\n", quoted(&node))
}

/// The name by which a machine without user-data calls itself; `.test` is nobody's (RFC 6761).
pub(super) const TRIAL_URL: &str = "http://harbor.test";

/// The public keys in `~/.ssh`.
pub(super) fn own_keys() -> Vec<String> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    let Ok(entries) = fs::read_dir(home.join(".ssh")) else { return Vec::new() };
    let public = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("id_") && name.ends_with(".pub")
    };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| public(path)).collect();
    paths.sort();
    paths.iter().filter_map(|path| Some(fs::read_to_string(path).ok()?.trim().to_owned())).collect()
}

/// A password of 12 letters and digits without look-alikes, for one machine.
pub(super) fn password() -> Result<String> {
    // 32 characters: every random byte maps evenly.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 12];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("failed to read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_host_names() {
        let cases = [("/x/harbor-node.qcow2", "harbor-node"), ("A_b.raw", "a-b"), ("/", "node"), ("é.raw", "node")];
        for (image, name) in cases {
            assert_eq!(hostname(Path::new(image)), name);
        }
    }

    #[test]
    fn instances_differ_by_image_and_data() {
        let id = instance_id(Path::new("/a"), b"x");
        assert_eq!(id, instance_id(Path::new("/a"), b"x"));
        assert_ne!(id, instance_id(Path::new("/b"), b"x"));
        assert_ne!(id, instance_id(Path::new("/a"), b"y"));
    }

    #[test]
    fn user_data_without_any() {
        let data = default_user_data(&["ssh-ed25519 AAAA \"me\"".into()], Some("secret"), "adminword");
        let users = r#"#cloud-config
ssh_pwauth: false
users:
  - name: guest
    shell: /bin/bash
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    lock_passwd: false
    plain_text_passwd: "secret"
    ssh_authorized_keys:
      - "ssh-ed25519 AAAA \"me\""
write_files:
"#;
        assert!(data.starts_with(users), "{data}");
        // The node itself takes it, with nothing but the doubts that are the trial's nature.
        let found = contract::schema::check_user_data(&data).unwrap();
        assert_eq!(found.config.unwrap().cluster, "trial");
        assert!(default_user_data(&[], None, "adminword").contains("NOPASSWD:ALL\"\nwrite_files:"));
        assert_eq!(password().unwrap().len(), 12);
    }
}
