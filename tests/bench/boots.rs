//! What a boot costs, from power-on to what the console says: `HABUILD_NEW_IMAGE` alone, or next to `HABUILD_OLD_IMAGE`. The
//! first one and the next, under BIOS and under UEFI. Boots alternate, as every run of the bench does.
//!
//! Processor seconds of the emulator stand beside the wall's: on a busy host they say more.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use habuild::sys::cmd::Running;

use crate::boot::{children, command};

/// What is waited for, and the words of its line. The initrd says the first one too: the last such line counts.
const EVENTS: [(&str, [&str; 2]); 4] = [
    ("sysinit", ["Reached target", "System Initialization"]),
    ("Docker", ["Started", "Docker Application Container Engine"]),
    ("multi-user", ["Reached target", "Multi-User System"]),
    ("ready", ["habuild: ", "ready"]),
];

/// Seconds since power-on and processor seconds, for each of [`EVENTS`].
pub(crate) type Boot = [Option<(f64, f64)>; EVENTS.len()];

/// The images that the environment names: the one to measure, and the one to measure it against.
pub(crate) fn images() -> Option<Vec<PathBuf>> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    let new = path("HABUILD_NEW_IMAGE")?;
    Some(path("HABUILD_OLD_IMAGE").into_iter().chain([new]).collect())
}

/// What a machine does once Harbor is ready: it starts again, and the second time it is switched off.
const AGAIN: &str = "[Service]
ExecStart=/bin/sh -c 'until habuild-firstboot status --wait >/dev/null; do sleep 1; done; \
if test -e /var/lib/again; then systemctl poweroff; else touch /var/lib/again; systemctl reboot; fi'
[Install]
WantedBy=multi-user.target
";

