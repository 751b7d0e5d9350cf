//! `--set KEY=VALUE`: a key of the image spec, given on the command line.

use std::str::FromStr;

use toml::de::DeValue;

use super::tree::{is_too_deep, node};
use contract::strict::{Entry, Kind, Mistake, Node, Place, Value, quoted};

/// A key of the image spec with the value that replaces the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Dotted key such as `disk.var.size`.
    pub key: String,
    /// TOML; what is not TOML is a string, so that `--set base.release=noble` needs no quotes.
    pub value: String,
    /// The option that said so, for people.
    pub given: String,
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
        let option = Self { key: key.to_owned(), value: value.to_owned(), given: format!("--set {key}") };
        // A shell that ate the quotes of a list would otherwise make it a strange string.
        if value.starts_with(['[', '{', '"', '\'']) && option.toml().is_none() {
            return Err(Mistake::new(format!("the value of {key} is neither TOML nor a plain string"))
                .hint(r#"keep its quotes from the shell, such as --set 'artifacts.formats=["raw"]'"#));
        }
        Ok(option)
    }

    /// The same, said by another option than `--set`.
    #[must_use]
    pub fn given_as(self, option: &str) -> Self {
        Self { given: option.to_owned(), ..self }
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

    /// Puts the value into `root` in place of what is there; everything it adds lies at `place`.
    pub(crate) fn lay_over(&self, root: &mut Node, place: Place) {
        let value = match self.toml() {
            Some(value) => node(&value, place, &|_| place),
            None => Node { place, value: Value::Scalar { text: self.value.clone(), kind: Kind::Quoted } },
        };
        let mut at = root;
        let mut parts = self.key.split('.').peekable();
        while let Some(part) = parts.next() {
            // What is no table gives way to one.
            if !matches!(at.value, Value::Map(_)) {
                *at = Node { place, value: Value::Map(Vec::new()) };
            }
            let Value::Map(entries) = &mut at.value else { return };
            let index = entries.iter().position(|entry| entry.key == part).unwrap_or(entries.len());
            if index == entries.len() {
                let node = Node { place, value: Value::Map(Vec::new()) };
                entries.push(Entry { place, key: part.to_owned(), node });
            }
            let Some(entry) = entries.get_mut(index) else { return };
            if parts.peek().is_none() {
                (entry.place, entry.node) = (place, value);
                return;
            }
            at = &mut entry.node;
        }
    }
}

impl FromStr for Override {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        Self::parse(text)
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
