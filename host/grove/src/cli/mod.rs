//! The command line: reads arguments, asks a farm over HTTP, prints the answer. One file per verb in `commands`.
//!
//! What must never happen here: a decision about the farm, a look into its store, a print from anywhere but
//! `output` and `failure`.

mod args;
mod clock;
mod commands;
mod config;
mod failure;
mod hints;
mod hold;
mod human;
mod output;
mod progress;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use grove_client::Client;

use output::{Format, Output, When};

/// A farm of real boards, handed out one job at a time.
#[derive(Debug, Parser)]
#[command(name = "grove", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Address of the farm
    #[arg(
        long,
        global = true,
        env = "GROVE_SERVER",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8487",
        value_name = "URL",
        help_heading = "Global options"
    )]
    server: String,
    /// Form of the result: for people, or what the farm sent
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Global options"
    )]
    output: Format,
    /// Say nothing but the result
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
    /// When to colour the result; auto: on terminals, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    color: When,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Client(ClientCommand),
    Serve(crate::serve::Args),
    Demo(crate::demo::Args),
    Completions(commands::completions::Args),
}

/// The verbs that ask a farm.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    Run(commands::run::Args),
    Ssh(commands::ssh::Args),
    #[command(subcommand)]
    Request(commands::request::Request),
    Why(commands::why::Args),
    #[command(subcommand)]
    Worker(commands::worker::Worker),
    #[command(subcommand)]
    Job(commands::job::Job),
    #[command(subcommand)]
    Task(commands::task::Task),
    #[command(subcommand)]
    Introspect(commands::introspect::Introspect),
    #[command(subcommand)]
    Rule(commands::rule::Rule),
    #[command(subcommand)]
    Artifact(commands::artifact::Artifact),
    #[command(subcommand)]
    Plugin(commands::plugin::Plugin),
    #[command(subcommand)]
    Limit(commands::limit::Limit),
    #[command(subcommand)]
    Farm(commands::farm::Farm),
    Services(commands::services::Args),
    Events(commands::events::Args),
}

/// Carries out what the arguments say; the code is the process's.
pub(crate) fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let result = match command {
        Command::Completions(args) => commands::completions::run(&args),
        Command::Serve(args) => crate::serve::run(args),
        Command::Demo(args) => crate::demo::run(args),
        Command::Client(command) => ask(&global, command),
    };
    result.unwrap_or_else(|error| failure::tell(&error))
}

fn ask(global: &Global, command: ClientCommand) -> anyhow::Result<ExitCode> {
    use ClientCommand as C;

    if global.output == Format::Dot && !matches!(command, C::Services(_)) {
        let hint = "only `grove services` can be drawn: write -o json, or leave it out";
        return Err(failure::Hinted::new("there is nothing to draw with -o dot", hint).into());
    }
    let out = &Output::new(global.output, global.quiet, global.color);
    let farm = &Client::new(&global.server)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            C::Run(args) => return commands::run::run(farm, out, args).await,
            C::Ssh(args) => return commands::ssh::run(farm, out, args).await,
            C::Request(command) => commands::request::run(farm, out, command).await?,
            C::Why(args) => commands::why::run(farm, out, args).await?,
            C::Worker(command) => commands::worker::run(farm, out, command).await?,
            C::Job(command) => commands::job::run(farm, out, command).await?,
            C::Task(command) => commands::task::run(farm, out, command).await?,
            C::Introspect(command) => commands::introspect::run(farm, out, command).await?,
            C::Rule(command) => commands::rule::run(farm, out, command).await?,
            C::Artifact(command) => commands::artifact::run(farm, out, command).await?,
            C::Plugin(command) => commands::plugin::run(farm, out, command).await?,
            C::Limit(command) => commands::limit::run(farm, out, command).await?,
            C::Farm(command) => commands::farm::run(farm, out, command).await?,
            C::Services(args) => commands::services::run(farm, out, args).await?,
            C::Events(args) => commands::events::run(farm, out, args).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}
