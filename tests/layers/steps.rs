//! Every kind of step but `run`, `enable` and `bundle`, which need a sandbox or a bundle (tests/bake, tests/bundle.rs).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use habuild::bake::packages::Packages;
use habuild::bake::rootfs::Rootfs;
use habuild::bake::step::{Inputs, apply};
use habuild::plan::inputs::{Sources, steps};
use habuild::plan::layer::{PlannedFile, Source, Step};
use habuild::report::{Fault, fault_of};
use habuild::spec::image::{Artifacts, Disk, Firmware, Format, ImageSpec, Root};
use habuild::spec::layer::{Action, ActionSpec, CopyFrom, LayerSpec, Operation};
use habuild::spec::names::{ByteSize, Distribution};
use habuild::sys::digest::Digest;
use tempfile::TempDir;

use super::mode;
use crate::specs::base;

/// A root, a package cache, and a place for sources.
struct Place {
    dir: TempDir,
    root: Rootfs,
    cache: Packages,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        let (root, cache) = (Rootfs::new(&dir.path().join("root")), Packages::open(&dir.path().join("cache")).unwrap());
        Self { dir, root, cache }
    }

    fn apply(&self, step: &Step) -> anyhow::Result<()> {
        let bundle = || Err(anyhow::anyhow!("no bundle here"));
        apply(step, &self.root, &Inputs { packages: &self.cache, offline: true, bundle: &bundle })
    }

    fn operate(&self, operation: Operation) -> anyhow::Result<()> {
        self.apply(&Step::Operation(operation))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }
}

#[test]
fn a_file_is_copied_and_hashed_again() {
    let place = Place::new();
    let path = place.dir.path().join("source");
    fs::write(&path, "one").unwrap();
    let source = Source::File { path: path.clone(), digest: Digest::of(b"one"), length: 3 };
    let step = Step::File(PlannedFile { to: "/usr/bin/x".into(), mode: 0o755, source });
    place.apply(&step).unwrap();
    assert_eq!((place.text("usr/bin/x").as_str(), mode(&place.at("usr/bin/x"))), ("one", 0o755));
    fs::write(&path, "two").unwrap();
    let error = place.apply(&step).unwrap_err();
    assert_eq!(fault_of(&error), Fault::Input);
    assert!(error.to_string().ends_with("/source changed since it was planned"), "{error}");
}

#[test]
fn a_template_is_rendered_when_it_is_planned() {
    let place = Place::new();
    let (image, layer) = spec_with_template(place.dir.path(), "{{ image }} {{ layer }} {{ base.release }}\n");
    let sources = Sources { artifacts: &[], root: place.dir.path() };
    let planned = steps(&layer, &image, &sources).unwrap();
    let [step] = planned.as_slice() else { panic!("{planned:?}") };
    place.apply(step).unwrap();
    assert_eq!((place.text("etc/issue").as_str(), mode(&place.at("etc/issue"))), ("an-image a noble\n", 0o640));

    let (image, layer) = spec_with_template(place.dir.path(), "{{ nothing }}");
    let error = steps(&layer, &image, &sources).unwrap_err();
    assert_eq!(fault_of(&error), Fault::Usage);
    assert!(format!("{error:#}").contains("nothing"), "{error:#}");
}

#[test]
fn a_fetched_file_comes_from_the_cache_and_offline_names_what_lacks() {
    let place = Place::new();
    let sha256 = Digest::of(b"fetched");
    let step = Step::File(PlannedFile {
        to: "/opt/x".into(),
        mode: 0o600,
        source: Source::Url { url: "https://example.com/x".into(), sha256 },
    });
    let error = place.apply(&step).unwrap_err();
    assert_eq!(fault_of(&error), Fault::Input);
    assert!(error.to_string().contains("lacks https://example.com/x"), "{error}");
    let kept = place.dir.path().join(format!("cache/packages/{sha256}.file"));
    fs::write(&kept, "damaged").unwrap();
    assert!(place.apply(&step).is_err());
    fs::write(&kept, "fetched").unwrap();
    place.apply(&step).unwrap();
    assert_eq!((place.text("opt/x").as_str(), mode(&place.at("opt/x"))), ("fetched", 0o600));
}

