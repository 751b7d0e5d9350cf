//! `habuild boot` itself, against disks whose boot sector writes to the serial port.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use habuild::boot::{self, Accelerator, Options, Until};
use habuild::sys::cmd::{Cmd, Running, Tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::boot::{children, command};
use crate::turns::turn;

/// What a boot sector does when it has written its text.
#[derive(Clone, Copy)]
enum Then {
    Halt,
    PowerOff,
}

/// A disk that writes `text` to the serial port.
fn disk(dir: &Path, text: &str, then: Then) -> PathBuf {
    let mut sector = vec![
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0xbe, 0x20, 0x7c, // mov si, text
        0xac, // next: lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x06, // jz done
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xeb, 0xf5, // jmp next
    ];
    if let Then::PowerOff = then {
        // done: mov dx, 0x604 (q35's PM1a control register); mov ax, 0x2000; out dx, ax
        sector.extend([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef]);
    }
    sector.extend([0xf4, 0xeb, 0xfd]); // halt: hlt; jmp halt
    sector.resize(0x20, 0);
    sector.extend(text.bytes());
    assert!(sector.len() < 510, "the text is too long for a boot sector");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    let path = dir.join("disk.raw");
    fs::write(&path, sector).unwrap();
    path
}

fn options(image: &Path) -> Options {
    Options {
        until: Some(Until::Login),
        timeout: Duration::from_secs(60),
        memory_mib: 128,
        cpus: 1,
        accelerator: Accelerator::Tcg,
        show_console: false,
        ..Options::new(image)
    }
}

fn failure(options: &Options) -> String {
    let _turn = turn(1);
    format!("{:#}", boot::run(options).unwrap_err())
}

#[test]
fn reaches_the_login_prompt_and_leaves_the_image_alone() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), "\x1b[1mnode login: ", Then::Halt);
    let before = fs::read(&image).unwrap();
    let _turn = turn(1);
    boot::run(&options(&image)).unwrap();
    let qcow2 = dir.path().join("disk, with comma.qcow2");
    Cmd::new(Tool::QemuImg).args(["convert", "-O", "qcow2"]).args([&image, &qcow2]).run().unwrap();
    boot::run(&options(&qcow2)).unwrap();
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn kvm_or_emulation_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), "node login: ", Then::Halt);
    let options = Options { accelerator: Accelerator::Auto, cache: Some(dir.path().join("cache")), ..options(&image) };
    let _turn = turn(1);
    boot::run(&options).unwrap();
    if Path::new("/dev/kvm").exists() {
        assert!(dir.path().join("cache/kvm").exists(), "the answer was not remembered");
    }
    boot::run(&options).unwrap();
}

#[test]
fn a_panic_ends_the_wait_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[    9.000001] before\r\n[    9.123456] Kernel panic - not syncing: it broke\r\nafter\r\n";
    let begun = Instant::now();
    let failure = failure(&options(&disk(dir.path(), text, Then::Halt)));
    assert!(failure.contains("the boot failed: [    9.123456] Kernel panic - not syncing: it broke"), "{failure}");
    assert!(failure.contains("before\n") && failure.ends_with("after"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_machine_that_powers_off_is_an_error_only_for_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let waiting = options(&disk(dir.path(), "bye\r\n", Then::PowerOff));
    let failure = failure(&waiting);
    assert!(failure.contains("the machine powered off before the login prompt"), "{failure}");
    assert!(failure.ends_with("\n  bye"), "{failure}");
    let _turn = turn(1);
    boot::run(&Options { until: None, ..waiting }).unwrap();
}

#[test]
fn a_timeout_shows_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let text = "one\r\nhabuild: failed step=storage: no monitor\r\n";
    let timeout = Duration::from_secs(5);
    let failure = failure(&Options { timeout, ..options(&disk(dir.path(), text, Then::Halt)) });
    assert!(failure.contains("the login prompt did not come within 5 s"), "{failure}");
    assert!(failure.contains("the node said: habuild: failed step=storage: no monitor"), "{failure}");
    assert!(failure.contains("\n  one\n"), "{failure}");
}

#[test]
fn a_smaller_disk_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = disk(dir.path(), "", Then::Halt);
    let disk_size = Some(habuild::spec::names::ByteSize(4096));
    let failure = failure(&Options { disk_size, ..options(&image) });
    assert_eq!(failure, "a disk of 4096 bytes is smaller than the image, which has 1048576");
}

/// Starts `habuild boot` on a disk in `dir` and waits until its machine runs. Its temporary files lie in `dir`/tmp.
fn start_child(dir: &Path) -> (Running, u32) {
    let (image, tmp) = (disk(dir, "up\r\n", Then::Halt), dir.join("tmp"));
    fs::create_dir(&tmp).unwrap();
    let small = ["--accelerator", "tcg", "--memory", "128", "--cpus", "1"];
    let mut child = command(&image).args(small).env("TMPDIR", tmp).spawn().unwrap();
    let mut console = BufReader::new(child.stdout().unwrap()).lines();
    assert!(console.any(|line| line.unwrap().contains("up")), "the machine did not start");
    // The rest is read so that the child never waits for us.
    std::thread::spawn(move || console.for_each(drop));
    let [qemu] = children(&child)[..] else { panic!("not one child") };
    (child, qemu)
}

fn end(child: &mut Running, qemu: u32, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let alive = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while child.ended().unwrap().is_none() || alive(qemu) {
        assert!(Instant::now() < deadline, "{signal} did not end habuild and its machine");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn signals_end_the_machine_and_clean_up() {
    let _turn = turn(1);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, qemu) = start_child(dir.path());
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 1);
        end(&mut child, qemu, signal);
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn the_machine_ends_even_when_habuild_is_killed() {
    let _turn = turn(1);
    let dir = tempfile::tempdir().unwrap();
    let (mut child, qemu) = start_child(dir.path());
    end(&mut child, qemu, Signal::SIGKILL);
}
