//! The door of `habuild-firstboot`.

fn main() -> std::process::ExitCode {
    firstboot::run()
}
