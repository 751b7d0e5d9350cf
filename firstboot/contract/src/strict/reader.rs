//! The strict reader: takes typed values out of a tree and notes every problem on the way, never only the first.
//!
//! No serde derive: that stops at the first mistake, and loses the place of a key that is missing or unknown.
//!
//! Invariant: a function that gives `None` has noted at least one problem, so that nothing is left out silently.

use std::collections::{BTreeMap, BTreeSet};

use super::field::join;
use super::mistake::{quoted, unless_secret};
use super::{Field, Fields, Kind, Mistake, Node, Place, Places, Problem, Value, nearest};

/// What was noted so far. `M` is what the rules of one format note besides.
#[derive(Debug, Default)]
pub struct Reader<M = ()> {
    /// Every problem, in the order in which it was found.
    pub problems: Vec<Problem>,
    /// Where each key was given.
    pub places: Places,
    /// What the rules of one format note besides.
    pub more: M,
    is_definition: bool,
}

impl<M: Default> Reader<M> {
    /// A reader of definitions, which are TOML and hold no secrets: its messages use TOML's words, and repeat the text's.
    #[must_use]
    pub fn of_definitions() -> Self {
        Self { is_definition: true, ..Self::default() }
    }

    /// Notes a problem at a place.
    pub fn note(&mut self, place: Place, key: &str, mistake: impl Into<Mistake>) {
        self.problems.push(Problem::new(place, key, mistake));
    }

    /// Notes what is wrong with a value; gives `None` for the caller to return.
    pub fn refuse<T>(&mut self, field: &Field<'_>, mistake: impl Into<Mistake>) -> Option<T> {
        self.note(field.node.place, &field.key, mistake);
        None
    }

    /// As [`Self::refuse`], at the key.
    pub fn refuse_key<T>(&mut self, field: &Field<'_>, mistake: impl Into<Mistake>) -> Option<T> {
        self.note(field.at, &field.key, mistake);
        None
    }

    /// The value or, with what is wrong with it noted, nothing.
    pub fn accept<T>(&mut self, field: &Field<'_>, outcome: Result<T, Mistake>) -> Option<T> {
        outcome.map_err(|mistake| self.note(field.node.place, &field.key, mistake)).ok()
    }

    /// A map with these keys and no others.
    pub fn fields<'t>(&mut self, field: &Field<'t>, known: &[&'static str]) -> Option<Fields<'t>> {
        self.fields_but(field, known, &[])
    }

    /// The same; `planned` are keys that people may expect, each with what to do without.
    pub fn fields_but<'t>(
        &mut self,
        field: &Field<'t>,
        known: &[&'static str],
        planned: &[(&str, &str)],
    ) -> Option<Fields<'t>> {
        let mut fields = self.any_fields(field)?;
        for (&name, entry) in &fields.entries {
            if known.contains(&name) {
                continue;
            }
            if let Some((_, instead)) = planned.iter().find(|(planned, _)| *planned == name) {
                self.note(entry.at, &entry.key, Mistake::new("is not in this version of habuild").hint(*instead));
                continue;
            }
            let mistake = if name == "<<" { "merge keys are not read here" } else { "unknown key" };
            self.note(entry.at, &entry.key, Mistake::new(mistake).did_you_mean(name, known));
            fields.misspelt.extend(nearest(name, known.iter().copied()));
        }
        Some(fields)
    }

