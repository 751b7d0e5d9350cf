//! A strict reader over a TOML tree: it collects every problem with its place and never returns at the first.
//!
//! No serde derive: that stops at the first mistake, and loses the place of a key that is missing or unknown.
//! Invariant: where a method answers `None`, a problem was added or the key is absent and optional.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::Source;
use crate::report::{Problem, Report};
use contract::strict::{Mistake, nearest};

/// The problems found in one source so far.
#[derive(Debug)]
pub(crate) struct Problems<'s> {
    source: &'s Source<'s>,
    found: RefCell<Report>,
}

impl<'s> Problems<'s> {
    /// None so far.
    pub(crate) fn new(source: &'s Source<'s>) -> Self {
        Self { source, found: RefCell::default() }
    }

    /// Adds one.
    pub(crate) fn add(&self, offset: usize, key: &str, mistake: Mistake) {
        self.found.borrow_mut().push(self.source.problem(offset, key, mistake));
    }

    /// Adds one that a caller has placed.
    pub(crate) fn push(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    /// Everything found.
    pub(crate) fn into_report(self) -> Report {
        self.found.into_inner()
    }

    /// The document's root, to be read.
    pub(crate) fn root<'t>(&'t self, entries: &'t DeTable<'t>) -> Table<'t> {
        Table {
            entries,
            at: 0,
            path: String::new(),
            problems: self,
            asked: RefCell::default(),
            missing: RefCell::default(),
        }
    }
}

/// A table being read. [`Table::finish`] must follow: it finds the keys that are unknown and those that are missing.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    at: usize,
    path: String,
    problems: &'t Problems<'t>,
    asked: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl<'t> Table<'t> {
    /// The value of an optional key.
    pub(crate) fn get(&self, key: &'static str) -> Option<Node<'t>> {
        self.asked.borrow_mut().push(key);
        self.entries.get_key_value(key).map(|(key, value)| self.node(key, value))
    }

    /// The value of a key that must be there; `example` is a line that would do. [`Table::finish`] tells its absence.
    pub(crate) fn required(&self, key: &'static str, example: &str) -> Option<Node<'t>> {
        let node = self.get(key);
        if node.is_none() {
            self.missing.borrow_mut().push((key, format!("add {example}")));
        }
        node
    }

    /// Every entry of a table whose keys are data, with the keys' text, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(&'t str, Node<'t>)> {
        let mut entries: Vec<_> =
            self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), self.node(key, value))).collect();
        entries.sort_by_key(|(_, node)| node.key_at);
        entries
    }

    /// Whether [`Table::finish`] is going to report something.
    pub(crate) fn has_unknown_keys(&self) -> bool {
        let asked = self.asked.borrow();
        self.entries.keys().any(|key| !asked.contains(&key.get_ref().as_ref()))
    }

    /// Adds a problem of the table as a whole.
    pub(crate) fn refuse(&self, mistake: Mistake) {
        self.problems.add(self.at, &self.path, mistake);
    }

    /// Reports every key that was not asked for, and every required one that is absent. A misspelt required key is
    /// one mistake, not two.
    pub(crate) fn finish(self) {
        let asked = self.asked.into_inner();
        let mut missing = self.missing.into_inner();
        for key in self.entries.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let hint = match nearest(name, asked.iter().copied()) {
                Some(near) => {
                    missing.retain(|(key, _)| *key != near);
                    format!("did you mean {near:?}?")
                }
                None => format!("known here: {}", asked.join(", ")),
            };
            self.problems.add(key.span().start, &join(&self.path, name), Mistake::new("unknown key").hint(hint));
        }
        for (key, hint) in missing {
            self.problems.add(self.at, &join(&self.path, key), Mistake::new("missing").hint(hint));
        }
    }

    fn node(&self, key: &Spanned<std::borrow::Cow<'t, str>>, value: &'t Spanned<DeValue<'t>>) -> Node<'t> {
        Node {
            value: value.get_ref(),
            at: value.span().start,
            key_at: key.span().start,
            path: join(&self.path, key.get_ref()),
            problems: self.problems,
        }
    }
}

/// A value being read, with its place and its dotted path.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    value: &'t DeValue<'t>,
    at: usize,
    key_at: usize,
    path: String,
    problems: &'t Problems<'t>,
}

impl<'t> Node<'t> {
    /// Adds a problem of this value.
    pub(crate) fn refuse(&self, mistake: Mistake) {
        self.problems.add(self.at, &self.path, mistake);
    }

    /// Adds a problem of this value's key.
    pub(crate) fn refuse_key(&self, mistake: Mistake) {
        self.problems.add(self.key_at, &self.path, mistake);
    }

