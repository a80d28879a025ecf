//! The `sluice` command: all of it is in the library.

fn main() -> std::process::ExitCode {
    sluice::command::main()
}
