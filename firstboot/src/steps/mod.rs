//! What a boot does, step by step: from cloud-init's data to a Harbor that is ready.
//!
//! Each step takes what the ones before it found out, is idempotent, and is named in every message about it. What may
//! pass is tried again until it does; what cannot pass ends the boot's work, and the node stays up and says why.

mod certificates;
pub(crate) mod fstab;
mod identity;
mod metadata;
mod preflight;
pub(crate) mod proof;
mod ready;
mod runner;
mod secrets;
mod served;
mod start;
mod storage;

use std::path::Path;

use contract::harbor;

use crate::configure::{self, Cluster};
use crate::host::Host;
use crate::secrets::Answers;
use crate::status::State;
pub(crate) use metadata::{Found, find};
pub(crate) use runner::Ended;
use runner::Runner;
pub(crate) use storage::systemctl;

/// Carries out a boot and stays, to bring Harbor back when its share returns. Returns when nothing more can be done.
pub(crate) fn run(host: &Host, config: &Path) -> Ended {
    let mut runner = Runner::new(host);
    loop {
        if let Err(ended) = once(&mut runner, host, config) {
            return ended;
        }
        // Below another root there is no service whose end could be waited for.
        if host.is_test() {
            return Ended::Done;
        }
        start::until_share_is_gone(host);
        runner.again();
    }
}

fn once(runner: &mut Runner<'_>, host: &Host, path: &Path) -> Result<(), Ended> {
    if !host.exists(path) {
        return Err(runner.idle(path));
    }
    let (node, disk) = runner.step("metadata", |_| {
        let node = metadata::read(host, path)?;
        let disk = identity::settle(host, &node.instance)?;
        Ok((node, disk))
    })?;
    let metadata::Node { instance, config, bundle, warnings } = node;
    if let identity::Disk::CopyOf(other) = disk {
        return Err(runner.copied(&other, &instance));
    }
    runner.known(&instance, &config, &bundle, warnings);
    let answers = Answers::default();
    let secrets = runner.step("secrets", |waited| secrets::resolve(host, &config, &instance, &answers, waited))?;
    runner.degraded(&secrets.reasons);
    let secrets = secrets.resolved;
    let share = runner.step("storage", |_| storage::prepare(host, &config, &secrets, &instance))?;
    let database = runner.step("preflight", |_| preflight::check(host, &config, &secrets, &bundle, &share))?;
    runner.degraded(&database.doubts);
    let data = format!("{}/data", share.mountpoint);
    let shared = runner.step("certificates", |_| {
        certificates::settle(host, &config, &secrets, &bundle, &instance, &database, &share)
    })?;
    let digest = runner.step("configure", |_| {
        let settings = host.read(Path::new(&format!("{data}/config/config.json"))).map(|content| content.bytes).ok();
        let cluster =
            Cluster { shared: &shared, reset: harbor::must_reset(&config, &bundle.version, settings.as_deref()) };
        configure::apply(host, &config, &bundle, &secrets, &cluster, &data)
    })?;
    runner.step("start", |_| start::harbor(host, &digest))?;
    runner.step("ready", |_| ready::check(&config, &bundle))?;
    runner.finish(State::Ready, &config);
    Ok(())
}
