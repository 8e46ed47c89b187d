//! The rules of deny.toml, held against what cargo resolved: licences, banned crates, sources. The same file serves
//! cargo-deny, which knows more but takes minutes to install; a key that is not understood here is an error, so that
//! no rule is written in vain.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metadata::{Metadata, Package};
use crate::spdx;

/// What may be depended on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: HashSet<String>,
    exceptions: Vec<Exception>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: HashSet<String>,
}

/// Wildcard requirements cannot be published, so the registry refuses them for everybody else's crates; for ours they
/// are cargo-deny's to find.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple_versions: AllowOnly,
    #[serde(rename = "wildcards")]
    _wildcards: DenyOnly,
    #[serde(rename = "allow-wildcard-paths")]
    _allow_wildcard_paths: bool,
    deny: Vec<Ban>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
    /// Crates that may use it nevertheless.
    #[serde(default)]
    wrappers: HashSet<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[serde(rename = "unknown-registry")]
    _unknown_registry: DenyOnly,
    #[serde(rename = "unknown-git")]
    _unknown_git: DenyOnly,
    allow_registry: Vec<String>,
}

/// This check cannot do without the word `deny` here.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DenyOnly {
    Deny,
}

/// This check does not count versions.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AllowOnly {
    Allow,
}

impl Rules {
    /// Reads deny.toml.
    ///
    /// # Errors
    /// When it is not there, or says something that is not understood here.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("failed to read {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The targets that are built for.
    pub fn targets(&self) -> &[String] {
        &self.graph.targets
    }

    /// What breaks the rules in a workspace, one line each.
    pub fn broken_by(&self, metadata: &Metadata) -> Vec<String> {
        let used: HashSet<&str> =
            metadata.resolve.iter().flat_map(|graph| &graph.nodes).map(|node| node.id.as_str()).collect();
        let used = metadata.packages.iter().filter(|package| used.contains(package.id.as_str()));
        used.flat_map(|package| [self.license(package), self.ban(package, metadata), self.source(package)])
            .flatten()
            .collect()
    }

    fn license(&self, package: &Package) -> Option<String> {
        let Package { name, version, license, .. } = package;
        let Some(license) = license else {
            return Some(format!("{name} {version} says no licence"));
        };
        let exceptions = self.licenses.exceptions.iter().filter(|exception| exception.name == *name);
        let exceptions: HashSet<_> = exceptions.flat_map(|exception| &exception.allow).collect();
        let allowed = |license: &str| {
            self.licenses.allow.contains(license) || exceptions.iter().any(|allowed| *allowed == license)
        };
        match spdx::satisfied(license, &allowed) {
            Ok(true) => None,
            Ok(false) => {
                Some(format!("{name} {version} has the licence {license}, which [licenses] does not allow"))
            }
            Err(error) => Some(format!("{name} {version}: {error}")),
        }
    }

    fn ban(&self, package: &Package, metadata: &Metadata) -> Option<String> {
        let ban = self.bans.deny.iter().find(|ban| ban.name == package.name)?;
        let packages = metadata.by_id();
        let nodes = metadata.resolve.iter().flat_map(|graph| &graph.nodes);
        let mut users = nodes
            .filter(|node| node.deps.iter().any(|dep| dep.pkg == package.id))
            .filter_map(|node| packages.get(node.id.as_str()))
            .peekable();
        if users.peek().is_some() && users.all(|user| ban.wrappers.contains(&user.name)) {
            return None;
        }
        Some(format!("{} {} is banned: {}", package.name, package.version, ban.reason))
    }

    fn source(&self, package: &Package) -> Option<String> {
        let source = package.source.as_deref()?;
        let registry = source.strip_prefix("registry+");
        let known = registry
            .is_some_and(|registry| self.sources.allow_registry.iter().any(|known| known == registry));
        (!known).then(|| {
            format!("{} {} comes from {source}, which [sources] does not know", package.name, package.version)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = include_str!("../../deny.toml");
    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn broken_by(name: &str, license: Option<&str>, source: Option<&str>) -> Vec<String> {
        let metadata = serde_json::from_value(json!({
            "packages": [{
                "id": "x", "name": name, "version": "1.0.0", "license": license, "source": source,
                "manifest_path": "/x/Cargo.toml", "targets": [], "metadata": null
            }],
            "workspace_members": [],
            "resolve": { "nodes": [{ "id": "x", "deps": [] }] },
            "target_directory": "/target"
        }))
        .unwrap();
        Rules::parse(RULES).unwrap().broken_by(&metadata)
    }

    #[test]
    fn what_is_allowed_passes() {
        assert_eq!(broken_by("good", Some("MIT OR GPL-3.0"), Some(CRATES_IO)), Vec::<String>::new());
        assert_eq!(broken_by("ours", Some("Apache-2.0"), None), Vec::<String>::new());
        assert_eq!(broken_by("imbl", Some("MPL-2.0+"), Some(CRATES_IO)), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_its_breach() {
        for (name, license, source, word) in [
            ("other", Some("MPL-2.0+"), CRATES_IO, "MPL-2.0"),
            ("nothing", None, CRATES_IO, "no licence"),
            ("openssl-sys", Some("MIT"), CRATES_IO, "banned"),
            ("git", Some("MIT"), "git+https://example.org/x", "comes from"),
            ("registry", Some("MIT"), "registry+https://example.org/index", "comes from"),
        ] {
            let found = broken_by(name, license, Some(source));
            assert!(found.len() == 1 && found[0].contains(word), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_rule_that_is_not_understood_is_an_error() {
        let rules = format!("{RULES}\nrequired-git-spec = \"rev\"\n");
        assert!(Rules::parse(&rules).unwrap_err().to_string().contains("required-git-spec"));
    }
}
