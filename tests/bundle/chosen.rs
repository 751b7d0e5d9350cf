//! Which container images of a bundle an image gets.

use contract::harbor::HarborOption;
use habuild::spec::image::Chosen;

use super::make::{Image, Tar, bundle, gzip, save};
use super::{Unpacked, unpack};

/// Harbor 2.7 with the images that matter, each with a layer of its own on a common one.
fn yml(more: &[&str]) -> Unpacked {
    let names = "prepare harbor-core harbor-portal harbor-jobservice harbor-registryctl registry-photon nginx-photon harbor-db \
                 redis-photon harbor-log notary-server-photon chartmuseum-photon";
    let common = Tar::new().file("common", "c").finish();
    let image = |name: &str| {
        let own = Tar::new().file("name", name).finish();
        Image::new(&format!("goharbor/{name}:v2.7.4"), &[&common, &own])
    };
    let images: Vec<Image> = names.split_whitespace().chain(more.iter().copied()).map(image).collect();
    let tar = Tar::new().file("harbor/harbor.v2.7.4.tar.gz", gzip(&save(&images)));
    unpack(&gzip(&tar.file("harbor/harbor.yml.tmpl", "hostname: x\n").finish())).unwrap()
}

const WITH: [&str; 2] = ["trivy-adapter-photon", "harbor-exporter"];

/// The short names of what is kept.
fn kept(unpacked: &Unpacked, options: Option<Vec<HarborOption>>, bundled: bool) -> Vec<String> {
    let bundle = unpacked.bundle.clone().only(&Chosen { options, bundled }).unwrap();
    assert_eq!(bundle.layers.len(), bundle.images.len() + 1, "layers of the images that are left");
    let short = |tag: &String| tag.trim_start_matches("goharbor/").split(':').next().unwrap().to_owned();
    bundle.images.iter().flat_map(|image| &image.tags).map(short).collect()
}

#[test]
fn what_no_node_of_the_image_can_run_is_left_out() {
    let unpacked = yml(&WITH);
    let all = kept(&unpacked, None, true);
    for never in ["harbor-log", "notary-server-photon", "chartmuseum-photon"] {
        assert!(!all.iter().any(|name| name == never), "{never}");
    }
    assert_eq!(all.len(), 11);
    let without = |all: &[String], names: &[&str]| -> Vec<String> {
        all.iter().filter(|name| !names.contains(&name.as_str())).cloned().collect()
    };
    assert_eq!(kept(&unpacked, None, false), without(&all, &["harbor-db", "redis-photon"]));
    assert_eq!(kept(&unpacked, Some(Vec::new()), true), without(&all, &WITH));
    assert_eq!(kept(&unpacked, Some(vec![HarborOption::Trivy]), true), without(&all, &["harbor-exporter"]));
    assert_eq!(unpacked.bundle.images.len(), 14, "the cache has them all");
}

#[test]
fn an_option_that_is_not_there_is_refused() {
    let chosen = Chosen { options: Some(vec![HarborOption::Trivy]), bundled: true };
    let said = |unpacked: Unpacked| unpacked.bundle.only(&chosen).unwrap_err().to_string();
    let words = "harbor.options: trivy needs image goharbor/trivy-adapter-photon, which the bundle lacks";
    assert!(said(yml(&[])).starts_with(words));
    let image = Image::new("vmware/app:v1", &[&Tar::new().file("x", "x").finish()]);
    let first = || unpack(&bundle("v1.1.2", &["vmware/app:v1"], &save(std::slice::from_ref(&image)))).unwrap();
    assert!(said(first()).starts_with("harbor.options: Harbor v1.1.2 has no trivy"));
    let whole = first().bundle.only(&Chosen::default()).unwrap();
    assert_eq!(whole.images.len(), 1, "unless it is asked for, no option needs to be there");
}
