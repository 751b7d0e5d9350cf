//! The value that a reference's keys (`#/KEY/KEY`) lead to, in a JSON or YAML text.
//!
//! Scalars come out as they were written: a password of digits is no number that could be rounded.
//!
//! Invariant: no refusal repeats anything of the text but keys that the reference names.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::strict::{Node, Value, nearest, yaml};

/// Looks up a scalar; says why there is none.
pub fn look_up(text: &str, keys: &[String]) -> Result<String, String> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => in_json(value, keys),
        Err(_) => in_yaml(text, keys),
    }
}

/// Looks up in JSON. Each step reads one level and leaves the levels below as text.
fn in_json(value: &RawValue, keys: &[String]) -> Result<String, String> {
    let mut value = value.to_owned();
    for (depth, key) in keys.iter().enumerate() {
        let inner = if let Ok(mut map) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(value.get()) {
            map.remove(key).ok_or_else(|| absent(keys, depth, map.keys().map(String::as_str)))?
        } else if let Ok(list) = serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
            let item = key.parse::<usize>().ok().and_then(|index| list.into_iter().nth(index));
            item.ok_or_else(|| no_item(keys, depth))?
        } else {
            return Err(no_map(keys, depth));
        };
        value = inner;
    }
    match value.get().as_bytes() {
        [b'{' | b'[', ..] => Err(no_scalar(keys)),
        b"null" => Err(format!("{} is null", shown(keys))),
        [b'"', ..] => serde_json::from_str(value.get()).map_err(|_| format!("{} is no text", shown(keys))),
        _ => Ok(value.get().to_owned()),
    }
}

fn in_yaml(text: &str, keys: &[String]) -> Result<String, String> {
    if text.len() > yaml::SIZE_LIMIT {
        return Err(format!("is larger than {} KiB, too large to look a key up", yaml::SIZE_LIMIT / 1024));
    }
    // The parser's own words are left out: they may repeat a character of the text.
    let root = yaml::read(text).map_err(|problem| {
        format!("is neither JSON nor plain YAML (line {}, column {})", problem.line, problem.column)
    })?;
    let mut node: &Node = &root;
    for (depth, key) in keys.iter().enumerate() {
        node = match &node.value {
            Value::Map(entries) => {
                let entry = entries.iter().find(|entry| entry.key == *key);
                let names = || entries.iter().map(|entry| entry.key.as_str());
                &entry.ok_or_else(|| absent(keys, depth, names()))?.node
            }
            Value::List(items) => {
                let item = key.parse::<usize>().ok().and_then(|index| items.get(index));
                item.ok_or_else(|| no_item(keys, depth))?
            }
            Value::Scalar { .. } => return Err(no_map(keys, depth)),
        };
    }
    match &node.value {
        _ if node.is_null() => Err(format!("{} is null", shown(keys))),
        Value::Scalar { text, .. } => Ok(text.clone()),
        Value::List(_) | Value::Map(_) => Err(no_scalar(keys)),
    }
}

/// The keys up to the one at `depth`, as the reference writes them.
fn shown(keys: &[String]) -> String {
    keys.iter().map(|key| format!("/{key}")).collect()
}

fn absent<'n>(keys: &[String], depth: usize, there: impl Iterator<Item = &'n str>) -> String {
    let path = shown(keys.get(..=depth).unwrap_or(keys));
    let there: Vec<&str> = there.collect();
    // Only a name that is nearly the one asked for: the others are nobody's business.
    match keys.get(depth).and_then(|key| nearest(key, there.iter().copied())) {
        Some(near) => format!("has no {path} (did you mean {near}?)"),
        None => format!("has no {path}"),
    }
}

fn no_item(keys: &[String], depth: usize) -> String {
    format!("has no {}: there is a list, whose items count from 0", shown(keys.get(..=depth).unwrap_or(keys)))
}

fn no_map(keys: &[String], depth: usize) -> String {
    match depth {
        0 => "is one value, with no keys in it".to_owned(),
        _ => format!("has one value at {}, with no keys in it", shown(keys.get(..depth).unwrap_or(keys))),
    }
}

fn no_scalar(keys: &[String]) -> String {
    format!("{} is a map or a list, must be one value", shown(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> Result<String, String> {
        look_up(text, &path.split('/').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn scalars_come_out_as_written() {
        let json = r#"{"a":{"b":"s3cret \ud83d\ude00","n":12345678901234567890123,"f":1e3,"t":true},"l":["x",["y"]]}"#;
        for (path, expected) in
            [("a/b", "s3cret 😀"), ("a/n", "12345678901234567890123"), ("a/f", "1e3"), ("a/t", "true"), ("l/1/0", "y")]
        {
            assert_eq!(at(json, path).as_deref(), Ok(expected), "{path}");
        }
        let yaml = "a:\n  b: 0123\n  c: 'no'\n  d: |\n    one\n    two\nl: [x, y]\n";
        for (path, expected) in [("a/b", "0123"), ("a/c", "no"), ("a/d", "one\ntwo\n"), ("l/1", "y")] {
            assert_eq!(at(yaml, path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_without_the_values() {
        let json = r#"{"admin":"s3cret","map":{"x":"s3cret"},"list":["s3cret"],"null":null}"#;
        let yaml = "admin: s3cret\nmap: {x: s3cret}\nlist: [s3cret]\n'null': ~\n";
        for text in [json, yaml] {
            for (path, expected) in [
                ("amdin", "has no /amdin (did you mean admin?)"),
                ("other", "has no /other"),
                ("map", "/map is a map or a list, must be one value"),
                ("list", "/list is a map or a list, must be one value"),
                ("list/1", "has no /list/1: there is a list, whose items count from 0"),
                ("admin/x", "has one value at /admin, with no keys in it"),
                ("null", "/null is null"),
            ] {
                assert_eq!(at(text, path).unwrap_err(), expected, "{path} in {text}");
            }
        }
        assert_eq!(at("s3cret", "a").unwrap_err(), "is one value, with no keys in it");
        assert_eq!(at("\"s3cret", "a").unwrap_err(), "is neither JSON nor plain YAML (line 1, column 1)");
        assert!(at("", "a").unwrap_err().contains("neither JSON nor plain YAML"));
        assert!(at(&"[".repeat(1 << 20), "a").unwrap_err().contains("larger than 256 KiB"));
    }
}
