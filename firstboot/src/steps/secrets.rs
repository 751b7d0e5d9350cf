//! Step `secrets`: every reference resolved, or what an earlier boot knew, while a store is away.

use std::time::Duration;

use super::served;
use crate::host::Host;
use crate::host::journal;
use crate::secrets::{Answers, Decision, Kept, Resolved, SecretError, decide, resolve_all};
use crate::trouble::Trouble;
use contract::schema::NodeConfig;

/// The secrets, and why some are not fresh.
pub(super) struct Outcome {
    pub(super) resolved: Resolved,
    pub(super) reasons: Vec<String>,
}

/// Makes one attempt; `waited` is how long attempts have taken so far.
pub(super) fn resolve(
    host: &Host,
    config: &NodeConfig,
    instance: &str,
    answers: &Answers,
    waited: Duration,
) -> Result<Outcome, Trouble> {
    let (kept, unusable) = Kept::read(host, instance);
    let attempt = resolve_all(host, config, answers);
    for line in unusable.iter().chain(&attempt.warnings) {
        journal::say(&format!("warning: {line}"));
    }
    let (resolved, mut reasons) = match decide(&attempt.errors, &kept, waited) {
        Decision::Fresh => (attempt.resolved, Vec::new()),
        Decision::Kept { reasons } => (kept.fill(&attempt), reasons),
        Decision::Wait => return Err(told(&attempt.errors, true)),
        Decision::Fail => return Err(told(&attempt.errors, false)),
    };
    // A certificate that is renewed meanwhile is to be seen.
    reasons.extend(served::check(host, config, &resolved).inspect_err(|_| answers.forget())?);
    let written = Kept::write(host, instance, config, &resolved);
    written.map_err(|error| Trouble::passing(format!("/var/lib/habuild/instance: secrets cannot be kept: {error}")))?;
    Ok(Outcome { resolved, reasons })
}

/// The first that matters, and how many more there are; the journal has them all.
fn told(errors: &[SecretError], passing: bool) -> Trouble {
    if errors.len() > 1 {
        errors.iter().for_each(|error| journal::say(&error.to_string()));
    }
    let first = errors.iter().find(|error| error.recoverable == passing).or(errors.first());
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    let message = first.map_or(String::new(), ToString::to_string) + &more;
    if passing { Trouble::passing(message) } else { Trouble::lasting(message) }
}
