//! `harbor.cfg`: the keys that this version of Harbor knows, their defaults, and what the node config says instead.

use std::collections::BTreeMap;

use super::{Inputs, Version, broken, no_such};
use crate::schema::{Setting, Settings};
use crate::strict::Mistake;

/// A setting that no `harbor.cfg` mentions, but which `prepare` reads (v1.6.3 and v1.7.8).
const UNMENTIONED: &str = "ldap_group_admin_dn";

/// The keys of a `harbor.cfg` with their values: INI without a section.
pub(super) fn read(text: &str) -> BTreeMap<String, String> {
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
pub(super) fn merged(cfg: &str, inputs: &Inputs<'_>) -> Result<BTreeMap<String, String>, Mistake> {
    let need = |key: &str| inputs.need(key);
    let (values, found) = merge(cfg, inputs.version, &inputs.config.harbor.settings, &need)?;
    found.into_iter().next().map_or(Ok(values), Err)
}

/// The settings for which `harbor.cfg` has no place, or that Harbor does not take. Of secrets nothing is looked at.
pub(super) fn unfit(
    settings: &Settings,
    version: &Version,
    file: &dyn Fn(&str) -> Result<String, Mistake>,
) -> Vec<Mistake> {
    let unknown = |_: &str| Ok(String::new());
    match file("harbor.cfg").and_then(|cfg| merge(&cfg, version, settings, &unknown)) {
        Ok((_, found)) => found,
        Err(mistake) => vec![mistake],
    }
}

/// The values, and what is wrong with the settings.
fn merge(
    cfg: &str,
    version: &Version,
    settings: &Settings,
    need: &dyn Fn(&str) -> Result<String, Mistake>,
) -> Result<(BTreeMap<String, String>, Vec<Mistake>), Mistake> {
    let mut values = read(cfg);
    if values.is_empty() {
        return Err(broken("harbor.cfg", "sets nothing"));
    }
    let unmentioned = (version.numbers() >= (1, 6, 0)).then_some(UNMENTIONED);
    let known = values.keys().map(String::as_str).chain(mentioned(cfg)).chain(unmentioned);
    let known: Vec<String> = known.map(str::to_owned).collect();
    let mut found = Vec::new();
    for (name, setting) in &settings.0 {
        match line(name, setting, version, &known, need) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(mistake) => found.push(mistake),
        }
    }
    Ok((values, found))
}

/// What stands behind a setting's name in `harbor.cfg`.
fn line(
    name: &str,
    setting: &Setting,
    version: &Version,
    known: &[String],
    need: &dyn Fn(&str) -> Result<String, Mistake>,
) -> Result<String, Mistake> {
    let key = format!("harbor.settings.{name}");
    if !known.iter().any(|known| known == name) {
        return Err(no_such(version, &key, known.iter().map(String::as_str), "harbor.cfg"));
    }
    let value = match setting {
        Setting::Plain(text) | Setting::Quoted(text) => text.clone(),
        Setting::Secret(_) => need(&key)?,
        Setting::List(_) | Setting::Map(_) => {
            return Err(Mistake::new(format!("{key}: must be one value: harbor.cfg has no lists and maps")));
        }
    };
    if value.contains(['\n', '\r', '\0']) {
        return Err(Mistake::new(format!("{key}: must be one line: harbor.cfg has no others")));
    }
    // What `prepare` stops at, or the job service does not start with (v1.1.2 to v1.7.8 `make/prepare`).
    let must = match name {
        _ if matches!(setting, Setting::Secret(_)) => None,
        "project_creation_restriction" if !["everyone", "adminonly"].contains(&value.as_str()) => {
            Some("everyone or adminonly")
        }
        "max_job_workers" if !value.parse::<u32>().is_ok_and(|n| n > 0) => Some("a whole number of 1 or more"),
        _ => None,
    };
    match must {
        Some(words) => Err(Mistake::new(format!("{key}: must be {words}"))),
        None => Ok(value),
    }
}
