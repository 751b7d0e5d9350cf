//! Reads a [`LayerSpec`] from its table and checks that the sources it names are there.

use std::collections::BTreeMap;
use std::path::Path;

use super::decode::{Node, Table};
use super::layer::{Action, ActionSpec, CopyFrom, LayerSpec, Operation};
use super::names::{Selector, parse_absolute_path, parse_mode, parse_relative_path};
use super::read_image::{TOOLS_LAYER, parse_digest};
use super::url::{Scheme, parse_url};
use contract::strict::{Mistake, quoted};

/// The one source that lies in no layer's directory: the first-boot binary, which the builder provides.
const ARTIFACT: &str = "artifact:firstboot";
/// What marks such a source.
const ARTIFACT_PREFIX: &str = "artifact:";

const UNIT_KINDS: [&str; 9] =
    [".service", ".timer", ".socket", ".mount", ".automount", ".path", ".target", ".slice", ".swap"];

/// Reads a layer; every mistake goes to the problems that the table belongs to.
pub(crate) fn read_layer(root: Table<'_>, name: &str, directory: &Path) -> Option<LayerSpec> {
    let description = root.required("description", "description = \"what it is for\"").and_then(|node| node.text());
    let packages = root
        .get("packages")
        .map_or_else(|| Some(BTreeMap::new()), |node| node.table().and_then(|table| read_packages(&table)));
    let actions = root.get("action").map_or_else(
        || Some(Vec::new()),
        |node| {
            let mut bundles = 0;
            node.list(|item| {
                let action = item.table().and_then(|table| read_action(table, directory))?;
                bundles += usize::from(matches!(action.action, Action::Bundle {}));
                if matches!(action.action, Action::Bundle {}) && (bundles > 1 || name == TOOLS_LAYER) {
                    item.refuse(match name == TOOLS_LAYER {
                        true => Mistake::new("the tools layer is part of no image: no bundle goes there"),
                        false => Mistake::new("a second bundle action").hint("an image has one bundle, unpacked once"),
                    });
                    return None;
                }
                Some(action)
            })
        },
    );
    root.finish();
    Some(LayerSpec {
        name: name.to_owned(),
        directory: directory.to_owned(),
        description: description?,
        packages: packages?,
        actions: actions?,
    })
}

/// The keys are selectors. An empty list is allowed: it says that a release needs no package here.
fn read_packages(table: &Table<'_>) -> Option<BTreeMap<Selector, Vec<String>>> {
    let entries = table.entries().into_iter().map(|(key, node)| {
        let selector = key.parse::<Selector>().map_err(|mistake| node.refuse_key(mistake)).ok();
        let packages = node.set(|item| item.parse(parse_package));
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

fn read_action(table: Table<'_>, layer: &Path) -> Option<ActionSpec> {
    let when = table
        .get("when")
        .map_or_else(|| Some(Vec::new()), |node| node.non_empty_set(|item| item.parse(str::parse::<Selector>)));
    type Read = fn(&Node<'_>, &Path) -> Option<Action>;
    let kinds: [(&'static str, Read); 11] = [
        ("copy", read_copy),
        ("render", read_render),
        ("fetch", |node, _| read_fetch(node)),
        ("run", |node, _| read_run(node)),
        ("enable", |node, _| read_enable(node)),
        ("mask", |node, _| read_mask(node)),
        ("user", |node, _| read_user(node)),
        ("directory", |node, _| read_directory(node)),
        ("link", |node, _| read_link(node)),
        ("remove", |node, _| read_remove(node)),
        ("bundle", |node, _| within(node, |_| Action::Bundle {})),
    ];
    // All are read even when there is one too many, so that each one's own mistakes are told.
    let found: Vec<(&str, Option<Action>)> =
        kinds.iter().filter_map(|(kind, read)| table.get(kind).map(|node| (*kind, read(&node, layer)))).collect();
    let unknown = table.has_unknown_keys();
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|(kind, _)| *kind).collect();
        table.refuse(
            Mistake::new(format!("one action has {}", names.join(" and ")))
                .hint("give each its own [[action]]: they run in the order of the file"),
        );
    } else if found.is_empty() && !unknown {
        // A misspelt kind is told as an unknown key already.
        let names: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
        table.refuse(Mistake::new("the action does nothing").hint(format!("add one of {}", names.join(", "))));
    }
    table.finish();
    match <[_; 1]>::try_from(found) {
        Ok([(_, Some(action))]) => Some(ActionSpec { when: when?, action }),
        _ => None,
    }
}

/// Reads the table of an action, with the unknown keys told.
fn within<T>(node: &Node<'_>, read: impl FnOnce(&Table<'_>) -> T) -> Option<T> {
    let table = node.table()?;
    let value = read(&table);
    table.finish();
    Some(value)
}

fn read_copy(node: &Node<'_>, layer: &Path) -> Option<Action> {
    within(node, |table| {
        let from = table.required("from", "from = \"files/…\"").and_then(|node| {
            node.parse(|text| {
                if text.starts_with(ARTIFACT_PREFIX) {
                    return parse_artifact(text);
                }
                Ok(match parse_source(text, layer)? {
                    (from, true) => CopyFrom::File(from),
                    (from, false) => CopyFrom::Directory(from),
                })
            })
        });
        let to = table.required("to", "to = \"/…\"").and_then(|node| {
            // Only a directory's content can be copied onto the root itself.
            node.parse(|text| match from {
                Some(CopyFrom::File(_) | CopyFrom::Firstboot) => parse_destination(text),
                _ => parse_absolute_path(text),
            })
        });
        let mode = read_mode(table);
        Some(Action::Copy { from: from?, to: to?, mode: mode? })
    })?
}

fn read_render(node: &Node<'_>, layer: &Path) -> Option<Action> {
    within(node, |table| {
        let from = table.required("from", "from = \"templates/…\"").and_then(|node| {
            node.parse(|text| match parse_source(text, layer)? {
                (from, true) => Ok(from),
                (_, false) => Err(Mistake::new(format!("{} is a directory", quoted(text))).hint("name one template")),
            })
        });
        let to = read_destination(table, "to");
        let mode = read_mode(table);
        Some(Action::Render { from: from?, to: to?, mode: mode? })
    })?
}

fn read_fetch(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let url = table
            .required("url", "url = \"https://…\"")
            .and_then(|node| node.parse(|text| parse_url(text, Scheme::HttpsOnly)));
        let sha256 =
            table.required("sha256", "sha256 = \"64 hexadecimal digits\"").and_then(|node| node.parse(parse_digest));
        let to = read_destination(table, "to");
        let mode = read_mode(table);
        Some(Action::Fetch { url: url?, sha256: sha256?, to: to?, mode: mode? })
    })?
}

