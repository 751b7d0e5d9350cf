//! Changes archives so that they stay archives: a byte that is flipped blindly breaks a header's checksum or a digest,
//! and nothing behind it is ever read.

use std::ops::Range;

use libfuzzer_sys::fuzzer_mutate;
use tar::Header;

use super::property::tars::{self, Piece, pieces};

const BLOCK: usize = 512;
const TYPES: &[u8] = b"\x000123456725LKxgSV";
/// Names and targets of links that a reader may take amiss.
const NAMES: [&[u8]; 28] = [
    b"",
    b".",
    b"..",
    b"/",
    b"./",
    b"a",
    b"b",
    b"a/",
    b"a/b",
    b"a/b/c",
    b"/a",
    b"../a",
    b"a/..",
    b"a/../../x",
    b"a/./b",
    b".wh.",
    b".wh..",
    b".wh...",
    b".wh.a",
    b"a/.wh.b",
    b".wh..wh..opq",
    b"a/.wh..wh..opq",
    b".wh..wh.aufs",
    b"a\nb",
    b"a\xff",
    b"harbor/",
    b"harbor/a",
    b"harbor/../a",
];
/// Keys of PAX records that mean something.
const KEYS: [&[u8]; 11] = [
    b"path",
    b"linkpath",
    b"size",
    b"uid",
    b"gid",
    b"mtime",
    b"SCHILY.xattr.user.a",
    b"SCHILY.xattr.security.capability",
    b"SCHILY.xattr.",
    b"GNU.sparse.major",
    b"comment",
];
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"1",
    b"-1",
    b"512",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1.5",
];
/// Numbers of a header and where a type and names are.
const FIELDS: [Range<usize>; 10] =
    [0..100, 100..108, 108..116, 116..124, 124..136, 136..148, 156..157, 157..257, 329..345, 345..500];

/// A row of numbers that only the seed decides.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 1 | 1)
    }

    /// One below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % n.max(1)
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// Runs `change` on what libFuzzer gives, and gives back what fits.
pub(crate) fn within(data: &mut [u8], size: usize, most: usize, change: impl FnOnce(&mut Vec<u8>)) -> usize {
    let mut bytes = data[..size].to_vec();
    change(&mut bytes);
    let n = bytes.len().min(most).min(data.len());
    data[..n].copy_from_slice(&bytes[..n]);
    n
}

/// Changes the tar of a layer, or any other that names no digests.
pub(crate) fn layer(tar: &mut Vec<u8>, chance: &mut Chance) {
    let found = pieces(tar);
    if found.is_empty() {
        return blindly(tar);
    }
    let piece = chance.of(&found);
    match chance.below(12) {
        0 => blindly(tar),
        1 => drop(tar.drain(piece.at..piece.end(tar))),
        2 | 3 => {
            // Again, somewhere.
            let (copy, at) = (tar[piece.at..piece.end(tar)].to_vec(), chance.of(&found).at);
            tar.splice(at..at, copy);
        }
        4 => tar[piece.at + 156] = chance.of(TYPES),
        5 => name(tar, &piece, 0, chance),
        6 => name(tar, &piece, 157, chance),
        7 => {
            let meta = meta(chance);
            tar.splice(piece.at..piece.at, meta);
        }
        8 => {
            // With the name of another one: twice, below a file, through a link.
            let other = chance.of(&found);
            let field = tar[other.at..other.at + 100].to_vec();
            let to = piece.at + chance.of(&[0, 0, 157]);
            tar[to..to + 100].copy_from_slice(&field);
        }
        9 => content(tar, &piece),
        _ => field(tar, &piece, chance),
    }
    // Sometimes a wrong checksum is what is wanted.
    if chance.below(50) > 0 {
        tars::repair(tar);
    }
}

/// Changes what `docker save` wrote: the archive, a document or layer in it, with every digest that names it.
pub(crate) fn images(archive: &mut Vec<u8>, chance: &mut Chance) {
    let found = pieces(archive);
    if found.is_empty() || chance.below(4) == 0 {
        return layer(archive, chance);
    }
    let index = chance.below(found.len());
    let mut content = archive[found[index].content.clone()].to_vec();
    if tars::is_tar(&content) {
        layer(&mut content, chance);
    } else if chance.below(3) == 0 {
        words(&mut content, &found, chance);
    } else {
        blindly(&mut content);
    }
    if chance.below(10) > 0 {
        tars::swap(archive, index, &content);
    } else {
        // A digest that is wrong.
        tars::set_content(archive, &found[index], &content);
    }
}

