//! From YAML text to a tree that knows where everything stands.
//!
//! A node config is a small subset of YAML: one document of maps with word keys, lists and scalars. What lies outside
//! (anchors, aliases, tags, several documents) is refused, so that no input can grow when it is read.
//!
//! Invariant: bounded in depth and size, whatever the text; a scalar is kept as it was written, since `off`, `no` and
//! `0123` mean what they say.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};

use super::{Entry, Kind, Mistake, Node, Place, Problem, Value};

/// The largest text that is read. Clouds allow 16 to 64 KiB of user-data.
pub(crate) const SIZE_LIMIT: usize = 256 * 1024;

/// The deepest nesting: the schema needs 4, Harbor's own settings a few more.
const DEPTH_LIMIT: usize = 32;

/// Reads one document; the root may be of any kind.
pub(crate) fn read(text: &str) -> Result<Node, Problem> {
    if text.len() > SIZE_LIMIT {
        let message = format!("is larger than {} KiB, which no node config is", SIZE_LIMIT / 1024);
        return Err(Problem::new(Place::default(), "", message));
    }
    if text.starts_with('\u{feff}') {
        let refusal = Mistake::new("begins with a byte order mark").hint("save it as UTF-8 without BOM");
        return Err(Problem::new(Place { line: 1, column: 1 }, "", refusal));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_LIMIT,
        block_nesting_limit: DEPTH_LIMIT,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        builder.take(event, place).map_err(|refusal| Problem::new(place, "", refusal))?;
    }
    let empty = || Mistake::new("is empty").hint("a node config begins with version: 1");
    builder.root.ok_or_else(|| Problem::new(Place::default(), "", empty()))
}

/// What is being read: open lists and maps from the root down, and the keys whose values are still to come.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
}

struct Open {
    node: Node,
    key: Option<(Place, String)>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Mistake> {
        if event.anchor_id().is_some_and(|id| id > 0) || event.is_alias() {
            return Err(Mistake::new("anchors and aliases are not read here").hint("write the value out at each place"));
        }
        if event.tag().is_some() {
            return Err(Mistake::new("tags such as !!str are not read here").hint("put the value in quotes instead"));
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Mistake::new("a second document begins here").hint("a node config is one document: remove the ---"))
            }
            Event::Scalar(text, style, ..) => {
                let kind = if matches!(style, ScalarStyle::Plain) { Kind::Plain } else { Kind::Quoted };
                self.close(Node { place, value: Value::Scalar { text: text.into_owned(), kind } })
            }
            Event::SequenceStart(..) => self.open(Node { place, value: Value::List(Vec::new()) }),
            Event::MappingStart(..) => self.open(Node { place, value: Value::Map(Vec::new()) }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.close(done.node),
                None => Err(Mistake::new("not valid YAML: a list or map ends that never began")),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node) -> Result<(), Mistake> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(too_deep());
        }
        if self.open.last().is_some_and(|open| matches!(open.node.value, Value::Map(_)) && open.key.is_none()) {
            return Err(odd_key());
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// A value is complete: it becomes the root, an item, a key, or the value of the key before it.
    fn close(&mut self, node: Node) -> Result<(), Mistake> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some((place, key)) => entries.push(Entry { place, key, node }),
                None => match node.value {
                    Value::Scalar { text, .. } => open.key = Some((node.place, text)),
                    _ => return Err(odd_key()),
                },
            },
            Value::Scalar { .. } => {}
        }
        Ok(())
    }
}

fn odd_key() -> Mistake {
    Mistake::new("a key must be one word, not a list or a map")
        .hint("a template's {{ … }} that was not filled in reads so too")
}

fn too_deep() -> Mistake {
    Mistake::new(format!("is nested deeper than {DEPTH_LIMIT} levels"))
}

fn syntax(error: &ScanError) -> Problem {
    let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
    let refusal = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        // Unknown anchors come before the builder can refuse them.
        ErrorKind::UnknownAnchor => {
            Mistake::new("anchors and aliases are not read here").hint("a value that begins with * needs quotes")
        }
        ErrorKind::DirectiveDisallowed => {
            Mistake::new("% directives are not read here").hint("a value that begins with % needs quotes")
        }
        kind => {
            let refusal = Mistake::new(format!("not valid YAML: {kind}"));
            match advice(kind) {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            }
        }
    };
    Problem::new(place, "", refusal)
}

fn advice(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "indent with spaces",
        ErrorKind::UnexpectedCharacter { .. } => "a value that begins with this character needs quotes",
        ErrorKind::MappingValueNotAllowed => "a value that contains \": \" needs quotes, and keys of one map line up",
        ErrorKind::SimpleKeyExpected => "write \"key: value\", with a space after the colon",
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => "keys of one map must line up",
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnknownQuotedScalarEscape => "in double quotes a \\ begins an escape: use single quotes",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match read(text) {
            Ok(_) => panic!("read: {:?}", text.chars().take(40).collect::<String>()),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn hostile_texts_give_one_clear_problem() {
        let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n";
        let cases = [
            ("", "is empty"),
            ("# only a comment\n", "is empty"),
            ("\u{feff}version: 1\n", "byte order mark"),
            (bomb, "anchors and aliases"),
            ("a: *nowhere\n", "anchors and aliases"),
            ("a: !!str 1\n", "tags"),
            ("---\na: 1\n---\nb: 1\n", "second document"),
            ("%YAML 1.2\n---\na: 1\n", "directives"),
            ("a:\n\tb: 1\n", "indent with spaces"),
            ("? [a, b]\n: 1\n", "a key must be one word"),
            ("a: {{ cluster }}\n", "a key must be one word"),
            ("a: 'open\n", "close the quote"),
            ("a: @x\n", "needs quotes"),
            ("a: b: c\n", "needs quotes"),
            ("a: \0\n", ""),
        ];
        for (text, expected) in cases {
            let problem = refusal(text);
            assert!(problem.contains(expected), "{text:?}: {problem}");
        }
        for opener in ["[", "{", "- ", "? ", "{a: ", "[[{", "a: [", "\"", "'", "&a ", "!", "|\n"] {
            let text = opener.repeat(64 * 1024 / opener.len());
            let _ = read(&text);
        }
        let steps: String = (0..2000).map(|i| format!("{}a:\n", " ".repeat(i.min(100)))).collect();
        let _ = read(&steps);
        assert!(refusal(&"x".repeat(SIZE_LIMIT + 1)).contains("larger than 256 KiB"));
    }

    #[test]
    fn scalars_stay_as_written() {
        let node = read("a: off\nb: 0123\nc: 'off'\nd:\n").unwrap();
        let Value::Map(entries) = node.value else { panic!("a map") };
        let scalars: Vec<_> = entries
            .iter()
            .map(|entry| match &entry.node.value {
                Value::Scalar { text, kind } => (entry.key.as_str(), text.as_str(), *kind == Kind::Plain),
                _ => panic!("scalars"),
            })
            .collect();
        assert_eq!(scalars, [("a", "off", true), ("b", "0123", true), ("c", "off", false), ("d", "~", true)]);
        assert_eq!(entries[2].node.place, Place { line: 3, column: 4 });
    }
}
