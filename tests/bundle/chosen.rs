//! Which container images of a bundle an image gets, and which of Harbor's settings.

use contract::harbor::HarborOption;
use habuild::bake::bundle;
use habuild::bake::rootfs::Rootfs;
use habuild::report::{Failure, Fault, fault_of};
use habuild::spec::image::Chosen;

use super::make::{self, Image, Tar, gzip, save};
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
    unpack(&gzip(&tar.file("harbor/harbor.yml.tmpl", "hostname: x\njobservice:\n  max_job_workers: 10\n").finish()))
        .unwrap()
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
    let words =
        "harbor.options: trivy needs image goharbor/trivy-adapter-photon, which the bundle lacks (bundle harbor.tgz)";
    assert_eq!(said(yml(&[])), words);
    let image = Image::new("vmware/app:v1", &[&Tar::new().file("x", "x").finish()]);
    let first = || unpack(&make::bundle("v1.1.2", &["vmware/app:v1"], &save(std::slice::from_ref(&image)))).unwrap();
    assert_eq!(said(first()), "harbor.options: Harbor v1.1.2 has no trivy (bundle harbor.tgz)");
    let whole = first().bundle.only(&Chosen::default()).unwrap();
    assert_eq!(whole.images.len(), 1, "unless it is asked for, no option needs to be there");
}

#[test]
fn settings_travel_in_the_image_if_the_bundle_has_them() {
    let unpacked = yml(&[]);
    let with = |settings: &str| unpacked.bundle.clone().with_settings(&serde_json::from_str(settings).unwrap());
    let bundle = with(r#"{"jobservice": {"max_job_workers": 20}}"#).unwrap();
    bundle::install(&bundle, &Rootfs::new(&unpacked.path("other"))).unwrap();
    let record = unpacked.read("other/usr/share/habuild/bundle.json");
    assert!(record.ends_with(",\"settings\":{\"jobservice\":{\"max_job_workers\":20}}}\n"), "{record}");
    assert!(!unpacked.read("root/usr/share/habuild/bundle.json").contains("settings"), "the cache knows of none");
    let error = with(r#"{"jobservice": {"max_job_worker": 20}}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "harbor.settings.jobservice.max_job_worker: Harbor v2.7.4 has no such setting (bundle harbor.tgz)"
    );
    assert_eq!(fault_of(&error), Fault::Usage);
    let both = with(r#"{"jobservice": {"max_job_worker": 20, "max_job_workers": "many"}}"#).unwrap_err().to_string();
    assert!(both.contains("max_job_worker: ") && both.contains("max_job_workers: is text"), "{both}");
    // What is wrong may be a file of the bundle and not the key.
    std::fs::write(unpacked.bundle.files.join("harbor.yml.tmpl"), "- a\n").unwrap();
    let error = with(r#"{"jobservice": {"max_job_workers": 20}}"#).unwrap_err();
    assert_eq!(error.to_string(), "bundle harbor.tgz: harbor.yml.tmpl: is no map");
    let remedy = error.downcast::<Failure>().unwrap().remedy.unwrap();
    assert!(remedy.starts_with("use the offline installer as it was released"), "{remedy}");
}

#[test]
fn a_bundle_that_a_node_could_not_configure_is_refused() {
    let refused = |unpacked: Unpacked, expected: &str| {
        let error = unpacked.bundle.render_dry().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(fault_of(&error), Fault::Input);
    };
    refused(yml(&[]), "bundle harbor.tgz: harbor.yml.tmpl: has no data_volume, which a node sets");
    let image = Image::new("vmware/app:v1", &[&Tar::new().file("x", "x").finish()]);
    let first = unpack(&make::bundle("v1.1.2", &["vmware/app:v1"], &save(std::slice::from_ref(&image)))).unwrap();
    refused(first, "bundle harbor.tgz: common/templates/ui/app.conf: ");
}
