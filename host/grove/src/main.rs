//! The binary.

mod cli;
mod demo;
mod serve;

fn main() -> std::process::ExitCode {
    cli::main()
}
