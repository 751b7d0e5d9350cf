//! PAX records, `LENGTH KEY=VALUE\n` one after another. A value is as long as its record says: it may hold line breaks.

/// Keys and values in their order; `None` where something is no record.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let digits = bytes.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()?;
        let record = bytes.get(digits + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.push((record.get(..equals)?, record.get(equals + 1..)?));
        bytes = bytes.get(length..)?;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_as_long_as_its_record_says() {
        assert_eq!(records(b"9 a=1\n\n2\n"), Some(vec![(&b"a"[..], &b"1\n\n2"[..])]));
        assert_eq!(records(b""), Some(vec![]));
        assert_eq!(records(b"8 path=\n6 b==\n"), Some(vec![(&b"path"[..], &b""[..]), (&b"b"[..], &b"="[..])]));
        for wrong in [
            &b"x"[..],
            b"5 a=1",
            b"6 a=1",
            b"7 a=1\n",
            b"5 a=1\n",
            b"4 a\n\n",
            b"0 a=1\n",
            b"-1 a=1\n",
            b"\n",
            b"18446744073709551615 a=1\n",
        ] {
            assert_eq!(records(wrong), None, "{:?}", String::from_utf8_lossy(wrong));
        }
    }
}
