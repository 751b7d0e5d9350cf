//! A tree as a tar, and back.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use habuild::bake::pack::{digest, pack, settle, unpack};
use habuild::sys::cmd::Cmd;

const CAPABILITY: &str = "security.capability";
/// `cap_net_raw=ep` of any root, revision 2.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A tree of every kind of entry that needs no privilege.
fn tree(at: &Path) {
    fs::create_dir_all(at.join("etc/deep")).unwrap();
    fs::write(at.join("etc/zz"), "z").unwrap();
    fs::write(at.join("etc/aa"), "hello").unwrap();
    fs::write(at.join("etc.conf"), "").unwrap();
    fs::hard_link(at.join("etc/aa"), at.join("etc/bb")).unwrap();
    fs::hard_link(at.join("etc/aa"), at.join("first")).unwrap();
    symlink("../etc/zz", at.join("etc/deep/link")).unwrap();
    symlink("gone", at.join("dangling")).unwrap();
    let long = "n".repeat(120);
    fs::write(at.join("etc/deep").join(&long), "long").unwrap();
    symlink(&long, at.join("etc/deep/to-long")).unwrap();
    fs::set_permissions(at.join("etc/zz"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(at.join("etc/deep"), fs::Permissions::from_mode(0o1777)).unwrap();
    rustix::fs::lsetxattr(at.join("etc"), "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
}

fn names(tar: &Path) -> Vec<String> {
    let mut archive = tar::Archive::new(fs::File::open(tar).unwrap());
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    entries.collect()
}

#[test]
fn a_tree_comes_back_and_gives_the_same_tar() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    tree(&at("tree"));
    settle(&at("tree"), 1000).unwrap();
    let first = pack(&at("tree"), &at("one.tar")).unwrap();
    let names = names(&at("one.tar"));
    let long = format!("etc/deep/{}", "n".repeat(120));
    let sorted = ["dangling", "etc", "etc/.wh..wh..opq", "etc/aa", "etc/bb", "etc/deep", "etc/deep/link", &long];
    assert_eq!(names, [&sorted[..], &["etc/deep/to-long", "etc/zz", "etc.conf", "first"]].concat());
    fs::create_dir(at("back")).unwrap();
    unpack(&at("one.tar"), &at("back")).unwrap();
    assert_eq!(digest(&at("back")).unwrap(), first.0);
    assert_eq!(pack(&at("back"), &at("two.tar")).unwrap(), first);
    assert_eq!(fs::read(at("one.tar")).unwrap(), fs::read(at("two.tar")).unwrap());

    let found = |name: &str| fs::symlink_metadata(at("back").join(name)).unwrap();
    assert_eq!(found("first").ino(), found("etc/bb").ino());
    assert_eq!((found("first").ino(), found("first").nlink()), (found("etc/aa").ino(), 3));
    assert_eq!((found("etc/zz").mode() & 0o7777, found("etc/deep").mode() & 0o7777), (0o4751, 0o1777));
    assert_eq!(fs::read_link(at("back/etc/deep/link")).unwrap(), Path::new("../etc/zz"));
    assert_eq!(fs::read(at("back").join(long)).unwrap(), b"long");
}

#[test]
fn times_are_whole_seconds_and_none_is_after_the_epoch() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    tree(&at("tree"));
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(7500);
    fs::File::options().write(true).open(at("tree/etc/zz")).unwrap().set_modified(old).unwrap();
    settle(&at("tree"), 1000).unwrap();
    let time = |name: &str| {
        let metadata = fs::symlink_metadata(at("tree").join(name)).unwrap();
        (metadata.mtime(), metadata.mtime_nsec())
    };
    assert_eq!(time("etc/zz"), (7, 0), "what is older stays");
    for name in ["", "etc", "etc/aa", "dangling", "etc/deep/link"] {
        assert_eq!(time(name), (1000, 0), "{name}");
    }
}

#[test]
fn the_capability_is_the_only_attribute() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/file"), "").unwrap();
    let set =
        |name: &str, value: &[u8]| rustix::fs::lsetxattr(at("tree/file"), name, value, rustix::fs::XattrFlags::empty());
    set("user.note", b"1").unwrap();
    set("user.overlay.origin", b"").unwrap();
    settle(&at("tree"), 1).unwrap();
    let mut list = [0; 1024];
    let length = rustix::fs::llistxattr(at("tree/file"), &mut list[..]).unwrap();
    assert_eq!(&list[..length], b"user.overlay.origin\0");
    let (plain, _) = pack(&at("tree"), &at("plain.tar")).unwrap();
    let archive = |name: &str| fs::read(at(name)).unwrap();
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(!holds(&archive("plain.tar"), "xattr"));

    // In a user namespace too, as when a layer is baked.
    let inside = Cmd::program("unshare").args(["--user", "--map-root-user", "setcap", "cap_net_raw=ep"]);
    inside.arg(at("tree/file")).run().unwrap();
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(at("tree/file"), CAPABILITY, &mut value[..]).unwrap();
    assert_eq!(value[4..length.min(20)], NET_RAW[4..], "{:?}", &value[..length]);
    settle(&at("tree"), 1).unwrap();
    let (with, _) = pack(&at("tree"), &at("with.tar")).unwrap();
    assert_ne!(with, plain);
    assert!(holds(&archive("with.tar"), "SCHILY.xattr.security.capability="));
    assert!(!holds(&archive("with.tar"), "user."));
}

#[test]
fn what_is_removed_has_one_form() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    // A whiteout, as the kernel makes them without privilege too.
    for name in ["lower", "upper", "work", "root"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::create_dir_all(at("lower/etc/gone")).unwrap();
    fs::write(at("lower/etc/file"), "").unwrap();
    fs::write(at("lower/etc/gone/file"), "").unwrap();
    let script = "mount -t overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work none root && \
                  rm root/etc/file && rm -r root/etc/gone && mkdir root/etc/gone && touch root/etc/gone/new";
    let inside = Cmd::program("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    inside.current_dir(dir.path()).run().unwrap();
    pack(&at("upper"), &at("one.tar")).unwrap();
    assert_eq!(names(&at("one.tar")), ["etc", "etc/.wh.file", "etc/gone", "etc/gone/.wh..wh..opq", "etc/gone/new"]);
}

#[test]
fn what_a_layer_cannot_hold_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("tree/socket")).unwrap();
    let error = format!("{:#}", pack(&at("tree"), &at("tar")).unwrap_err());
    assert!(error.contains("tree/socket") && error.contains("nothing else"), "{error}");

    let mut builder = tar::Builder::new(fs::File::create(at("out.tar")).unwrap());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..5].copy_from_slice(b"../no");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap();
    fs::create_dir(at("into")).unwrap();
    let error = format!("{:#}", unpack(&at("out.tar"), &at("into")).unwrap_err());
    assert!(error.contains("../no leaves the layer"), "{error}");
    assert!(!at("no").exists());
}
