//! What Docker's store needs and nobody can make in a user namespace: overlayfs' marks, devices, some owners and
//! attributes.
//!
//! The cache keeps one list a layer, sorted, one a line; `assemble` carries them out in the file system that it makes.
//!
//! Invariant: `parse(text(marks)) == marks`, and a line is printable ASCII.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// One thing to be done to a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Relative to whatever the list is about.
    pub path: PathBuf,
    /// What to do.
    pub what: What,
}

/// What can be done to a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A removed entry: a character device 0/0 takes its place.
    Whiteout,
    /// A directory that hides the ones below.
    Opaque,
    /// A device or pipe.
    Node(Node),
    /// An owner beyond the namespace's ids.
    Owner {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// An extended attribute.
    Attribute {
        /// Its name with the name space.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
}

/// A device or pipe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// `c`, `b` or `p`.
    pub kind: char,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Modification time.
    pub modified: i64,
}

/// The list as a text.
#[must_use]
pub fn text(marks: &mut Vec<Mark>) -> String {
    marks.sort();
    marks.dedup();
    marks.iter().map(line).collect()
}

fn line(mark: &Mark) -> String {
    let path = escaped(mark.path.as_os_str().as_bytes());
    match &mark.what {
        What::Whiteout => format!("whiteout {path}\n"),
        What::Opaque => format!("opaque {path}\n"),
        What::Owner { uid, gid } => format!("owner {path} {uid} {gid}\n"),
        What::Attribute { name, value } => {
            format!("attribute {path} {} {}\n", escaped(name.as_bytes()), escaped(value))
        }
        What::Node(node) => {
            let Node { kind, device: (major, minor), mode, owner: (uid, gid), modified } = node;
            format!("node {path} {kind} {major} {minor} {mode:04o} {uid} {gid} {modified}\n")
        }
    }
}

/// Reads a list back.
pub fn parse(text: &str) -> Result<Vec<Mark>> {
    text.lines().map(|line| parse_line(line).with_context(|| format!("not a mark: {line:?}"))).collect()
}

fn parse_line(line: &str) -> Option<Mark> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let path = PathBuf::from(OsStr::from_bytes(&unescaped(words.next()?)?));
    let words: Vec<&str> = words.collect();
    let what = match (kind, words.as_slice()) {
        ("whiteout", []) => What::Whiteout,
        ("opaque", []) => What::Opaque,
        ("owner", [uid, gid]) => What::Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? },
        ("attribute", [name, value]) => {
            What::Attribute { name: String::from_utf8(unescaped(name)?).ok()?, value: unescaped(value)? }
        }
        ("node", [kind, major, minor, mode, uid, gid, modified]) => What::Node(Node {
            kind: kind.chars().next().filter(|kind| "cbp".contains(*kind))?,
            device: (major.parse().ok()?, minor.parse().ok()?),
            mode: u32::from_str_radix(mode, 8).ok()?,
            owner: (uid.parse().ok()?, gid.parse().ok()?),
            modified: modified.parse().ok()?,
        }),
        _ => return None,
    };
    Some(Mark { path, what })
}

/// Percent-encodes what is not printable ASCII, the blank and the percent sign.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'%' => text.push_str("%25"),
            0x21..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back() {
        let node = Node { kind: 'c', device: (1, 3), mode: 0o666, owner: (0, 5), modified: 9 };
        let strange = PathBuf::from(OsStr::from_bytes(b"x/diff/a b%\n\xff\xc3\xbc"));
        let mut marks: Vec<Mark> = [
            What::Whiteout,
            What::Opaque,
            What::Node(node),
            What::Owner { uid: 70_000, gid: 1 },
            What::Attribute { name: "user.a b".into(), value: b"\0 1".to_vec() },
        ]
        .into_iter()
        .map(|what| Mark { path: strange.clone(), what })
        .collect();
        marks.push(Mark { path: "a".into(), what: What::Whiteout });
        let text = text(&mut marks);
        assert!(text.starts_with("whiteout a\nwhiteout x/diff/a%20b%25%0a%ff%c3%bc\n"), "{text}");
        assert_eq!(parse(&text).unwrap(), marks);
        assert!(parse("whiteout a b\n").is_err() && parse("whiteout %4\n").is_err() && parse("x y\n").is_err());
    }
}
