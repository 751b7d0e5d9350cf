//! `--set KEY=VALUE`: a key of the image spec, given on the command line.

use std::borrow::Cow;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::depth::is_too_deep;
use contract::strict::{Mistake, quoted};

/// A key of the image spec with the value that replaces the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted key such as `disk.var.size`.
    pub key: String,
    /// TOML; what is not TOML is a string, so that `--set base.release=noble` needs no quotes.
    pub value: String,
}

impl Override {
    /// Parses `KEY=VALUE`. Whether the spec has that key is found when the spec is read.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(
                Mistake::new(format!("{} is not KEY=VALUE", quoted(text))).hint("such as --set base.release=bookworm")
            );
        };
        let (key, value) = (key.trim(), value.trim());
        let bare = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if key.split('.').count() > 8 || !key.split('.').all(bare) {
            return Err(Mistake::new(format!("{} is not a key of an image spec", quoted(key)))
                .hint("names with dots between them, such as disk.var.size"));
        }
        let option = Self { key: key.to_owned(), value: value.to_owned() };
        // A shell that ate the quotes of a list would otherwise make it a strange string.
        if value.starts_with(['[', '{', '"', '\'']) && option.toml().is_none() {
            return Err(Mistake::new(format!("the value of {key} is neither TOML nor a plain string"))
                .hint(r#"keep its quotes from the shell, such as --set 'artifacts.formats=["raw"]'"#));
        }
        Ok(option)
    }

    /// The value as TOML, if it is that.
    fn toml(&self) -> Option<DeValue<'_>> {
        let (value, errors) = DeValue::parse_recoverable(&self.value);
        let value = value.into_inner();
        if is_too_deep(&value) {
            // Dropping it would overflow the stack.
            std::mem::forget(value);
            return None;
        }
        errors.is_empty().then_some(value)
    }

    /// Puts the value into `root` in place of what is there; everything it adds lies at `offset`.
    pub(crate) fn lay_over<'i>(&'i self, root: &mut DeTable<'i>, offset: usize) {
        let mut value = self.toml().unwrap_or(DeValue::String(Cow::Borrowed(&self.value)));
        move_to(&mut value, offset);
        let at = offset..offset;
        let mut table = root;
        let mut parts = self.key.split('.').peekable();
        while let Some(part) = parts.next() {
            let key = Spanned::new(at.clone(), Cow::Borrowed(part));
            if parts.peek().is_none() {
                // A map keeps the old key on insertion, and with it the old place.
                table.remove(part);
                table.insert(key, Spanned::new(at, value));
                return;
            }
            if !table.get(part).is_some_and(|value| value.get_ref().is_table()) {
                table.remove(part);
            }
            let next = table.entry(key).or_insert_with(|| Spanned::new(at.clone(), DeValue::Table(DeTable::new())));
            match next.get_mut() {
                DeValue::Table(below) => table = below,
                // Not reached: what is no table was removed above.
                _ => return,
            }
        }
    }
}

impl FromStr for Override {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        Self::parse(text)
    }
}

/// Moves everything in `value` to one offset.
fn move_to(value: &mut DeValue<'_>, offset: usize) {
    match value {
        DeValue::Array(array) => {
            for item in array.iter_mut() {
                move_to(item.get_mut(), offset);
                *item = Spanned::new(offset..offset, std::mem::replace(item.get_mut(), DeValue::Boolean(false)));
            }
        }
        DeValue::Table(table) => {
            for (key, mut item) in std::mem::take(table) {
                move_to(item.get_mut(), offset);
                let key = Spanned::new(offset..offset, key.into_inner());
                table.insert(key, Spanned::new(offset..offset, item.into_inner()));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_toml_else_a_string() {
        for (text, kind) in [
            ("a.b=true", "boolean"),
            ("a=7", "integer"),
            ("a=[\"x\"]", "array"),
            ("a={x = 1}", "table"),
            ("a=\"true\"", "string"),
        ] {
            let option = Override::parse(text).expect(text);
            assert_eq!(option.toml().map(|value| value.type_str()), Some(kind), "{text}");
        }
        for text in ["a=noble", "a=8GiB", "a=https://x/y=z", "a="] {
            assert!(Override::parse(text).expect(text).toml().is_none(), "{text}");
        }
        assert_eq!(Override::parse("a=x=y").map(|option| option.value), Ok("x=y".to_owned()));
    }

    #[test]
    fn what_is_no_key_and_value_is_refused() {
        let deep = format!("{}a=1", "a.".repeat(60_000));
        let level = format!("{{ {}a = ", "a.".repeat(78));
        let deep_value = format!("a={}1{}", level.repeat(78), "}".repeat(78));
        for text in ["", "a", "=1", "a.=1", ".a=1", "a..b=1", "a b=1", "a=[x]", "a={", "a=\"x", &deep, &deep_value] {
            assert!(Override::parse(text).is_err(), "{}", quoted(text));
        }
    }
}
