//! `harbor.yml`: the bundle's own, with what the node config says in its place. So each version gets the keys that it
//! demands, with its own defaults.
//!
//! A key of `harbor.settings` must be in the bundle's file at the same place, be it in a comment: what is misspelt, misplaced or of
//! another version is refused.

use serde_json::{Map, Value};

use super::super::{Inputs, Version, broken, no_such, settings_file, yaml_words};
use super::known::{Known, Shape};
use super::values::{ABOVE, refused};
use crate::schema::{Setting, Settings, is_free};
use crate::strict::Mistake;

/// What `prepare` reads without a default of its own (v1.8.6 to v2.15.2 `make/photon/prepare/utils/configs.py`).
const NEEDED: [&str; 7] = [
    "jobservice",
    "jobservice.max_job_workers",
    "log",
    "log.level",
    "notification",
    "notification.webhook_job_http_client_timeout",
    "notification.webhook_job_max_retry",
];

/// The values of the bundle's file, with the image's in their place, and the node's in theirs.
pub(super) fn merged(inputs: &Inputs<'_>) -> Result<Map<String, Value>, Mistake> {
    let need = |key: &str| inputs.need(key);
    let (values, found) =
        merge(inputs.version, inputs.file, &need, [&inputs.defaults.settings(), &inputs.config.harbor.settings])?;
    found.into_iter().next().map_or(Ok(values), Err)
}

/// What of `settings`, each laid over those before it, has no place in the bundle's file or is nothing that Harbor takes. Of secrets
/// nothing is looked at.
pub(in super::super) fn unfit(settings: &[&Settings], version: &Version, file: File<'_>) -> Vec<Mistake> {
    let unknown = |_: &str| Ok(String::new());
    match merge(version, file, &unknown, settings.iter().copied()) {
        Ok((_, found)) => found,
        Err(mistake) => vec![mistake],
    }
}

/// The bundle's values with each of `settings` in place of what is before it, and what it has no place for.
fn merge<'s>(
    version: &Version,
    file: File<'_>,
    need: &dyn Fn(&str) -> Result<String, Mistake>,
    settings: impl IntoIterator<Item = &'s Settings>,
) -> Result<(Map<String, Value>, Vec<Mistake>), Mistake> {
    let (mut values, known) = read(version, file)?;
    let mut merge = Merge { version, need, known, found: Vec::new(), secret: Vec::new() };
    for settings in settings {
        merge.map(&mut values, settings, "");
    }
    let Merge { mut found, secret, .. } = merge;
    found.extend(refused(&values, &secret));
    Ok((values, found))
}

/// Whether the bundle's file has every key of `written`: another one would be of a form that habuild does not know.
pub(super) fn check_own(inputs: &Inputs<'_>, written: &Value) -> Result<(), Mistake> {
    let (_, known) = read(inputs.version, inputs.file)?;
    let mut keys = Vec::new();
    keys_of(written, "", &mut keys);
    match keys.iter().find(|key| !known.has(key)) {
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
    let known = Known::of(&text, &values);
    Ok((values, known))
}

/// What YAML makes of a scalar: a number, a truth value, nothing, or text.
fn plain(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|_| Value::from(text))
}

struct Merge<'i> {
    version: &'i Version,
    /// The secret of a key of the node config.
    need: &'i dyn Fn(&str) -> Result<String, Mistake>,
    known: Known,
    /// What has no place, and secrets that are not there.
    found: Vec<Mistake>,
    /// The paths of secrets.
    secret: Vec<String>,
}

impl Merge<'_> {
    /// `at`: the path of the map in Harbor's file; empty at its top.
    fn map(&mut self, values: &mut Map<String, Value>, settings: &Settings, at: &str) {
        let free = at.rsplit('.').next().is_some_and(is_free);
        for (name, setting) in &settings.0 {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let key = format!("{ABOVE}.{path}");
            if !free && !self.known.has(&path) {
                let mistake = no_such(self.version, &key, self.known.below(at), settings_file(self.version));
                self.found.push(match self.known.elsewhere(name) {
                    Some(place) => mistake.hint(format!("it belongs to {ABOVE}.{place}")),
                    None => mistake,
                });
                continue;
            }
            let is = if free { None } else { self.known.shape(&path) };
            if NEEDED.contains(&path.as_str()) && setting.is_empty() {
                let message = format!("{key}: is empty, and Harbor {} cannot do without", self.version);
                self.found.push(Mistake::new(message).hint("leave it out for the value that the bundle has"));
                continue;
            }
            if let (Some(is), Some(given)) = (is, Shape::given(setting))
                && !is.takes(given)
            {
                let message = format!("{key}: is {}, and must be {}", given.words(), is.words());
                let hint = format!("{} in the bundle has it so", settings_file(self.version));
                self.found.push(Mistake::new(message).hint(hint));
                continue;
            }
            match (setting, values.get_mut(name)) {
                (Setting::Map(inner), Some(Value::Object(below))) => self.map(below, inner, &path),
                _ => {
                    let value = match (is, setting) {
                        // Whoever puts a number in quotes means it, and `prepare` compares it with one.
                        (Some(Shape::Number), Setting::Quoted(text)) => plain(text),
                        _ => self.value(setting, &path),
                    };
                    values.insert(name.clone(), value);
                }
            }
        }
    }

    fn value(&mut self, setting: &Setting, path: &str) -> Value {
        match setting {
            Setting::Plain(text) => plain(text),
            Setting::Quoted(text) => Value::from(text.as_str()),
            Setting::Secret(_) => {
                self.secret.push(path.to_owned());
                match (self.need)(&format!("{ABOVE}.{path}")) {
                    Ok(secret) => Value::from(secret),
                    Err(mistake) => {
                        self.found.push(mistake);
                        Value::Null
                    }
                }
            }
            Setting::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(i, item)| self.value(item, &format!("{path}[{i}]"))).collect()
            }
            Setting::Map(inner) => {
                let mut below = Map::new();
                self.map(&mut below, inner, path);
                Value::Object(below)
            }
        }
    }
}
