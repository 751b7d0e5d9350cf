//! `harbor.yml`: the bundle's own, with what the node config says in its place. So each version gets the keys that it
//! demands, with its own defaults.
//!
//! A key of `harbor.settings` must be in the bundle's file, be it in a comment: what is misspelt, or of another version, is
//! refused.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::{Inputs, broken, settings_file};
use crate::schema::{Setting, Settings};
use crate::strict::Mistake;

/// Keys of whose maps the keys are anybody's choice: `trace.attributes`.
const FREE: [&str; 1] = ["attributes"];

/// What the node does otherwise, or not yet, and why.
const REFUSED: [(&str, &str); 6] = [
    ("storage_service", "images are stored on the share"),
    ("external_endpoint", "Harbor's logs go to the node's journal: forward that"),
    ("uaa", "not in this version of habuild"),
    ("clair", "clair is not supported: use a version with trivy"),
    ("chart", "chart repositories are not supported: charts are stored as OCI artifacts since 2.0"),
    ("notary", "notary is not supported"),
];

/// The keys that a file has or mentions.
#[derive(Debug)]
struct Known {
    /// At the top.
    top: BTreeSet<String>,
    /// Anywhere.
    all: BTreeSet<String>,
}

impl Known {
    fn of(text: &str) -> Self {
        let (mut top, mut all) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            let marks = |c: char| c == '#' || c == ' ' || c == '-';
            let bare = line.trim_start_matches(marks);
            let Some((name, _)) = bare.split_once(':') else { continue };
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                continue;
            }
            // In a comment, one blank behind the mark is not an indent.
            let before = line.get(..line.len() - bare.len()).unwrap_or_default();
            if matches!(before, "" | "#" | "# ") {
                top.insert(name.to_owned());
            }
            all.insert(name.to_owned());
        }
        Self { top, all }
    }
}

/// The values of the bundle's file, with those of `harbor.settings` in their place.
pub(super) fn merged(inputs: &Inputs<'_>) -> Result<Map<String, Value>, Mistake> {
    let file = settings_file(inputs.version);
    let text = (inputs.file)(file)?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| {
        broken(file, &format!("is no YAML: {}", error.to_string().lines().next().unwrap_or_default()))
    })?;
    let Value::Object(mut values) = value else { return Err(broken(file, "is no map")) };
    let merge = Merge { inputs, file, known: Known::of(&text) };
    merge.map(&mut values, &inputs.config.harbor.settings, "harbor.settings", true)?;
    Ok(values)
}

struct Merge<'i> {
    inputs: &'i Inputs<'i>,
    file: &'static str,
    known: Known,
}

impl Merge<'_> {
    fn map(&self, values: &mut Map<String, Value>, settings: &Settings, at: &str, top: bool) -> Result<(), Mistake> {
        let free = at.rsplit('.').next().is_some_and(|name| FREE.contains(&name));
        for (name, setting) in &settings.0 {
            let key = format!("{at}.{name}");
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return Err(Mistake::new(format!("{key}: cannot be set")).hint(*why));
            }
            let known = if top { &self.known.top } else { &self.known.all };
            if !free && !known.contains(name) {
                return Err(self.inputs.no_such(&key, known.iter().map(String::as_str), self.file));
            }
            match (setting, values.get_mut(name)) {
                (Setting::Map(inner), Some(Value::Object(below))) => self.map(below, inner, &key, false)?,
                _ => {
                    let value = self.value(setting, &key)?;
                    values.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    fn value(&self, setting: &Setting, key: &str) -> Result<Value, Mistake> {
        Ok(match setting {
            // What YAML makes of it: a number, a truth value, nothing, or text.
            Setting::Plain(text) => serde_saphyr::from_str(text).unwrap_or_else(|_| Value::from(text.as_str())),
            Setting::Quoted(text) => Value::from(text.as_str()),
            Setting::Secret(_) => Value::from(self.inputs.need(key)?),
            Setting::List(items) => items.iter().map(|item| self.value(item, key)).collect::<Result<_, _>>()?,
            Setting::Map(inner) => {
                let mut below = Map::new();
                self.map(&mut below, inner, key, false)?;
                Value::Object(below)
            }
        })
    }
}
