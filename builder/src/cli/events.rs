//! What a person or a program sees of a build: one JSON event a line, live lines on a terminal, or plain lines.
#![expect(clippy::disallowed_methods, reason = "an event says when it happened; no artifact sees it")]

use std::fmt;
use std::io::IsTerminal as _;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::live::Live;
use super::say::{say, tell};

/// Who listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A program: JSON lines on standard output and nothing else there.
    Json,
    /// A person at a terminal.
    Terminal,
    /// A log file.
    Plain,
}

impl Mode {
    /// JSON when asked for; else by what standard error is.
    #[must_use]
    pub(super) fn choose(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::Terminal,
            (false, false) => Self::Plain,
        }
    }
}

/// Starts listening. `verbose` also shows each line that tools print.
pub(super) fn listen(mode: Mode, verbose: bool) {
    let speaker = Speaker { mode, verbose, live: (mode == Mode::Terminal).then(Live::default) };
    // A second call in one process (tests) keeps the first listener.
    let _ = tracing_subscriber::registry().with(speaker).try_init();
}

#[derive(Debug)]
struct Speaker {
    mode: Mode,
    verbose: bool,
    /// At a terminal, what is under way.
    live: Option<Live>,
}

/// The fields of habuild's own events.
#[derive(Debug, Default)]
struct Fields {
    event: String,
    stage: String,
    name: String,
    result: String,
    message: String,
    seconds: Option<f64>,
    done: u64,
    total: u64,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let slot = match field.name() {
            "event" => &mut self.event,
            "stage" => &mut self.stage,
            "name" => &mut self.name,
            "result" => &mut self.result,
            "message" => &mut self.message,
            _ => return,
        };
        value.clone_into(slot);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "seconds" {
            self.seconds = Some(value);
        }
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "done" => self.done = value,
            "total" => self.total = value,
            _ => {}
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// One line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: String,
    event: &'a str,
    stage: &'a str,
    name: &'a str,
    result: &'a str,
    seconds: Option<f64>,
    message: &'a str,
}

impl<S: Subscriber> Layer<S> for Speaker {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        if !target.starts_with("habuild") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        match target {
            "habuild::event" => self.step(&fields),
            "habuild::progress" => self.progress(&fields),
            "habuild::log" => self.log(&fields.message),
            _ => self.say(*event.metadata().level(), &fields.message),
        }
    }
}

impl Speaker {
    fn step(&self, fields: &Fields) {
        if self.mode == Mode::Json {
            self.json(fields);
            return;
        }
        let Fields { stage, name, result, message, .. } = fields;
        if fields.event == "start" {
            if let Some(live) = &self.live {
                live.start(stage, name);
            }
            return;
        }
        if let Some(live) = &self.live {
            live.done(stage, name);
        }
        let seconds = fields.seconds.filter(|seconds| *seconds >= 0.05).map_or(String::new(), |s| format!(" {s:.1} s"));
        let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
        self.line(&format!("{stage:>9} {name}: {result}{seconds}{message}"));
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn progress(&self, fields: &Fields) {
        let Some(live) = self.live.as_ref().filter(|_| fields.total > 0) else { return };
        let percent = 100.0 * fields.done as f64 / fields.total as f64;
        let total = crate::report::size(fields.total);
        live.progress(&fields.name, &format!("{percent:3.0} % of {total}"));
    }

    fn log(&self, message: &str) {
        if self.verbose && self.mode != Mode::Json {
            self.line(&format!("          | {message}"));
        }
    }

    fn say(&self, level: Level, message: &str) {
        if level > Level::INFO && !self.verbose {
            return;
        }
        let word = if level <= Level::WARN { "warning" } else { "note" };
        if self.mode == Mode::Json {
            self.json(&Fields { event: word.into(), message: message.into(), ..Fields::default() });
        } else {
            self.line(&format!("{word}: {message}"));
        }
    }

    fn json(&self, fields: &Fields) {
        let Fields { event, stage, name, result, seconds, message, .. } = fields;
        let line = Line { time: now(), event, stage, name, result, seconds: *seconds, message };
        if let Ok(text) = serde_json::to_string(&line) {
            say(format_args!("{text}"));
        }
    }

    fn line(&self, text: &str) {
        match &self.live {
            Some(live) => live.say(text),
            None => tell(format_args!("{text}")),
        }
    }
}

/// Now, as RFC 3339 in UTC with milliseconds.
fn now() -> String {
    Timestamp::try_from(SystemTime::now()).map(rfc3339).unwrap_or_default()
}

fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times() {
        let text = |milliseconds| rfc3339(Timestamp::from_millisecond(milliseconds).unwrap());
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(1_582_934_400_007), "2020-02-29T00:00:00.007Z");
        assert_eq!(text(1_714_057_833_999), "2024-04-25T15:10:33.999Z");
    }
}
