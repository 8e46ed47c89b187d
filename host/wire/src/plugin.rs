//! Plugins: a name, and the versions that are installed under it.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The three kinds of plugin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginKind {
    /// Decides who gets which board.
    Policy,
    /// Knows how to handle one kind of board.
    Driver,
    /// Turns an inventory into capabilities.
    Inspector,
}

/// What the farm does with a plugin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// New work runs on its active version.
    Active,
    /// Nothing of it is used.
    Disabled,
    /// Its active version is on its way.
    Loading,
    /// Its active version cannot be used; see `trouble`.
    Failed,
}

/// A plugin that the farm knows. What a version says of itself (`version`, `world`, `summary`, `digest`, `grants`,
/// `config_schema`) is here that of the active version; while there is none, of the newest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plugin {
    /// How workers and configuration refer to it.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// What the farm does with it.
    pub state: PluginState,
    /// Whether the farm uses it now: the state is `active`.
    pub active: bool,
    /// Whether it is to be used. Of policies one at most is; without any the built-in rule decides.
    pub enabled: bool,
    /// The maker's number of the version.
    pub version: String,
    /// SHA-256 of the version's component, in hex; null when it could not be read.
    pub digest: Option<String>,
    /// The version of the plugin contract it was built for.
    pub world: String,
    /// One line for people.
    pub summary: String,
    /// When it was last enabled, disabled, or given another version.
    pub since: Timestamp,
    /// The version that was active before.
    pub previous: Option<VersionName>,
    /// While a new version must prove itself; else null.
    pub probation: Option<Probation>,
    /// What its manifest asks for, one line each.
    #[serde(default)]
    pub wants: Vec<String>,
    /// What it was granted of that, one line each.
    pub grants: Vec<String>,
    /// Why it is not in use, or what it last did wrong.
    pub trouble: Option<String>,
    /// JSON schema of its settings.
    pub config_schema: Option<serde_json::Value>,
    /// Every version that is installed, newest first.
    pub versions: Vec<PluginVersion>,
    /// Changes with every write; also its ETag.
    pub revision: u64,
}

/// Which version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionName {
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Its maker's number for it.
    pub version: String,
}

/// The time in which a version that replaced another must prove itself. When too much fails in it, the version
/// before is active again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probation {
    /// Until when.
    pub until: Timestamp,
    /// Tasks, plans or introspections that ended on it so far.
    pub outcomes: u32,
    /// Those of them that it failed.
    pub failures: u32,
}

/// Where a version came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It is part of the program.
    BuiltIn,
    /// It lay in the plugin folder.
    Folder,
    /// An admin installed it.
    Installed,
}

/// An installed version of a plugin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PluginVersion {
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Its maker's number for it.
    pub version: String,
    /// The version of the plugin contract it was built for.
    pub world: String,
    /// One line for people.
    pub summary: String,
    /// Where it came from.
    pub origin: Origin,
    /// When it was installed.
    pub installed: Timestamp,
    /// Whether it is the plugin's active version.
    pub active: bool,
    /// Workers that are pinned to it.
    pub pinned_workers: u64,
    /// What its manifest asks for, one line each.
    #[serde(default)]
    pub wants: Vec<String>,
    /// What it was granted of that, one line each.
    pub grants: Vec<String>,
    /// Why it cannot be used, or what it last did wrong.
    pub trouble: Option<String>,
    /// JSON schema of its settings.
    pub config_schema: Option<serde_json::Value>,
}

/// `POST /api/v2/plugins/{name}/swap`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapPlugin {
    /// To which version.
    pub to: VersionChoice,
}

/// A version as people name it: its digest, the beginning of that (6 characters at least), or its maker's number.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionChoice(String);

/// Characters of a digest that tell enough of it.
const SHORTEST: usize = 6;
/// Bytes of a choice: a maker's number may have words.
const LONGEST: usize = 128;

impl VersionChoice {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest itself, when all of it was written.
    pub fn digest(&self) -> Option<&str> {
        is_digest(&self.0).then_some(&self.0)
    }

    /// The one version that is meant; `name` tells the digest and the maker's number of each. A whole digest wins
    /// over a number, and a number over the beginning of a digest.
    ///
    /// # Errors
    /// When none or more than one is meant.
    pub fn pick<'v, V>(
        &self,
        versions: &'v [V],
        name: impl for<'a> Fn(&'a V) -> (&'a str, &'a str),
    ) -> Result<&'v V, PickError> {
        let begins = self.0.len() >= SHORTEST;
        let means: [&dyn Fn(&V) -> bool; 3] =
            [&|version| name(version).0 == self.0, &|version| name(version).1 == self.0, &|version| {
                begins && name(version).0.starts_with(&self.0)
            }];
        for means in means {
            let mut meant = versions.iter().filter(|version| means(version));
            match (meant.next(), meant.next()) {
                (Some(version), None) => return Ok(version),
                (Some(_), Some(_)) => return Err(PickError::Several),
                (None, _) => {}
            }
        }
        Err(PickError::None)
    }
}

/// Whether this is a digest: 64 characters, 0 to 9 and a to f.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Why no version is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PickError {
    /// No version is named so.
    #[error("no version is named so")]
    None,
    /// More than one version is named so.
    #[error("more than one version is named so")]
    Several,
}

/// A text that names no version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a version is named by its digest, the first {SHORTEST} characters of that or more, or its number")]
pub struct NoVersionName;

impl FromStr for VersionChoice {
    type Err = NoVersionName;

    fn from_str(text: &str) -> Result<Self, NoVersionName> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for VersionChoice {
    type Error = NoVersionName;

    fn try_from(text: String) -> Result<Self, NoVersionName> {
        let named = !text.is_empty() && text.len() <= LONGEST && text.trim() == text;
        if named { Ok(Self(text)) } else { Err(NoVersionName) }
    }
}

impl From<VersionChoice> for String {
    fn from(choice: VersionChoice) -> Self {
        choice.0
    }
}

impl fmt::Display for VersionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
