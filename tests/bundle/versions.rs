//! Bundles from 1.8 on, which have no compose file that would name the images: the version tells which there must be.

use super::make::{Image, Tar, gzip, save};
use super::refused::said;
use super::unpack;

const NEEDED: &str =
    "prepare harbor-core harbor-portal harbor-jobservice harbor-registryctl registry-photon nginx-photon";

/// A bundle of this version whose images have these names, with tags.
fn of(version: &str, tags: &[String]) -> Vec<u8> {
    // One image by all these names: only the names are looked at.
    let image = Image {
        tags: tags.to_vec(),
        layers: vec![Tar::new().file("etc/words", "hello\n").finish()],
        architecture: "amd64",
    };
    let tar = Tar::new().file(&format!("harbor/harbor.{version}.tar.gz"), gzip(&save(&[image])));
    let file = if version.starts_with("v1") { "harbor/harbor.yml" } else { "harbor/harbor.yml.tmpl" };
    gzip(&tar.file(file, "hostname: x\n").finish())
}

/// What every version needs and `more`, with the tag of `version`.
fn tagged(version: &str, more: &str) -> Vec<String> {
    let names = NEEDED.split_whitespace().chain(more.split_whitespace());
    names.map(|name| format!("goharbor/{name}:{version}")).collect()
}

#[test]
fn images_that_a_version_needs() {
    let all = tagged("v2.15.2", "harbor-db valkey-photon harbor-exporter trivy-adapter-photon");
    let whole = unpack(&of("v2.15.2", &all)).expect("the log service may be missing");
    assert!(whole.bundle.doubts().is_empty(), "{:?}", whole.bundle.doubts());
    for name in NEEDED.split_whitespace() {
        let left: Vec<String> = all.iter().filter(|tag| !tag.contains(&format!("/{name}:"))).cloned().collect();
        let words = format!("Harbor v2.15.2 needs image goharbor/{name}, which its image archive lacks");
        assert_eq!(said(&of("v2.15.2", &left)), words);
    }
    assert_eq!(
        said(&of("v2.15.2", &["goharbor/prepare:v2.15.2".to_owned()])),
        "Harbor v2.15.2 needs images goharbor/harbor-core, goharbor/harbor-jobservice, goharbor/harbor-portal, \
         goharbor/nginx-photon, goharbor/registry-photon, goharbor/harbor-registryctl, which its image archive lacks"
    );
}

#[test]
fn images_of_another_version_than_the_archive_says() {
    for (name, tag) in [("harbor-core", "v2.15.1"), ("registry-photon", "xv2.15.2"), ("trivy-adapter-photon", "dev")] {
        let mut tags = tagged("v2.15.2", "harbor-db valkey-photon trivy-adapter-photon harbor-log");
        let other = tags.iter_mut().find(|tag| tag.contains(&format!("/{name}:"))).unwrap();
        *other = format!("goharbor/{name}:{tag}");
        assert_eq!(
            said(&of("v2.15.2", &tags)),
            format!(
                "harbor/harbor.v2.15.2.tar.gz holds goharbor/{name}:{tag}, and Harbor v2.15.2 runs goharbor/{name}:v2.15.2"
            )
        );
    }
    let mut old = tagged("v1.8.6", "harbor-db redis-photon");
    let registry = old.iter_mut().find(|tag| tag.contains("registry-photon")).unwrap();
    *registry = "goharbor/registry-photon:v2.7.1-patch-2819-2553-v1.8.6".to_owned();
    unpack(&of("v1.8.6", &old)).expect("1.8 and 1.9 name the registry with its own version first");
}

#[test]
fn what_is_doubtful_is_told() {
    let doubts = |version: &str, more: &str| unpack(&of(version, &tagged(version, more))).unwrap().bundle.doubts();
    let newer = doubts("v2.16.0", "harbor-db valkey-photon harbor-exporter trivy-adapter-photon");
    assert_eq!(newer.len(), 1);
    assert!(
        newer[0].starts_with("Harbor v2.16.0 is newer than any that this habuild was made with (v2.15.2)"),
        "{newer:?}"
    );
    assert_eq!(
        doubts("v2.15.2", "harbor-db redis-photon"),
        [
            "it holds no image goharbor/harbor-exporter: no node of it can have harbor.metrics",
            "it holds no image goharbor/valkey-photon: no node of it can have its own redis",
            "it holds no image goharbor/trivy-adapter-photon: no node of it can have harbor.trivy",
        ]
    );
}
