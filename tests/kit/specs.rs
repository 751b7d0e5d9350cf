//! Values of a spec that nobody reads from a file.

use habuild::spec::image::Base;
use habuild::spec::names::Distribution;

/// A release for amd64, from its default archive.
pub(crate) fn base(distribution: Distribution, release: &str) -> Base {
    let (release, architecture) = (release.into(), "amd64".into());
    Base { distribution, release, architecture, mirror: None, snapshot: None }
}
