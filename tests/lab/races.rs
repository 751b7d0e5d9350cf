//! Two machines, each with a kernel client of its own, settle on one directory after another at the same moment; and each
//! of them has its plug pulled on the way.

use std::time::{Duration, Instant};

use super::cluster::mounted_whole;
use super::place::{told, within};
use crate::machine::Node;

const ROUNDS: u32 = 300;
const TIME: Duration = Duration::from_secs(3600);

/// Settles with a directory as soon as the other machine is there too. Goes on where it was, after a power cut.
const LOOP: &str = r#"me=$1 other=$2 rounds=$3 i=0
while [ "$i" -lt "$rounds" ]; do
    d=/run/whole/races/$i i=$((i + 1))
    [ ! -s "$d/answer-$me" ] || continue
    mkdir -p "$d/share"
    : > "$d/$me"
    until [ -e "$d/$other" ]; do sleep 0.01; done
    habuild-firstboot settle --bits 512 --instance "$me" --share "$d/share" > "$d/draft-$me" || exit 1
    mv "$d/draft-$me" "$d/answer-$me"
done"#;

/// Says each round that did not end in one complete set of secrets that both machines took.
const JUDGE: &str = r#"cd /run/whole/races || exit 1
for d in *; do
    digest=$(sha256sum < "$d/share/.habuild/secrets.json" | cut -d' ' -f1)
    names=$(ls "$d/share/.habuild" | grep -v '[.]draft-' | tr '\n' ' ')
    [ "$names" = 'cluster-0001.json secrets.json ' ] || echo "round $d: $names"
    grep -q "$digest" "$d/share/.habuild/cluster-0001.json" || echo "round $d: the stamp names other secrets"
    [ "$(cat "$d/answer-a" "$d/answer-b" | sort -u)" = "$digest" ] || echo "round $d: a machine took other secrets"
done
echo "rounds: $(ls | wc -l)""#;

/// Lets both machines race; pulls the plug of one after a third of the rounds, and of the other after two thirds.
pub(crate) fn two_kernel_clients(a: &Node, b: &Node) {
    let begun = Instant::now();
    for (node, me, other) in [(a, "a", "b"), (b, "b", "a")] {
        begin(node, me, other);
    }
    for (count, node, me, other) in [(ROUNDS / 3, b, "b", "a"), (ROUNDS * 2 / 3, a, "a", "b")] {
        within(TIME, &format!("{count} rounds"), || rounds(node) >= count);
        node.restart("echo b > /proc/sysrq-trigger");
        begin(node, me, other);
    }
    for (node, me) in [(a, "a"), (b, "b")] {
        within(TIME, &format!("the end of {me}'s rounds"), || {
            node.root("systemctl is-active --quiet races && echo yes || echo no").unwrap().trim() == "no"
        });
        assert_eq!(node.root("systemctl show --property Result --value races").unwrap().trim(), "success");
    }
    let judged = a.root(JUDGE).unwrap();
    assert_eq!(judged.trim(), format!("rounds: {ROUNDS}"));
    told("two kernel clients race, each loses power once", "one complete set each time", begun);
}

fn begin(node: &Node, me: &str, other: &str) {
    mounted_whole(node);
    let script = format!(
        "cat > /run/races.sh <<'END'\n{LOOP}\nEND\nmkdir -p /run/whole/races
systemctl reset-failed races 2>/dev/null || :
systemd-run --quiet --unit races --property RemainAfterExit=no sh /run/races.sh {me} {other} {ROUNDS}"
    );
    node.root(&script).unwrap();
}

fn rounds(node: &Node) -> u32 {
    node.root("ls /run/whole/races | wc -l").unwrap().trim().parse().unwrap()
}
