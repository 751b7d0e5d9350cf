//! The entry point of an image's initrd: process 1 of a booting node, until systemd is.

fn main() {
    init::run()
}
