//! Tars in memory, entry by entry: found, changed in place, and whole again.
//!
//! Nothing here judges an archive: what is broken stays broken, as far as it is not what was changed.

use std::ops::Range;

use habuild::sys::digest::Digest;
use tar::Header;

const BLOCK: usize = 512;

/// An entry as it stands in a tar.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Where its header begins.
    pub(crate) at: usize,
    /// Its content, as far as the tar goes.
    pub(crate) content: Range<usize>,
    /// The name in its header.
    pub(crate) name: String,
}

impl Piece {
    /// Where the next entry begins.
    pub(crate) fn end(&self, tar: &[u8]) -> usize {
        self.content.end.next_multiple_of(BLOCK).min(tar.len())
    }
}

/// The entries of a tar, up to its end mark or to a length that cannot be read.
pub(crate) fn pieces(tar: &[u8]) -> Vec<Piece> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(block) = tar.get(at..at + BLOCK).filter(|block| block.iter().any(|byte| *byte != 0)) {
        let header = Header::from_byte_slice(block);
        // Entries of other types have none, whatever their header says.
        let size = if b"\x0007LKxg".contains(&block[156]) { header.entry_size().unwrap_or(0) } else { 0 };
        let begin = at + BLOCK;
        let end = begin.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(tar.len());
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let piece = Piece { at, content: begin..end, name };
        at = piece.end(tar);
        pieces.push(piece);
    }
    pieces
}

/// Whether bytes begin like a tar.
pub(crate) fn is_tar(bytes: &[u8]) -> bool {
    bytes.len() >= BLOCK && &bytes[257..262] == b"ustar"
}

/// Makes every header's checksum right.
pub(crate) fn repair(tar: &mut [u8]) {
    for piece in pieces(tar) {
        repair_header(&mut tar[piece.at..piece.at + BLOCK]);
    }
}

fn repair_header(block: &mut [u8]) {
    let mut header = Header::from_byte_slice(block).clone();
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
}

/// Gives an entry another content.
pub(crate) fn set_content(tar: &mut Vec<u8>, piece: &Piece, content: &[u8]) {
    let mut padded = content.to_vec();
    padded.resize(content.len().next_multiple_of(BLOCK), 0);
    tar.splice(piece.content.start..piece.end(tar), padded);
    let block = &mut tar[piece.at..piece.at + BLOCK];
    let mut header = Header::from_byte_slice(block).clone();
    header.set_size(content.len() as u64);
    block.copy_from_slice(header.as_bytes());
    repair_header(block);
}

/// Gives an entry of an image archive another content, and everything that names its digest the new one.
pub(crate) fn swap(archive: &mut Vec<u8>, index: usize, content: &[u8]) {
    let digests = |archive: &[u8]| -> Vec<Digest> {
        pieces(archive).into_iter().map(|piece| Digest::of(&archive[piece.content])).collect()
    };
    let mut before = digests(archive);
    if let Some(piece) = pieces(archive).get(index) {
        set_content(archive, piece, content);
    }
    // A layer is named by configurations, those by the manifest and by their own names.
    for _ in 0..3 {
        for (before, after) in before.iter_mut().zip(digests(archive)).filter(|(before, after)| **before != *after) {
            replace(archive, before.to_string().as_bytes(), after.to_string().as_bytes());
            *before = after;
        }
    }
    repair(archive);
}

/// Replaces `old` by the equally long `new` everywhere.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
        at += found;
        bytes[at..at + new.len()].copy_from_slice(new);
        at += new.len();
    }
}

/// Gives everything in a tar to one owner.
pub(crate) fn give(tar: &mut [u8], (uid, gid): (u32, u32)) {
    for piece in pieces(tar) {
        let block = &mut tar[piece.at..piece.at + BLOCK];
        let mut header = Header::from_byte_slice(block).clone();
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        block.copy_from_slice(header.as_bytes());
        repair_header(block);
    }
}

/// The same for every layer of an image archive that is no compressed one.
pub(crate) fn give_layers(archive: &mut Vec<u8>, owner: (u32, u32)) {
    for (index, piece) in pieces(archive).into_iter().enumerate() {
        let mut content = archive[piece.content].to_vec();
        if is_tar(&content) {
            give(&mut content, owner);
            swap(archive, index, &content);
        }
    }
}
