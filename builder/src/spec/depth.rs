//! How deep a definition may nest.

use toml::Spanned;
use toml::de::DeValue;

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