/// Says on the console what systemd says there in a first boot only: later its login prompt is there first, and systemd is silent.
fn says(words: [&str; 2], after: &str) -> String {
    let words = words.join(" ");
    format!(
        "[Unit]\nDefaultDependencies=no\nAfter={after}\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo {words} >/dev/console'\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// What the table is called: `boots`, and behind it what the measured image's name has beyond the default image's.
pub(crate) fn name(images: &[PathBuf]) -> String {
    let stem = images.last().and_then(|image| image.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    format!("boots{}", stem.as_deref().and_then(|stem| stem.strip_prefix("harbor-node")).unwrap_or_default())
}

/// Boots each of `images` twice under each firmware, `runs` times, in turn; the table of medians, the first image against the last.
pub(crate) fn table(images: &[PathBuf], runs: usize) -> String {
    let dir = tempfile::tempdir().unwrap();
    let user_data = dir.path().join("user-data");
    let files = habuild::boot::trial("http://harbor.test", 80, "Trial-12345-of-the-bench");
    let [_, (_, docker), (_, multi_user), _] = EVENTS;
    let units = [
        ("again", AGAIN.to_owned()),
        ("docker-says", says(docker, "docker.service")),
        ("multi-user-says", says(multi_user, "multi-user.target")),
    ];
    let unit = |(name, text): &(&str, String)| {
        format!(
            "  - {{path: /etc/systemd/system/{name}.service, content: {}}}\n",
            serde_json::Value::from(text.as_str())
        )
    };
    let again = format!(
        "#cloud-config\n{files}{}runcmd:\n  - [systemctl, enable, docker-says.service, multi-user-says.service]\n  \
         - [systemctl, enable, --now, --no-block, again.service]\n",
        units.iter().map(unit).collect::<String>()
    );
    fs::write(&user_data, again).unwrap();
    let mut table =
        String::from("| boot, from power-on to | old | new | new next to old | processor |\n|---|---|---|---|---|\n");
    for firmware in ["bios", "uefi"] {
        let mut boots: Vec<Vec<[Boot; 2]>> = vec![Vec::new(); images.len()];
        for run in 0..runs {
            for (image, boots) in images.iter().zip(&mut boots) {
                let both = twice(image, &["--firmware", firmware, "--user-data", user_data.to_str().unwrap()]);
                for (boot, which) in both.iter().zip(["first", "next"]) {
                    let image = image.display();
                    println!("{which} boot {} of {runs}, {firmware}, {image}: {}", run + 1, line(boot));
                }
                boots.push(both);
            }
        }
        for (number, which) in ["first", "next"].into_iter().enumerate() {
            let of = |boots: &[[Boot; 2]]| boots.iter().map(|both| both[number]).collect::<Vec<_>>();
            table += &rows(&format!("{which}, {firmware}"), &of(&boots[0]), &of(&boots[boots.len() - 1]));
        }
    }
    table
}

fn rows(kind: &str, old: &[Boot], new: &[Boot]) -> String {
    let row = |(index, (name, _)): (usize, &(&str, _))| {
        let of = |boots: &[Boot], pick: fn((f64, f64)) -> f64| {
            super::median(&boots.iter().map(|boot| boot[index].map_or(f64::NAN, pick)).collect::<Vec<_>>())
        };
        let (wall, processor) = (|both: (f64, f64)| both.0, |both: (f64, f64)| both.1);
        // Not every console says everything.
        if of(old, wall).is_nan() || of(new, wall).is_nan() {
            return String::new();
        }
        format!(
            "| {kind}: {name} | {:.0} s | {:.0} s | {:.2} × | {:.2} × |\n",
            of(old, wall),
            of(new, wall),
            of(new, wall) / of(old, wall),
            of(new, processor) / of(old, processor)
        )
    };
    EVENTS.iter().enumerate().map(row).collect()
}

fn line(boot: &Boot) -> String {
    let said = EVENTS.iter().zip(boot).map(|((name, _), times)| match times {
        Some((wall, processor)) => format!("{name} {wall:.1} s ({processor:.1} s of processor)"),
        None => format!("{name} never"),
    });
    said.collect::<Vec<_>>().join(", ")
}

/// Boots `image` with these arguments; `hear` gets each line of the console.
pub(crate) fn boot(image: &Path, arguments: &[&str], hear: &mut dyn FnMut(&str)) -> Boot {
    let [first, _] = listen(image, arguments, hear);
    first
}

/// Boots `image`, which starts again by itself.
fn twice(image: &Path, arguments: &[&str]) -> [Boot; 2] {
    listen(image, arguments, &mut |_| ())
}

/// What the console says of a machine's boots, each counted from where the one before ended.
fn listen(image: &Path, arguments: &[&str], hear: &mut dyn FnMut(&str)) -> [Boot; 2] {
    let mut begun = (Instant::now(), 0.0);
    let mut child = command(image).args(arguments).spawn().unwrap();
    let mut boots = [Boot::default(); 2];
    let mut number = 0;
    let mut console = BufReader::new(child.stdout().unwrap());
    // Bytes, since firmware writes what is no text.
    let mut bytes = Vec::new();
    while console.read_until(b'\n', &mut bytes).unwrap() > 0 {
        let said = String::from_utf8_lossy(&bytes).into_owned();
        hear(&said);
        if said.contains("reboot: Restarting system") && number == 0 {
            number = 1;
            begun = (Instant::now(), processor(&child));
        }
        for (event, (_, words)) in boots[number].iter_mut().zip(EVENTS) {
            if words.iter().all(|word| said.contains(word)) {
                *event = Some((begun.0.elapsed().as_secs_f64(), processor(&child) - begun.1));
            }
        }
        bytes.clear();
    }
    child.wait(&[]).unwrap_or_else(|error| panic!("{}: {error:#}", image.display()));
    boots
}

/// Processor seconds that the children of `child` have used: fields 14 and 15 of their `stat`, in hundredths.
fn processor(child: &Running) -> f64 {
    let used = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).to_owned();
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
    };
    children(child).into_iter().map(used).sum()
}
