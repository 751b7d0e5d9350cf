//! Templates of Harbor up to 1.7: those of Python's `string.Template`, which its `prepare` renders them with.
//!
//! `$name` and `${name}` stand for a value, `$$` for a dollar sign; anything else after a dollar sign is a mistake.

use std::collections::BTreeMap;

/// Renders a template, or says what is wrong with it.
///
/// # Errors
/// A name that `values` has not got, or a dollar sign that begins nothing; with its line.
pub(super) fn substitute(template: &str, values: &BTreeMap<&str, String>) -> Result<String, String> {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        let line = || template.get(..template.len() - from.len()).unwrap_or_default().split('\n').count();
        if let Some(next) = after.strip_prefix('$') {
            out.push('$');
            rest = next;
            continue;
        }
        let (inner, closed) = match after.strip_prefix('{') {
            Some(inner) => (inner, true),
            None => (after, false),
        };
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, tail) = inner.split_at(end);
        let tail = if closed { tail.strip_prefix('}') } else { Some(tail) };
        let named = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        let Some(tail) = tail.filter(|_| named) else {
            return Err(format!("line {}: a $ that begins no name", line()));
        };
        match values.get(name) {
            Some(value) => out.push_str(value),
            None => return Err(format!("line {}: ${name} is not known", line())),
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_does() {
        let values = BTreeMap::from([("a", "1".to_owned()), ("a_b", "$a".to_owned())]);
        for (template, expected) in [
            ("", Ok("")),
            ("x", Ok("x")),
            ("$a $$a ${a}b $a_b;$a-b", Ok("1 $a 1b $a;1-b")),
            ("$$$$", Ok("$$")),
            ("one\n$b", Err("line 2: $b is not known")),
            ("$", Err("line 1: a $ that begins no name")),
            ("$1", Err("line 1: a $ that begins no name")),
            ("${a", Err("line 1: a $ that begins no name")),
            ("${}", Err("line 1: a $ that begins no name")),
            ("é$aé", Ok("é1é")),
        ] {
            let rendered = substitute(template, &values);
            assert_eq!(rendered, expected.map(str::to_owned).map_err(str::to_owned), "{template}");
        }
    }
}
