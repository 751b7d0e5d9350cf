//! `harbor.yml`: the bundle's own, with what the node config says in its place. So each version gets the keys that it
//! demands, with its own defaults.
//!
//! A key of `harbor.settings` must be in the bundle's file at the same place, be it in a comment: what is misspelt, misplaced or of
//! another version is refused.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::{Inputs, Version, broken, no_such, settings_file, yaml_words};
use crate::schema::{Setting, Settings, is_free};
use crate::strict::Mistake;

/// Where the settings stand in the node config.
const ABOVE: &str = "harbor.settings";

/// The paths of the keys that a file has or mentions: `jobservice.max_job_workers`.
#[derive(Debug)]
struct Known(BTreeSet<String>);

impl Known {
    /// What stands in a comment counts as if it did not: one mark and one blank behind it are no indent, however many there are
    /// one after the other (so it is in every version, v1.8.6 to v2.15.2 `make/harbor.yml`, `make/harbor.yml.tmpl`).
    fn of(text: &str) -> Self {
        let mut paths = BTreeSet::new();
        let mut above: Vec<(usize, &str)> = Vec::new();
        for line in text.lines() {
            let (mut bare, mut indent) = (line, 0);
            loop {
                if let Some(rest) = bare.strip_prefix('#') {
                    bare = rest.strip_prefix(' ').unwrap_or(rest);
                } else if let Some(rest) = bare.strip_prefix(' ') {
                    (bare, indent) = (rest, indent + 1);
                } else {
                    break;
                }
            }
            let Some((name, value)) = bare.split_once(':') else { continue };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) || !(value.is_empty() || value.starts_with(' ')) {
                continue;
            }
            while above.last().is_some_and(|(other, _)| *other >= indent) {
                above.pop();
            }
            above.push((indent, name));
            let names: Vec<&str> = above.iter().map(|(_, name)| *name).collect();
            paths.insert(names.join("."));
        }
        Self(paths)
    }

    /// The names of the keys right below a path; below none: those at the top.
    fn below<'k>(&'k self, path: &str) -> impl Iterator<Item = &'k str> {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        let names = self.0.iter().filter_map(move |known| known.strip_prefix(&path));
        names.filter(|name| !name.contains('.'))
    }

    /// Where a key of this name stands, if it does anywhere.
    fn elsewhere(&self, name: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|path| path.rsplit('.').next() == Some(name))
    }
}

/// The values of the bundle's file, with the image's in their place, and the node's in theirs.
pub(super) fn merged(inputs: &Inputs<'_>) -> Result<Map<String, Value>, Mistake> {
    let (mut values, known) = read(inputs.version, inputs.file)?;
    let need = |key: &str| inputs.need(key);
    let merge = Merge { version: inputs.version, need: &need, known };
    merge.map(&mut values, &inputs.defaults.settings(), "")?;
    merge.map(&mut values, &inputs.config.harbor.settings, "")?;
    Ok(values)
}

/// Whether the bundle's file has all of these settings, which hold no secret.
pub(in super::super) fn check_defaults(settings: &Settings, version: &Version, file: File<'_>) -> Result<(), Mistake> {
    let (mut values, known) = read(version, file)?;
    let need = |key: &str| Err(Mistake::new(format!("{key}: is a secret")));
    Merge { version, need: &need, known }.map(&mut values, settings, "")
}

/// Whether the bundle's file has every key of `written`: another one would be of a form that habuild does not know.
pub(super) fn check_own(inputs: &Inputs<'_>, written: &Value) -> Result<(), Mistake> {
    let (values, known) = read(inputs.version, inputs.file)?;
    let mut keys = Vec::new();
    keys_of(written, "", &mut keys);
    let is_known = |key: &String| known.0.contains(key) || values.contains_key(key);
    match keys.iter().find(|key| !is_known(key)) {
        Some(key) => Err(broken(settings_file(inputs.version), &format!("has no {key}, which a node sets"))),
        None => Ok(()),
    }
}

/// The paths of all keys.
fn keys_of(value: &Value, at: &str, keys: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    for (name, below) in map {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        keys.push(path.clone());
        if !is_free(name) {
            keys_of(below, &path, keys);
        }
    }
}

/// Gives a text file of the bundle.
type File<'f> = &'f dyn Fn(&str) -> Result<String, Mistake>;

