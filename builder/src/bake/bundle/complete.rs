//! Whether a file is a bundle, and a bundle holds what the version that it says runs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use contract::harbor::{self, COMPOSE_FILE, Version, When};

use super::{AGAIN, ITSELF, OFFLINE, RELEASED, TOP};
use crate::bake::docker::{self, Archive};
use crate::bake::foreign::wrong;

/// Harbor up to 1.7 brings its compose file: it must have Harbor's services, and every image that it names must be there.
pub(super) fn check_compose(version: &Version, compose: Option<&[u8]>, archive: &Archive) -> Result<()> {
    let compose = compose.ok_or_else(|| wrong(format!("it has no {TOP}/{COMPOSE_FILE}"), RELEASED))?;
    let services = harbor::services(compose)
        .map_err(|words| wrong(format!("{TOP}/{COMPOSE_FILE} cannot be understood ({words})"), RELEASED))?;
    let named: BTreeSet<&String> = services.values().flatten().collect();
    let holds = |name: &String| archive.images.iter().any(|image| image.tags.contains(name));
    let missing = named.into_iter().filter(|name| !holds(name)).map(String::as_str);
    lacks(&format!("{TOP}/{COMPOSE_FILE} names"), missing)?;
    match harbor::composed(version).iter().find(|service| !matches!(services.get(**service), Some(Some(_)))) {
        None => Ok(()),
        Some(service) => {
            let words = format!("{TOP}/{COMPOSE_FILE} names no image for {service}, which Harbor {version} runs");
            Err(wrong(words, RELEASED))
        }
    }
}

/// Harbor from 1.8 on has its compose file written on the node, by an image of the bundle's. It names every image with the
/// bundle's version, and up to 1.10 the registry with its own one before that (v1.8.6, v1.10.19, v2.0.0 and v2.15.2
/// `make/photon/prepare/utils/docker_compose.py`); the archive's name has that version too (their `Makefile`).
pub(super) fn check_members(version: &Version, to: &Path, archive: &Archive) -> Result<()> {
    let file = harbor::settings_file(version);
    if !to.join(file).is_file() {
        return Err(wrong(format!("it has no {TOP}/{file}"), RELEASED));
    }
    let tagged = |image| docker::tags_of(&archive.images, image);
    let members = harbor::members(version);
    // Database and Redis may be elsewhere.
    let needed = members.iter().filter(|member| matches!(member.when, When::Always | When::Prepare));
    let missing = needed.map(|member| member.image).filter(|image| tagged(image).next().is_none());
    lacks(&format!("Harbor {version} needs"), missing)?;
    let fits = |tag: &str| tag.strip_suffix(version.as_str()).is_some_and(|rest| rest.ends_with([':', '-']));
    for member in members.iter().filter(|member| member.when != When::Never) {
        let Some(other) = tagged(member.image).next().filter(|_| !tagged(member.image).any(fits)) else { continue };
        let runs = format!("Harbor {version} runs {}:{version}", member.image);
        return Err(wrong(format!("{TOP}/harbor.{version}.tar.gz holds {other}, and {runs}"), RELEASED));
    }
    Ok(())
}

/// Refuses an archive that `whoever` needs the images `missing` of.
fn lacks<'m>(whoever: &str, missing: impl Iterator<Item = &'m str>) -> Result<()> {
    let missing: Vec<&str> = missing.collect();
    let images = match missing.len() {
        0 => return Ok(()),
        1 => "image",
        _ => "images",
    };
    Err(wrong(format!("{whoever} {images} {}, which its image archive lacks", missing.join(", ")), RELEASED))
}

/// How archives of other kinds begin.
const OTHERS: [(&[u8], &str); 5] = [
    (b"PK\x03\x04", "the file is a zip archive, not a gzip one"),
    (b"\xfd7zXZ\0", "the file is compressed with xz, not with gzip"),
    (b"\x28\xb5\x2f\xfd", "the file is compressed with zstd, not with gzip"),
    (b"BZh", "the file is compressed with bzip2, not with gzip"),
    (b"7z\xbc\xaf", "the file is a 7z archive, not a gzip one"),
];

/// What makes a file no bundle at first sight, and what to do; it is left at its beginning.
pub(super) fn no_bundle(file: &mut File) -> Result<Option<(&'static str, &'static str)>> {
    let mut head = Vec::new();
    Read::by_ref(file).take(512).read_to_end(&mut head).context("failed to read the bundle")?;
    file.rewind().context("failed to read the bundle")?;
    let other = OTHERS.iter().find(|(magic, _)| head.starts_with(magic));
    Ok(if head.is_empty() {
        Some(("the file is empty", AGAIN))
    } else if head.trim_ascii_start().first() == Some(&b'<') {
        Some(("the file is a web page, not an archive", ITSELF))
    } else if head.get(257..262) == Some(b"ustar") {
        Some(("the file is a tar archive that is not compressed", "compress it as it was released: gzip FILE"))
    } else if let Some((_, words)) = other {
        Some((words, OFFLINE))
    } else if is_text(&head) {
        Some(("the file is text, not an archive", ITSELF))
    } else {
        None
    })
}

/// Whether a file that begins so is text, such as a server's answer or a list of digests.
fn is_text(head: &[u8]) -> bool {
    // The last character may be cut off.
    let text = match str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => head.get(..error.valid_up_to()).map(str::from_utf8),
        whole => Some(whole),
    };
    let is_one = |text: &str| text.chars().all(|c| c.is_ascii_whitespace() || !c.is_control());
    text.is_some_and(|text| text.is_ok_and(is_one))
}
