//! Reads a [`LayerSpec`] from its tree and checks that the sources it names are there.

use std::collections::BTreeMap;
use std::path::Path;

use super::layer::{Action, ActionSpec, Artifact, CopyFrom, LayerSpec, Operation};
use super::names::{Selector, parse_absolute_path, parse_mode, parse_relative_path};
use super::read_image::{TOOLS_LAYER, parse_digest};
use super::url::{Scheme, parse_url};
use contract::strict::{Field, Fields, Kind, Mistake, Reader, Value, quoted};

/// The sources that lie in no layer's directory.
const ARTIFACTS: [(&str, Artifact); 2] =
    [("artifact:firstboot", Artifact::Firstboot), ("artifact:init", Artifact::Init)];
/// What marks such a source.
const ARTIFACT_PREFIX: &str = "artifact:";

const UNIT_KINDS: [&str; 9] =
    [".service", ".timer", ".socket", ".mount", ".automount", ".path", ".target", ".slice", ".swap"];

/// Reads a layer; every mistake goes to `d`.
pub(crate) fn read_layer(d: &mut Reader, root: &Field<'_>, name: &str, directory: &Path) -> Option<LayerSpec> {
    let fields = d.fields(root, &["description", "packages", "action"])?;
    let description = d.need_like(&fields, "description", "description = \"what it is for\"", read_line);
    let packages = d.or(&fields, "packages", BTreeMap::new(), read_packages);
    let actions = d.or(&fields, "action", Vec::new(), |d, f| {
        let items = d.some_list(f)?;
        let mut bundles = 0;
        d.each(items, |d, item| {
            let action = read_action(d, item, directory)?;
            bundles += usize::from(matches!(action.action, Action::Bundle {}));
            match action.action {
                Action::Bundle {} if name == TOOLS_LAYER => {
                    d.refuse(item, "the tools layer is part of no image: no bundle goes there")
                }
                Action::Bundle {} if bundles > 1 => {
                    let mistake = Mistake::new("a second bundle action");
                    d.refuse(item, mistake.hint("an image has one bundle, unpacked once"))
                }
                _ => Some(action),
            }
        })
    });
    Some(LayerSpec {
        name: name.to_owned(),
        directory: directory.to_owned(),
        description: description?,
        packages: packages?,
        actions: actions?,
    })
}

/// One line of text for people.
fn read_line(d: &mut Reader, field: &Field<'_>) -> Option<String> {
    d.parsed(field, |text| match text {
        _ if text.trim().is_empty() => Err(Mistake::new("must not be empty")),
        _ if text.chars().any(char::is_control) => Err(Mistake::new("must be one line without control characters")),
        _ => Ok(text.to_owned()),
    })
}

/// The keys are selectors. An empty list is allowed: it says that a release needs no package here.
fn read_packages(d: &mut Reader, field: &Field<'_>) -> Option<BTreeMap<Selector, Vec<String>>> {
    let entries = d.entries(field)?.into_iter().map(|(key, entry)| {
        let selector = key.parse::<Selector>();
        let selector = selector.map_err(|mistake| d.note(entry.at, &entry.key, mistake)).ok();
        let packages = d.list_of(&entry, parse_package);
        Some((selector?, packages?))
    });
    entries.collect::<Vec<_>>().into_iter().collect()
}

/// Debian policy 5.6.1. A version is the lock's business, an architecture the image's.
fn parse_package(text: &str) -> Result<String, Mistake> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && text.len() >= 2 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    let mistake = Mistake::new(format!("{} is not a package's name", quoted(text)));
    Err(match text.split(['=', ':', '/', ' ']).next() {
        Some(name) if name != text && !name.is_empty() => {
            mistake.hint("the name alone: the lock pins versions, the image its architecture")
        }
        _ => mistake.hint("lower-case letters, digits, plus, hyphen and dot"),
    })
}

