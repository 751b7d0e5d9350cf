//! The managed block of `/etc/fstab`, and the names that systemd gives to mounts.
//!
//! Invariant: pure; lines outside the block are kept byte for byte.

use contract::schema::Cephfs;

const BEGIN: &str = "# habuild begin";
const END: &str = "# habuild end";

/// Where the client's key is kept, for the kernel only.
pub(crate) const SECRET_FILE: &str = "/etc/ceph/habuild.secret";

/// The line that mounts the share at `place`, a path without links: systemd names the unit after what links lead to, and
/// `/mnt` is one.
///
/// `nofail`: without it an absent monitor keeps every login waiting. `recover_session=clean`, on kernels that know it:
/// a client that was evicted, because it could not be reached for a while, mounts itself anew.
pub(crate) fn line(share: &Cephfs, place: &str, recovers: bool) -> String {
    let monitors: Vec<String> = share.monitors.iter().map(ToString::to_string).collect();
    let mut options = vec![format!("name={}", share.client), format!("secretfile={SECRET_FILE}")];
    options.extend(share.fs_name.iter().map(|name| format!("mds_namespace={name}")));
    options.extend(share.options.iter().cloned());
    if recovers && !share.options.iter().any(|option| option.starts_with("recover_session=")) {
        options.push("recover_session=clean".to_owned());
    }
    options.extend(["_netdev", "nofail", "x-systemd.mount-timeout=60s"].map(str::to_owned));
    format!("{}:{} {place} ceph {} 0 0", monitors.join(","), share.path, options.join(","))
}

/// The text with the managed block holding `line`, or without a block. The block stays where it is.
///
/// # Errors
/// A block that does not end, or another line for the same mountpoint: both must be mended by hand.
pub(crate) fn with_block(text: &str, line: Option<&str>) -> Result<String, String> {
    let mountpoint = line.and_then(|line| line.split_whitespace().nth(1));
    let block = line.map(|line| format!("{BEGIN}\n{line}\n{END}\n"));
    let mut out = String::with_capacity(text.len() + 256);
    let mut placed = false;
    let mut lines = text.split_inclusive('\n').zip(1..);
    while let Some((one, number)) = lines.next() {
        if one.trim() == BEGIN {
            if !lines.by_ref().any(|(one, _)| one.trim() == END) {
                return Err(format!("line {number}: {BEGIN:?} has no {END:?}: remove the line and what belongs to it"));
            }
            if !placed {
                out.push_str(block.as_deref().unwrap_or_default());
                placed = true;
            }
            continue;
        }
        let mut fields = one.split_whitespace();
        let comment = fields.next().is_none_or(|first| first.starts_with('#'));
        if !comment && mountpoint.is_some() && fields.next() == mountpoint {
            let place = mountpoint.unwrap_or_default();
            return Err(format!("line {number}: mounts {place} too: remove that line, habuild writes its own"));
        }
        out.push_str(one);
    }
    if let Some(block) = block.filter(|_| !placed) {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&block);
    }
    Ok(out)
}

/// The name of the unit that mounts on `path`, as `systemd-escape --path --suffix=mount` gives it.
pub(crate) fn mount_unit(path: &str) -> String {
    let mut name = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !name.is_empty() {
            name.push('-');
        }
        for (i, byte) in part.bytes().enumerate() {
            let first = i == 0 && name.is_empty();
            match byte {
                b'.' if first => name.push_str("\\x2e"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
                other => name.push_str(&format!("\\x{other:02x}")),
            }
        }
    }
    if name.is_empty() {
        name.push('-');
    }
    name + ".mount"
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use contract::schema::{self, Storage};

    pub(in crate::steps) fn share(more: &str) -> Cephfs {
        let text = format!(
            "version: 1\ncluster: hub\nharbor: {{external_url: http://hub.example.com, admin_password: x1}}\n\
             storage:\n  cephfs:\n    monitors: [10.0.0.11:6789, 'fd00::1']\n    path: /apps/harbor\n\
             \x20   client: harbor\n    secret: AQB1FdhiAAAAABAAcMPlkzWZnOXrzKZNLOrJGQ==\n{more}\
             database: {{kind: mysql, host: db, user: harbor, password: x2, name: registry}}\n\
             redis: {{host: redis}}\n"
        )
        .replace("'fd00::1'", "'[fd00::1]'");
        match schema::parse(&text).unwrap().storage {
            Storage::Cephfs(cephfs) => cephfs,
            Storage::Local(_) => unreachable!(),
        }
    }

    #[test]
    fn lines() {
        assert_eq!(
            line(&share(""), "/var/mnt/cephfs/harbor", false),
            "10.0.0.11:6789,[fd00::1]:/apps/harbor /var/mnt/cephfs/harbor ceph \
             name=harbor,secretfile=/etc/ceph/habuild.secret,noatime,_netdev,nofail,x-systemd.mount-timeout=60s 0 0"
        );
        let named = share("    fs_name: images\n    options: [noatime, wsync]\n");
        assert_eq!(
            line(&named, "/var/srv/share", true),
            "10.0.0.11:6789,[fd00::1]:/apps/harbor /var/srv/share ceph \
             name=harbor,secretfile=/etc/ceph/habuild.secret,mds_namespace=images,noatime,wsync,\
             recover_session=clean,_netdev,nofail,x-systemd.mount-timeout=60s 0 0"
        );
    }

    #[test]
    fn blocks() {
        let one = "a:/ /mnt/a ceph x 0 0";
        let block = format!("{BEGIN}\n{one}\n{END}\n");
        let cases = [
            ("", block.clone()),
            ("UUID=1 / ext4 x 0 1", format!("UUID=1 / ext4 x 0 1\n{block}")),
            ("\t# c\n\nUUID=1 / ext4\n", format!("\t# c\n\nUUID=1 / ext4\n{block}")),
            ("u / x\n# habuild begin\nold\n# habuild end\nv /v x\n", format!("u / x\n{block}v /v x\n")),
            (&format!("{block}{block}w /w\n"), format!("{block}w /w\n")),
            ("#x /mnt/a\n", format!("#x /mnt/a\n{block}")),
        ];
        for (text, expected) in cases {
            let written = with_block(text, Some(one)).unwrap();
            assert_eq!(written, expected);
            // What was written stays as it is.
            assert_eq!(with_block(&written, Some(one)).unwrap(), expected);
        }
        assert_eq!(with_block(&format!("u / x\n{block}v /v x\n"), None).unwrap(), "u / x\nv /v x\n");
        assert_eq!(with_block("u / x", None).unwrap(), "u / x");
    }

    #[test]
    fn what_must_be_mended_by_hand() {
        let torn = with_block("u / x\n# habuild begin\nold\n", Some("a /mnt/a ceph")).unwrap_err();
        assert!(torn.starts_with("line 2: "), "{torn}");
        let twice = with_block("u / x\nb /mnt/a nfs\n", Some("a /mnt/a ceph")).unwrap_err();
        assert_eq!(twice, "line 2: mounts /mnt/a too: remove that line, habuild writes its own");
    }

    #[test]
    fn units() {
        // As systemd-escape of systemd 252 prints them.
        for (path, unit) in [
            ("/mnt/cephfs/harbor", "mnt-cephfs-harbor.mount"),
            ("/srv/a-b/c_d.e", "srv-a\\x2db-c_d.e.mount"),
            ("/var/x@y+z", "var-x\\x40y\\x2bz.mount"),
            ("/.x", "\\x2ex.mount"),
            ("/srv/.x", "srv-.x.mount"),
            ("/", "-.mount"),
        ] {
            assert_eq!(mount_unit(path), unit);
        }
    }
}
