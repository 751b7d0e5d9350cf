//! Bundles that must be refused: one clear message that names the bundle, exit code 4.

use habuild::report::{Failure, Fault, fault_of};

use super::make::{Blobs, Image, Tar, bundle, bundle_files, compose, gzip, save, save_blobs, save_with};
use super::unpack;

const TAG: &str = "vmware/app:v1";

fn layer() -> Vec<u8> {
    Tar::new().directory("etc/").file("etc/words", "hello\n").finish()
}

fn image() -> Image {
    Image::new(TAG, &[&layer()])
}

/// The message for a bundle that is refused.
pub(super) fn said(bundle: &[u8]) -> String {
    said_and_helps(bundle).0
}

/// The message, and what is said to help.
fn said_and_helps(bundle: &[u8]) -> (String, String) {
    let error = unpack(bundle).expect_err("this bundle must be refused");
    assert_eq!(fault_of(&error), Fault::Input, "{error:?}");
    let failure = error.downcast_ref::<Failure>().expect("a failure that names the bundle");
    let words = failure.message.strip_prefix("bundle harbor.tgz: ").expect("it names the bundle");
    (words.to_owned(), failure.remedy.clone().expect("it says what helps"))
}

/// What is said of a bundle whose image archive holds `saved`.
pub(super) fn said_of_images(saved: &[u8]) -> String {
    let words = said(&bundle("v1.1.2", &[TAG], saved));
    words.strip_prefix("its image archive harbor/harbor.v1.1.2.tar.gz").expect("it names the archive").to_owned()
}

/// What is said of an image of one layer.
pub(super) fn said_of_layer(layer: Tar) -> String {
    let words = said_of_images(&save(&[Image::new(TAG, &[&layer.finish()])]));
    words.split_once("/layer.tar: ").expect("it names the layer").1.to_owned()
}

/// What is said of a bundle with another file in it.
pub(super) fn said_of_file(add: impl FnOnce(Tar) -> Tar) -> String {
    said(&gzip(&add(bundle_files(&[TAG])).finish()))
}

#[test]
fn what_is_no_archive_or_a_part_of_one() {
    for (bytes, words) in [
        (b"404: there is no such file\n".to_vec(), "the file is text, not an archive"),
        (vec![1; 40], "the file is not an archive (gzip and tar)"),
        (b"\n<!DOCTYPE html><html>not found</html>".to_vec(), "the file is a web page, not an archive"),
        (Tar::new().file("x", "x").finish(), "the file is a tar archive that is not compressed"),
        (b"".to_vec(), "the file is empty"),
        (gzip(b"hello"), "the file is not a tar archive"),
        (gzip(&Tar::new().finish()), "it is an empty archive"),
    ] {
        assert_eq!(said(&bytes), words);
    }
    let whole = bundle("v1.1.2", &[TAG], &save(&[image()]));
    unpack(&whole).expect("the whole bundle is good");
    for cut in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 300, 30] {
        let words = said(&whole[..cut]);
        // It names the entry, if the cut is in one.
        assert!(
            words.starts_with("the file") && words.ends_with("is cut off"),
            "{words} (at {cut} of {})",
            whole.len()
        );
    }
    let mut damaged = whole.clone();
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    assert!(said(&damaged).starts_with("the file is damaged"), "{}", said(&damaged));
    // The image archive alone is cut off, the bundle around it is whole.
    let saved = gzip(&save(&[image()]));
    let part = bundle_files(&[TAG]).file("harbor/harbor.v1.1.2.tar.gz", &saved[..saved.len() / 2]).finish();
    let words = said(&gzip(&part));
    assert!(
        words.starts_with("its image archive harbor/harbor.v1.1.2.tar.gz") && words.ends_with("is cut off"),
        "{words}"
    );
    // Cut where one entry ends and another begins: nothing but the end mark tells.
    let mut files = bundle_files(&[TAG]).file("harbor/harbor.v1.1.2.tar.gz", gzip(&save(&[image()]))).finish();
    files.truncate(files.len() - 1024);
    assert_eq!(said(&gzip(&files)), "the file is cut off: it has no end mark");
    let other = bundle_files(&[TAG]).file("harbor/harbor.v1.1.2.tar.gz", "hello, I am no archive").finish();
    assert_eq!(said(&gzip(&other)), "its image archive harbor/harbor.v1.1.2.tar.gz is not an archive (gzip and tar)");
}

