//! A tree of packages as a layer: sorted, of one time, without manuals, translations and traces of the packaging.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context as _, Result};
use tar::{EntryType, Header};

use super::EPOCH;

/// What no container reads. PostgreSQL's compiler of queries is most of its packages, and it does without.
const UNREAD: [&str; 21] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/perl",
    "usr/share/zoneinfo",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/cache",
    "var/log",
    "etc/apt",
    "usr/lib/systemd",
    "dev",
    "usr/bin/perl",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/perl-base",
    "usr/share/i18n",
    "usr/lib/locale",
];

pub fn trimmed(tree: impl Read) -> Result<Vec<u8>> {
    let mut entries: BTreeMap<String, (Header, Option<String>, Vec<u8>)> = BTreeMap::new();
    for entry in tar::Archive::new(tree).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").trim_end_matches('/').to_owned();
        let kind = entry.header().entry_type();
        let link = entry.link_name()?.map(|link| link.to_string_lossy().trim_start_matches("./").to_owned());
        // A hard link to what is left out is left out too.
        let target = link.as_deref().filter(|_| kind == EntryType::Link).unwrap_or_default();
        if path.is_empty() || unread(&path) || unread(target) {
            continue;
        }
        if !matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link) {
            continue;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(entry.header().mode()?);
        header.set_uid(entry.header().uid()?);
        header.set_gid(entry.header().gid()?);
        header.set_mtime(EPOCH);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).with_context(|| path.clone())?;
        header.set_size(bytes.len() as u64);
        entries.insert(path, (header, link, bytes));
    }
    // What the package's own script would link, which does not run here.
    if let Some(shell) = ["bin/dash", "usr/bin/dash"].into_iter().find(|path| entries.contains_key(*path)) {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_mtime(EPOCH);
        let beside = if entries.contains_key("bin") { shell.replace("dash", "sh") } else { "bin/sh".to_owned() };
        entries.entry(beside).or_insert((header, Some(format!("/{shell}")), Vec::new()));
    }
    let mut out = tar::Builder::new(Vec::new());
    for (path, (mut header, link, bytes)) in entries {
        match link {
            Some(link) => out.append_link(&mut header, &path, link)?,
            None => out.append_data(&mut header, &path, bytes.as_slice())?,
        }
    }
    Ok(out.into_inner()?)
}

fn unread(path: &str) -> bool {
    let below = |top: &&str| path == *top || path.strip_prefix(*top).is_some_and(|rest| rest.starts_with('/'));
    UNREAD.iter().any(below) || translated(path) || compiler(path)
}

/// MariaDB's messages in other languages than its own.
fn translated(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("usr/share/mysql/") else { return false };
    let language = rest.split('/').next().unwrap_or_default();
    rest.contains('/') && !["english", "charsets"].contains(&language)
}

/// PostgreSQL's compiler of queries, and libraries that only it and Perl need.
fn compiler(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let unread = ["libLLVM", "libz3.so", "libperl.so", "llvmjit"].iter().any(|word| name.starts_with(word));
    unread || path.contains("/bitcode/") || path.starts_with("usr/lib/llvm-")
}
