//! What to do with Harbor's containers next. Pure: what Docker says and the time go in, decisions come out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::host::docker::Container;

/// The longest pause before a container is started again.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that has run for that long has recovered.
const RECOVERED: Duration = Duration::from_secs(120);

/// What is remembered of a container.
#[derive(Debug, Clone, Default)]
struct Record {
    /// Starts in a row after which it did not stay up.
    failures: u32,
    /// How often it was started again in all.
    restarts: u32,
    /// When it was last started.
    started: Option<Duration>,
}

/// The containers in the order of their start, and what is remembered of them.
#[derive(Debug)]
pub(crate) struct Plan {
    order: Vec<String>,
    records: BTreeMap<String, Record>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start these, in this order.
    Start(Vec<String>),
    /// Nothing until then, or until something happens.
    Wait(Duration),
    /// A container is gone altogether: have Compose make it.
    Create,
}

impl Plan {
    /// `order`: names of containers, each behind those that it needs.
    pub(crate) fn new(order: Vec<String>) -> Self {
        Self { order, records: BTreeMap::new() }
    }

    pub(crate) fn order(&self) -> &[String] {
        &self.order
    }

    pub(crate) fn restarts(&self, name: &str) -> u32 {
        self.records.get(name).map_or(0, |record| record.restarts)
    }

    /// Decides, at `now` (any clock that only goes forward).
    pub(crate) fn next(&mut self, now: Duration, containers: &[Container]) -> Next {
        let mut due = Vec::new();
        let mut soonest = LONGEST;
        for name in &self.order {
            let Some(container) = containers.iter().find(|container| container.name == *name) else {
                return Next::Create;
            };
            let record = self.records.entry(name.clone()).or_default();
            if container.runs() {
                let up = record.started.is_none_or(|started| now.saturating_sub(started) >= RECOVERED);
                if up {
                    record.failures = 0;
                }
                continue;
            }
            let pause = pause(record.failures);
            let from = record.started.map_or(Duration::ZERO, |started| started + pause);
            if from <= now {
                due.push(name.clone());
            } else {
                soonest = soonest.min(from - now);
            }
        }
        if due.is_empty() { Next::Wait(soonest) } else { Next::Start(due) }
    }

    /// Notes that a container was started, whether it came up or not.
    pub(crate) fn started(&mut self, name: &str, now: Duration) {
        let record = self.records.entry(name.to_owned()).or_default();
        if record.started.is_some() {
            record.restarts += 1;
        }
        record.failures = record.failures.saturating_add(1);
        record.started = Some(now);
    }
}

/// Nothing before the first start, then 1, 2, 4 … seconds.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => Duration::from_secs(1 << (failures - 1).min(6)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(states: &[(&str, &str)]) -> Vec<Container> {
        let one = |(name, state): &(&str, &str)| Container {
            name: (*name).to_owned(),
            state: (*state).to_owned(),
            status: String::new(),
        };
        states.iter().map(one).collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn plan() -> Plan {
        Plan::new(["db", "a", "b"].map(str::to_owned).to_vec())
    }

    fn start(names: &[&str]) -> Next {
        Next::Start(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn all_that_do_not_run_in_order() {
        let mut plan = plan();
        let created = containers(&[("b", "created"), ("a", "created"), ("db", "created")]);
        assert_eq!(plan.next(at(0), &created), start(&["db", "a", "b"]));
        plan.started("db", at(0));
        let up = containers(&[("b", "created"), ("a", "created"), ("db", "running")]);
        assert_eq!(plan.next(at(0), &up), start(&["a", "b"]));
        let all = containers(&[("db", "running"), ("a", "running"), ("b", "running")]);
        assert_eq!(plan.next(at(1), &all), Next::Wait(LONGEST));
    }

    #[test]
    fn what_exits_is_started_again_ever_more_slowly() {
        let mut plan = plan();
        let states = containers(&[("db", "running"), ("a", "exited"), ("b", "running")]);
        let mut now = at(0);
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(plan.next(now, &states), start(&["a"]), "{now:?}");
            plan.started("a", now);
            assert_eq!(plan.next(now, &states), Next::Wait(at(wait)), "{now:?}");
            now += at(wait);
        }
        assert_eq!(plan.restarts("a"), 7);
        assert_eq!(plan.restarts("b"), 0);
    }

    #[test]
    fn what_stays_up_has_recovered() {
        let mut plan = plan();
        let down = containers(&[("db", "running"), ("a", "exited"), ("b", "running")]);
        let up = containers(&[("db", "running"), ("a", "running"), ("b", "running")]);
        for now in [0, 1, 3] {
            assert_eq!(plan.next(at(now), &down), start(&["a"]));
            plan.started("a", at(now));
        }
        plan.next(at(4), &up);
        assert_eq!(plan.next(at(5), &down), Next::Wait(at(2)), "it was up for a moment only");
        plan.next(at(130), &up);
        assert_eq!(plan.next(at(131), &down), start(&["a"]));
        plan.started("a", at(131));
        assert_eq!(plan.next(at(131), &down), Next::Wait(at(1)));
    }

    #[test]
    fn a_container_that_is_gone_is_made_again() {
        let mut plan = plan();
        assert_eq!(plan.next(at(0), &containers(&[("db", "running"), ("a", "running")])), Next::Create);
    }
}
