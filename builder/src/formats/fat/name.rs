//! Names in a FAT directory: which are allowed, and the short (8.3) name beside each long one.
//!
//! Rules from Microsoft's "FAT: General Overview of On-Disk Format" 1.03, "Long Directory Entries" and
//! "Name Limits and Character Sets". A name that is an upper-case 8.3 name is stored as such; every other one gets a
//! long name, so that no reader has to guess the case.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};

/// A short name as stored: eight bytes of base, three of extension, padded with blanks.
pub(super) type Short = [u8; 11];

/// The attributes of an entry that holds a part of a long name.
pub(super) const LONG_NAME: u8 = 0x0f;
/// Where such an entry keeps its 13 UTF-16 units.
pub(super) const PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// What ties a long name to its short one.
pub(super) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0, |sum: u8, &byte| sum.rotate_right(1).wrapping_add(byte))
}

/// What a directory stores for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The UTF-16 units of the long name, absent when the short one says it all.
    pub(super) long: Option<Vec<u16>>,
    /// Unique within the directory.
    pub(super) short: Short,
}

impl Name {
    /// How many 32-byte directory entries the name takes: 13 units to a long one, and the short one.
    pub(super) fn entries(&self) -> usize {
        1 + self.long.as_ref().map_or(0, |units| units.len().div_ceil(13))
    }

    /// The long-name entries in stored order: the last part first, each tied to the short name by its checksum.
    pub(super) fn long_entries(&self) -> Vec<[u8; 32]> {
        let Some(units) = &self.long else { return Vec::new() };
        let parts = units.len().div_ceil(13);
        let sum = checksum(&self.short);
        let entry = |part: usize| {
            let mut entry = [0; 32];
            // At most 20 parts: a name has at most 255 units.
            entry[0] = (part + 1) as u8 | if part + 1 == parts { 0x40 } else { 0 };
            entry[11] = LONG_NAME;
            entry[13] = sum;
            for (i, &place) in PLACES.iter().enumerate() {
                let at = 13 * part + i;
                // One zero ends the name, 0xFFFF fills what is left.
                let unit = units.get(at).copied().unwrap_or(if at == units.len() { 0 } else { 0xffff });
                entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        };
        (0..parts).rev().map(entry).collect()
    }
}

/// Whether a directory may hold `name`.
pub(super) fn check(name: &str) -> Result<()> {
    ensure!(!name.is_empty() && name != "." && name != "..", "a FAT name must not be empty, \".\" or \"..\"");
    let bad = name.chars().find(|c| c.is_control() || "\"*/:<>?\\|".contains(*c));
    ensure!(bad.is_none(), "FAT name {name:?} has the character {:?}, which FAT forbids", bad.unwrap_or_default());
    ensure!(!name.ends_with(['.', ' ']), "FAT name {name:?} ends in a dot or blank, which readers drop");
    ensure!(name.encode_utf16().count() <= 255, "FAT name {name:?} is longer than 255 UTF-16 units");
    Ok(())
}

/// Names that FAT holds to be the same have the same key.
pub(super) fn key(name: &str) -> String {
    name.to_uppercase()
}

/// The stored form of each of a directory's names, in the order given.
pub(super) fn assign<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<Name>> {
    // Names that are short already keep theirs, whatever is generated for the others.
    let mut taken: BTreeSet<Short> = names.clone().filter_map(plain).collect();
    names
        .map(|name| {
            let short = match plain(name) {
                Some(short) => short,
                None => tailed(name, &taken).with_context(|| format!("no short FAT name is left for {name:?}"))?,
            };
            taken.insert(short);
            let as_stored = plain(name).is_some() && !name.bytes().any(|b| b.is_ascii_lowercase());
            Ok(Name { long: (!as_stored).then(|| name.encode_utf16().collect()), short })
        })
        .collect()
}

/// The 8.3 form of a name that has one but for its case.
fn plain(name: &str) -> Option<Short> {
    let (base, extension) = match name.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (name, ""),
    };
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3;
    let valid = base.bytes().chain(extension.bytes()).all(is_short);
    (fits && valid).then(|| stored(base, extension))
}

/// The generated short name ("NETWOR~1"): the specification's basis name with the first free number.
fn tailed(name: &str, taken: &BTreeSet<Short>) -> Option<Short> {
    let name = name.trim_start_matches(['.', ' ']);
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let basis = |text: &str| -> String {
        let kept = text.chars().filter(|c| !matches!(c, '.' | ' '));
        kept.map(|c| if u8::try_from(c).is_ok_and(is_short) { c } else { '_' }).collect()
    };
    let (base, mut extension) = (basis(base), basis(extension));
    extension.truncate(3);
    (1..1_000_000).find_map(|number: u32| {
        let tail = format!("~{number}");
        let kept = base.len().min(8 - tail.len());
        let short = stored(&format!("{}{tail}", &base[..kept]), &extension);
        (!taken.contains(&short)).then_some(short)
    })
}

fn stored(base: &str, extension: &str) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base.as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    short.make_ascii_uppercase();
    short
}

/// Whether a short name may hold the byte, in upper case where it is a letter.
pub(super) fn is_short(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let names = assign(names.iter().copied()).unwrap();
        names
            .iter()
            .map(|n| format!("{}{}", String::from_utf8_lossy(&n.short), if n.long.is_some() { "+" } else { "" }))
            .collect()
    }

    #[test]
    fn upper_case_names_are_stored_alone_and_all_others_with_a_long_one() {
        assert_eq!(
            shorts(&["BOOTX64.EFI", "EFI", "grub.cfg", "vmlinuz"]),
            ["BOOTX64 EFI", "EFI        ", "GRUB    CFG+", "VMLINUZ    +"]
        );
    }

    #[test]
    fn generated_names_are_numbered_and_leave_the_plain_ones_alone() {
        assert_eq!(
            shorts(&["network-config", "network-other", "NETWOR~2", ".hidden", "a b.tar.gz", "é.x"]),
            ["NETWOR~1   +", "NETWOR~3   +", "NETWOR~2   ", "HIDDEN~1   +", "ABTAR~1 GZ +", "_~1     X  +"]
        );
        let many: Vec<String> = (0..12).map(|i| format!("long name {i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(shorts(&many)[9..], ["LONGN~10   +", "LONGN~11   +", "LONGN~12   +"]);
    }

    #[test]
    fn a_long_name_is_cut_into_thirteens_last_part_first() {
        let name = &assign(["network-config"].into_iter()).unwrap()[0];
        let entries = name.long_entries();
        assert_eq!((name.entries(), entries.len()), (3, 2));
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(entries[0][1..5], [b'g', 0, 0, 0]);
        assert_eq!(entries[0][5..11], [0xff; 6]);
        let exact = &assign(["thirteen-char"].into_iter()).unwrap()[0];
        assert_eq!(exact.long_entries().len(), 1);
    }

    #[test]
    fn names_no_reader_agrees_on_are_refused() {
        for name in ["", ".", "..", "a:b", "a\u{7}b", "a.", "a "] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert!(check(&"n".repeat(255)).is_ok());
        assert!(check(&"n".repeat(256)).is_err());
    }
}