#[test]
fn a_user_is_in_every_file_once() {
    let place = Place::new();
    for (name, line) in [("passwd", "root:x:0:0"), ("group", "root:x:0"), ("shadow", "root:*"), ("gshadow", "root:*")] {
        fs::write(place.at("etc").join(name), format!("{line}\n")).unwrap();
    }
    fs::set_permissions(place.at("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
    let (home, shell) = ("/var/lib/a".to_owned(), "/usr/sbin/nologin".to_owned());
    let step = Step::Operation(Operation::User { name: "agent".into(), id: 900, home, shell });
    place.apply(&step).unwrap();
    let last = |name: &str| place.text(&format!("etc/{name}")).lines().last().unwrap().to_owned();
    assert_eq!(last("passwd"), "agent:x:900:900::/var/lib/a:/usr/sbin/nologin");
    assert_eq!((last("group"), last("gshadow")), ("agent:x:900:".into(), "agent:!::".into()));
    assert_eq!(last("shadow"), "agent:!:1::::::");
    assert_eq!(mode(&place.at("etc/shadow")), 0o640);
    let error = place.apply(&step).unwrap_err();
    assert_eq!(fault_of(&error), Fault::Usage);
    assert!(error.to_string().contains("user agent: /etc/passwd"), "{error}");
}

#[test]
fn links_and_masks_take_the_place_of_what_is_there() {
    let place = Place::new();
    fs::write(place.at("etc/localtime"), "old").unwrap();
    place.operate(Operation::Link { path: "/etc/localtime".into(), target: "/usr/share/zoneinfo/UTC".into() }).unwrap();
    assert_eq!(fs::read_link(place.at("etc/localtime")).unwrap(), Path::new("/usr/share/zoneinfo/UTC"));
    place.operate(Operation::Link { path: "/etc/localtime".into(), target: "other".into() }).unwrap();
    assert_eq!(fs::read_link(place.at("etc/localtime")).unwrap(), Path::new("other"));
    place.operate(Operation::Mask { units: vec!["a.timer".into(), "b.service".into()] }).unwrap();
    for unit in ["a.timer", "b.service"] {
        let link = place.at("etc/systemd/system").join(unit);
        assert_eq!(fs::read_link(link).unwrap(), Path::new("/dev/null"));
    }
}

#[test]
fn directories_are_made_and_paths_removed() {
    let place = Place::new();
    place.operate(Operation::Directory { path: "/etc/a/b".into(), mode: 0o700 }).unwrap();
    assert_eq!((mode(&place.at("etc/a")), mode(&place.at("etc/a/b"))), (0o755, 0o700));
    place.operate(Operation::Directory { path: "/etc/a/b".into(), mode: 0o1777 }).unwrap();
    assert_eq!(mode(&place.at("etc/a/b")), 0o1777);
    fs::write(place.at("etc/x"), "").unwrap();
    std::os::unix::fs::symlink("/etc/a", place.at("etc/link")).unwrap();
    let paths = ["/etc/link", "/etc/x", "/etc/never"].map(str::to_owned).into();
    place.operate(Operation::Remove { paths }).unwrap();
    assert!(place.at("etc/a/b").is_dir(), "a link is removed, not what it points to");
    place.operate(Operation::Remove { paths: vec!["/etc/a".into()] }).unwrap();
    assert_eq!(fs::read_dir(place.at("etc")).unwrap().count(), 0);
}

/// An image spec, and a layer that renders `template`.
fn spec_with_template(root: &Path, template: &str) -> (ImageSpec, LayerSpec) {
    let directory = root.join("layers/a");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("issue"), template).unwrap();
    let action = Action::Render { from: "issue".into(), to: "/etc/issue".into(), mode: Some(0o640) };
    let layer = LayerSpec {
        name: "a".into(),
        directory,
        description: String::new(),
        packages: BTreeMap::new(),
        actions: vec![ActionSpec { when: Vec::new(), action }],
    };
    let image = ImageSpec {
        name: "an-image".into(),
        layers: vec!["a".into()],
        base: base(Distribution::Ubuntu, "noble"),
        harbor: None,
        disk: Disk {
            root: Root { filesystem: "squashfs".into(), verity: true },
            var_size: ByteSize(1 << 30),
            firmware: vec![Firmware::Bios],
        },
        artifacts: Artifacts { formats: vec![Format::Raw] },
    };
    (image, layer)
}

#[test]
fn a_directory_never_gives_way() {
    let place = Place::new();
    fs::create_dir_all(place.at("etc/apt")).unwrap();
    fs::write(place.at("etc/apt/sources.list"), "mine").unwrap();
    let text = Source::Text("x".into());
    let file = Step::File(PlannedFile { to: "/etc/apt".into(), mode: 0o644, source: text });
    let link = Step::Operation(Operation::Link { path: "/etc/apt".into(), target: "/x".into() });
    for step in [file, link] {
        let error = place.apply(&step).unwrap_err();
        assert_eq!(fault_of(&error), Fault::Usage);
        assert!(error.to_string().contains("/etc/apt is a directory of the image"), "{error}");
        assert_eq!(place.text("etc/apt/sources.list"), "mine");
    }
}

#[test]
fn an_id_that_is_taken_is_refused() {
    let place = Place::new();
    fs::write(place.at("etc/passwd"), "daemon:x:1:1::/:/bin/false\n").unwrap();
    for name in ["group", "shadow", "gshadow"] {
        fs::write(place.at(&format!("etc/{name}")), "").unwrap();
    }
    let user = |id| Operation::User { name: "nu".into(), id, home: "/nonexistent".into(), shell: "/bin/false".into() };
    let error = place.operate(user(1)).unwrap_err();
    assert!(error.to_string().contains("/etc/passwd has daemon already"), "{error}");
    place.operate(user(2)).unwrap();
}

#[test]
fn what_a_directory_cannot_bring_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (image, mut layer) = spec_with_template(dir.path(), "");
    let action = Action::Copy { from: CopyFrom::Directory("tree".into()), to: "/opt".into(), mode: None };
    layer.actions = vec![ActionSpec { when: Vec::new(), action }];
    let sources = Sources { artifacts: &[], root: dir.path() };
    let tree = layer.directory.join("tree");
    for (name, words) in
        [(&b"b\xff"[..], "has a name that is not UTF-8"), (b"socket", "is neither a file nor a directory")]
    {
        fs::create_dir(&tree).unwrap();
        let path = tree.join(std::ffi::OsStr::from_bytes(name));
        if name == b"socket" {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        } else {
            fs::write(&path, "").unwrap();
        }
        let error = steps(&layer, &image, &sources).unwrap_err();
        assert_eq!(fault_of(&error), Fault::Usage);
        assert!(format!("{error:#}").contains(words), "{error:#}");
        fs::remove_dir_all(&tree).unwrap();
    }
}
