//! Whether Docker's store holds the container images that were baked. Docker itself says nothing of an image that it
//! cannot restore, but in its own log; and `docker ps` of a missing one looks like a network that does not answer.
//!
//! Names, configurations and the records of layers are compared; the layers' files are not read.

use std::path::{Path, PathBuf};

use contract::harbor::{ImageList, ImageRecord};
use serde_json::Value;

use crate::bundle::baked;
use crate::host::Host;
use crate::share::sha256;
use crate::trouble::Trouble;

/// What the bake wrote into the image.
const LIST: &str = "/usr/share/habuild/images.json";
/// Docker's data, as far as images go.
const STORE: &str = "/var/lib/docker";

/// What differs between Docker's store and what was baked, one sentence each.
///
/// # Errors
/// The image says nothing about container images, or its list cannot be read.
pub(crate) fn differences(host: &Host) -> Result<Vec<String>, Trouble> {
    let list: ImageList = baked(host, LIST, "list of container images", |list: &ImageList| list.schema)?;
    let names = names(host);
    Ok(list.images.iter().flat_map(|image| differences_of(host, image, &names)).collect())
}

/// The names that Docker knows; none when it has no list of them.
fn names(host: &Host) -> Value {
    let path = store("image/overlay2/repositories.json");
    let content = host.read(&path).map(|content| content.bytes).unwrap_or_default();
    serde_json::from_slice::<Value>(&content)
        .ok()
        .and_then(|mut value| value.get_mut("Repositories").map(Value::take))
        .unwrap_or_default()
}

fn differences_of(host: &Host, image: &ImageRecord, names: &Value) -> Vec<String> {
    let called = image.names.first().unwrap_or(&image.id);
    let mut found = Vec::new();
    for name in &image.names {
        let repository = name.rsplit_once(':').map_or(name.as_str(), |(repository, _)| repository);
        let id = names.get(repository).and_then(|tags| tags.get(name)).and_then(Value::as_str);
        match id.map(|id| id.trim_start_matches("sha256:")) {
            Some(id) if id == image.id => {}
            Some(id) => found.push(format!("{name} is {}, baked was {}", short(id), short(&image.id))),
            None => found.push(format!("{name} is not in Docker's store")),
        }
    }
    let configuration = store(&format!("image/overlay2/imagedb/content/sha256/{}", image.id));
    match host.read(&configuration) {
        Err(_) => found.push(format!("{called}: its configuration {} is missing", short(&image.id))),
        Ok(content) if sha256(&content.bytes) != image.id => {
            found.push(format!("{called}: its configuration {} is damaged", short(&image.id)));
        }
        Ok(_) => {}
    }
    let below = std::iter::once(None).chain(image.chains.iter().map(Some));
    let wrong = image.chains.iter().zip(below).filter(|(chain, below)| !has_layer(host, chain, *below)).count();
    if wrong > 0 {
        found.push(format!("{called}: {wrong} of {} layers are missing or damaged", image.chains.len()));
    }
    found
}

/// Whether a layer's records are what Docker restores and runs it from, and lead to a directory with its files. `below`:
/// the chain id of the layer below it.
fn has_layer(host: &Host, chain: &str, below: Option<&String>) -> bool {
    let text = |path: &Path| {
        let content = host.read(path).map(|content| content.bytes).unwrap_or_default();
        String::from_utf8(content).unwrap_or_default()
    };
    let record = |chain: &str| store(&format!("image/overlay2/layerdb/sha256/{chain}"));
    let directory = |chain: &str| {
        let cache = text(&record(chain).join("cache-id"));
        (!cache.is_empty()).then(|| store("overlay2").join(cache.trim()))
    };
    let own = record(chain);
    // A size that is no number: Docker does not restore the image, and says so in its log alone.
    let is_sized = text(&own.join("size")).trim().parse::<u64>().is_ok();
    // What the chain is made of (OCI image specification, "Layer ChainID").
    let diff = text(&own.join("diff"));
    let (made, parent) = match below {
        None => (diff.trim_start_matches("sha256:").to_owned(), String::new()),
        Some(below) => (sha256(format!("sha256:{below} {diff}").as_bytes()), format!("sha256:{below}")),
    };
    let has_split = host.read(&own.join("tar-split.json.gz")).is_ok_and(|content| !content.bytes.is_empty());
    let Some(layer) = directory(chain) else { return false };
    // Containers are mounted by the short names; without `lower` they would lack what lies below.
    let short = format!("l/{}", text(&layer.join("link")));
    let leads = |name: &str, to: &Path| host.without_links(&store("overlay2").join(name)).is_ok_and(|at| at == to);
    let lower = match below {
        None => String::new(),
        Some(below) => {
            let Some(below) = directory(below) else { return false };
            let deeper = text(&below.join("lower"));
            let colon = if deeper.is_empty() { "" } else { ":" };
            format!("l/{}{colon}{deeper}", text(&below.join("link")))
        }
    };
    is_sized
        && made == chain
        && text(&own.join("parent")) == parent
        && has_split
        && leads(&short, &layer.join("diff"))
        && text(&layer.join("lower")) == lower
        && host.exists(&layer.join("diff"))
}

