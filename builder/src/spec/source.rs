//! The text of one definition file and of the `--set` options laid over it, and where in them an offset lies.
//!
//! Invariant: a tree that [`Source::parse`] hands out is shallow, so that walking and dropping it cannot overflow
//! the stack.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::overrides::Override;
use super::tree::{DEEPEST, is_too_deep, node};
use crate::report::{Problem, Report};
use contract::strict::{self, Mistake, Node, Place};

/// No definition is longer; a disk image named by mistake must not be read whole.
const LARGEST: u64 = 256 << 10;

/// A definition file's text with the options laid over it.
#[derive(Debug)]
pub(crate) struct Source<'o> {
    file: PathBuf,
    text: String,
    line_starts: Vec<usize>,
    overrides: &'o [Override],
}

impl<'o> Source<'o> {
    /// Reads a definition file; what keeps it from being read is a problem of that file.
    pub(crate) fn read(file: &Path, overrides: &'o [Override]) -> Result<Self, Problem> {
        Self::new(file, &Self::bytes(file)?, overrides)
    }

    /// The bytes of a file that is no longer than a definition may be.
    pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, Problem> {
        let whole = |mistake: Mistake| placed(file, (0, 0), "", mistake);
        if file.is_dir() {
            return Err(whole(Mistake::new("is a directory, not a file").hint("name the .toml file in it")));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(file)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| whole(Mistake::new(format!("cannot be read: {error}"))))?;
        if bytes.len() as u64 > LARGEST {
            return Err(whole(
                Mistake::new(format!("is longer than {} KiB", LARGEST >> 10)).hint("is this a definition file at all?"),
            ));
        }
        Ok(bytes)
    }

    /// A source from the bytes of a file.
    pub(crate) fn new(file: &Path, bytes: &[u8], overrides: &'o [Override]) -> Result<Self, Problem> {
        // Some editors write a byte-order mark; nobody sees it, so it must not shift a column.
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let (text, fault) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), None),
            Err(error) => {
                let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
                (String::from_utf8_lossy(good).into_owned(), Some(error.valid_up_to()))
            }
        };
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let source = Self { file: file.to_owned(), text, line_starts, overrides };
        match fault {
            None => Ok(source),
            Some(at) => Err(source.problem(at, "", Mistake::new("not UTF-8 text").hint("save the file as UTF-8"))),
        }
    }

    /// The file, as the person named it.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The text, without a byte-order mark.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Parses the text and lays the options over it.
    pub(crate) fn parse(&self) -> Result<Node, Problem> {
        let (root, errors) = DeTable::parse_recoverable(&self.text);
        let root = DeValue::Table(root.into_inner());
        let deep = is_too_deep(&root);
        let problem = match errors.first() {
            // Later syntax errors are often echoes of the first.
            Some(error) => {
                let span = error.span().unwrap_or(0..0);
                Some(self.problem(span.start, "", syntax_mistake(error.message(), self.text.get(span))))
            }
            None if deep => Some(self.problem(0, "", too_deep())),
            None => None,
        };
        if deep {
            // Dropping the tree recurses once a level, which overflows the stack; the process ends soon.
            std::mem::forget(root);
            return Err(problem.unwrap_or_else(|| self.problem(0, "", too_deep())));
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        let mut tree = node(&root, Place { line: 1, column: 1 }, &|offset| self.place(offset));
        for (i, option) in self.overrides.iter().enumerate() {
            option.lay_over(&mut tree, Place { line: self.line_starts.len() + 1 + i, column: 0 });
        }
        Ok(tree)
    }

    /// What a reader of the tree noted, with this file or the option named.
    pub(crate) fn report(&self, problems: Vec<strict::Problem>) -> Report {
        let placed = |problem: strict::Problem| {
            let strict::Problem { line, column, key, message, hint } = problem;
            // Lines beyond the text belong to the options, one each.
            match line.checked_sub(self.line_starts.len() + 1).and_then(|i| self.overrides.get(i)) {
                Some(option) => {
                    let key = if option.given == format!("--set {key}") { "" } else { key.as_str() };
                    placed(&option.given, (0, 0), key, Mistake { message, hint })
                }
                None => placed(&self.file, (line, column), &key, Mistake { message, hint }),
            }
        };
        Report { problems: problems.into_iter().map(placed).collect() }
    }

    fn problem(&self, offset: usize, key: &str, mistake: Mistake) -> Problem {
        let Place { line, column } = self.place(offset);
        placed(&self.file, (line, column), key, mistake)
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|i| self.line_starts.get(i)).copied().unwrap_or(0);
        let before = self.text.get(start..offset.min(self.text.len())).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }
}

/// A mistake at a place, (0, 0) being the file as a whole.
pub(crate) fn placed(file: impl Into<PathBuf>, place: (usize, usize), key: &str, mistake: Mistake) -> Problem {
    let (line, column) = place;
    Problem { file: file.into(), line, column, key: key.to_owned(), message: mistake.message, hint: mistake.hint }
}

/// Puts the parser's message into habuild's words where a newcomer meets it often.
fn syntax_mistake(message: &str, found: Option<&str>) -> Mistake {
    match (message, found) {
        ("duplicate key", Some(key)) => {
            Mistake::new(format!("the key {} stands here twice", key.trim())).hint("merge the two")
        }
        _ => Mistake::new(format!("not TOML: {message}")),
    }
}

fn too_deep() -> Mistake {
    Mistake::new(format!("nests deeper than {DEEPEST} levels")).hint("is this a definition file at all?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax_problem(bytes: &[u8]) -> Problem {
        let source = Source::new(Path::new("x.toml"), bytes, &[]).expect("this is UTF-8");
        source.parse().expect_err("this must be refused")
    }

    #[test]
    fn places_count_characters_and_lines() {
        let source = Source::new(Path::new("x.toml"), "é = 1\r\nab = 2".as_bytes(), &[]).expect("this is UTF-8");
        let place = |offset| {
            let Place { line, column } = source.place(offset);
            (line, column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(3), (1, 3));
        assert_eq!(place(8), (2, 1));
        assert_eq!(place(14), (2, 7));
        assert_eq!(place(usize::MAX), (2, 7));
    }

    #[test]
    fn hostile_depth_is_a_problem_and_not_a_crash() {
        let dotted = "a.".repeat(60_000) + "a";
        // Each below a bound of the parser, and their product far above ours.
        let (key, levels) = ("a.".repeat(78) + "a", 78);
        let both = format!("[{key}]\n{key} = ") + &format!("{{ {key} = ").repeat(levels) + "1" + &"}".repeat(levels);
        for text in [
            "[".repeat(64 << 10),
            "a = ".to_owned() + &"[".repeat(64 << 10),
            "a = ".to_owned() + &"{a=".repeat(20 << 10),
            format!("[{dotted}]"),
            format!("{dotted} = 1"),
            format!("[{dotted}]\nx = ["),
            format!("x = {{ {dotted} = 1 }}"),
            format!("[[{dotted}]]"),
            both,
        ] {
            let said = syntax_problem(text.as_bytes()).to_string();
            assert!(said.len() < 300, "{said}");
        }
    }

    #[test]
    fn a_repeated_key_is_named() {
        let problem = syntax_problem(b"name = \"a\"\nname = \"b\"\n");
        assert_eq!(problem.to_string(), "x.toml:2:1: the key name stands here twice (merge the two)");
    }
}
