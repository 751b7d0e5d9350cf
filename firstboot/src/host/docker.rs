//! Docker and Compose, called through their command lines: one place knows that Compose has two names.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use contract::harbor::Compose;
use serde_json::Value;

use crate::host::Host;
use crate::host::command::CommandError;
use crate::trouble::Trouble;

/// The rendered configuration.
pub(crate) const WORK: &str = "/var/lib/habuild/harbor";
/// The compose file.
pub(crate) const COMPOSE: &str = "/var/lib/habuild/harbor/docker-compose.yml";
/// Compose's name for what belongs together; the label on every container of ours.
const PROJECT: &str = "harbor";
/// Selects our containers.
pub(crate) const OURS: &str = "label=com.docker.compose.project=harbor";

/// Docker may just be starting, or clearing up after a power cut.
const TIME: Duration = Duration::from_secs(180);

/// A container as Docker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// `created`, `running`, `restarting`, `paused`, `exited`, `dead`, `removing`.
    pub(crate) state: String,
    /// Docker's own words, such as `Exited (1) 3 seconds ago`.
    pub(crate) status: String,
}

impl Container {
    pub(crate) fn runs(&self) -> bool {
        self.state == "running"
    }

    /// Whether it has processes, be they held still.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting")
    }
}

/// Which Compose is here. The plug-in is the one that is kept up to date; Debian 12 has only the older program.
pub(crate) fn kind(host: &Host) -> Compose {
    let plugins =
        ["/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins"];
    let plugin = plugins.iter().any(|at| host.exists(&Path::new(at).join("docker-compose")));
    if plugin { Compose::V2 } else { Compose::V1 }
}

/// Runs Compose on the node's compose file.
fn compose(host: &Host, args: &[&str]) -> Result<Vec<u8>, CommandError> {
    let common = ["--project-name", PROJECT, "--file", COMPOSE];
    let command = match kind(host) {
        Compose::V2 => host.command("docker").args(["compose"]),
        Compose::V1 => host.command("docker-compose"),
    };
    command.args(common).args(args).directory(host.below(Path::new(WORK))).time(TIME).run()
}

/// Has Compose read the compose file.
pub(crate) fn check(host: &Host) -> Result<(), Trouble> {
    compose(host, &["config", "--quiet"]).map(|_| ()).map_err(|error| {
        Trouble::lasting(format!("Compose refuses {COMPOSE}: {error}"))
            .hint("the bundle's docker-compose.yml is of an unknown kind: bake another bundle")
    })
}

/// Runs a program of an image once, with directories of the machine in it and no network; the image is never fetched.
pub(crate) fn run_once(host: &Host, image: &str, binds: &[(String, &str)], args: &[&str]) -> Result<(), CommandError> {
    let binds: Vec<String> =
        binds.iter().flat_map(|(from, to)| ["--volume".to_owned(), format!("{from}:{to}")]).collect();
    let options = ["run", "--rm", "--pull", "never", "--network", "none"];
    host.command("docker").args(options).args(binds).args([image]).args(args).time(TIME).run().map(|_| ())
}

/// Makes the containers that are missing or changed, and removes those of services that are gone. Starts none.
pub(crate) fn create(host: &Host) -> Result<(), CommandError> {
    compose(host, &["up", "--no-start", "--remove-orphans", "--no-build"]).map(|_| ())
}

/// Our containers.
pub(crate) fn containers(host: &Host) -> Result<Vec<Container>, CommandError> {
    let format = "{{json .}}";
    let text = host.command("docker").args(["ps", "--all", "--filter", OURS, "--format", format]).text()?;
    Ok(parse_containers(&text))
}

fn parse_containers(text: &str) -> Vec<Container> {
    let one = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Container { name: text("Names")?, state: text("State")?, status: text("Status").unwrap_or_default() })
    };
    text.lines().filter_map(one).collect()
}

/// Starts one container that is in `state`. What was held still goes on; what Docker calls dead can only be made anew.
pub(crate) fn start(host: &Host, name: &str, state: Option<&str>) -> Result<(), CommandError> {
    let verb: &[&str] = match state {
        Some("paused") => &["unpause"],
        Some("dead") => &["rm", "--force"],
        _ => &["start"],
    };
    host.command("docker").args(verb).args([name]).time(TIME).run().map(|_| ())
}

/// How long a container gets to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grace {
    /// As long as the compose file says: open requests and running jobs come to their end.
    Own,
    /// Ten seconds.
    Short,
}

/// More than the compose file gives to any container.
const LONGEST_GRACE: Duration = Duration::from_secs(20 * 60);

/// Stops one container; kills it when its time is over.
pub(crate) fn stop(host: &Host, container: &Container, grace: Grace) -> Result<(), CommandError> {
    let name = container.name.as_str();
    if container.state == "paused" {
        host.command("docker").args(["unpause", name]).run()?;
    }
    match grace {
        Grace::Short => host.command("docker").args(["stop", "-t", "10", name]).run(),
        Grace::Own => host.command("docker").args(["stop", name]).time(LONGEST_GRACE).run(),
    }
    .map(|_| ())
}

/// The address of each container that runs, in the first of Docker's networks that it is in.
pub(crate) fn addresses(host: &Host, names: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let format = "{{.Name}}{{range .NetworkSettings.Networks}} {{.IPAddress}}{{end}}";
    let text =
        host.command("docker").args(["inspect", "--type", "container", "--format", format]).args(names).text()?;
    Ok(parse_addresses(&text))
}

fn parse_addresses(text: &str) -> BTreeMap<String, String> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.trim_start_matches('/').to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_as_docker_20_lists_them() {
        let text = r#"{"Command":"\"/x\"","ID":"1","Names":"harbor-log","State":"running","Status":"Up 2 minutes"}
{"ID":"2","Names":"nginx","State":"exited","Status":"Exited (1) 3 seconds ago"}
warning: x
"#;
        let containers = parse_containers(text);
        assert_eq!(containers.len(), 2);
        assert!(containers[0].runs() && !containers[1].runs());
        assert_eq!(containers[1].status, "Exited (1) 3 seconds ago");
    }

    #[test]
    fn addresses_of_those_that_run() {
        let found = parse_addresses("/harbor-core 172.18.0.3\n/nginx 172.18.0.5 172.19.0.2\n/registry\n/portal \n");
        let expected = [("harbor-core", "172.18.0.3"), ("nginx", "172.18.0.5")];
        assert_eq!(found, expected.map(|(name, at)| (name.to_owned(), at.to_owned())).into());
    }
}
