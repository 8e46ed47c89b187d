//! What the handlers of a farm have at hand.

use std::sync::Arc;

use grove_control::Controller;
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::introspection::TokenDigest;
use grove_objects::{Artifacts, Logs};

use crate::plugins::Plugins;
use crate::stopping::Stopping;

/// Says whether a line is a public key that boards will understand; the line as it will be used, or why not.
pub type CheckKey = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// What the admin can set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Who asks, until callers are authenticated.
    pub owner: Owner,
    /// The host that users connect to for tunnels: an address, or a name that resolves to one.
    pub advertise: String,
    /// Digest of what boards show that nobody registered; none = they are not taken in.
    pub enrolment: Option<TokenDigest>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            owner: Owner { name: "local".to_owned(), groups: OwnerGroups::All },
            advertise: "127.0.0.1".to_owned(),
            enrolment: None,
        }
    }
}

/// Files that are not in the store.
#[derive(Clone, Debug)]
pub struct Storage {
    /// What users bring.
    pub artifacts: Artifacts,
    /// What tasks said.
    pub logs: Logs,
}

/// The HTTP face of one controller, put behind a [`Front`](crate::Front) for as long as the controller runs; cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) inner: Arc<Inner>,
}

/// What an [`App`] shares between its clones.
pub struct Inner {
    pub(crate) controller: Controller,
    pub(crate) options: Options,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) check_key: CheckKey,
    pub(crate) storage: Storage,
    /// `user:NAME` of the owner: the actor in events.
    pub(crate) actor: Arc<str>,
    /// Fires when this controller is served no more: long waits and streams end then.
    pub(crate) stopping: Stopping,
}

impl App {
    /// The face of `controller`.
    pub fn new(
        controller: Controller,
        options: Options,
        plugins: Arc<dyn Plugins>,
        check_key: CheckKey,
        storage: Storage,
    ) -> Self {
        let actor = format!("user:{}", options.owner.name).into();
        let stopping = Stopping::default();
        Self { inner: Arc::new(Inner { controller, options, plugins, check_key, storage, actor, stopping }) }
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("options", &self.options).finish_non_exhaustive()
    }
}
