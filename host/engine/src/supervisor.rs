//! The loop that owns everything: what is installed, what runs, and what is due.
//!
//! ```text
//!   handles ── wishes ───▶ ┌────────────┐ ── token ──▶ attempts: one task each at most for each service
//!   scopes  ── notices ──▶ │ supervisor │ ◀── join result, once for each attempt ──┘
//!   timers  ── due ──────▶ └────────────┘ ── reports, answers, events ──▶
//! ```
//!
//! Nothing here waits for anybody: all is counted, and looked at when a count changes.
//!
//! The order of stops rests on one number of each service, `stopping_dependents`. A service that is asked to stop is
//! *counted* by each of its inputs, until it has ended and counts none itself; so is one that has ended while it counts
//! some. A started service is cancelled, and a due one begins, only when it counts none. As the graph has no cycle and
//! only running services are waited for, each of which is aborted in the end, this cannot lock up.

mod wishes;

mod starts;

mod stops;

mod ends;

mod reports;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Environment};
use crate::engine::{Error, Fatal, Wish};
use crate::exit::Exit;
use crate::graph::Graph;
use crate::key::Name;
use crate::record::Record;
use crate::report::Report;
use crate::scope::Notice;
use crate::timers::{Due, Timers};

/// How long an aborted task may take to notice, when the engine stops.
const ABORT_GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Supervisor {
    config: Config,
    environment: Environment,
    notices: mpsc::UnboundedSender<Notice>,
    reports: Arc<watch::Sender<Arc<Report>>>,
    kill: CancellationToken,

    records: HashMap<Name, Record>,
    graph: Graph,
    timers: Timers,

    /// The attempts; each ends with one join result, whatever becomes of it.
    tasks: JoinSet<Exit>,
    by_task: HashMap<task::Id, Name>,
    last_attempt: u64,

    dying: bool,
    worst: Option<Fatal>,
    internal: Option<String>,

    /// Something has changed since the last report was published.
    changed: bool,
    publish_at: Option<Instant>,
    published_at: Option<Instant>,
}

impl Supervisor {
    pub(crate) fn new(
        config: Config,
        environment: Environment,
        notices: mpsc::UnboundedSender<Notice>,
        reports: Arc<watch::Sender<Arc<Report>>>,
        kill: CancellationToken,
    ) -> Self {
        Self {
            config,
            environment,
            notices,
            reports,
            kill,
            records: HashMap::new(),
            graph: Graph::default(),
            timers: Timers::default(),
            tasks: JoinSet::new(),
            by_task: HashMap::new(),
            last_attempt: 0,
            dying: false,
            worst: None,
            internal: None,
            changed: false,
            publish_at: None,
            published_at: None,
        }
    }

    pub(crate) async fn run(
        mut self,
        mut wishes: mpsc::Receiver<Wish>,
        mut notices: mpsc::UnboundedReceiver<Notice>,
    ) -> Result<(), Error> {
        let kill = self.kill.clone();
        while !(self.dying && self.by_task.is_empty()) {
            let first = self.timers.first();
            tokio::select! {
                () = kill.cancelled(), if !self.dying => self.die(),
                Some(wish) = wishes.recv() => self.wish(wish),
                Some(notice) = notices.recv() => self.notice(notice),
                Some(joined) = self.tasks.join_next_with_id() => {
                    // What an attempt said before its end was said first.
                    while let Ok(notice) = notices.try_recv() {
                        self.notice(notice);
                    }
                    self.joined(joined);
                }
                () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
            }
            let now = Instant::now();
            while let Some(due) = self.timers.due(now) {
                self.due(due);
            }
            self.plan_publishing();
        }
        self.publish();
        match self.internal {
            Some(mistake) => Err(Error::Internal(mistake)),
            None => match self.worst.and_then(|worst| (self.config.filter)(worst)) {
                Some(fatal) => Err(Error::Fatal(fatal)),
                None => Ok(()),
            },
        }
    }

    fn wish(&mut self, wish: Wish) {
        self.changed |= !matches!(wish, Wish::Report(_));
        match wish {
            Wish::Install(service, answer) => self.install(service, answer),
            Wish::Replace(service, answer) => self.replace(service, answer),
            Wish::Uninstall(name, answer) => self.uninstall(&name.into(), answer),
            Wish::Bounce(name, answer) => self.bounce(&name.into(), answer),
            // Whoever asked may have gone.
            Wish::Report(asker) => drop(asker.send(self.draft())),
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.changed = true;
        match notice {
            Notice::Started { name, attempt, output } => self.started(&name, attempt, output),
            Notice::Reporter { name, attempt, reporter } => {
                let live = self.records.get_mut(&name).and_then(|record| record.attempt.as_mut());
                if let Some(live) = live.filter(|live| live.number == attempt) {
                    live.reporter = Some(reporter);
                }
            }
            Notice::Watched => {}
        }
    }

    fn due(&mut self, due: Due) {
        self.changed |= due != Due::Publish;
        match due {
            Due::Start(name) => {
                if let Some(record) = self.records.get_mut(&name) {
                    record.start_at = None;
                }
                self.launch(&name);
            }
            Due::Settle(name) => {
                if let Some(attempt) = self.records.get_mut(&name).and_then(|record| record.attempt.as_mut())
                {
                    attempt.settle_at = None;
                }
                self.ask(&name);
            }
            Due::Abort(name) => self.abort(&name),
            Due::AskAll => self.ask_all(),
            Due::AbortAll => self.abort_all(),
            Due::Leave => self.leave(),
            Due::Publish => self.publish(),
        }
    }

    /// A mistake of ours: the engine ends, in order, and says so.
    fn broken(&mut self, name: &Name, what: &str) {
        self.internal.get_or_insert_with(|| format!("service {name}: {what}"));
        self.die();
    }
}