type Read = fn(&mut Reader, &Field<'_>, &Path) -> Option<Action>;

/// Every action's key and its reader.
const ACTIONS: [(&str, Read); 11] = [
    ("copy", read_copy),
    ("render", read_render),
    ("fetch", read_fetch),
    ("run", read_run),
    ("enable", read_enable),
    ("mask", read_mask),
    ("user", read_user),
    ("directory", read_directory),
    ("link", read_link),
    ("remove", read_remove),
    ("bundle", |d, field, _| d.fields(field, &[]).map(|_| Action::Bundle {})),
];

fn read_action(d: &mut Reader, field: &Field<'_>, layer: &Path) -> Option<ActionSpec> {
    let names = ACTIONS.map(|(name, _)| name);
    let before = d.problems.len();
    let fields = d.fields(field, &[&["when"], &names[..]].concat())?;
    let misspelt = d.problems.len() > before;
    let when = d.or(&fields, "when", Vec::new(), |d, f| d.some_list_of(f, str::parse::<Selector>));
    // All are read even when there is one too many, so that each one's own mistakes are told.
    let given: Vec<_> = ACTIONS.iter().filter(|(name, _)| fields.has(name)).collect();
    let mut read = Vec::new();
    for (name, reader) in &given {
        read.push(d.need(&fields, name, |d, f| reader(d, f, layer)));
    }
    match (given.as_slice(), read.pop()) {
        ([_], Some(action)) => Some(ActionSpec { when: when?, action: action? }),
        // A misspelt kind is told as an unknown key already.
        ([], _) if misspelt => None,
        ([], _) => {
            let mistake = Mistake::new("the action does nothing");
            d.refuse_key(field, mistake.hint(format!("add one of {}", names.join(", "))))
        }
        _ => {
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            let mistake = Mistake::new(format!("one action has {}", names.join(" and ")));
            d.refuse_key(field, mistake.hint("give each its own [[action]]: they run in the order of the file"))
        }
    }
}

fn read_copy(d: &mut Reader, field: &Field<'_>, layer: &Path) -> Option<Action> {
    let fields = d.fields(field, &["from", "to", "mode"])?;
    let from = d.need_like(&fields, "from", "from = \"files/…\"", |d, f| {
        d.parsed(f, |text| match text.starts_with(ARTIFACT_PREFIX) {
            true => parse_artifact(text),
            false => Ok(match parse_source(text, layer)? {
                (from, true) => CopyFrom::File(from),
                (from, false) => CopyFrom::Directory(from),
            }),
        })
    });
    // Only a directory's content can be copied onto the root itself.
    let parse_to = match from {
        Some(CopyFrom::File(_) | CopyFrom::Artifact(_)) => parse_destination,
        _ => parse_absolute_path,
    };
    let to = d.need_like(&fields, "to", "to = \"/…\"", |d, f| d.parsed(f, parse_to));
    let mode = d.maybe(&fields, "mode", read_mode);
    Some(Action::Copy { from: from?, to: to?, mode: mode? })
}

fn read_render(d: &mut Reader, field: &Field<'_>, layer: &Path) -> Option<Action> {
    let fields = d.fields(field, &["from", "to", "mode"])?;
    let from = d.need_like(&fields, "from", "from = \"templates/…\"", |d, f| {
        d.parsed(f, |text| match parse_source(text, layer)? {
            (from, true) => Ok(from),
            (_, false) => Err(Mistake::new(format!("{} is a directory", quoted(text))).hint("name one template")),
        })
    });
    let to = need_destination(d, &fields, "to");
    let mode = d.maybe(&fields, "mode", read_mode);
    Some(Action::Render { from: from?, to: to?, mode: mode? })
}

fn read_fetch(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["url", "sha256", "to", "mode"])?;
    let url = d.need_like(&fields, "url", "url = \"https://…\"", |d, f| {
        d.parsed(f, |text| parse_url(text, Scheme::HttpsOnly))
    });
    let sha256 = d.need_like(&fields, "sha256", "sha256 = \"64 hexadecimal digits\"", |d, f| d.parsed(f, parse_digest));
    let to = need_destination(d, &fields, "to");
    let mode = d.maybe(&fields, "mode", read_mode);
    Some(Action::Fetch { url: url?, sha256: sha256?, to: to?, mode: mode? })
}

fn read_run(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["command"])?;
    let command = d.need_like(&fields, "command", "command = [\"program\", \"argument\"]", |d, f| {
        let items = d.some_list(f)?;
        let command = d.each(items, |d, item| {
            d.parsed(item, |text| match text.contains('\0') {
                true => Err(Mistake::new("an argument cannot hold a NUL")),
                false => Ok(text.to_owned()),
            })
        })?;
        match command.first() {
            Some(program) if program.trim().is_empty() => d.refuse(f, "the program's name is empty"),
            _ => Some(command),
        }
    });
    Some(Action::Operation(Operation::Run { command: command? }))
}

fn read_enable(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["unit"])?;
    let unit = d.need_like(&fields, "unit", "unit = \"NAME.service\"", |d, f| d.parsed(f, parse_unit));
    Some(Action::Operation(Operation::Enable { unit: unit? }))
}

fn read_mask(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["units"])?;
    let units = d.need_like(&fields, "units", "units = [\"NAME.service\"]", |d, f| d.some_list_of(f, parse_unit));
    Some(Action::Operation(Operation::Mask { units: units? }))
}

