//! The entry point of `habuild`: hands the command line over and returns the exit code.
fn main() -> std::process::ExitCode {
    habuild::cli::main()
}
