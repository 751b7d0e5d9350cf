//! A signed archive of packages that hold nothing, made with Debian's own tools.

use std::fs;
use std::path::PathBuf;

use habuild::sys::cmd::Cmd;

/// The archive, and the key that signs it.
pub(crate) struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    /// An archive without packages, with a key of its own.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = Self { directory };
        fs::create_dir(repository.path("gpg")).unwrap();
        fs::create_dir(repository.path("archive")).unwrap();
        repository.gpg(&["--quick-generate-key", "test", "ed25519", "sign", "never"]);
        let keyring = repository.path("key.gpg");
        repository.gpg(&["--output", keyring.to_str().unwrap(), "--export"]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn gpg(&self, arguments: &[&str]) {
        let home = self.path("gpg");
        Cmd::program("gpg")
            .arg("--homedir")
            .arg(&home)
            .args(["--batch", "--quiet", "--yes", "--passphrase", ""])
            .args(arguments)
            .run()
            .unwrap();
    }

    /// The public key, as apt reads it.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.path("key.gpg")
    }

    /// Where apt finds it.
    pub(crate) fn url(&self) -> String {
        format!("file:{}", self.path("archive").display())
    }

    /// Offers exactly these: name, version, what it depends on. `core` is essential, as some package must be.
    pub(crate) fn offer(&self, date: &str, packages: &[(&str, &str, &str)]) {
        let mut index = String::new();
        for (name, version, depends) in packages {
            let file = self.path("archive").join(format!("{name}_{version}.deb"));
            if !file.exists() {
                let mut control = format!(
                    "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@test.invalid>\n\
                     Description: nothing\n"
                );
                if *name == "core" {
                    control.push_str("Essential: yes\n");
                }
                if !depends.is_empty() {
                    control.push_str(&format!("Depends: {depends}\n"));
                }
                let tree = tempfile::tempdir().unwrap();
                fs::create_dir(tree.path().join("DEBIAN")).unwrap();
                fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
                Cmd::program("dpkg-deb")
                    .args(["--build", "--root-owner-group"])
                    .arg(tree.path())
                    .arg(&file)
                    .run()
                    .unwrap();
            }
            let scan = Cmd::program("apt-ftparchive")
                .current_dir(self.path("archive"))
                .arg("packages")
                .arg(file.file_name().unwrap());
            index.push_str(&scan.output_text().unwrap());
        }
        fs::write(self.path("archive/Packages"), &index).unwrap();
        let digest = habuild::sys::digest::Digest::of(index.as_bytes());
        let release = format!("Origin: test\nDate: {date}\nSHA256:\n {digest} {} Packages\n", index.len());
        let (plain, signed) = (self.path("archive/Release"), self.path("archive/InRelease"));
        fs::write(&plain, release).unwrap();
        self.gpg(&["--output", signed.to_str().unwrap(), "--clearsign", plain.to_str().unwrap()]);
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // gpg starts an agent for each home, which would outlive the test.
        let _ = Cmd::program("gpgconf").arg("--homedir").arg(self.path("gpg")).args(["--kill", "all"]).run();
    }
}