fn read_user(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["name", "id", "home", "shell"])?;
    let name = d.need_like(&fields, "name", "name = \"…\"", |d, f| d.parsed(f, parse_user));
    // 0 is root, 65534 nobody, 65535 what 16-bit interfaces take for "no id".
    let id = d.need_like(&fields, "id", "id = 900", |d, f| d.number(f, 1, 65533));
    let home = d.or(&fields, "home", "/nonexistent".to_owned(), |d, f| d.parsed(f, parse_absolute_path));
    let shell = d.or(&fields, "shell", "/usr/sbin/nologin".to_owned(), |d, f| d.parsed(f, parse_destination));
    Some(Action::Operation(Operation::User { name: name?, id: id?, home: home?, shell: shell? }))
}

fn read_directory(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["path", "mode"])?;
    let path = need_destination(d, &fields, "path");
    let mode = d.or(&fields, "mode", 0o755, read_mode);
    Some(Action::Operation(Operation::Directory { path: path?, mode: mode? }))
}

fn read_link(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["path", "target"])?;
    let path = need_destination(d, &fields, "path");
    let target = d.need_like(&fields, "target", "target = \"…\"", read_line);
    Some(Action::Operation(Operation::Link { path: path?, target: target? }))
}

fn read_remove(d: &mut Reader, field: &Field<'_>, _: &Path) -> Option<Action> {
    let fields = d.fields(field, &["paths"])?;
    let paths = d.need_like(&fields, "paths", "paths = [\"/…\"]", |d, f| d.some_list_of(f, parse_destination));
    Some(Action::Operation(Operation::Remove { paths: paths? }))
}

fn read_mode(d: &mut Reader, field: &Field<'_>) -> Option<u32> {
    match &field.node.value {
        Value::Scalar { kind: Kind::Integer, .. } => {
            d.refuse(field, Mistake::new("is a whole number, must be a string").hint("such as mode = \"0644\""))
        }
        _ => d.parsed(field, parse_mode),
    }
}

fn need_destination(d: &mut Reader, fields: &Fields<'_>, key: &str) -> Option<String> {
    d.need_like(fields, key, &format!("{key} = \"/…\""), |d, f| d.parsed(f, parse_destination))
}

/// A path in the image that is not the root itself.
fn parse_destination(text: &str) -> Result<String, Mistake> {
    match text {
        "/" => Err(Mistake::new("\"/\" is the root itself").hint("name what lies below it")),
        _ => parse_absolute_path(text),
    }
}

/// A source below the layer's directory that is there, and whether it is a file rather than a directory.
fn parse_source(text: &str, layer: &Path) -> Result<(String, bool), Mistake> {
    let text = parse_relative_path(text)?;
    let path = layer.join(&text);
    let real = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Mistake::new(format!("{} is not there", quoted(&path.to_string_lossy()))),
        _ => Mistake::new(format!("{} cannot be read: {error}", quoted(&path.to_string_lossy()))),
    })?;
    // A symbolic link must not lead out either: what lies outside is in no key.
    if !layer.canonicalize().is_ok_and(|layer| real.starts_with(layer)) {
        return Err(Mistake::new(format!("{} leads out of the layer's directory", quoted(&text)))
            .hint("a layer holds everything that it copies"));
    }
    match (real.is_file(), real.is_dir()) {
        (true, _) => Ok((text, true)),
        (_, true) => Ok((text, false)),
        _ => Err(Mistake::new(format!("{} is neither a file nor a directory", quoted(&text)))),
    }
}

fn parse_artifact(text: &str) -> Result<CopyFrom, Mistake> {
    let found = ARTIFACTS.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, artifact)| CopyFrom::Artifact(*artifact))
        .ok_or_else(|| Mistake::unknown("artifact", text, ARTIFACTS.map(|(name, _)| name)))
}

fn parse_unit(text: &str) -> Result<String, Mistake> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    let stem = UNIT_KINDS.iter().find_map(|kind| text.strip_suffix(kind));
    match stem {
        Some(stem) if !stem.is_empty() && text.len() < 256 && text.bytes().all(allowed) => Ok(text.to_owned()),
        None if text.bytes().all(allowed) && !text.is_empty() => {
            Err(Mistake::new(format!("{} has no unit's ending", quoted(text)))
                .hint(format!("did you mean \"{text}.service\"?")))
        }
        _ => Err(Mistake::new(format!("{} is not a systemd unit", quoted(text)))),
    }
}

fn parse_user(text: &str) -> Result<String, Mistake> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if text == "root" {
        return Err(Mistake::new("root is there already"));
    }
    if first && text.len() <= 32 && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Mistake::new(format!("{} is not a user's name", quoted(text)))
        .hint("a lower-case letter, then letters, digits, hyphen, underscore; at most 32"))
}
