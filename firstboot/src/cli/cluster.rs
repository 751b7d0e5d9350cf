//! `habuild-firstboot cluster`: the nodes that the share has seen.
#![expect(clippy::print_stderr, reason = "what cannot be read is named beside what can")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Machine, print, said};
use crate::host::Host;
use crate::share::{self, Stamp, nodes};
use crate::steps::proof;
use crate::trouble::Trouble;

#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(flatten)]
    machine: Machine,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
    /// Remove what a node that is gone for good has left
    #[arg(long, value_name = "INSTANCE")]
    forget: Option<String>,
}

pub(super) fn run(args: &Cluster) -> ExitCode {
    match text(args) {
        Ok(text) => print(&text).map_or_else(|code| code, |()| ExitCode::SUCCESS),
        Err(trouble) => said(&trouble),
    }
}

fn text(args: &Cluster) -> Result<String, Trouble> {
    let host = Host::new(&args.machine.root);
    let expected = proof::proved(&host)?;
    let share = Path::new(&expected.mountpoint);
    let failed = |error: std::io::Error| Trouble::passing(format!("{}: {error}", share.display()));
    if let Some(instance) = &args.forget {
        return match nodes::forget(&host, share, instance).map_err(failed)? {
            true => Ok(format!("{instance}: forgotten; a node that still runs is seen again at its next proof\n")),
            false => Err(Trouble::lasting(format!("{instance}: no node of that instance id was seen"))
                .hint("habuild-firstboot cluster lists them")),
        };
    }
    let stamp = share::stamp(&host.below(share)).map_err(failed)?;
    let stamp = stamp.map_err(|what| Trouble::lasting(format!("{}/{what}", share.display())))?;
    let (nodes, wrong) = nodes::all(&host, share).map_err(failed)?;
    for what in wrong {
        eprintln!("{what}");
    }
    if args.json {
        let object = json!({ "schema": 1, "stamp": stamp, "nodes": nodes });
        return Ok(serde_json::to_string_pretty(&object).unwrap_or_default() + "\n");
    }
    Ok(table(stamp.as_ref(), &nodes, host.now().as_secs(), &expected.instance))
}

/// For people.
fn table(stamp: Option<&Stamp>, nodes: &[nodes::Seen], now: u64, own: &str) -> String {
    let mut text = match stamp {
        Some(Stamp { cluster, harbor, instance, .. }) => {
            format!("cluster {cluster}, Harbor {harbor} (since {instance})\n")
        }
        None => "no stamp: no node has come to terms with this share yet\n".to_owned(),
    };
    for nodes::Seen { instance, name, harbor, image, seen, .. } in nodes {
        let image = image.as_deref().map_or("-", |hash| hash.get(..12).unwrap_or(hash));
        let this = if instance == own { "  this node" } else { "" };
        // Whatever somebody wrote there must not speak to the terminal.
        let [instance, name, harbor, image] = [instance, name, harbor, image].map(plain);
        let _ = writeln!(text, "{instance:<24} {name:<20} {harbor:<12} {image:<12} {}{this}", ago(now, *seen));
    }
    text
}

fn plain(word: &str) -> String {
    word.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// By the clock of whoever asks: the other's may differ.
fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        let times = [(1000, 990, "10 s ago"), (1000, 1005, "0 s ago"), (1000, 700, "5 min ago")];
        for (now, then, expected) in times.into_iter().chain([(9000, 0, "2 h ago"), (400_000, 0, "4 days ago")]) {
            assert_eq!(ago(now, then), expected);
        }
        assert!(table(None, &[], 0, "i-1").starts_with("no stamp"));
        let stamp = Stamp::new("hub", "v1.1.2", "i-1", "aa");
        let root = tempfile::tempdir().unwrap();
        let mut node = nodes::Seen::now(&Host::new(root.path()), "i-1", "v1.1.2");
        node.seen = 70;
        let text = table(Some(&stamp), &[node], 100, "i-1");
        assert!(text.starts_with("cluster hub, Harbor v1.1.2 (since i-1)\ni-1 "), "{text}");
        assert!(text.ends_with("30 s ago  this node\n"), "{text}");
    }
}
