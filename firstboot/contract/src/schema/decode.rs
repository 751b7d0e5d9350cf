//! The collecting decoder: takes typed values out of the tree and notes every problem on the way.
//!
//! Invariant: a function that gives `None` has noted at least one problem, so that nothing is left out silently.

use std::collections::BTreeMap;

use super::literal;
use super::problem::{Place, Places, Problem, Wrong, quoted, wrong};
use super::secret::{Scheme, SecretValue};
use super::tree::{Node, Value};

/// A value, its dotted key path and where its key stands.
#[derive(Clone)]
pub(super) struct Field<'t> {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) node: &'t Node,
}

/// The entries of one map.
pub(super) struct Fields<'t> {
    key: String,
    at: Place,
    entries: BTreeMap<&'t str, Field<'t>>,
}

impl Fields<'_> {
    /// The dotted path of a key in this map.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.key, name)
    }

    /// Whether the key was given, right or wrong.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }
}

/// A port that this node listens on.
pub(super) struct NodePort {
    /// Whether it was given; otherwise it is the default.
    pub(super) given: bool,
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) place: Place,
}

/// What was noted so far.
#[derive(Default)]
pub(super) struct Decoder {
    pub(super) problems: Vec<Problem>,
    pub(super) places: Places,
    /// Keys whose references need `secret_stores.vault`.
    pub(super) vault_users: Vec<(Place, String)>,
    /// Ports that this node listens on.
    pub(super) node_ports: Vec<NodePort>,
}

impl Decoder {
    /// Notes a problem at a place.
    pub(super) fn note(&mut self, place: Place, key: &str, refusal: impl Into<Wrong>) {
        self.problems.push(Problem::new(place, key, refusal));
    }

    /// Notes what is wrong with a value; gives `None` for the caller to return.
    pub(super) fn refuse<T>(&mut self, field: &Field<'_>, refusal: impl Into<Wrong>) -> Option<T> {
        self.note(field.node.place, &field.key, refusal);
        None
    }

