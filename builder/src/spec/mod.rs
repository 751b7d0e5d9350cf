//! Stage 1: reads definition files and checks them; every problem at once, with file, line and column.
//!
//! [`load`] is the way in. A file becomes a `Source` (text and places), a tree, and then, by a strict reader
//! that collects instead of stopping, one of the types of [`image`] or [`layer`]; last, the files are checked against
//! each other. Only `source`, `catalog`, `check` and the look for a layer's sources touch the disk.

pub mod image;
pub mod layer;
pub mod names;

mod catalog;
mod check;
mod overrides;
mod read_image;
mod read_layer;
mod release;
mod source;
mod tree;
mod url;
mod user_data;

pub use catalog::{Catalog, load};
pub use check::{Checked, Kind, check_file, judged, kind_of, read_text};
pub use contract::strict::Mistake;
pub use image::ImageSpec;
pub use layer::LayerSpec;
pub use overrides::Override;

use image::Base;
use layer::Action;
use names::Selector;

/// The packages that a layer installs on a release: those of the narrowest selector.
#[must_use]
pub fn packages_for<'l>(layer: &'l LayerSpec, base: &Base) -> &'l [String] {
    narrowest(layer, base).map_or(&[], Vec::as_slice)
}

/// The actions that a layer takes on a release, in order.
pub fn actions_for<'l>(layer: &'l LayerSpec, base: &Base) -> impl Iterator<Item = &'l Action> {
    layer
        .actions
        .iter()
        .filter(|spec| {
            spec.when.is_empty() || spec.when.iter().any(|when| when.matches(base.distribution, &base.release))
        })
        .map(|spec| &spec.action)
}

/// Whether a layer says what it installs on a release; one without packages does.
fn covers(layer: &LayerSpec, base: &Base) -> bool {
    layer.packages.is_empty() || narrowest(layer, base).is_some()
}

fn narrowest<'l>(layer: &'l LayerSpec, base: &Base) -> Option<&'l Vec<String>> {
    [
        Selector::Release(base.distribution, base.release.clone()),
        Selector::Distribution(base.distribution),
        Selector::Default,
    ]
    .iter()
    .find_map(|selector| layer.packages.get(selector))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::layer::ActionSpec;
    use crate::spec::names::Distribution;

    fn base(distribution: Distribution, release: &str) -> Base {
        Base {
            distribution,
            release: release.to_owned(),
            architecture: "amd64".to_owned(),
            mirror: None,
            snapshot: None,
        }
    }

    fn enable(i: usize) -> Action {
        Action::Operation(layer::Operation::Enable { unit: format!("{i}.service") })
    }

    fn layer(packages: &[(&str, &str)], when: &[&[&str]]) -> LayerSpec {
        let selector = |text: &&str| text.parse::<Selector>().expect("a good selector");
        let packages: BTreeMap<_, _> =
            packages.iter().map(|(name, package)| (selector(name), vec![(*package).to_owned()])).collect();
        let actions = when
            .iter()
            .enumerate()
            .map(|(i, when)| ActionSpec { when: when.iter().map(selector).collect(), action: enable(i) });
        LayerSpec {
            name: "x".to_owned(),
            directory: "x".into(),
            description: "x".to_owned(),
            packages,
            actions: actions.collect(),
        }
    }

    #[test]
    fn the_narrowest_selector_wins() {
        let layer = layer(&[("default", "any"), ("debian", "deb"), ("debian:bookworm", "book")], &[]);
        assert_eq!(packages_for(&layer, &base(Distribution::Debian, "bookworm")), ["book"]);
        assert_eq!(packages_for(&layer, &base(Distribution::Debian, "trixie")), ["deb"]);
        assert_eq!(packages_for(&layer, &base(Distribution::Ubuntu, "noble")), ["any"]);
    }

    #[test]
    fn a_layer_covers_a_release_by_naming_it_or_by_naming_none() {
        let noble = base(Distribution::Ubuntu, "noble");
        assert!(covers(&layer(&[], &[]), &noble));
        assert!(!covers(&layer(&[("debian", "deb")], &[]), &noble));
        assert!(packages_for(&layer(&[("debian", "deb")], &[]), &noble).is_empty());
    }

    #[test]
    fn actions_keep_their_order_and_their_releases() {
        let layer = layer(&[], &[&[], &["debian"], &["ubuntu:noble", "debian"], &["default"]]);
        let taken = |base: &Base| actions_for(&layer, base).cloned().collect::<Vec<Action>>();
        assert_eq!(taken(&base(Distribution::Ubuntu, "noble")), [0, 2, 3].map(enable));
        assert_eq!(taken(&base(Distribution::Debian, "bookworm")), [0, 1, 2, 3].map(enable));
    }
}