    /// A map with whatever keys.
    pub fn any_fields<'t>(&mut self, field: &Field<'t>) -> Option<Fields<'t>> {
        let Value::Map(entries) = &field.node.value else {
            return self.refuse(field, self.kind_mistake(field.node, Wanted::Map));
        };
        let (key, at) = (field.key.clone(), field.at);
        let mut fields = Fields { key, at, entries: BTreeMap::new(), misspelt: BTreeSet::new() };
        for entry in entries {
            let key = join(&field.key, &self.shown_key(&entry.key));
            if let Some(first) = fields.entries.get(entry.key.as_str()) {
                let mistake = format!("is given twice; first on line {}", first.at.line);
                self.note(entry.place, &key, mistake);
                continue;
            }
            self.places.insert(key.clone(), entry.place);
            fields.entries.insert(&entry.key, Field { key, at: entry.place, node: &entry.node });
        }
        Some(fields)
    }

    /// Every entry of a map with whatever keys: name and value.
    pub fn entries<'t>(&mut self, field: &Field<'t>) -> Option<Vec<(&'t str, Field<'t>)>> {
        Some(self.any_fields(field)?.entries.into_iter().collect())
    }

    /// A value that must be there.
    pub fn need<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        self.filled_or(fields, name, Mistake::new("is missing"), decode)
    }

    /// As [`Self::need`]; `example` is a line that would do.
    pub fn need_like<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        example: &str,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        self.filled_or(fields, name, Mistake::new("is missing").hint(format!("add {example}")), decode)
    }

    /// A value that may be left out.
    pub fn maybe<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<Option<T>> {
        match fields.entries.get(name) {
            Some(field) => self.filled(field, decode).map(Some),
            None => Some(None),
        }
    }

    /// A value with a default.
    pub fn or<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        default: T,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        Some(self.maybe(fields, name, decode)?.unwrap_or(default))
    }

    /// Notes that a key has no business here; true when it was given.
    pub fn unwanted(&mut self, fields: &Fields<'_>, name: &str, mistake: impl Into<Mistake>) -> bool {
        let Some(field) = fields.entries.get(name) else { return false };
        self.note(field.at, &field.key, mistake);
        true
    }

    /// A misspelt required key is one mistake, not two.
    fn filled_or<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        missing: Mistake,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        match fields.entries.get(name) {
            Some(field) => self.filled(field, decode),
            None => {
                if !fields.misspelt.contains(name) {
                    self.note(fields.at, &fields.path(name), missing);
                }
                None
            }
        }
    }

    fn filled<'t, T>(
        &mut self,
        field: &Field<'t>,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        if field.node.is_null() {
            self.note(field.at, &field.key, Mistake::new("is empty").hint("give it a value or leave the key out"));
            return None;
        }
        decode(self, field)
    }

    /// The items of a list, which may be empty.
    pub fn list<'t>(&mut self, field: &Field<'t>) -> Option<Vec<Field<'t>>> {
        let Value::List(nodes) = &field.node.value else {
            return self.refuse(field, self.kind_mistake(field.node, Wanted::List));
        };
        let item = |(i, node): (usize, &'t Node)| Field { key: format!("{}[{i}]", field.key), at: node.place, node };
        let items: Vec<_> = nodes.iter().enumerate().map(item).collect();
        self.places.extend(items.iter().map(|item| (item.key.clone(), item.at)));
        Some(items)
    }

    /// The items of a list that must have some.
    pub fn some_list<'t>(&mut self, field: &Field<'t>) -> Option<Vec<Field<'t>>> {
        let items = self.list(field)?;
        if items.is_empty() {
            return self.refuse(field, Mistake::new("is an empty list").hint("name at least one"));
        }
        Some(items)
    }

    /// Items, each decoded; all are, so that all their problems are found.
    pub fn each<'t, T>(
        &mut self,
        items: Vec<Field<'t>>,
        mut decode: impl FnMut(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let decoded: Vec<Option<T>> = items.iter().map(|item| decode(self, item)).collect();
        decoded.into_iter().collect()
    }

    /// As [`Self::each`]; equal items are a problem.
    pub fn each_once<'t, T: PartialEq>(
        &mut self,
        items: Vec<Field<'t>>,
        mut decode: impl FnMut(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut seen: Vec<T> = Vec::new();
        let count = items.len();
        for item in items {
            let Some(value) = decode(self, &item) else { continue };
            if seen.contains(&value) {
                self.note(item.at, &item.key, Mistake::new("is given twice").hint("remove one"));
            }
            seen.push(value);
        }
        (seen.len() == count).then_some(seen)
    }

    /// The items of a list, each parsed; equal items are a problem.
    pub fn list_of<T: PartialEq>(
        &mut self,
        field: &Field<'_>,
        parse: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Option<Vec<T>> {
        let items = self.list(field)?;
        self.each_once(items, |d, item| d.parsed(item, &parse))
    }

    /// As [`Self::list_of`], and not empty.
    pub fn some_list_of<T: PartialEq>(
        &mut self,
        field: &Field<'_>,
        parse: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Option<Vec<T>> {
        let items = self.some_list(field)?;
        self.each_once(items, |d, item| d.parsed(item, &parse))
    }

    /// Text as written: in a format with types of its own (TOML) a string, in one without (YAML) any scalar.
    pub fn text<'t>(&mut self, field: &Field<'t>) -> Option<&'t str> {
        match &field.node.value {
            Value::Scalar { text, kind: Kind::Plain | Kind::Quoted } => Some(text),
            _ => self.refuse(field, self.kind_mistake(field.node, Wanted::Text)),
        }
    }

    /// Text or a whole number.
    pub fn text_or_number<'t>(&mut self, field: &Field<'t>) -> Option<&'t str> {
        match &field.node.value {
            Value::Scalar { text, kind: Kind::Integer } => Some(text),
            _ => self.text(field),
        }
    }

    /// Text, checked and taken apart by `parse`.
    pub fn parsed<T>(&mut self, field: &Field<'_>, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        let outcome = parse(self.text(field)?);
        self.accept(field, outcome)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        match &field.node.value {
            Value::Scalar { text, kind: Kind::Plain | Kind::Boolean } if text == "true" => Some(true),
            Value::Scalar { text, kind: Kind::Plain | Kind::Boolean } if text == "false" => Some(false),
            Value::Scalar { .. } => self.refuse(field, "must be true or false, without quotes"),
            _ => self.refuse(field, self.kind_mistake(field.node, Wanted::Boolean)),
        }
    }

    /// A whole number between the bounds.
    pub fn number(&mut self, field: &Field<'_>, least: u32, most: u32) -> Option<u32> {
        let text = self.text_or_number(field)?;
        // `parse` would take "+1"; a port of "0x1f" or "1e3" is refused rather than guessed.
        let number = text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ if most == u32::MAX => self.refuse(field, format!("must be a whole number of at least {least}")),
            _ => self.refuse(field, format!("must be a whole number from {least} to {most}")),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let shown = self.shown(text);
        self.refuse(field, Mistake::new(format!("{shown} is not one of {}", names.join(", "))))
    }

    /// What a value is, when it should have been something else. Never says its content.
    fn kind_mistake(&self, node: &Node, wanted: Wanted) -> Mistake {
        let (map, text) = if self.is_definition { ("a table", "a string") } else { ("a map", "one value") };
        let is = match &node.value {
            Value::Scalar { kind: Kind::Plain, .. } => "one value",
            Value::Scalar { kind: Kind::Quoted, .. } => text,
            Value::Scalar { kind: Kind::Integer, .. } => "a whole number",
            Value::Scalar { kind: Kind::Fraction, .. } => "a number with a fraction",
            Value::Scalar { kind: Kind::Boolean, .. } => "true or false",
            Value::Scalar { kind: Kind::Date, .. } => "a date",
            Value::List(_) => "a list",
            Value::Map(_) => map,
        };
        let must_be = match wanted {
            Wanted::Map => map,
            Wanted::List => "a list",
            Wanted::Text => text,
            Wanted::Boolean => "true or false",
        };
        let mistake = Mistake::new(format!("is {is}, must be {must_be}"));
        match (&node.value, wanted) {
            (Value::Scalar { .. }, Wanted::List) => mistake.hint("put it in brackets: [VALUE]"),
            (Value::Scalar { .. }, Wanted::Text) => mistake.hint("put it in quotes"),
            (Value::Map(entries), Wanted::Text) if entries.iter().all(|entry| entry.node.is_null()) => {
                mistake.hint("a template's {{ … }} that was not filled in reads so too")
            }
            _ => mistake,
        }
    }

    /// A word of the text as messages may repeat it.
    fn shown(&self, word: &str) -> String {
        if self.is_definition { quoted(word) } else { unless_secret(word) }
    }

    /// A key as paths may show it: in quotes when it is no plain word.
    fn shown_key(&self, key: &str) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match self.is_definition {
            true if !key.is_empty() && key.len() <= 80 && key.bytes().all(plain) => key.to_owned(),
            true => quoted(key),
            false if key == "<<" => key.to_owned(),
            false => unless_secret(key).trim_matches('"').to_owned(),
        }
    }
}

/// What a value should have been.
#[derive(Clone, Copy)]
enum Wanted {
    Map,
    List,
    Text,
    Boolean,
}
