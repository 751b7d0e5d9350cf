//! What the supervisor tells the others: `/run/habuild/harbor.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::docker::Container;

const FILE: &str = "/run/habuild/harbor.json";
/// The share is not this node's, or not any more: Harbor is stopped until somebody changes something.
pub(crate) const REFUSED: &str = "refused";

/// Harbor's containers, and what they wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// `running`, `waiting`, `stopping`, [`REFUSED`].
    pub(crate) state: String,
    /// What is waited for.
    pub(crate) message: Option<String>,
    /// In the order of Docker's list.
    pub(crate) containers: Vec<Member>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) state: String,
    /// How often it was started again since the service began.
    pub(crate) restarts: u32,
}

impl State {
    pub(super) fn new(
        word: &str,
        message: Option<String>,
        containers: &[Container],
        restarts: impl Fn(&str) -> u32,
    ) -> Self {
        let member = |container: &Container| Member {
            name: container.name.clone(),
            state: container.state.clone(),
            restarts: restarts(&container.name),
        };
        Self { state: word.to_owned(), message, containers: containers.iter().map(member).collect() }
    }

    /// That it cannot be written is no reason to stop Harbor.
    pub(super) fn write(&self, host: &Host) {
        if let Ok(text) = serde_json::to_string(self) {
            let _ = host.write(Path::new(FILE), text.as_bytes(), 0o644);
        }
    }

    pub(super) fn clear(host: &Host) {
        let _ = host.remove(Path::new(FILE));
    }
}

/// What the supervisor last told; nothing while it does not run.
pub(crate) fn read(host: &Host) -> Option<State> {
    let content = host.read(Path::new(FILE)).ok()?;
    serde_json::from_slice(&content.bytes).ok()
}
