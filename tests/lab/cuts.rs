//! A node whose plug is pulled at one step of its first boot after the other.

use std::time::{Duration, Instant};

use super::place::{told, within};
use crate::machine::Node;

const TIME: Duration = Duration::from_secs(2400);
/// What the agent says when the plug is pulled: while storage is tried, just after the share was proved (preflight), while
/// the cluster's secrets are settled and certificates fetched, while Harbor starts.
const MOMENTS: [&str; 4] = ["waiting step=storage", "step storage ok", "step preflight ok", "step configure ok"];

/// Runs at each boot: takes the first of the moments that are left, and resets the machine when it has come.
const WATCH: &str = r#"list=/var/lib/cuts
read -r moment < "$list" || { echo done > "$list"; exit 0; }
[ "$moment" != done ] || exit 0
journalctl --boot --follow --lines all --output cat --unit habuild-firstboot | while read -r line; do
    case $line in
    *"$moment"*) sed 1d "$list" > "$list.draft" && sync "$list.draft" && mv "$list.draft" "$list" && sync "$list" /var/lib
        echo b > /proc/sysrq-trigger;;
    esac
done"#;

/// Begins to pull the plug of a node that waits for its share, and waits until the first time is over.
pub(crate) fn begin(node: &Node) {
    let moments = MOMENTS.join("\n");
    let script = format!(
        "set -e
cat > /var/lib/cuts.sh <<'END'\n{WATCH}\nEND
printf '%s\\n' '{moments}' > /var/lib/cuts
cat > /etc/systemd/system/cuts.service <<'END'
[Service]
ExecStart=/bin/sh /var/lib/cuts.sh
[Install]
WantedBy=multi-user.target
END
systemctl enable cuts; sync"
    );
    node.root(&script).unwrap();
    node.restart("systemctl start cuts");
}

/// Waits until the plug has been pulled at every moment, and the machine is up once more.
pub(crate) fn over(node: &Node) {
    let begun = Instant::now();
    within(TIME, "a power cut at each step", || node.root("cat /var/lib/cuts").is_ok_and(|left| left.trim() == "done"));
    told("power is cut during storage, preflight, certificates and start of a first boot", "it goes on", begun);
}
