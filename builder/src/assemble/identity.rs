//! What tells a disk from others: every salt, UUID and GUID that nothing else prescribes is derived from it.
//!
//! Invariant: it comes from what is in the disk, never from the code that makes it. So two builders that make equal
//! content make equal disks, and a difference between two disks is one of content.

use anyhow::{Context as _, Result};

use crate::bake::Baked;
use crate::bake::docker::Image;
use crate::plan::Plan;
use crate::sys::digest::Digest;

/// The identity of the disk that `plan` makes of `baked`.
///
/// It is known before the root is finished, since the state's UUID stands in the root's `/etc/fstab`.
pub(super) fn of(plan: &Plan, baked: &Baked) -> Result<Digest> {
    let layers: Vec<Digest> = baked.layers.iter().map(|layer| layer.digest).collect();
    let images: Vec<_> = baked.bundle.iter().flat_map(|bundle| &bundle.images).map(contents).collect();
    let content = (&plan.image.name, &plan.image.disk, plan.epoch, layers, baked.initrd.digest, images);
    let text = serde_json::to_string(&content).context("a disk that cannot be described")?;
    Ok(Digest::of(text.as_bytes()))
}

/// What tells a container image from others.
fn contents(image: &Image) -> (Digest, &[String], &[Digest]) {
    (image.id, &image.tags, &image.layers)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::bake::store::Layer;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn layer(name: &str, content: &str) -> Layer {
        let inputs = String::new();
        Layer { name: name.into(), key: digest("key"), digest: digest(content), length: 1, inputs }
    }

    fn baked(contents: [&str; 2], initrd: &str) -> Baked {
        let layers = contents.map(|content| layer("layer", content)).into();
        let nowhere = PathBuf::new;
        let initrd = layer("initrd", initrd);
        Baked { layers, trees: Vec::new(), tools: nowhere(), boot: nowhere(), initrd, bundle: None }
    }

    /// A plan whose keys are made of `code`, which stands for the builder's sources and tools.
    fn plan(code: &str, name: &str, var_size: u64) -> Plan {
        let base = r#"{"distribution": "ubuntu", "release": "noble", "architecture": "amd64"}"#;
        let root = r#"{"filesystem": "squashfs", "verity": true}"#;
        let key = digest(code);
        let tools =
            format!(r#"{{"name": "tools", "key": "{key}", "inputs": "", "request": [], "packages": [], "steps": []}}"#);
        let text = format!(
            r#"{{"image": {{"name": "{name}", "layers": ["base"], "base": {base}, "harbor": null,
                "disk": {{"root": {root}, "var_size": {var_size}, "firmware": ["bios"]}},
                "artifacts": {{"formats": ["raw"]}}}},
                "epoch": 1700000000, "layers": [], "tools": {tools}, "initrd": "{key}", "disk": "{key}"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn another_builder_gives_the_same_identity_and_other_content_another() {
        let baked_once = baked(["a", "b"], "initrd");
        let identity = of(&plan("one", "node", 1 << 30), &baked_once).unwrap();
        assert_eq!(identity, of(&plan("a comment more", "node", 1 << 30), &baked_once).unwrap());
        let others = [
            (plan("one", "node", 1 << 30), baked(["a", "c"], "initrd")),
            (plan("one", "node", 1 << 30), baked(["b", "a"], "initrd")),
            (plan("one", "node", 1 << 30), baked(["a", "b"], "another initrd")),
            (plan("one", "nodes", 1 << 30), baked(["a", "b"], "initrd")),
            (plan("one", "node", 2 << 30), baked(["a", "b"], "initrd")),
        ];
        for (plan, baked) in &others {
            assert_ne!(identity, of(plan, baked).unwrap(), "{plan:?} {baked:?}");
        }
    }
}