/// The bundle's file: what it sets, and what it has or mentions.
fn read(version: &Version, bundle: File<'_>) -> Result<(Map<String, Value>, Known), Mistake> {
    let file = settings_file(version);
    let text = bundle(file)?;
    let value: Value =
        serde_saphyr::from_str(&text).map_err(|error| broken(file, &format!("is no YAML: {}", yaml_words(&error))))?;
    let Value::Object(values) = value else { return Err(broken(file, "is no map")) };
    Ok((values, Known::of(&text)))
}

struct Merge<'i> {
    version: &'i Version,
    /// The secret of a key of the node config.
    need: &'i dyn Fn(&str) -> Result<String, Mistake>,
    known: Known,
}

impl Merge<'_> {
    /// `at`: the path of the map in Harbor's file; empty at its top.
    fn map(&self, values: &mut Map<String, Value>, settings: &Settings, at: &str) -> Result<(), Mistake> {
        let free = at.rsplit('.').next().is_some_and(is_free);
        for (name, setting) in &settings.0 {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let key = format!("{ABOVE}.{path}");
            if !free && !self.known.0.contains(&path) {
                let mistake = no_such(self.version, &key, self.known.below(at), settings_file(self.version));
                return Err(match self.known.elsewhere(name) {
                    Some(place) => mistake.hint(format!("it belongs to {ABOVE}.{place}")),
                    None => mistake,
                });
            }
            if let (Some(is), Some(given)) = (values.get(name).and_then(Shape::of), Shape::given(setting))
                && !is.takes(given)
            {
                let message = format!("{key}: is {}, and must be {}", given.words(), is.words());
                let hint = format!("{} in the bundle has it so", settings_file(self.version));
                return Err(Mistake::new(message).hint(hint));
            }
            match (setting, values.get_mut(name)) {
                (Setting::Map(inner), Some(Value::Object(below))) => self.map(below, inner, &path)?,
                _ => {
                    let value = self.value(setting, &path)?;
                    values.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    fn value(&self, setting: &Setting, path: &str) -> Result<Value, Mistake> {
        Ok(match setting {
            // What YAML makes of it: a number, a truth value, nothing, or text.
            Setting::Plain(text) => serde_saphyr::from_str(text).unwrap_or_else(|_| Value::from(text.as_str())),
            Setting::Quoted(text) => Value::from(text.as_str()),
            Setting::Secret(_) => Value::from((self.need)(&format!("{ABOVE}.{path}"))?),
            Setting::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(i, item)| self.value(item, &format!("{path}[{i}]"))).collect::<Result<_, _>>()?
            }
            Setting::Map(inner) => {
                let mut below = Map::new();
                self.map(&mut below, inner, path)?;
                Value::Object(below)
            }
        })
    }
}

/// What `prepare` must find under a key: of anything else it makes a traceback that names no key, or a file that a service
/// does not start with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Number,
    Switch,
    List,
    Map,
}

impl Shape {
    /// That of a value; what is empty may become anything.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Array(_) => Some(Self::List),
            Value::Object(_) => Some(Self::Map),
            Value::Number(_) => Some(Self::Number),
            Value::Bool(_) => Some(Self::Switch),
            Value::String(_) => Some(Self::One),
        }
    }

    /// That of a setting, which may leave a key empty; nobody knows what a secret is.
    fn given(setting: &Setting) -> Option<Self> {
        match setting {
            Setting::Plain(text) if matches!(text.as_str(), "" | "~" | "null") => None,
            Setting::Secret(_) => None,
            Setting::Plain(text) => {
                serde_saphyr::from_str(text).ok().and_then(|value| Self::of(&value)).or(Some(Self::One))
            }
            // Whoever puts a number in quotes means it.
            Setting::Quoted(text) if text.parse::<f64>().is_ok() => Some(Self::Number),
            Setting::Quoted(_) => Some(Self::One),
            Setting::List(_) => Some(Self::List),
            Setting::Map(_) => Some(Self::Map),
        }
    }

    /// Whether a key that is of this shape in the bundle's file may become one of that.
    fn takes(self, given: Self) -> bool {
        self == given || self == Self::One && matches!(given, Self::Number | Self::Switch)
    }

    fn words(self) -> &'static str {
        match self {
            Self::One => "text",
            Self::Number => "a number",
            Self::Switch => "true or false",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}