#[test]
fn each_cause_has_the_remedy_that_helps() {
    let (saved, again) = (save(&[image()]), "fetch the offline installer again");
    let whole = bundle("v1.1.2", &[TAG], &saved);
    let (itself, offline) = ("fetch the file itself: ", "give Harbor's offline installer: ");
    // Text whose 512th byte is amid a character is text.
    let cut = format!("x{}", "\u{e4}".repeat(400));
    for (bytes, words, helps) in [
        (b"<html>".to_vec(), "the file is a web page", itself),
        (b"404\n".to_vec(), "the file is text, not an archive", itself),
        (cut.into_bytes(), "the file is text, not an archive", itself),
        (b"PK\x03\x04".to_vec(), "the file is a zip archive", offline),
        (b"\xfd7zXZ\0".to_vec(), "the file is compressed with xz", offline),
        (bundle_files(&[TAG]).finish(), "the file is a tar archive that is not compressed", "compress it "),
        (gzip(&bundle_files(&[TAG]).finish()), "it has no image archive", offline),
        (whole[..whole.len() / 2].to_vec(), "the file", again),
        (bundle("dev", &[TAG], &saved), "its version cannot be read: ", "use a release; "),
        (bundle("v1.0.1", &[TAG], &saved), "it is Harbor v1.0.1", "use Harbor 1.1 or later"),
        (
            bundle("v1.1.2", &["photon:1.0"], &saved),
            "harbor/docker-compose.yml names image",
            "use the offline installer as ",
        ),
        (
            bundle("v1.1.2", &[TAG], &save(&[Image { architecture: "arm64", ..image() }])),
            "its image archive harbor/harbor.v1.1.2.tar.gz",
            "use a bundle for Linux on amd64",
        ),
        (
            bundle("v1.1.2", &[TAG], &Tar::new().finish()),
            "its image archive harbor/harbor.v1.1.2.tar.gz has no manifest.json",
            "use the offline installer as ",
        ),
        (bundle("v2.9.1", &[TAG], &saved), "it has no harbor/harbor.yml.tmpl", "use the offline installer as "),
    ] {
        let (said, remedy) = said_and_helps(&bytes);
        assert!(said.starts_with(words) && remedy.starts_with(helps), "{said} ({remedy})");
    }
    let twice = "services:\n  ui: {image: 'vmware/app:v1'}\n  ui: {image: 'vmware/app:v1'}\n";
    let tar = Tar::new().file("harbor/harbor.v1.1.2.tar.gz", gzip(&saved)).file("harbor/docker-compose.yml", twice);
    let (said, _) = said_and_helps(&gzip(&tar.finish()));
    assert!(said.ends_with("(line 3, column 3: \"ui\" is given twice)"), "{said}");
}

