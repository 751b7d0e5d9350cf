//! What Docker's tar reader makes of single fields of a header (Go's archive/tar, as `docker load` uses it).

use std::io;
use std::ops::Range;

use tar::Header;

/// Latest time that is kept: what an ext4 inode holds without its extra bits.
pub(super) const LATEST: i64 = i32::MAX as i64;

/// Whether a number was left out, which stands for 0.
pub(super) fn blank(header: &Header, field: Range<usize>) -> bool {
    header.as_bytes()[field].iter().all(|byte| matches!(byte, 0 | b' '))
}

/// The time of a header; what is negative is before 1970.
pub(super) fn modified(header: &Header) -> io::Result<i64> {
    if header.as_bytes()[136] == 0xff || blank(header, 136..148) {
        return Ok(0);
    }
    Ok(i64::try_from(header.mtime()?).unwrap_or(LATEST))
}

/// The name in the header.
///
/// With GNU's mark it has no prefix: GNU keeps two times there. But Go before 1.8, and so Docker up to 1.12, wrote one
/// nevertheless, and Go's reader takes it for one where the times are no numbers.
pub(super) fn name(header: &Header) -> Vec<u8> {
    let (bytes, name) = (header.as_bytes(), header.path_bytes());
    let times = [&bytes[345..357], &bytes[357..369]];
    let prefix = bytes[345..500].split(|byte| *byte == 0).next().unwrap_or_default();
    let is_gnu = &bytes[257..265] == b"ustar  \0";
    if !is_gnu || prefix.is_empty() || !prefix.is_ascii() || times.iter().all(|time| is_number(time)) {
        return name.into_owned();
    }
    [prefix, &name].join(&b'/')
}

/// Whether Go reads a number there: octal with blanks around it, or base 256.
fn is_number(field: &[u8]) -> bool {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        return true;
    }
    let ended = |byte: &u8| *byte == 0;
    let digits = field.split(ended).next().unwrap_or_default();
    digits.trim_ascii().iter().all(|byte| (b'0'..=b'7').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_dockers_prefix() {
        let of = |field: &[u8]| {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..1].copy_from_slice(b"x");
            header.as_mut_bytes()[345..345 + field.len()].copy_from_slice(field);
            String::from_utf8(name(&header)).unwrap()
        };
        assert_eq!(of(b"usr/share/docker"), "usr/share/docker/x");
        assert_eq!(of(b""), "x");
        // Times, as GNU tar writes them.
        assert_eq!(of(b"13117251703 13117251703 "), "x");
        assert_eq!(of(b"13117251703\x0013117251703\x00"), "x");
        assert_eq!(of(b"\x80aaaaaaaaaaa\x80aaaaaaaaaaa"), "x");
        // One of them is enough to be none.
        assert_eq!(of(b"12345670/234/x"), "12345670/234/x/x");
        assert_eq!(of("usr/\u{e4}".as_bytes()), "x");
        let mut ustar = Header::new_ustar();
        ustar.as_mut_bytes()[345..348].copy_from_slice(b"usr");
        ustar.as_mut_bytes()[..1].copy_from_slice(b"x");
        assert_eq!(name(&ustar), b"usr/x", "once, for it has a prefix by right");
    }
}