fn read_run(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let command = table.required("command", "command = [\"program\", \"argument\"]").and_then(|node| {
            let command = node.list(|item| {
                item.parse(|text| match text.contains('\0') {
                    true => Err(Mistake::new("an argument cannot hold a NUL")),
                    false => Ok(text.to_owned()),
                })
            })?;
            if command.first().is_some_and(|program| program.trim().is_empty()) {
                node.refuse(Mistake::new("the program's name is empty"));
                return None;
            }
            Some(command)
        });
        Some(Action::Operation(Operation::Run { command: command? }))
    })?
}

fn read_enable(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let unit = table.required("unit", "unit = \"NAME.service\"").and_then(|node| node.parse(parse_unit));
        Some(Action::Operation(Operation::Enable { unit: unit? }))
    })?
}

fn read_mask(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let units = table
            .required("units", "units = [\"NAME.service\"]")
            .and_then(|node| node.non_empty_set(|item| item.parse(parse_unit)));
        Some(Action::Operation(Operation::Mask { units: units? }))
    })?
}

fn read_user(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let name = table.required("name", "name = \"…\"").and_then(|node| node.parse(parse_user));
        let id = table.required("id", "id = 900").and_then(|node| {
            let id = node.whole_number()?;
            // 0 is root, 65534 nobody, 65535 what 16-bit interfaces take for "no id".
            node.accept(
                u32::try_from(id)
                    .ok()
                    .filter(|id| (1..65534).contains(id))
                    .ok_or_else(|| Mistake::new(format!("{id} is not an id for a system user")).hint("1 to 65533")),
            )
        });
        let home =
            table.get("home").map_or_else(|| Some("/nonexistent".to_owned()), |node| node.parse(parse_absolute_path));
        let shell = table
            .get("shell")
            .map_or_else(|| Some("/usr/sbin/nologin".to_owned()), |node| node.parse(parse_destination));
        Some(Action::Operation(Operation::User { name: name?, id: id?, home: home?, shell: shell? }))
    })?
}

fn read_directory(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let path = read_destination(table, "path");
        let mode = read_mode(table);
        Some(Action::Operation(Operation::Directory { path: path?, mode: mode?.unwrap_or(0o755) }))
    })?
}

fn read_link(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let path = read_destination(table, "path");
        let target = table.required("target", "target = \"…\"").and_then(|node| node.text());
        Some(Action::Operation(Operation::Link { path: path?, target: target? }))
    })?
}

fn read_remove(node: &Node<'_>) -> Option<Action> {
    within(node, |table| {
        let paths = table
            .required("paths", "paths = [\"/…\"]")
            .and_then(|node| node.non_empty_set(|item| item.parse(parse_destination)));
        Some(Action::Operation(Operation::Remove { paths: paths? }))
    })?
}

/// `Some(None)` when absent, `None` when there and wrong.
fn read_mode(table: &Table<'_>) -> Option<Option<u32>> {
    table.get("mode").map_or(Some(None), |node| node.parse_like("mode = \"0644\"", parse_mode).map(Some))
}

fn read_destination(table: &Table<'_>, key: &'static str) -> Option<String> {
    table.required(key, &format!("{key} = \"/…\"")).and_then(|node| node.parse(parse_destination))
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
    match text {
        ARTIFACT => Ok(CopyFrom::Firstboot),
        _ => Err(Mistake::unknown("artifact", text, [ARTIFACT])),
    }
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
