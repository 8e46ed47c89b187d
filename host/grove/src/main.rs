//! The binary.

mod cli;
mod demo;
mod escape;
mod serve;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == serve::COMPILE) {
        let rest: Vec<_> = arguments.filter_map(|word| word.into_string().ok()).collect();
        return grove_runtime::compile(&rest);
    }
    cli::main()
}
