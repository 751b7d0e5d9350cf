//! What the YAML parser says of a file of the bundle, in words for people: a line that needs no knowledge of the parser.

use serde_saphyr::{Error, UserMessageFormatter};

/// Where it is, and what.
pub(super) fn yaml_words(error: &Error) -> String {
    let error = error.without_snippet();
    let what = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("{key:?} is given twice"),
        Error::DuplicateMappingKey { .. } => "a key is given twice".to_owned(),
        Error::SerdeMissingField { field, .. } => format!("{field:?} is missing"),
        Error::Unexpected { expected: "mapping start", .. } => "must be a map".to_owned(),
        Error::Unexpected { expected: "string scalar", .. } => "must be one value".to_owned(),
        Error::MultipleDocuments { .. } => "a second document begins there".to_owned(),
        Error::UnknownAnchor { .. } => "an alias names nothing that was written before it".to_owned(),
        Error::Eof { .. } => return "is empty".to_owned(),
        other => {
            let text = other.render_with_formatter(&UserMessageFormatter);
            let line = text.lines().next().unwrap_or_default().trim().trim_start_matches("error: ");
            // It says the place in ways of its own, before or behind.
            let rest = line.strip_prefix("line ").and_then(|line| line.split_once(": "));
            let rest = rest.map_or(line, |(_, rest)| rest);
            rest.split_once(" at line ").map_or(rest, |(rest, _)| rest).to_owned()
        }
    };
    match error.location() {
        Some(place) if place.line() > 0 => format!("line {}, column {}: {what}", place.line(), place.column()),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::super::services;

    #[test]
    fn no_word_of_the_parsers_own() {
        for (text, expected) in [
            ("services:\n  a: {}\n  b: {}\n  a: {}\n", "line 4, column 3: \"a\" is given twice"),
            ("{a: 1}", "line 1, column 2: \"services\" is missing"),
            ("services: 7", "line 1, column 11: must be a map"),
            ("services: {a: 7}", "line 1, column 15: must be a map"),
            ("services: {a: {image: [x]}}", "line 1, column 23: must be one value"),
            ("services: {}\n---\nb: 1\n", "line 3, column 1: a second document begins there"),
            ("services: *x", "line 1, column 11: an alias names nothing that was written before it"),
            ("services: {a: {image: 'x", "line 1, column 23: unclosed quote"),
            ("", "is empty"),
        ] {
            assert_eq!(services(text.as_bytes()).unwrap_err(), expected, "{text:?}");
        }
    }
}
