//! Names of images with tags. They end up in file names and JSON keys.

/// Whether this is `NAME:TAG` as Docker takes it: parts of lower-case letters and digits with single separators, behind a
/// host that may have a port (distribution's reference grammar).
pub(super) fn has_tag(text: &str) -> bool {
    let Some((name, tag)) = split_tag(text) else { return false };
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), path),
        _ => (None, name),
    };
    text.len() < 512 && host.is_none_or(is_host) && path.split('/').all(is_part) && is_tag(tag)
}

/// The name and the tag of a reference that has one.
pub(super) fn split_tag(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// `a`, `a.b`, `a_b`, `a__b`, `a--b`.
fn is_part(part: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let separators = bytes.split(plain).filter(|separator| !separator.is_empty());
    let known = |separator: &[u8]| matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-');
    bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) && separators.into_iter().all(known)
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next().is_some_and(word);
    first && tag.len() <= 128 && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_names_with_tags() {
        for good in [
            "photon:1.0",
            "vmware/nginx:1.11.5-patched",
            "host.example:5000/a/b_c:v1",
            "localhost/a--b/c__d:_",
            "Host.Example/a:V1",
        ] {
            assert!(has_tag(good), "{good}");
        }
        for wrong in [
            "photon",
            "",
            ":",
            "a:",
            "../a:b",
            "a//b:c",
            "a b:c",
            "host:5000/a",
            "a\":1",
            "VMware/ui:v1",
            "a:b:c",
            "a..b:1",
            "a___b:1",
            "-a:1",
            "a-:1",
            "a:-1",
            ".a:1",
            "-h.x/a:1",
            "h.x:/a:1",
        ] {
            assert!(!has_tag(wrong), "{wrong}");
        }
    }
}
