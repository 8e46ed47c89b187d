//! Looks at boards during their jobs: whether they answer at all. No task, and nothing is done to the board.

use std::sync::Arc;
use std::time::Duration;

use grove_domain::id::RequestId;
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request::{Event, Request};
use grove_domain::worker;
use tokio::sync::{Semaphore, mpsc};

use super::Dispatcher;
use super::events::CORE;
use crate::command::Command;
use crate::ports::Tunnels;
use crate::timers::Due;

/// Boards that are looked at at the same time.
const AT_ONCE: usize = 32;
/// The first look at a job comes within this part of the usual time.
const FIRST: u32 = 4;
/// Looks are spread over so many moments, also when all jobs are taken up at once.
const SPREAD: u32 = 64;

/// Who looks.
pub(super) struct Prober {
    places: Arc<Semaphore>,
    commands: mpsc::WeakSender<Command>,
}

impl Prober {
    pub(super) fn new(commands: mpsc::WeakSender<Command>) -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), commands }
    }

    fn look(&self, tunnels: Arc<dyn Tunnels>, request: RequestId, target: (String, u16)) {
        let (places, commands) = (self.places.clone(), self.commands.clone());
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            let answered = tunnels.reach(target).await;
            if let Some(commands) = commands.upgrade() {
                // A controller that has ended needs to know nothing.
                let _ = commands.send(Command::Probed { request, answered }).await;
            }
        });
    }
}

/// What was seen of the board of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// It answered once. One that never did, like a simulated one, is not missed.
    answered: bool,
    /// Looks in a row in which it did not, and when the first was, by the clock that never steps.
    missed: u32,
    since: Duration,
}

impl Dispatcher {
    /// From now on the board of a running job is looked at, and no longer when that has ended.
    pub(super) fn index_probe(&mut self, request: &Request) {
        let every = self.settings.probes.every;
        match request.running_job().filter(|_| !every.is_zero()) {
            None => {
                if self.seen.remove(&request.id).is_some() {
                    self.timers.remove(&Due::Probe(request.id));
                }
            }
            Some(job) if !self.seen.contains_key(&request.id) => {
                let answered = job.unreachable.is_some();
                self.seen.insert(request.id, Seen { answered, ..Seen::default() });
                let part = u32::try_from(request.id.0 % u64::from(SPREAD)).unwrap_or_default() + 1;
                self.look_after(request.id, every.saturating_mul(part) / (FIRST * SPREAD));
            }
            Some(_) => {}
        }
    }

    fn look_after(&mut self, id: RequestId, time: Duration) {
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        self.timers.after(self.times(), time, Due::Probe(id));
    }

    pub(super) fn probe_due(&mut self, id: RequestId) {
        let Some(job) = self.farm.request(id).and_then(|request| request.running_job()) else { return };
        let at_work = self.farm.worker(job.worker).is_some_and(|worker| worker.task.is_some());
        if at_work {
            // Something is done to the board: it may be down because of that.
            return self.look_after(id, self.settings.probes.every);
        }
        let target = (job.access.target_host.clone(), job.access.target_port);
        self.prober.look(self.runner.tunnels().clone(), id, target);
    }

    /// What came of a look.
    pub(super) fn probed(&mut self, id: RequestId, answered: bool) {
        let running = self.clock.running();
        let Some(request) = self.farm.request(id).cloned() else { return };
        let (Some(job), Some(seen)) = (request.running_job(), self.seen.get_mut(&id)) else { return };
        if answered {
            *seen = Seen { answered: true, ..Seen::default() };
            if job.unreachable.is_some() {
                self.request_due(id, Event::Reachable);
            }
        } else if seen.answered {
            if seen.missed == 0 {
                seen.since = running;
            }
            seen.missed = seen.missed.saturating_add(1);
            let (missed, silent) = (seen.missed, running.saturating_sub(seen.since));
            let since = after(self.clock.now(), -SignedDuration::try_from(silent).unwrap_or_default());
            let probes = self.settings.probes;
            let is_unreachable = missed >= probes.failures;
            if is_unreachable && job.unreachable.is_none() {
                self.request_due(id, Event::Unreachable { since });
            }
            if is_unreachable && probes.fail_after.is_some_and(|patience| silent >= patience) {
                let reason = format!("it has not answered since {since:.0}, while a job ran on it");
                let failure = worker::Event::ReportFailure { reason, stays: false };
                if let Err(refused) = self.apply_worker(CORE, job.worker, failure, None) {
                    tracing::error!(request = %id, %refused, "a board that does not answer could not be failed");
                }
                return;
            }
        }
        self.look_after(id, self.settings.probes.every);
    }
}
