//! Why a layer is not in the store: the first input that differs from the nearest layer that is.

/// A difference between two lists of inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The line there, in the nearest cached layer; `None` when it ends before.
    pub was: Option<String>,
    /// The line here.
    pub now: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.was, &self.now) {
            (Some(was), Some(now)) => write!(f, "was \"{was}\", now \"{now}\""),
            (None, Some(now)) => write!(f, "new: \"{now}\""),
            (Some(was), None) => write!(f, "gone: \"{was}\""),
            (None, None) => f.write_str("no difference"),
        }
    }
}

/// The first difference between `inputs` and the one of `cached` that shares the most lines with it.
#[must_use]
pub(crate) fn first_difference<'a>(inputs: &str, cached: impl Iterator<Item = &'a str>) -> Option<Difference> {
    let own: Vec<&str> = inputs.lines().collect();
    let nearest = cached
        .map(|text| text.lines().collect::<Vec<&str>>())
        .max_by_key(|other| own.iter().filter(|line| other.contains(line)).count())?;
    let at = own.iter().zip(&nearest).position(|(a, b)| a != b).unwrap_or(own.len().min(nearest.len()));
    let (mut was, mut now) = (nearest.get(at), own.get(at));
    // Sorted lists: a line that is only here or only there has no partner to be compared with.
    if let (Some(old), Some(new)) = (was, now) {
        let word = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        if word(old) != word(new) {
            if nearest.contains(new) {
                now = None;
            } else if own.contains(old) {
                was = None;
            }
        }
    }
    Some(Difference { was: was.map(ToString::to_string), now: now.map(ToString::to_string) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_line_that_differs_from_the_nearest() {
        let far = "layer a\nepoch 1\npackage x 9\n";
        let near = "layer a\nepoch 2\npackage x 1\nfile /y 0644 00\n";
        let say = |inputs: &str| first_difference(inputs, [far, near].into_iter()).unwrap().to_string();
        assert_eq!(say("layer a\nepoch 2\npackage x 2\nfile /y 0644 00\n"), "was \"package x 1\", now \"package x 2\"");
        assert_eq!(say("layer a\nepoch 2\npackage w 1\npackage x 1\nfile /y 0644 00\n"), "new: \"package w 1\"");
        assert_eq!(say("layer a\nepoch 2\nfile /y 0644 00\n"), "gone: \"package x 1\"");
        assert_eq!(first_difference("layer a\n", std::iter::empty()), None);
    }
}
