//! `cargo xtask`: see `cargo xtask help`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::checks::Extent;
use xtask::project::Project;
use xtask::{bench, bundle, checks, demo};

/// Project chores.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the plugins into TARGET/plugins, adding the wasm targets where they are missing
    Plugins {
        /// Also build the test guests into TARGET/guests
        #[arg(long)]
        guests: bool,
    },
    /// Builds the plugins, then the host with the plugins in it
    Build {
        /// Build the host for release
        #[arg(long)]
        release: bool,
    },
    /// Builds all, then runs `grove demo` with these arguments; first installs what is missing, where it may
    Demo {
        /// What to pass on
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Builds all for release, then measures these rows, or every row
    Bench {
        /// Names of rows
        rows: Vec<String>,
    },
    /// Runs every check and every test, as CI does; first installs what they need, where it may
    Test {
        /// Only formatting, the rules of the house, and the tests that need no guests
        #[arg(long)]
        quick: bool,
        /// Let tests that play at random do so at length: 10,000 lives, 200 kills, 5 minutes of mixed load
        #[arg(long, conflicts_with = "quick")]
        full: bool,
    },
    /// Holds the dependencies against deny.toml
    Deny,
}

fn main() -> ExitCode {
    let chore = Arguments::parse().chore;
    match run(chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<ExitCode> {
    let project = Project::find()?;
    match chore {
        Chore::Plugins { guests } => {
            bundle::plugins(&project)?;
            if guests {
                bundle::guests(&project)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Chore::Build { release } => {
            bundle::plugins(&project)?;
            bundle::host(&project, release)?;
            Ok(ExitCode::SUCCESS)
        }
        Chore::Demo { arguments } => demo::run(&project, &arguments),
        Chore::Bench { rows } => bench::run(&project, &rows),
        Chore::Test { quick, full } => checks::run(
            &project,
            match (quick, full) {
                (true, _) => Extent::Quick,
                (false, true) => Extent::Full,
                (false, false) => Extent::Usual,
            },
        ),
        Chore::Deny => {
            checks::deny(&project)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
