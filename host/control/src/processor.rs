//! Has inspectors and rules conclude from stored inventories: a few at a time, the others wait their turn.
//!
//! What waits and what is at work is derived from rows, so nothing is lost with it. Like the runner it decides nothing:
//! what was found goes to the dispatcher, which knows whether it still counts.

mod work;

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use grove_domain::id::IntrospectionId;
use grove_domain::introspection::{Findings, Introspection, Rules, State};
use grove_domain::plugin::Digest;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::command::Command;
use crate::farm::Farm;
use crate::ports::{Blame, Drivers, Enrolment, Inspectors, Store};

/// What came of an inventory.
pub(crate) struct Processed {
    pub(crate) run: IntrospectionId,
    /// Of the run, when it began.
    pub(crate) revision: u64,
    /// Elapsed when it took longer than its state may last.
    pub(crate) outcome: Result<Result<Made, Trouble>, Elapsed>,
}

/// What was made of it.
pub(crate) enum Made {
    /// Of a worker's: the inventory in the common form, what follows from it, and which inspectors say so.
    Findings { inventory: Arc<str>, findings: Arc<Findings>, by: Vec<(String, Digest)> },
    /// Of an unknown board's: who it is, if anybody knows.
    Board(Option<Enrolment>),
}

/// Why nothing was made of it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    /// The inspectors that it is the fault of.
    pub(crate) blames: Vec<Blame>,
}

impl Trouble {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), blames: Vec::new() }
    }
}

/// What the processor works with.
pub(crate) struct Tools {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) inspectors: Arc<dyn Inspectors>,
    pub(crate) drivers: Arc<dyn Drivers>,
    pub(crate) view: Arc<ArcSwap<Farm>>,
    pub(crate) rules: Rules,
}

/// The processor; cheap to clone.
#[derive(Clone)]
pub(crate) struct Processor {
    inner: Arc<Inner>,
}

struct Inner {
    tools: Tools,
    at_once: usize,
    results: mpsc::WeakSender<Command>,
    desk: Mutex<Desk>,
    running: TaskTracker,
    stop: CancellationToken,
}

/// What waits, and what is at work. No more than there are runs that have not ended.
#[derive(Default)]
struct Desk {
    /// Of boards that wait for it.
    urgent: VecDeque<Key>,
    /// Of inventories that were processed before.
    again: VecDeque<Key>,
    /// What is in a queue and not here was stopped.
    waiting: HashMap<IntrospectionId, Arc<Introspection>>,
    at_work: HashMap<Key, CancellationToken>,
}

/// A run as it is at this revision.
type Key = (IntrospectionId, u64);

impl Desk {
    fn put(&mut self, run: Arc<Introspection>) {
        let key = (run.id, run.revision);
        let works = self.at_work.get(&key).is_some_and(|cancel| !cancel.is_cancelled());
        let waits = self.waiting.get(&run.id).is_some_and(|other| other.revision == run.revision);
        if !works && !waits {
            let queue = if run.state == State::Reapplying { &mut self.again } else { &mut self.urgent };
            queue.push_back(key);
            self.waiting.insert(run.id, run);
        }
    }

    fn next(&mut self) -> Option<Arc<Introspection>> {
        while let Some((run, revision)) = self.urgent.pop_front().or_else(|| self.again.pop_front()) {
            if self.waiting.get(&run).is_some_and(|waits| waits.revision == revision) {
                return self.waiting.remove(&run);
            }
        }
        None
    }
}

impl Processor {
    pub(crate) fn new(tools: Tools, at_once: usize, results: mpsc::WeakSender<Command>) -> Self {
        let inner = Inner {
            tools,
            at_once: at_once.max(1),
            results,
            desk: Mutex::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Processes the stored inventory of a run, when its turn comes. One that it has already comes of itself.
    pub(crate) fn process(&self, run: Arc<Introspection>) {
        let mut desk = self.inner.desk.lock();
        desk.put(run);
        self.go_on(&mut desk);
    }

    /// Nothing is to come of runs that `keep` does not want kept.
    pub(crate) fn retain(&self, keep: impl Fn(IntrospectionId, u64) -> bool) {
        let mut desk = self.inner.desk.lock();
        desk.waiting.retain(|id, run| keep(*id, run.revision));
        for ((run, revision), cancel) in &desk.at_work {
            if !keep(*run, *revision) {
                cancel.cancel();
            }
        }
    }

    /// Nothing is to come of this run's inventory any more.
    pub(crate) fn stop_run(&self, run: IntrospectionId) {
        let mut desk = self.inner.desk.lock();
        desk.waiting.remove(&run);
        for (_, cancel) in desk.at_work.iter().filter(|((id, _), _)| *id == run) {
            cancel.cancel();
        }
    }

    /// Ends all work, and returns when all has ended.
    pub(crate) async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.running.close();
        self.inner.running.wait().await;
    }

    fn go_on(&self, desk: &mut Desk) {
        while desk.at_work.len() < self.inner.at_once
            && !self.inner.stop.is_cancelled()
            && let Some(run) = desk.next()
        {
            let cancel = self.inner.stop.child_token();
            let key = (run.id, run.revision);
            desk.at_work.insert(key, cancel.clone());
            let processor = self.clone();
            self.inner.running.spawn(async move {
                processor.work(run, cancel).await;
                let mut desk = processor.inner.desk.lock();
                desk.at_work.remove(&key);
                processor.go_on(&mut desk);
            });
        }
    }

    async fn work(&self, run: Arc<Introspection>, cancel: CancellationToken) {
        // The farm's clock may step; how long it works is told by one that does not.
        let longest = self.inner.tools.rules.longest(run.state).unwrap_or_default();
        let longest = Duration::try_from(longest).unwrap_or_default();
        let work = AssertUnwindSafe(work::process(&self.inner.tools, &run, &cancel)).catch_unwind();
        let outcome = tokio::time::timeout(longest, work).await.map(|made| {
            made.unwrap_or_else(|_| Err(Trouble::new("what adapts the inspectors broke; its log says how")))
        });
        // What was cancelled counts no more, whatever came of it. What is late may be at work elsewhere still.
        let stopped = cancel.is_cancelled();
        cancel.cancel();
        if !stopped && let Some(dispatcher) = self.inner.results.upgrade() {
            let processed = Processed { run: run.id, revision: run.revision, outcome };
            // It takes nothing any more only when everything stops.
            let _ = dispatcher.send(Command::Processed(Box::new(processed))).await;
        }
    }
}
