//! What `cargo metadata` says, as far as chores need it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A workspace and everything that it depends on.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// All packages.
    pub packages: Vec<Package>,
    /// Ids of the workspace's own.
    pub workspace_members: Vec<String>,
    /// Who depends on whom; absent when not asked for.
    pub resolve: Option<Resolve>,
    /// Where cargo builds.
    pub target_directory: PathBuf,
}

/// A package.
#[derive(Clone, Debug, Deserialize)]
pub struct Package {
    /// Unique in the metadata.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Where it comes from; absent for paths.
    pub source: Option<String>,
    /// Its Cargo.toml.
    pub manifest_path: PathBuf,
    /// What it builds.
    pub targets: Vec<Target>,
    /// `[package.metadata]`
    pub metadata: Option<serde_json::Value>,
}

/// Something that a package builds.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// `lib`, `cdylib`, `bin`, …
    pub kind: Vec<String>,
    /// Its name.
    pub name: String,
}

/// The graph.
#[derive(Clone, Debug, Deserialize)]
pub struct Resolve {
    /// A node for each package that is really used.
    pub nodes: Vec<Node>,
}

/// A package in the graph.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// The package.
    pub id: String,
    /// What it depends on.
    pub deps: Vec<Dependency>,
}

/// An edge of the graph.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// The package that is depended on.
    pub pkg: String,
    /// For what.
    pub dep_kinds: Vec<Kind>,
}

/// What an edge is for.
#[derive(Clone, Debug, Deserialize)]
pub struct Kind {
    /// `dev`, `build`, or absent for a normal one.
    pub kind: Option<String>,
}

impl Metadata {
    /// The workspace's own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Packages by id.
    pub fn by_id(&self) -> HashMap<&str, &Package> {
        self.packages.iter().map(|package| (package.id.as_str(), package)).collect()
    }
}

impl Package {
    /// The folder of the package.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }
}

/// Asks cargo about the workspace in a folder.
///
/// # Errors
/// What cargo says.
pub fn load(folder: &Path, arguments: &[&str]) -> Result<Metadata> {
    let mut command = crate::project::cargo(folder);
    command.args(["metadata", "--format-version", "1"]).args(arguments);
    let json = crate::project::output(&mut command)?;
    serde_json::from_slice(&json).context("failed to read what `cargo metadata` says")
}
