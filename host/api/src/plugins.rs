//! What the server asks of whoever keeps the plugins.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use grove_control::Created;
use grove_wire::plugin::{Plugin, VersionChoice};

/// The plugins of a farm, and changes to them while it runs.
///
/// A change that has begun is carried out even when nobody waits for it any more. `expected` is the revision that the
/// caller saw; none = whatever it is. What is already so changes nothing, and is no error.
pub trait Plugins: Send + Sync + 'static {
    /// All of them, sorted by name.
    fn list(&self) -> Vec<Plugin>;

    /// Takes in a version: `manifest` is the text of its plugin.toml. With `activate` it is loaded, checked, and used
    /// from now on; until it has passed, nothing has begun. `Created::No` = exactly this version was there, so sending it again makes nothing twice.
    fn install(
        &self,
        actor: &str,
        manifest: String,
        component: Bytes,
        activate: bool,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<(Plugin, Created), PluginRefused>>;

    /// Uses it; of policies it becomes the farm's, in place of the one before.
    fn enable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>>;

    /// Uses nothing of it for new work.
    fn disable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>>;

    /// Makes another of its versions the active one; see [`VersionChoice::pick`].
    fn swap(
        &self,
        actor: &str,
        name: &str,
        to: VersionChoice,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>>;

    /// Removes one version, or all of them and with them the plugin.
    fn remove(
        &self,
        actor: &str,
        name: &str,
        version: Option<VersionChoice>,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<(), PluginRefused>>;
}

/// Why a change to plugins was refused; nothing was changed. The texts are for people: what is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PluginRefused {
    /// No plugin has this name.
    NotFound,
    /// None of its versions is named so.
    VersionNotFound,
    /// More than one of its versions is named so.
    Ambiguous,
    /// It was loaded or called, and did not pass.
    CheckFailed(String),
    /// It is still needed: active, pinned, used.
    Conflict(String),
    /// The manifest cannot be read, or does not go with what is there.
    BadManifest(String),
    /// As many versions are installed as the farm keeps.
    Full(String),
    /// The plugin changed since the caller saw it.
    RevisionMismatch {
        /// What it is now.
        current: u64,
    },
    /// The farm is in maintenance.
    Maintenance(String),
    /// It cannot be done now.
    Unavailable(String),
}
