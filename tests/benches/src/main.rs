//! What Grove costs, beside its twin: only the physical part of the same work (a bare HTTP server, bare SQLite with the
//! same rows and fsyncs, the native rule, a direct connection), measured in the same run, turn by turn, medians of
//! several rounds.
//!
//! ```text
//! cargo xtask bench                 builds the plugins and grove for release, then runs every row
//! cargo xtask bench create drain    only these rows
//! ```
//!
//! Rows over HTTP run the real `grove serve`, with its store on the disk of the target folder, against a load generator
//! of one thread. What must never happen here: a figure that was not measured in this run.

#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

mod events;
mod farm;
mod guests;
mod http;
mod rows;
mod stats;
mod table;
mod twin;

use std::process::ExitCode;

use anyhow::{Result, bail};

use rows::ROWS;
use table::Table;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no row `{unknown}`; there are {}", names.join(", "));
    }
    let mut table = Table::begin();
    let mut failed = 0;
    for (name, row) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            // One that cannot be measured must not take the others along.
            if let Err(error) = row(&mut table) {
                eprintln!("benches: {name}: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} rows could not be measured");
    }
    Ok(())
}
