//! The listener's side, which answers whatever becomes of the controller behind it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use grove_wire::{Code, Problem, limits};
use tokio::sync::Semaphore;

use crate::app::{App, Inner};
use crate::metrics::Metrics;
use crate::services::{Services, causes};
use crate::stopping::Stopping;
use crate::transfer::Transfer;
use crate::v2::refuse::Refuse;

/// Bounds on what clients may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open connections; the next ones wait in the listener's backlog.
    pub connections: usize,
    /// Longest wait for the head of a request, which is also the longest a connection may be idle.
    pub head: Duration,
    /// Longest wait for the whole body of a request; of an upload, for each further MiB of it.
    pub body: Duration,
    /// Longest that a peer may leave sent bytes unacknowledged, or take none.
    pub stalled: Duration,
    /// Longest wait for running requests at shutdown.
    pub drain: Duration,
    /// Streams of events open at the same time.
    pub streams: usize,
    /// Plugins being taken in at the same time: each may hold as much memory as a component may be large.
    pub uploads: usize,
    /// Exports of the farm being sent at the same time: each keeps the store's log from starting over.
    pub exports: usize,
    /// Bytes of an export that is imported.
    pub import: u64,
    /// Artifacts being brought at the same time.
    pub bringing: usize,
    /// Bytes of an inventory.
    pub inventory: usize,
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
            uploads: 2,
            exports: 2,
            import: 16 << 30,
            bringing: 16,
            inventory: limits::INVENTORY,
        }
    }
}

/// What listens: the same for as long as the process lives. The [`App`] behind it comes and goes with its controller.
/// Cheap to clone.
#[derive(Clone)]
pub struct Front {
    inner: Arc<Shared>,
}

/// What a [`Front`] shares between its clones.
pub struct Shared {
    pub(crate) limits: Limits,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    pub(crate) imports: Arc<Semaphore>,
    pub(crate) transfer: OnceLock<Arc<dyn Transfer>>,
    pub(crate) bringing: Arc<Semaphore>,
    /// Fires when the listener ends.
    pub(crate) stopping: Stopping,
    app: ArcSwapOption<Inner>,
}

impl Front {
    /// A front without a farm behind it yet.
    pub fn new(limits: Limits, services: Arc<dyn Services>) -> Self {
        Self {
            inner: Arc::new(Shared {
                limits,
                services,
                metrics: Metrics::default(),
                streams: Arc::new(Semaphore::new(limits.streams)),
                uploads: Arc::new(Semaphore::new(limits.uploads)),
                exports: Arc::new(Semaphore::new(limits.exports)),
                imports: Arc::new(Semaphore::new(1)),
                transfer: OnceLock::new(),
                bringing: Arc::new(Semaphore::new(limits.bringing)),
                stopping: Stopping::default(),
                app: ArcSwapOption::empty(),
            }),
        }
    }

    /// The same, of a farm that can be moved. It stays with what was said first.
    #[must_use]
    pub fn with_transfer(self, transfer: Arc<dyn Transfer>) -> Self {
        self.transfer.get_or_init(|| transfer);
        self
    }

    /// Serves `app` until what this gives is dropped, or another is attached. Then its long waits and streams end;
    /// what is being answered is answered by it to its end. Each controller has an app of its own: one that was
    /// detached is not attached again.
    pub fn attach(&self, app: App) -> Attached {
        let before = self.app.swap(Some(app.inner.clone()));
        if let Some(before) = before {
            before.stopping.fire();
        }
        // Whoever stops fires the first of these before it looks for the app.
        if self.stopping.has_fired() {
            app.stopping.fire();
        }
        Attached { front: self.clone(), app }
    }

    /// The farm that is served.
    pub(crate) fn app(&self) -> Option<App> {
        self.app.load_full().map(|inner| App { inner })
    }

    /// A listener begins.
    pub(crate) fn begin(&self) {
        self.stopping.renew();
        if let Some(app) = self.app() {
            app.stopping.renew();
        }
    }

    /// The listener ends, and with it what would not end by itself.
    pub(crate) fn stop(&self) {
        self.stopping.fire();
        if let Some(app) = self.app() {
            app.stopping.fire();
        }
    }

    /// Why the farm is not served, in a sentence.
    pub(crate) fn why_not(&self) -> String {
        if self.stopping.has_fired() {
            return "the server is shutting down".to_owned();
        }
        format!("the farm is not being served: {}", causes(&self.services.report()))
    }

    /// The answer to those who need the farm while it is not served.
    pub(crate) fn refuse(&self) -> Refuse {
        let problem = Problem::new(Code::Unavailable, self.why_not())
            .hint("try again in a moment; GET /api/v2/services has everything that is missing");
        Refuse::from(problem).retry_after("1")
    }
}

impl std::ops::Deref for Front {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.inner
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// An [`App`] that is served; dropped, it no longer is.
#[must_use = "the farm is served as long as this is held"]
#[derive(Debug)]
pub struct Attached {
    front: Front,
    app: App,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Another may have taken its place.
        self.front.app.compare_and_swap(&Some(self.app.inner.clone()), None);
        self.app.stopping.fire();
    }
}