fn store(path: &str) -> PathBuf {
    Path::new(STORE).join(path)
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    /// A machine with one image of two layers, as it was baked.
    fn machine() -> (TempDir, Host, String) {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let id = sha256(b"configuration");
        let upper = sha256(b"sha256:c1 sha256:d2");
        let list = json!({"schema": 1, "images": [{"id": id, "names": ["a/b:1"], "chains": ["c1", upper]}]});
        write("usr/share/habuild/images.json", &list.to_string());
        let store = |path: &str| format!("var/lib/docker/{path}");
        let names = json!({"Repositories": {"a/b": {"a/b:1": format!("sha256:{id}")}}});
        write(&store("image/overlay2/repositories.json"), &names.to_string());
        write(&store(&format!("image/overlay2/imagedb/content/sha256/{id}")), "configuration");
        let record = |chain: &str, files: &[(&str, &str)]| {
            for (name, content) in [&[("size", "1"), ("tar-split.json.gz", "x")], files].concat() {
                write(&store(&format!("image/overlay2/layerdb/sha256/{chain}/{name}")), content);
            }
        };
        record("c1", &[("cache-id", "x"), ("diff", "sha256:c1")]);
        record(&upper, &[("cache-id", "y"), ("diff", "sha256:d2"), ("parent", "sha256:c1")]);
        for (layer, link) in [("x", "L"), ("y", "M")] {
            write(&store(&format!("overlay2/{layer}/link")), link);
            write(&store(&format!("overlay2/{layer}/diff/file")), "");
            let at = root.path().join(store(&format!("overlay2/l/{link}")));
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(format!("../{layer}/diff"), at).unwrap();
        }
        write(&store("overlay2/y/lower"), "l/L");
        let host = Host::new(root.path());
        (root, host, id)
    }

    #[test]
    fn what_was_baked_is_fine_and_each_loss_is_told() {
        assert_eq!(differences(&machine().1).unwrap(), Vec::<String>::new());
        let id = machine().2;
        let id = short(&id);
        let one = || "a/b:1: 1 of 2 layers are missing or damaged".to_owned();
        let losses = [
            ("image/overlay2/repositories.json", "a/b:1 is not in Docker's store".to_owned()),
            ("image/overlay2/imagedb", format!("a/b:1: its configuration {id} is missing")),
            ("image/overlay2/layerdb/sha256/c1/size", one()),
            ("overlay2/x/diff", one()),
            ("overlay2/l/M", one()),
            ("overlay2/y/lower", one()),
        ];
        for (path, expected) in losses {
            let (root, host, _) = machine();
            let path = root.path().join("var/lib/docker").join(path);
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path).unwrap()
            } else {
                fs::remove_file(path).unwrap()
            }
            assert_eq!(differences(&host).unwrap(), [expected]);
        }
        for (path, content) in [
            ("image/overlay2/layerdb/sha256/c1/size", "nonsense"),
            ("image/overlay2/layerdb/sha256/c1/diff", "sha256:other"),
            ("image/overlay2/layerdb/sha256/c1/parent", "sha256:c0"),
            ("image/overlay2/layerdb/sha256/c1/tar-split.json.gz", ""),
            ("overlay2/y/lower", "l/L:l/N"),
        ] {
            let (root, host, _) = machine();
            fs::write(root.path().join("var/lib/docker").join(path), content).unwrap();
            assert_eq!(differences(&host).unwrap(), [one()], "{path}");
        }
    }

    #[test]
    fn another_image_under_the_name_and_a_damaged_one_are_told() {
        let (root, host, id) = machine();
        let names = json!({"Repositories": {"a/b": {"a/b:1": "sha256:0123456789abcdef"}}});
        fs::write(root.path().join("var/lib/docker/image/overlay2/repositories.json"), names.to_string()).unwrap();
        let configuration = root.path().join("var/lib/docker/image/overlay2/imagedb/content/sha256").join(&id);
        fs::write(configuration, "another").unwrap();
        let id = short(&id);
        let expected =
            [format!("a/b:1 is 0123456789ab, baked was {id}"), format!("a/b:1: its configuration {id} is damaged")];
        assert_eq!(differences(&host).unwrap(), expected);
        fs::remove_file(root.path().join("usr/share/habuild/images.json")).unwrap();
        assert!(differences(&host).unwrap_err().message.contains("holds no list of container images"));
    }
}
