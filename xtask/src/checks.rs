//! Every check and every test, in the order in which they are cheap.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};

use crate::bundle;
use crate::deny::Rules;
use crate::guests;
use crate::metadata;
use crate::project::{self, Project};
use crate::tally::Tally;

/// A program that some test or build needs on this machine: what it is called, and the Debian package that has it.
const NEEDED: [(&str, &str); 4] =
    [("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), ("busybox", "busybox")];
    let all = ["clippy", "--workspace", "--all-targets"];
    project::run(project::cargo(&project.root).args(all).args(strict))?;
    project::run(guests::cargo_for_guests(project, &project.plugins()).args(all).args(strict))?;
    for workspace in [project.plugins(), project.guests()] {
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

fn plugin_tests(project: &Project) -> Command {
    let mut cargo = guests::cargo_for_guests(project, &project.plugins());
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo
}

/// Quick: without the crates under `tests/`, which look at several rooms at once and need guests.
fn host_tests(project: &Project, quick: bool) -> Result<Command> {
    let mut cargo = project::cargo(&project.root);
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.env(bundle::GUESTS, project.built_guests());
    if quick {
        let all = metadata::load(&project.root, &["--no-deps"])?;
        let tests = project.root.join("tests");
        for package in all.members().filter(|package| package.folder().starts_with(&tests)) {
            cargo.args(["--exclude", &package.name]);
        }
    } else {
        cargo.env(bundle::BUNDLE, project.bundle());
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

/// Says at once what is missing, rather than after ten minutes of building.
fn needed() -> Result<()> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons where only root looks.
    let folders: Vec<_> =
        std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]).collect();
    let is_missing = |program: &str| !folders.iter().any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| is_missing(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    bail!("tests need {}; on Debian: apt-get install {}", programs.join(", "), packages.join(" "))
}
