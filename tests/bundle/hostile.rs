//! Archives that nobody makes by accident: names that no file system holds, removals that climb, numbers beyond all
//! bounds, and a few bytes that want all the memory. The fuzz targets look for more of them (`fuzz/run.sh`).

use habuild::bake::docker::marks::{Mark, What};
use habuild::sys::digest::Digest;
use serde_json::json;

use super::make::{Image, Tar, bundle, save, save_with};
use super::refused::{said_of_file, said_of_images, said_of_layer};
use super::unpack;

/// What is said of a layer whose tar is no whole one.
fn said_of_tar(layer: Tar) -> String {
    said_of_images(&save(&[Image::new("app:1", &[&layer.finish()])]))
}

#[test]
fn names_that_no_file_system_holds() {
    let (long, deep) = ("x".repeat(256), "d/".repeat(2000));
    for (layer, words) in [
        (Tar::new().file(&long, "x"), "has a name that is too long"),
        (Tar::new().file(&deep, "x"), "has a name that is too long"),
        (Tar::new().file(&"d/".repeat(400_000), "x"), "has a name that is too long"),
        (Tar::new().file(&format!("{long}/.wh.a"), ""), "has a name that is too long"),
        (Tar::new().file(&format!(".wh.{}", "x".repeat(256)), ""), "has a name that is too long"),
        (Tar::new().symlink("a", ""), "is a link to nothing"),
        (Tar::new().records(&[("linkpath", b"a\0b")]).symlink("a", "b"), "is a link to nothing"),
        (Tar::new().records(&[("linkpath", &[b'x'; 5000])]).symlink("a", "b"), "is a link to nothing"),
    ] {
        let said = said_of_layer(layer);
        assert!(said.ends_with(words) && said.len() < 1000, "{said}");
    }
    let said = said_of_file(|tar| tar.file(&format!("harbor/{long}"), "x"));
    assert!(said.ends_with("in it has a name that is too long"), "{said}");
    assert_eq!(said_of_file(|tar| tar.symlink("harbor/a", "")), r#""harbor/a" in it is a link to nothing"#);
    let said = said_of_file(|tar| tar.records(&[("linkpath", b"a\0b")]).symlink("harbor/a", "b"));
    assert_eq!(said, r#""harbor/a" in it is a link to nothing"#);
    let said = said_of_images(&Tar::new().file(&"x".repeat(70_000), "").finish());
    assert!(said.ends_with("has a name that is too long") && said.len() < 1000, "{said}");
}

#[test]
fn removals_that_climb() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh..."] {
        let said = said_of_layer(Tar::new().directory("a/").file(name, ""));
        assert!(said.ends_with("marks the removal of nothing that has a name"), "{name}: {said}");
    }
}

#[test]
fn numbers_beyond_all_bounds() {
    for size in [&b"18446744073709551615"[..], b"18446744073709551104", b"9223372036854775808"] {
        let said = said_of_tar(Tar::new().records(&[("size", size)]).file("a", "x"));
        assert!(said.ends_with("is damaged (a length cannot be read)"), "{said}");
    }
    let said = said_of_tar(Tar::new().records(&[("size", b"9223372036854775807")]).file("a", "x"));
    assert!(said.ends_with("is cut off"), "{said}");
}

#[test]
fn attributes_are_what_linux_takes() {
    let of = |name: &str, value: &[u8]| Tar::new().records(&[(name, value)]).file("a", "x");
    for (layer, words) in [
        (of("SCHILY.xattr.security.capability", b"x"), r#"has a "security.capability" that Linux refuses"#),
        (of("SCHILY.xattr.a", b"x"), r#"has an attribute "a", which Linux does not know"#),
        (of("SCHILY.xattr.user.\x1b", b"x"), r#"has an attribute "user.\u{1b}", which Linux does not know"#),
        (of("SCHILY.xattr.user.a", &[b'x'; 65_537]), r#"has an attribute "user.a" of 65537 bytes"#),
    ] {
        let said = said_of_layer(layer);
        assert!(said.ends_with(words), "{said}");
    }
    // A value is as long as its record says: it may hold a line break.
    let capability = [1, 0, 0, 2, 10, 10, 0, 0, 10, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::new().records(&[("SCHILY.xattr.user.a", b"1\n\n2"), ("uname", b"x")]).file("a", "x");
    let saved = save(&[Image::new("app:1", &[&layer.finish()])]);
    let unpacked = unpack(&bundle("v1.1.2", &["app:1"], &saved)).unwrap();
    let marks: Vec<Mark> = unpacked.bundle.layers.into_values().flat_map(|layer| layer.marks).collect();
    let what = What::Attribute { name: "user.a".into(), value: b"1\n\n2".into() };
    assert_eq!(marks, [Mark { path: "a".into(), what }]);
    let able = Tar::new().records(&[("SCHILY.xattr.security.capability", &capability)]).file("a", "x");
    // Only root may give a file a capability; a build is root.
    if let Ok(unpacked) = unpack(&bundle("v1.1.2", &["app:1"], &save(&[Image::new("app:1", &[&able.finish()])]))) {
        assert_eq!(unpacked.bundle.layers.len(), 1);
    }
}

#[test]
fn few_bytes_that_want_all_the_memory() {
    // Headers that belong to an entry which never comes.
    let records = [("comment", &[b'x'; 100_000][..])];
    let said = said_of_tar((0..40).fold(Tar::new(), |tar, _| tar.records(&records)).file("a", "x"));
    assert!(said.ends_with("is damaged (a name cannot be read)"), "{said}");
    // Documents, each of which may be long.
    let document = vec![b' '; 8 << 20];
    let tar = (0..9).fold(Tar::new(), |tar, i| tar.file(&format!("{i}.json"), &document));
    let said = said_of_images(&tar.finish());
    assert!(said.ends_with("8.json: there are more than 67108864 bytes of documents"), "{said}");
    // One configuration that many images name.
    let layer = Tar::new().file("a", "x").finish();
    let diff_id = format!("sha256:{}", Digest::of(&layer));
    let configuration = json!({"padding": "x".repeat(1 << 20), "rootfs": {"diff_ids": [diff_id]}}).to_string();
    let manifest = json!(vec![json!({"Config": "c.json", "Layers": ["layer.tar"]}); 65]).to_string();
    let tar = Tar::new().file("layer.tar", layer).file("c.json", configuration).file("manifest.json", manifest);
    let said = said_of_images(&tar.finish());
    assert!(said.ends_with("image c.json: there are more than 67108864 bytes of configurations"), "{said}");
}

#[test]
fn messages_are_for_a_terminal() {
    let name = "\x1b[2J\n/layer.tar";
    let said = said_of_images(&Tar::new().file(name, "x").finish());
    assert!(said.contains(r"\u{1b}[2J\n/layer.tar") && !said.contains(char::is_control), "{said:?}");
    let word = "x".repeat(100_000);
    let said = said_of_images(&save_with(&[], |manifest| *manifest = json!([{ "Config": [word] }])));
    assert!(said.len() < 3000, "{} bytes", said.len());
}
