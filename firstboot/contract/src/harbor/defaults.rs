//! `harbor.settings` of an image spec: what `harbor.yml` says on every node of the image, unless its node config says otherwise.
//!
//! Invariant: an image holds no secret, so none is read here: what may be one is refused by its key's name or its form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::{Generation, Version, yml};
use crate::schema::{Setting, Settings, holds_secret, is_setting, may_be_secret, owner_of, refused, rest_of};
use crate::strict::{Field, Kind, Mistake, Reader, Value as Written, quoted};

/// Settings of Harbor's that travel in the image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Defaults(Map<String, Value>);

impl Defaults {
    /// Reads the table; every mistake goes to `d`.
    pub fn read<M: Default>(d: &mut Reader<M>, field: &Field<'_>) -> Option<Self> {
        map(d, field, "").map(Self)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As one line of JSON, which is equal for equal settings.
    #[must_use]
    pub fn line(&self) -> String {
        Value::from(self.0.clone()).to_string()
    }

    /// As the node config has them.
    pub(super) fn settings(&self) -> Settings {
        let settings = self.0.iter().map(|(name, value)| (name.clone(), setting(value)));
        Settings(settings.collect::<BTreeMap<_, _>>())
    }

    /// What of these settings a bundle has not got, or its Harbor does not take; `file` gives a text file of it.
    #[must_use]
    pub fn unfit(&self, version: &Version, file: &dyn Fn(&str) -> Result<String, Mistake>) -> Vec<Mistake> {
        if self.is_empty() {
            return Vec::new();
        }
        if version.generation() == Some(Generation::Cfg) {
            let message =
                format!("harbor.settings: for Harbor {version}, which has no harbor.yml: not in this version");
            let hint = "take the table out, and set these keys by harbor.settings of each node config";
            return vec![Mistake::new(message).hint(hint)];
        }
        yml::unfit(&[&self.settings()], version, file)
    }
}

/// Depth is bounded by the tree's.
fn map<M: Default>(d: &mut Reader<M>, field: &Field<'_>, above: &str) -> Option<Map<String, Value>> {
    let entries = d.entries(field)?;
    let count = entries.len();
    let values: Map<String, Value> =
        entries.iter().filter_map(|(name, entry)| Some(((*name).to_owned(), value(d, name, entry, above)?))).collect();
    (values.len() == count).then_some(values)
}

fn value<M: Default>(d: &mut Reader<M>, name: &str, field: &Field<'_>, above: &str) -> Option<Value> {
    // Nothing more is said of what stands below it.
    if let Some(owner) = owner_of(name).filter(|_| above.is_empty()) {
        let hint = format!("it is set on each node, by {owner}{}", rest_of(&field.node.value));
        d.note(field.at, &field.key, Mistake::new("cannot be set here").hint(hint));
        return None;
    }
    if !is_setting(name) {
        return d.refuse_key(field, Mistake::new(format!("{} is no key of Harbor's", quoted(name))));
    }
    if let Some(why) = refused(name, above) {
        return d.refuse_key(field, Mistake::new("cannot be set").hint(why));
    }
    let (text, kind) = match &field.node.value {
        Written::Map(_) => return map(d, field, name).map(Value::Object),
        Written::List(_) => {
            let items = d.list(field)?;
            return d.each(items, |d, item| value(d, name, item, above)).map(Value::Array);
        }
        Written::Scalar { text, kind } => (text, kind),
    };
    if may_be_secret(name) || holds_secret(text) {
        let hint = "set it by harbor.settings of each node config, which takes a reference to a secret store";
        return d.refuse_key(field, Mistake::new("may be a secret, and an image holds none").hint(hint));
    }
    if text.starts_with("ref+") {
        let hint = "references are for node configs: set it there";
        return d.refuse(field, Mistake::new("is a reference to a secret, and an image holds none").hint(hint));
    }
    let number = |number: Option<Number>| number.map(Value::Number);
    let read = match kind {
        Kind::Plain | Kind::Quoted => Some(Value::from(text.as_str())),
        Kind::Boolean => Some(Value::from(text == "true")),
        Kind::Integer => number(text.parse::<i64>().ok().map(Number::from)),
        Kind::Fraction => number(text.replace('_', "").parse().ok().and_then(Number::from_f64)),
        Kind::Date => return d.refuse(field, Mistake::new("is a date, and Harbor has none").hint("put it in quotes")),
    };
    match read {
        Some(read) => Some(read),
        None => d.refuse(field, "is no number that Harbor can read"),
    }
}

fn setting(value: &Value) -> Setting {
    match value {
        Value::Null => Setting::Plain(String::new()),
        Value::Bool(_) | Value::Number(_) => Setting::Plain(value.to_string()),
        Value::String(text) => Setting::Quoted(text.clone()),
        Value::Array(items) => Setting::List(items.iter().map(setting).collect()),
        Value::Object(map) => Setting::Map(Defaults(map.clone()).settings()),
    }
}
