//! What every handler has at hand.

use std::sync::Arc;
use std::time::Duration;

use grove_control::Controller;
use grove_domain::group::{Owner, OwnerGroups};
use grove_wire::plugin::Plugin;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::v2::idempotency::Remembered;

/// Says whether a line is a public key that boards will understand; the line as it will be used, or why not.
pub type CheckKey = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// The plugins that the farm knows.
pub trait PluginList: Send + Sync + 'static {
    /// All of them, sorted by name.
    fn plugins(&self) -> Vec<Plugin>;
}

/// What the admin can set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Who asks, until callers are authenticated.
    pub owner: Owner,
    /// The host that users connect to for tunnels: an address, or a name that resolves to one.
    pub advertise: String,
    /// Bounds on what clients may cost.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            owner: Owner { name: "local".to_owned(), groups: OwnerGroups::All },
            advertise: "127.0.0.1".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what clients may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open connections; the next ones wait in the listener's backlog.
    pub connections: usize,
    /// Longest wait for the head of a request, which is also the longest a connection may be idle.
    pub head: Duration,
    /// Longest wait for the whole body of a request.
    pub body: Duration,
    /// Longest that a peer may leave sent bytes unacknowledged, or take none.
    pub stalled: Duration,
    /// Longest wait for running requests at shutdown.
    pub drain: Duration,
    /// Streams of events open at the same time.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(60),
            body: Duration::from_secs(30),
            stalled: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            streams: 512,
        }
    }
}

/// The HTTP face of one controller; cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

/// What an [`App`] shares between its clones.
pub struct Inner {
    pub(crate) controller: Controller,
    pub(crate) options: Options,
    pub(crate) plugins: Arc<dyn PluginList>,
    pub(crate) check_key: CheckKey,
    /// `user:NAME` of the owner: the actor in events.
    pub(crate) actor: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) remembered: Arc<Remembered>,
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
    /// Fires when the server stops: long waits and streams end then.
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The face of `controller`.
    pub fn new(
        controller: Controller,
        options: Options,
        plugins: Arc<dyn PluginList>,
        check_key: CheckKey,
    ) -> Self {
        let actor = format!("user:{}", options.owner.name).into();
        let streams = Arc::new(tokio::sync::Semaphore::new(options.limits.streams));
        Self {
            inner: Arc::new(Inner {
                controller,
                options,
                plugins,
                check_key,
                actor,
                metrics: Metrics::default(),
                remembered: Arc::default(),
                streams,
                stopping: CancellationToken::new(),
            }),
        }
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
