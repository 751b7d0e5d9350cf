//! Live lines on a terminal: one for each step under way, below the lines of what is done.
//!
//! On a terminal that cannot move its cursor (`TERM=dumb`) there are none, and the other lines stay.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::say::tell;

/// How often the seconds of a step are brought up to date.
const TICK: Duration = Duration::from_millis(500);

/// The live lines.
#[derive(Debug, Default)]
pub(super) struct Live {
    lines: MultiProgress,
    /// By the name of the step, which is what its progress is told by, and its stage.
    running: Mutex<BTreeMap<(String, String), ProgressBar>>,
}

impl Live {
    /// Adds a line for a step that begins.
    pub(super) fn start(&self, stage: &str, name: &str) {
        let line = self.lines.add(ProgressBar::no_length().with_style(style()));
        line.set_message(format!("{stage:>9} {name} …"));
        line.enable_steady_tick(TICK);
        let before = self.running().insert((name.to_owned(), stage.to_owned()), line);
        self.remove(before);
    }

    /// Says how far a step has come.
    pub(super) fn progress(&self, name: &str, how_far: &str) {
        for ((_, stage), line) in self.running().iter().filter(|((other, _), _)| other == name) {
            line.set_message(format!("{stage:>9} {name} {how_far}"));
        }
    }

    /// Removes the line of a step that is over.
    pub(super) fn done(&self, stage: &str, name: &str) {
        let line = self.running().remove(&(name.to_owned(), stage.to_owned()));
        self.remove(line);
    }

    /// Writes a line that stays, above the live ones.
    pub(super) fn say(&self, text: &str) {
        self.lines.suspend(|| tell(format_args!("{text}")));
    }

    fn remove(&self, line: Option<ProgressBar>) {
        if let Some(line) = line {
            line.finish_and_clear();
            self.lines.remove(&line);
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The step, cut to the terminal's width, and its seconds at the right edge. Without colours: there is one kind of line.
fn style() -> ProgressStyle {
    let seconds = |state: &ProgressState, text: &mut dyn Write| {
        // A line that lacks its seconds is still a line.
        let _ = write!(text, "{} s", state.elapsed().as_secs());
    };
    let style = ProgressStyle::with_template("{wide_msg} {seconds:>6}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("seconds", seconds)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal of 20 columns.
    #[derive(Debug, Default, Clone)]
    struct Screen(Arc<Mutex<Rows>>);

    #[derive(Debug, Default)]
    struct Rows {
        rows: Vec<String>,
        cursor: usize,
        /// What was to be seen when a drawing was complete.
        shown: Vec<String>,
    }

    impl Screen {
        fn with(&self, change: impl FnOnce(&mut Rows)) -> io::Result<()> {
            change(&mut self.0.lock().unwrap());
            Ok(())
        }

        fn shown(&self) -> Vec<String> {
            self.0.lock().unwrap().shown.clone()
        }

        /// The rows without their seconds.
        fn steps(&self) -> Vec<String> {
            self.shown().iter().map(|row| row.chars().take(13).collect::<String>().trim_end().to_owned()).collect()
        }
    }

    impl Rows {
        fn row(&mut self) -> &mut String {
            self.rows.resize(self.rows.len().max(self.cursor + 1), String::new());
            &mut self.rows[self.cursor]
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            20
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.with(|rows| rows.cursor -= n)
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.with(|rows| rows.cursor += n)
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.with(|rows| rows.cursor += 1)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.with(|rows| {
                for c in text.chars() {
                    if rows.row().chars().count() == 20 {
                        rows.cursor += 1;
                    }
                    rows.row().push(c);
                }
            })
        }
        fn clear_line(&self) -> io::Result<()> {
            self.with(|rows| rows.row().clear())
        }
        fn flush(&self) -> io::Result<()> {
            self.with(|rows| rows.shown = rows.rows.iter().filter(|row| !row.trim().is_empty()).cloned().collect())
        }
    }

    #[test]
    fn steps_side_by_side_have_lines_of_their_own() {
        let screen = Screen::default();
        let live = Live::default();
        live.lines.set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        live.start("bake", "a");
        live.start("bake", "packages");
        // Cut to the terminal's width, with the seconds at its edge.
        assert!(screen.shown().iter().all(|row| row.len() >= 20 && row.ends_with(" s")), "{:?}", screen.shown());
        assert_eq!(screen.steps(), ["     bake a …", "     bake pac"]);
        live.say("a line between");
        live.progress("a", "4 %");
        live.progress("other", "46 %");
        assert_eq!(screen.steps(), ["     bake a 4", "     bake pac"]);
        live.done("bake", "a");
        live.done("bake", "other");
        assert_eq!(screen.steps(), ["     bake pac"]);
        live.done("bake", "packages");
        assert_eq!(screen.steps(), [""; 0]);
    }
}