/// Changes a bundle's tar, in which the image archive is not compressed.
pub(crate) fn bundle(tar: &mut Vec<u8>, chance: &mut Chance) {
    let found = pieces(tar);
    let files: Vec<&Piece> = found.iter().filter(|piece| !piece.content.is_empty()).collect();
    if files.is_empty() || chance.below(3) == 0 {
        return layer(tar, chance);
    }
    let piece = chance.of(&files).clone();
    let mut content = tar[piece.content.clone()].to_vec();
    match tars::is_tar(&content) {
        true => images(&mut content, chance),
        false => blindly(&mut content),
    }
    tars::set_content(tar, &piece, &content);
    tars::repair(tar);
}

/// As libFuzzer does.
pub(crate) fn blindly(bytes: &mut Vec<u8>) {
    let size = bytes.len();
    bytes.resize(size + 256, 0);
    let most = bytes.len();
    let size = fuzzer_mutate(bytes, size, most);
    bytes.truncate(size);
}

/// Writes a strange name into a header, or leaves it to libFuzzer.
fn name(tar: &mut [u8], piece: &Piece, at: usize, chance: &mut Chance) {
    let name = chance.of(&NAMES);
    let to = &mut tar[piece.at + at..piece.at + at + 100];
    to.fill(0);
    to[..name.len()].copy_from_slice(name);
}

/// Changes one field of a header.
fn field(tar: &mut [u8], piece: &Piece, chance: &mut Chance) {
    let field = chance.of(&FIELDS);
    let to = &mut tar[piece.at + field.start..piece.at + field.end];
    match chance.below(6) {
        0 => to.fill(0),
        1 => to.fill(0xff),
        2 => to.fill(b'7'),
        // A number in base 256.
        3 => {
            to.fill(0);
            to[0] = 0x80;
            let last = to.len() - 1;
            to[last] = 1;
        }
        _ => {
            let size = to.len();
            fuzzer_mutate(to, size, size);
        }
    }
}

/// Changes the content of an entry, which then is as long as its header says.
fn content(tar: &mut Vec<u8>, piece: &Piece) {
    let mut content = tar[piece.content.clone()].to_vec();
    blindly(&mut content);
    tars::set_content(tar, piece, &content);
}

/// Puts the name of an entry into a document, in place of some other string.
fn words(document: &mut Vec<u8>, found: &[Piece], chance: &mut Chance) {
    let quotes: Vec<usize> = document.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(i, _)| i).collect();
    let Some(pair) = quotes.chunks_exact(2).nth(chance.below(quotes.len() / 2)) else { return };
    let name = match chance.below(3) {
        0 => chance.of(&NAMES).to_vec(),
        _ => chance.of(found).name.into_bytes(),
    };
    document.splice(pair[0] + 1..pair[1], name);
}

/// A long name or PAX records for the next entry.
fn meta(chance: &mut Chance) -> Vec<u8> {
    let kind = chance.of(b"LKxxxg");
    let mut content = Vec::new();
    if b"LK".contains(&kind) {
        content = long(chance);
        content.push(0);
    } else {
        for _ in 0..=chance.below(3) {
            let key = chance.of(&KEYS);
            let value = match chance.below(4) {
                0 => chance.of(&NAMES).to_vec(),
                1 => long(chance),
                2 => vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                _ => chance.of(&NUMBERS).to_vec(),
            };
            content.extend(record(key, &value));
        }
    }
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[156] = kind;
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut meta = header.as_bytes().to_vec();
    meta.extend_from_slice(&content);
    meta.resize(meta.len().next_multiple_of(BLOCK), 0);
    meta
}

/// A name that is long, or deep: seldom very deep, since making so many directories takes its time.
fn long(chance: &mut Chance) -> Vec<u8> {
    let part = chance.of(&NAMES);
    let (separator, most) = match chance.below(40) {
        0 => (&b"/"[..], 3100),
        1..10 => (&b"/"[..], 100),
        _ => (&b""[..], chance.of(&[1, 20, 100, 255, 256, 3100])),
    };
    let mut name = [part, separator].concat().repeat(1 + most / (part.len() + separator.len()).max(1));
    name.truncate(most);
    name
}

/// A PAX record, which begins with its own length.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}