    /// A string.
    pub(crate) fn string(&self) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong_type("a string", None),
        }
    }

    /// The string, if it is one, without a word when it is not: for a second look at a value.
    pub(crate) fn string_quietly(&self) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        }
    }

    /// A string that `parse` accepts.
    pub(crate) fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        self.accept(parse(self.string()?))
    }

    /// A string that `parse` accepts; a value of another type is answered with an example of one that is right.
    pub(crate) fn parse_like<T>(&self, example: &str, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        match self.value {
            DeValue::String(text) => self.accept(parse(text)),
            _ => self.wrong_type("a string", Some(format!("such as {example}"))),
        }
    }

    /// A string or a whole number, as text.
    pub(crate) fn parse_number_or_string<T>(&self, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        match self.value {
            DeValue::String(text) => self.accept(parse(text)),
            DeValue::Integer(_) => self.accept(parse(&self.whole_number()?.to_string())),
            _ => self.wrong_type("a string or a whole number", None),
        }
    }

    /// A string that is not empty and has no control characters: text for people.
    pub(crate) fn text(&self) -> Option<String> {
        self.parse(|text| match text {
            _ if text.trim().is_empty() => Err(Mistake::new("must not be empty")),
            _ if text.chars().any(char::is_control) => Err(Mistake::new("must be one line without control characters")),
            _ => Ok(text.to_owned()),
        })
    }

    /// A whole number, not negative.
    pub(crate) fn whole_number(&self) -> Option<u64> {
        match self.value {
            DeValue::Integer(number) => {
                let value = u64::from_str_radix(number.as_str(), number.radix());
                self.accept(value.map_err(|_| {
                    let fault = if number.as_str().starts_with('-') { "negative" } else { "too large" };
                    Mistake::new(format!("{number} is {fault}"))
                }))
            }
            _ => self.wrong_type("a whole number", None),
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_type("true or false", None),
        }
    }

    /// A table.
    pub(crate) fn table(&self) -> Option<Table<'t>> {
        match self.value {
            DeValue::Table(entries) => Some(Table {
                entries,
                at: self.key_at,
                path: self.path.clone(),
                problems: self.problems,
                asked: RefCell::default(),
                missing: RefCell::default(),
            }),
            _ => self.wrong_type("a table", None),
        }
    }

    /// The items of a list, which may be empty.
    pub(crate) fn items(&self) -> Option<Vec<Node<'t>>> {
        let DeValue::Array(array) = self.value else {
            return self.wrong_type("a list", None);
        };
        let items = array.iter().enumerate().map(|(i, item)| Node {
            value: item.get_ref(),
            at: item.span().start,
            key_at: item.span().start,
            path: format!("{}[{i}]", self.path),
            problems: self.problems,
        });
        Some(items.collect())
    }

    /// The items of a list that must not be empty, each read by `read`.
    pub(crate) fn list<T>(&self, read: impl FnMut(&Node<'t>) -> Option<T>) -> Option<Vec<T>> {
        let items = self.items()?;
        if items.is_empty() {
            self.refuse(Mistake::new("the list is empty").hint("name at least one"));
            return None;
        }
        all(items.iter().map(read))
    }

    /// The items of a list without doubles; whether it may be empty is the caller's to say, by [`Node::list`].
    pub(crate) fn set<T: Ord + Clone>(&self, mut read: impl FnMut(&Node<'t>) -> Option<T>) -> Option<Vec<T>> {
        let mut seen = BTreeSet::new();
        all(self.items()?.iter().map(|item| {
            let value = read(item)?;
            if seen.insert(value.clone()) {
                return Some(value);
            }
            item.refuse(Mistake::new(format!("{} stands here twice", item.shown())).hint("remove one"));
            None
        }))
    }

    /// As [`Node::set`], and not empty.
    pub(crate) fn non_empty_set<T: Ord + Clone>(&self, read: impl FnMut(&Node<'t>) -> Option<T>) -> Option<Vec<T>> {
        if matches!(self.value, DeValue::Array(array) if array.is_empty()) {
            return self.list(|_| None);
        }
        self.set(read)
    }

    /// Takes a result, or adds its mistake as a problem of this value.
    pub(crate) fn accept<T>(&self, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.refuse(mistake)).ok()
    }

    fn wrong_type<T>(&self, wanted: &str, hint: Option<String>) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(true) => "true",
            DeValue::Boolean(false) => "false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let message = format!("expected {wanted}, found {found}");
        self.refuse(Mistake { message, hint });
        None
    }

    fn shown(&self) -> String {
        match self.value {
            DeValue::String(text) => contract::strict::quoted(text),
            _ => "this value".to_owned(),
        }
    }
}

/// Every value, or `None` when one is missing; all are read either way, so that all their problems are found.
fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    values.collect::<Vec<_>>().into_iter().collect()
}

/// A dotted path, with the quotes that TOML wants around a key that is not bare.
fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let mut joined = path.to_owned();
    if !joined.is_empty() {
        joined.push('.');
    }
    if bare && key.len() <= 80 {
        joined.push_str(key);
    } else {
        let _ = write!(joined, "{}", contract::strict::quoted(key));
    }
    joined
}
