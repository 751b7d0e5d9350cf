//! `harbor.cfg`: the keys that this version of Harbor knows, their defaults, and what the node config says instead.

use std::collections::BTreeMap;

use crate::schema::{Setting, Settings};
use crate::secrets::Resolved;
use crate::trouble::Trouble;

/// The keys of a `harbor.cfg` with their values: INI without a section.
pub(crate) fn read(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        if let Some((key, value)) = pair(line) {
            values.insert(key.to_owned(), value.to_owned());
        }
    }
    values
}

/// The keys that a `harbor.cfg` only mentions: `#ldap_filter = …`.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| pair(line.trim_start().strip_prefix('#')?)).map(|(key, _)| key)
}

fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!key.is_empty() && key.chars().all(plain)).then(|| (key, value.trim()))
}

/// `harbor.cfg`'s values with those of `harbor.settings` in their place.
///
/// # Errors
/// A key that this version has not got, or a value that is no line of text.
pub(crate) fn merged(
    cfg: &str,
    settings: &Settings,
    secrets: &Resolved,
    version: &str,
) -> Result<BTreeMap<String, String>, Trouble> {
    let mut values = read(cfg);
    let known: Vec<&str> = values.keys().map(String::as_str).chain(mentioned(cfg)).map(|key| key as &str).collect();
    let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
    for (name, setting) in &settings.0 {
        let key = format!("harbor.settings.{name}");
        if !known.contains(name) {
            let trouble = Trouble::lasting(format!("{key}: Harbor {version} has no such setting"));
            let near = known.iter().min_by_key(|other| strsim::damerau_levenshtein(other, name));
            let near = near.filter(|other| strsim::damerau_levenshtein(other, name) <= 3);
            return Err(match near {
                Some(near) => trouble.hint(format!("did you mean {near}?")),
                None => trouble.hint("harbor.cfg in the bundle lists those that there are"),
            });
        }
        let value = match setting {
            Setting::Plain(text) | Setting::Quoted(text) => text.clone(),
            Setting::Secret(_) => secrets.need(&key)?.to_owned(),
            Setting::List(_) | Setting::Map(_) => {
                return Err(Trouble::lasting(format!("{key}: must be one value: harbor.cfg has no lists and maps")));
            }
        };
        if value.contains(['\n', '\r', '\0']) {
            return Err(Trouble::lasting(format!("{key}: must be one line: harbor.cfg has no others")));
        }
        values.insert(name.clone(), value);
    }
    Ok(values)
}
