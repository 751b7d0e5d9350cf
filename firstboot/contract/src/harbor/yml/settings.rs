//! `harbor.yml`: the bundle's own, with what the node config says in its place. So each version gets the keys that it
//! demands, with its own defaults.
//!
//! A key of `harbor.settings` must be in the bundle's file at the same place, be it in a comment: what is misspelt, misplaced or of
//! another version is refused.

use serde_json::{Map, Value};

use super::super::{Inputs, Version, broken, no_such, settings_file, yaml_words};
use super::known::{Known, Shape};
use crate::schema::{Setting, Settings, is_free};
use crate::strict::Mistake;

/// Where the settings stand in the node config.
const ABOVE: &str = "harbor.settings";

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
}

impl Merge<'_> {
    /// `at`: the path of the map in Harbor's file; empty at its top.
    fn map(&self, values: &mut Map<String, Value>, settings: &Settings, at: &str) -> Result<(), Mistake> {
        let free = at.rsplit('.').next().is_some_and(is_free);
        for (name, setting) in &settings.0 {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            let key = format!("{ABOVE}.{path}");
            if !free && !self.known.has(&path) {
                let mistake = no_such(self.version, &key, self.known.below(at), settings_file(self.version));
                return Err(match self.known.elsewhere(name) {
                    Some(place) => mistake.hint(format!("it belongs to {ABOVE}.{place}")),
                    None => mistake,
                });
            }
            let is = if free { None } else { self.known.shape(&path) };
            if let (Some(is), Some(given)) = (is, Shape::given(setting))
                && !is.takes(given)
            {
                let message = format!("{key}: is {}, and must be {}", given.words(), is.words());
                let hint = format!("{} in the bundle has it so", settings_file(self.version));
                return Err(Mistake::new(message).hint(hint));
            }
            match (setting, values.get_mut(name)) {
                (Setting::Map(inner), Some(Value::Object(below))) => self.map(below, inner, &path)?,
                _ => {
                    let value = match (is, setting) {
                        // Whoever puts a number in quotes means it, and `prepare` compares it with one.
                        (Some(Shape::Number), Setting::Quoted(text)) => plain(text),
                        _ => self.value(setting, &path)?,
                    };
                    values.insert(name.clone(), value);
                }
            }
        }
        Ok(())
    }

    fn value(&self, setting: &Setting, path: &str) -> Result<Value, Mistake> {
        Ok(match setting {
            Setting::Plain(text) => plain(text),
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
