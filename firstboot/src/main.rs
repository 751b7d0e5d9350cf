//! The entry point of `habuild-firstboot`.

fn main() -> std::process::ExitCode {
    firstboot::run()
}