    /// The value or, with what is wrong with it noted, nothing.
    pub(super) fn accept<T>(&mut self, field: &Field<'_>, outcome: Result<T, Wrong>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(refusal) => self.refuse(field, refusal),
        }
    }

    /// A map with these keys and no others.
    pub(super) fn fields<'t>(&mut self, field: &Field<'t>, known: &[&str]) -> Option<Fields<'t>> {
        let fields = self.any_fields(field)?;
        for (&name, entry) in &fields.entries {
            if !known.contains(&name) {
                let refusal = if name == "<<" { wrong("merge keys are not read here") } else { wrong("unknown key") };
                self.note(entry.at, &entry.key, refusal.did_you_mean(name, known));
            }
        }
        Some(fields)
    }

    /// A map with whatever keys.
    pub(super) fn any_fields<'t>(&mut self, field: &Field<'t>) -> Option<Fields<'t>> {
        let Value::Map(entries) = &field.node.value else {
            return self.refuse(field, kind_refusal(field.node, "a map"));
        };
        let mut fields = Fields { key: field.key.clone(), at: field.at, entries: BTreeMap::new() };
        for entry in entries {
            let key = join(&field.key, &shown_key(&entry.key));
            if let Some(first) = fields.entries.get(entry.key.as_str()) {
                let refusal = format!("is given twice; first on line {}", first.at.line);
                self.note(entry.place, &key, refusal);
                continue;
            }
            self.places.insert(key.clone(), entry.place);
            fields.entries.insert(&entry.key, Field { key, at: entry.place, node: &entry.node });
        }
        Some(fields)
    }

    /// Every entry of a map with whatever keys: name and value.
    pub(super) fn entries<'t>(&mut self, field: &Field<'t>) -> Option<Vec<(&'t str, Field<'t>)>> {
        Some(self.any_fields(field)?.entries.into_iter().collect())
    }

    /// A value that must be there.
    pub(super) fn need<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        match fields.entries.get(name) {
            Some(field) => self.filled(field, decode),
            None => {
                self.note(fields.at, &fields.path(name), "is missing");
                None
            }
        }
    }

    /// A value that may be left out.
    pub(super) fn maybe<'t, T>(
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
    pub(super) fn or<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        default: T,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        Some(self.maybe(fields, name, decode)?.unwrap_or(default))
    }

    /// Notes that a key has no business here; true when it was given.
    pub(super) fn unwanted(&mut self, fields: &Fields<'_>, name: &str, refusal: impl Into<Wrong>) -> bool {
        let Some(field) = fields.entries.get(name) else { return false };
        self.note(field.at, &field.key, refusal);
        true
    }

    fn filled<'t, T>(
        &mut self,
        field: &Field<'t>,
        decode: impl FnOnce(&mut Self, &Field<'t>) -> Option<T>,
    ) -> Option<T> {
        if let Value::Scalar { text, plain: true } = &field.node.value
            && matches!(text.as_str(), "" | "~" | "null")
        {
            self.note(field.at, &field.key, wrong("is empty").hint("give it a value or leave the key out"));
            return None;
        }
        decode(self, field)
    }

    /// The items of a list.
    pub(super) fn list<'t>(&mut self, field: &Field<'t>) -> Option<Vec<Field<'t>>> {
        let Value::List(nodes) = &field.node.value else {
            return self.refuse(field, kind_refusal(field.node, "a list"));
        };
        let item = |(i, node): (usize, &'t Node)| Field { key: format!("{}[{i}]", field.key), at: node.place, node };
        let items: Vec<_> = nodes.iter().enumerate().map(item).collect();
        self.places.extend(items.iter().map(|item| (item.key.clone(), item.at)));
        Some(items)
    }

    /// The items of a list, each parsed; equal items are a problem.
    pub(super) fn list_of<T: PartialEq>(
        &mut self,
        field: &Field<'_>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let items = self.list(field)?;
        let count = items.len();
        let mut parsed: Vec<T> = Vec::new();
        for item in &items {
            let Some(value) = self.parsed(item, &parse) else { continue };
            if parsed.contains(&value) {
                self.note(item.at, &item.key, "is given twice");
            }
            parsed.push(value);
        }
        (parsed.len() == count).then_some(parsed)
    }

    /// A scalar as written, quoted or not.
    pub(super) fn text<'t>(&mut self, field: &Field<'t>) -> Option<&'t str> {
        match &field.node.value {
            Value::Scalar { text, .. } => Some(text),
            _ => self.refuse(field, kind_refusal(field.node, "one value")),
        }
    }

    /// A scalar, checked and taken apart by `parse`.
    pub(super) fn parsed<T>(&mut self, field: &Field<'_>, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        let outcome = parse(self.text(field)?);
        self.accept(field, outcome)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        match &field.node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            Value::Scalar { .. } => self.refuse(field, "must be true or false, without quotes"),
            _ => self.refuse(field, kind_refusal(field.node, "true or false")),
        }
    }

    /// A whole number between the bounds.
    pub(super) fn number(&mut self, field: &Field<'_>, least: u32, most: u32) -> Option<u32> {
        let text = self.text(field)?;
        // `parse` would take "+1"; a port of "0x1f" or "1e3" is refused rather than guessed.
        let number = text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        match number {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ if most == u32::MAX => self.refuse(field, format!("must be a whole number of at least {least}")),
            _ => self.refuse(field, format!("must be a whole number from {least} to {most}")),
        }
    }

    /// A port.
    pub(super) fn port(&mut self, field: &Field<'_>) -> Option<u16> {
        self.number(field, 1, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
    }

    /// Notes that this node will listen on a port.
    pub(super) fn listens(&mut self, fields: &Fields<'_>, name: &str, port: Option<u16>) {
        let Some(port) = port else { return };
        let place = fields.entries.get(name).map_or(fields.at, |field| field.node.place);
        self.node_ports.push(NodePort { given: fields.has(name), port, key: fields.path(name), place });
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.refuse(field, wrong(format!("{} is not one of {}", quoted(text), names.join(", "))))
    }

    /// A literal or a reference; a literal is judged by its key's rule.
    pub(super) fn secret(&mut self, field: &Field<'_>) -> Option<SecretValue> {
        let value = self.parsed(field, SecretValue::parse)?;
        match &value {
            SecretValue::Literal(literal) => {
                let outcome = literal::check(&field.key, literal.expose());
                self.accept(field, outcome)?;
            }
            SecretValue::Reference(reference) if reference.scheme() == Scheme::Vault => {
                self.vault_users.push((field.node.place, field.key.clone()));
            }
            SecretValue::Reference(_) => {}
        }
        Some(value)
    }
}

/// What a value is, when it should have been something else. Never says its content.
fn kind_refusal(node: &Node, wanted: &str) -> Wrong {
    let (is, hint) = match (&node.value, wanted) {
        (Value::Scalar { .. }, "a list") => ("one value", Some("put it in brackets: [VALUE]")),
        (Value::Scalar { .. }, _) => ("one value", None),
        (Value::List(_), _) => ("a list", None),
        (Value::Map(_), "one value") => ("a map", Some("a template's {{ … }} that was not filled in reads so too")),
        (Value::Map(_), _) => ("a map", None),
    };
    let refusal = wrong(format!("is {is}, must be {wanted}"));
    match hint {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

/// A key as paths may show it.
fn shown_key(key: &str) -> String {
    let shown = quoted(key);
    if key == "<<" { key.to_owned() } else { shown.trim_matches('"').to_owned() }
}
