//! A TOML value as the tree that `contract::strict` reads, and how deep it may nest.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use contract::strict::{Entry, Kind, Node, Place, Value};

/// No definition nests deeper. The parser bounds brackets and the parts of a key, but not their product.
pub(super) const DEEPEST: usize = 64;

/// Whether walking or dropping `value` would recurse too deep; itself without recursion.
pub(super) fn is_too_deep(value: &DeValue<'_>) -> bool {
    let mut open: Vec<(&DeValue<'_>, usize)> = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > DEEPEST {
            return true;
        }
        match value {
            DeValue::Table(table) => open.extend(table.values().map(|value| (Spanned::get_ref(value), depth + 1))),
            DeValue::Array(array) => open.extend(array.iter().map(|value| (Spanned::get_ref(value), depth + 1))),
            _ => {}
        }
    }
    false
}

/// The tree of a TOML value, whose depth is bounded already.
pub(crate) fn node(value: &DeValue<'_>, place: Place, place_of: &dyn Fn(usize) -> Place) -> Node {
    let below = |value: &Spanned<DeValue<'_>>| node(value.get_ref(), place_of(value.span().start), place_of);
    let scalar = |text: &str, kind| Value::Scalar { text: text.to_owned(), kind };
    let value = match value {
        DeValue::String(text) => scalar(text, Kind::Quoted),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(decimal) => scalar(&decimal.to_string(), Kind::Integer),
            Err(_) => scalar(number.as_str(), Kind::Integer),
        },
        DeValue::Float(number) => scalar(number.as_str(), Kind::Fraction),
        DeValue::Boolean(value) => scalar(&value.to_string(), Kind::Boolean),
        DeValue::Datetime(date) => scalar(&date.to_string(), Kind::Date),
        DeValue::Array(items) => Value::List(items.iter().map(below).collect()),
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<Cow<'_, str>>, _)| Entry {
                place: place_of(key.span().start),
                key: key.get_ref().to_string(),
                node: below(value),
            };
            Value::Map(table.iter().map(entry).collect())
        }
    };
    Node { place, value }
}
