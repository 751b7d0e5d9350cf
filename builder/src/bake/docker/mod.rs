//! Puts the images of a `docker save` archive into Docker's classic `overlay2` store, without Docker.
//!
//! The archive is read once. Each layer is unpacked as it comes, next to the place where it will lie, and checked
//! against its digest; it is moved when the manifest, which comes last, has said what it belongs to.
//!
//! Invariant: equal archives, equal bits; memory does not grow with the archive's length.

mod archive;
mod crc64;
mod layer;
pub mod marks;
mod place;
mod split;

use std::io::Read;
use std::path::Path;

use anyhow::Result;

use crate::sys::file;

/// Fills the store at `docker` (the image's `/var/lib/docker`) from the tar `source`, called `what`; gives the names
/// of the images, sorted.
pub fn load(source: impl Read, what: &str, docker: &Path) -> Result<Vec<String>> {
    let scratch = docker.join(".habuild-incoming");
    file::make_directory(&scratch)?;
    let archive = archive::read(source, what, &scratch)?;
    let tags = place::Place::new(docker)?.fill(&archive, what)?;
    // Layers that belong to no image.
    archive::discard(&scratch)?;
    Ok(tags)
}
