//! Every check and every test, in the order in which they are cheap.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::bench;
use crate::bundle;
use crate::deny::Rules;
use crate::guests;
use crate::metadata;
use crate::project::{self, Project};
use crate::setup;
use crate::tally::Tally;

/// What modules of tests are called that need built guests.
const WITH_GUESTS: &str = "with_guests";

/// How long tests that play at random do so, when all of them are to be played at length: what says it to them, and
/// how much it is. Each says beside its own default what it counts.
const AT_LENGTH: [(&str, &str); 4] = [
    ("GROVE_LIVES", "10000"),
    ("GROVE_KILLS", "200"),
    ("GROVE_LOAD_SECONDS", "300"),
    ("GROVE_DAY_SECONDS", "600"),
];

/// Which checks run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Formatting, the rules of the house, and the tests that need no guests.
    Quick,
    /// Every check and every test.
    Usual,
    /// The same, with tests that play at random for as long as they are worth.
    Full,
}

/// Runs the checks; all of them, even when an earlier one fails. Installs what tests need where that is missing.
///
/// # Errors
/// When something that tests need is missing and cannot be installed.
pub fn run(project: &Project, extent: Extent) -> Result<ExitCode> {
    let quick = extent == Extent::Quick;
    if !quick {
        setup::ensure_programs(setup::FOR_TESTS)?;
    }
    let mut report = Report::default();
    report.check("formatting", || format(project));
    report.check("deny.toml", || deny(project));
    if quick {
        report.tests("tests of the plugins", plugin_tests(project));
        report.tests("tests of the host without guests", host_tests(project, extent)?);
    } else {
        report.check("plugins", || bundle::plugins(project));
        report.check("test guests", || bundle::guests(project));
        report.check("clippy", || clippy(project));
        report.check("the host by itself", || by_itself(project));
        report.tests("tests of the plugins", plugin_tests(project));
        report.tests("tests of the host", host_tests(project, extent)?);
        report.check("documentation", || documentation(project));
    }
    Ok(report.end())
}

#[derive(Default)]
struct Report {
    tally: Tally,
    broken: Vec<&'static str>,
}

impl Report {
    fn check(&mut self, what: &'static str, check: impl FnOnce() -> Result<()>) {
        eprintln!("\nxtask: {what}");
        if let Err(error) = check() {
            eprintln!("xtask: {what}: {error:#}");
            self.broken.push(what);
        }
    }

    fn tests(&mut self, what: &'static str, mut command: Command) {
        let mut tally = self.tally;
        self.check(what, || {
            ensure!(tally.run(&mut command)?, "{} failed", project::shown(&command));
            Ok(())
        });
        self.tally = tally;
    }

    fn end(self) -> ExitCode {
        let Tally { passed, failed, ignored } = self.tally;
        println!();
        if ignored > 0 {
            println!("{ignored} ignored");
        }
        if !self.broken.is_empty() {
            println!("not well: {}", self.broken.join(", "));
        }
        println!("{passed} passed, {failed} failed");
        if self.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The workspaces of the project.
fn workspaces(project: &Project) -> [PathBuf; 3] {
    [project.root.clone(), project.plugins(), project.guests()]
}

/// The crates that readers copy from; each is a workspace of its own.
fn examples(project: &Project) -> Result<Vec<PathBuf>> {
    let folder = project.root.join("examples");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?;
    let mut crates = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    crates.retain(|path| path.join("Cargo.toml").is_file());
    crates.sort();
    Ok(crates)
}

fn format(project: &Project) -> Result<()> {
    for workspace in workspaces(project).into_iter().chain(examples(project)?) {
        project::run(project::cargo(&workspace).args(["fmt", "--all", "--check"]))?;
    }
    Ok(())
}

/// Holds the dependencies of all workspaces against deny.toml.
///
/// # Errors
/// Everything that breaks it.
pub fn deny(project: &Project) -> Result<()> {
    let rules = Rules::load(&project.root.join("deny.toml"))?;
    let mut broken = Vec::new();
    for workspace in workspaces(project) {
        for target in rules.targets() {
            let all = metadata::load(&workspace, &["--all-features", "--filter-platform", target])?;
            broken.extend(rules.broken_by(&all));
        }
    }
    broken.sort();
    broken.dedup();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// The host as it is; the plugins natively, where their tests are, and as wasm, where their exports are.
fn clippy(project: &Project) -> Result<()> {
    let strict = ["--", "-D", "warnings"];
    let all = ["clippy", "--workspace", "--all-targets"];
    project::run(project::cargo(&project.root).args(all).args(strict))?;
    project::run(guests::cargo_for_guests(project, &project.plugins()).args(all).args(strict))?;
    for workspace in [project.plugins(), project.guests()].into_iter().chain(examples(project)?) {
        for (target, packages) in guests::by_target(&guests::of_workspace(&workspace)?) {
            guests::ensure_target(target)?;
            let mut cargo = guests::cargo_for_guests(project, &workspace);
            cargo.args(["clippy", "--target", target]);
            cargo.args(packages.iter().flat_map(|guest| ["--package", guest.package.as_str()]));
            project::run(cargo.args(strict))?;
        }
    }
    Ok(())
}

/// Among tests, the host has features that only these ask for.
fn by_itself(project: &Project) -> Result<()> {
    project::run(project::cargo(&project.root).args(["check", "--package", "grove"]))
}

fn plugin_tests(project: &Project) -> Command {
    let mut cargo = guests::cargo_for_guests(project, &project.plugins());
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo
}

/// Quick: without what needs guests: the crates under `tests/`, which look at several rooms at once, and tests that say so.
fn host_tests(project: &Project, extent: Extent) -> Result<Command> {
    let mut cargo = project::cargo(&project.root);
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.env(bundle::GUESTS, project.built_guests());
    if extent == Extent::Full {
        cargo.envs(AT_LENGTH);
    }
    if extent == Extent::Quick {
        let all = metadata::load(&project.root, &["--no-deps"])?;
        let tests = project.root.join("tests");
        for package in all.members().filter(|package| package.folder().starts_with(&tests)) {
            cargo.args(["--exclude", &package.name]);
        }
        cargo.args(["--", "--skip", WITH_GUESTS]);
    } else {
        // Benches have no tests, and want plugins built for this machine.
        cargo.args(["--exclude", bench::PACKAGE]);
        cargo.env(bundle::BUNDLE, project.bundle());
        // Cargo builds it for the tests of its own package, with these plugins.
        cargo.env(bundle::BIN, project.binary());
    }
    Ok(cargo)
}

fn documentation(project: &Project) -> Result<()> {
    let strict = |mut cargo: Command| {
        project::run(cargo.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
    };
    strict(project::cargo(&project.root))?;
    strict(guests::cargo_for_guests(project, &project.plugins()))
}
