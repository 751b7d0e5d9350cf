//! Which keys a bundle's `harbor.yml` has or mentions, and what must stand under each.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{Setting, owner_of, refused};

/// The paths of the keys that a file has or mentions, `jobservice.max_job_workers`, and of what shape each is if that is sure.
#[derive(Debug)]
pub(super) struct Known(BTreeMap<String, Option<Shape>>);

impl Known {
    /// What stands in a comment counts as if it did not: one mark and one blank behind it are no indent, however many there are
    /// one after the other (so it is in every version, v1.8.6 to v2.15.2 `make/harbor.yml`, `make/harbor.yml.tmpl`).
    ///
    /// `values`: those of the file, which are sure. In a comment only a number or true or false is: a text may stand for
    /// anything (`port: harbor_db_port`). What has keys below it is a map.
    pub(super) fn of(text: &str, values: &Map<String, Value>) -> Self {
        let mut paths: BTreeMap<String, Option<Shape>> = BTreeMap::new();
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
            if let Some((_, parents)) = names.split_last()
                && let Some(parent) = paths.get_mut(&parents.join("."))
            {
                *parent = Some(Shape::Map);
            }
            let shape = Shape::of_text(value).filter(|shape| matches!(shape, Shape::Number | Shape::Switch));
            paths.entry(names.join(".")).or_insert(shape);
        }
        let mut known = Self(paths);
        known.add(values, "");
        known
    }

    fn add(&mut self, values: &Map<String, Value>, at: &str) {
        for (name, value) in values {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            if let Value::Object(below) = value {
                self.add(below, &path);
            }
            let shape = Shape::of(value);
            let known = self.0.entry(path).or_default();
            *known = shape.or(*known);
        }
    }

    /// Whether the file has or mentions the key.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// All of them, in order.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What the key must be, if the file is sure of it.
    pub(super) fn shape(&self, path: &str) -> Option<Shape> {
        self.0.get(path).copied().flatten()
    }

    /// The names of the keys right below a path; below none: those at the top.
    pub(super) fn below<'k>(&'k self, path: &str) -> impl Iterator<Item = &'k str> {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        let names = self.0.keys().filter_map(move |known| known.strip_prefix(&path));
        names.filter(|name| !name.contains('.'))
    }

    /// Where a key of this name stands, if it does in one place only, and that is one for settings.
    pub(super) fn elsewhere(&self, name: &str) -> Option<&str> {
        let mut places = self.0.keys().map(String::as_str).filter(|path| path.rsplit('.').next() == Some(name));
        let place = places.next().filter(|_| places.next().is_none())?;
        let (top, above) = (place.split('.').next().unwrap_or(place), place.rsplit('.').nth(1).unwrap_or_default());
        let given = owner_of(top).is_some() || refused(top, "").is_some() || refused(name, above).is_some();
        (!given).then_some(place)
    }
}

/// What `prepare` must find under a key: of anything else it makes a traceback that names no key, or a file that a service
/// does not start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
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

    /// That of what is written, which may end in a comment.
    fn of_text(text: &str) -> Option<Self> {
        serde_saphyr::from_str(text).ok().and_then(|value| Self::of(&value))
    }

    /// That of a setting, which may leave a key empty; nobody knows what a secret is.
    pub(super) fn given(setting: &Setting) -> Option<Self> {
        match setting {
            _ if setting.is_empty() => None,
            Setting::Secret(_) => None,
            Setting::Plain(text) => Self::of_text(text).or(Some(Self::One)),
            // It is written without them where a number must be.
            Setting::Quoted(text) if text.parse::<f64>().is_ok() => Some(Self::Number),
            Setting::Quoted(_) => Some(Self::One),
            Setting::List(_) => Some(Self::List),
            Setting::Map(_) => Some(Self::Map),
        }
    }

    /// Whether a key that is of this shape in the bundle's file may become one of that.
    pub(super) fn takes(self, given: Self) -> bool {
        self == given || self == Self::One && matches!(given, Self::Number | Self::Switch)
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::One => "text",
            Self::Number => "a number",
            Self::Switch => "true or false",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}