#[test]
fn what_climbs_out() {
    for name in ["/etc/passwd", "../x", "harbor/../../x", "harbor/../x/../../y"] {
        assert_eq!(said_of_file(|tar| tar.file(name, "x")), format!("the path {name:?} in it leads out of it"));
    }
    let beside = said_of_file(|tar| tar.file("harbor/../x", "x"));
    assert_eq!(beside, r#""harbor/../x" does not lie in its top directory harbor/"#);
    for target in ["/etc/passwd", "../../x", "../common/../../x", "here/../x"] {
        let words = said_of_file(|tar| tar.symlink("harbor/common/out", target));
        assert_eq!(words, format!(r#"the link "harbor/common/out" in it leads out of it, to {target:?}"#));
    }
    for target in ["/etc/passwd", "../x", "x", "harbor/../x"] {
        let words = said_of_file(|tar| tar.hard_link("harbor/out", target));
        assert_eq!(words, format!(r#"the link "harbor/out" in it leads out of it, to {target:?}"#));
    }
    let through = said_of_file(|tar| tar.file("harbor/common/here/x", "x"));
    assert_eq!(through, r#""harbor/common/here/x" in it lies below "common/here", which is no directory"#);
    let lacks = said_of_file(|tar| tar.hard_link("harbor/a", "harbor/b"));
    assert_eq!(lacks, r#""harbor/a" in it is a hard link to "harbor/b", which it lacks"#);
    assert_eq!(said_of_file(|tar| tar.device("harbor/null", (1, 3))), r#""harbor/null" in it is a device"#);
    assert_eq!(
        said_of_file(|tar| tar.file("harbor/harbor.cfg", "")),
        r#""harbor/harbor.cfg" in it stands in it twice"#
    );
}

#[test]
fn what_is_no_bundle() {
    let other = gzip(&Tar::new().file("README", "hello").finish());
    assert_eq!(said(&other), r#""README" does not lie in its top directory harbor/"#);
    assert_eq!(
        said_of_file(|tar| tar),
        "it has no image archive harbor/harbor.VERSION.tar.gz: is it the online installer?"
    );
    let saved = gzip(&save(&[image()]));
    let two =
        said_of_file(|tar| tar.file("harbor/harbor.v1.1.2.tar.gz", &saved).file("harbor/harbor.v1.1.3.tar.gz", &saved));
    assert_eq!(two, "it has two image archives: harbor/harbor.v1.1.2.tar.gz and harbor/harbor.v1.1.3.tar.gz");
    for (version, words) in [
        ("dev", "its version cannot be read: harbor/harbor.dev.tar.gz is not called harbor.vX.Y.Z.tar.gz"),
        ("v1.8.6", "it has no harbor/harbor.yml"),
        ("v2.9.1", "it has no harbor/harbor.yml.tmpl"),
        ("v1.0.1", "it is Harbor v1.0.1"),
    ] {
        assert_eq!(said(&bundle(version, &[TAG], &save(&[image()]))), words);
    }
    let no_compose = Tar::new().file("harbor/harbor.v1.1.2.tar.gz", &saved).finish();
    assert_eq!(said(&gzip(&no_compose)), "it has no harbor/docker-compose.yml");
    for (left_out, version) in [("registry", "v1.1.2"), ("ui", "v1.6.3"), ("core", "v1.7.8")] {
        let compose = compose(&[TAG])
            .replace(&format!("  {left_out}:\n    image: {TAG}\n"), &format!("  {left_out}:\n    build: .\n"));
        let tar = Tar::new()
            .file(&format!("harbor/harbor.{version}.tar.gz"), &saved)
            .file("harbor/docker-compose.yml", compose);
        let words = format!("harbor/docker-compose.yml names no image for {left_out}, which Harbor {version} runs");
        assert_eq!(said(&gzip(&tar.finish())), words);
    }
    let missing = said(&bundle("v1.1.2", &[TAG, "vmware/db:v1", "photon:1.0"], &save(&[image()])));
    assert_eq!(
        missing,
        "harbor/docker-compose.yml names images photon:1.0, vmware/db:v1, which its image archive lacks"
    );
}

#[test]
fn image_archives_that_do_not_hold_what_they_say() {
    assert_eq!(
        said_of_images(&Tar::new().file("x", "").finish()),
        " has no manifest.json: docker save did not write it"
    );
    assert_eq!(said_of_images(&save_with(&[image()], |manifest| *manifest = serde_json::json!([]))), " holds no image");
    let changed = |key: &str, value: serde_json::Value| {
        said_of_images(&save_with(&[image()], |manifest| manifest[0][key] = value))
    };
    assert!(changed("Config", "x".into()).ends_with("image vmware/app:v1: x is missing"));
    assert!(changed("Layers", serde_json::json!(["x/layer.tar"])).ends_with("x/layer.tar is missing"));
    assert!(changed("Layers", serde_json::json!([])).ends_with("it has 0 layers, its configuration names 1"));
    assert!(changed("RepoTags", serde_json::json!(["../a:b"])).ends_with(r#""../a:b" is not a name with a tag"#));
    assert!(changed("RepoTags", serde_json::json!(["VMware/app:v1"])).ends_with("is not a name with a tag"));
    let twice = Tar::new().file("manifest.json", "[]").file("manifest.json", "[]");
    assert_eq!(said_of_images(&twice.finish()), r#": "manifest.json" stands in it twice"#);
    // A byte of a layer differs from what the configuration says.
    let saved = save(&[image()]);
    let at = saved.windows(6).position(|window| window == b"hello\n").unwrap();
    let mut damaged = saved.clone();
    damaged[at] = b'j';
    assert!(said_of_images(&damaged).contains("/layer.tar has digest sha256:"), "{}", said_of_images(&damaged));
    let at = saved.windows(9).position(|window| window == b"/bin/cat\"").unwrap();
    let mut damaged = saved;
    damaged[at] = b'_';
    assert!(said_of_images(&damaged).contains(".json is damaged: it has digest"), "{}", said_of_images(&damaged));
    let mut blobs = save_blobs(&[image()], Blobs::Plain);
    let at = blobs.windows(6).position(|window| window == b"hello\n").unwrap();
    blobs[at] = b'j';
    assert!(said_of_images(&blobs).contains(" is damaged: it has digest"), "{}", said_of_images(&blobs));
    assert!(said_of_images(&Tar::new().file("../x", "").finish()).ends_with(r#""../x" leads out of the archive"#));
}

#[test]
fn layers_that_climb_out_or_cannot_be_made_again() {
    for (layer, words) in [
        (Tar::new().file("../x", "x"), r#""../x" leads out of the layer"#),
        (Tar::new().file("a/../../x", "x"), r#""a/../../x" leads out of the layer"#),
        (Tar::new().symlink("a", "/etc").file("a/x", "x"), r#""a/x" lies below "a", which is no directory"#),
        (Tar::new().file("a", "x").file("./a", "y"), r#""./a" stands in it twice"#),
        (Tar::new().hard_link("a", "../../etc/passwd"), r#"which the layer lacks"#),
        (Tar::new().hard_link("a", "b"), r#""a" is a hard link to "b", which the layer lacks"#),
        (Tar::new().file(".", "x"), r#""." is the layer's top, and no directory"#),
        (Tar::new().file(".wh.a", "x"), r#"".wh.a" marks a removal and has content"#),
        (Tar::new().symlink("a", "/etc").file("a/.wh.passwd", ""), r#"lies below "a", which is no directory"#),
        (Tar::new().symlink("a", "b").file("a/.wh..wh..opq", ""), r#"lies below "a", which is no directory"#),
        (Tar::new().directory("a/").directory("a"), r#""a" stands in it twice"#),
        (Tar::new().file("a\nb", "x"), r#""a\nb" has a line break in its name"#),
        (Tar::new().file("a\rb", "x"), r#""a\rb" has a line break in its name"#),
    ] {
        let said = said_of_layer(layer);
        assert!(said.ends_with(words), "{said}");
    }
    let sparse = said_of_images(&save(&[Image::new(
        TAG,
        &[&Tar::new().records(&[("GNU.sparse.major", b"1")]).file("a", "x").finish()],
    )]));
    assert!(sparse.ends_with("holds a sparse file, which habuild does not read"), "{sparse}");
}
