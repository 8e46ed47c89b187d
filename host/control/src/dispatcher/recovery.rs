//! Taking up a farm from its rows: at the start, and after the store refused.

use std::sync::Arc;

use grove_domain::change::Loaded;
use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_domain::matching::Matcher;
use grove_domain::moment::after;
use grove_domain::request::{Event, JobAccess, Request, State};
use grove_domain::worker;
use tokio::sync::mpsc;

use super::events::CORE;
use super::{Dispatcher, STORE_RETRY, TICK, Turn};
use crate::command::Command;
use crate::farm::Farm;
use crate::matching::told::Told;
use crate::refusal::Refused;
use crate::timers::{Due, Timers};

impl Dispatcher {
    /// Makes everything in memory from rows, and starts what they call for.
    pub(super) async fn take_up(&mut self, loaded: Loaded) {
        self.turn = Turn::default();
        self.turn.batch.epoch = loaded.epoch;
        self.next_request = loaded.last_request + 1;
        self.next_place = loaded.last_place + 1;
        self.next_event = loaded.last_event + 1;
        self.farm = Farm::default();
        self.matcher = Matcher::new();
        self.timers = Timers::default();
        self.ended.clear();
        self.policy.told = Told::default();
        self.policy.open = false;
        self.policy.round = None;
        self.policy.waits.clear();
        if let Some(info) = &self.policy.info {
            self.matcher.set_own_keys(info.own_keys.iter().cloned().collect());
        }
        for worker in loaded.workers {
            self.index_worker(None, &Arc::new(worker));
        }
        for request in loaded.requests {
            self.index_request(None, &Arc::new(request));
        }
        self.ended.make_contiguous().sort_unstable();
        for task in loaded.live_tasks {
            self.farm.put_task(Arc::new(task));
        }
        self.timers.add(after(self.clock.now(), TICK), Due::Tick);
        self.take_up_requests().await;
        self.take_up_tasks();
    }

    async fn take_up_requests(&mut self) {
        let live: Vec<Arc<Request>> =
            self.farm.requests().iter().filter(|request| !request.state.is_terminal()).cloned().collect();
        for request in live {
            if request.spec.heartbeat.is_some() && !self.heartbeats.contains_key(&request.id) {
                self.expect_heartbeat(&request);
            }
            if request.state == State::InProgress {
                self.reopen_tunnel(&request).await;
            }
        }
    }

    /// The same job has the same port; when something else took it, a new one, and an event.
    async fn reopen_tunnel(&mut self, request: &Request) {
        let Some(job) = request.running_job() else { return };
        let target = (job.access.target_host.clone(), job.access.target_port);
        let id = request.id;
        match self.runner.tunnels().open(id, target, Some(job.access.port)).await {
            Ok(port) if port == job.access.port => {}
            Ok(port) => {
                let access = Arc::new(JobAccess { port, ..JobAccess::clone(&job.access) });
                if let Err(refused) = self.apply_request(CORE, id, Event::Moved { access }) {
                    tracing::error!(request = %id, %refused, "a moved tunnel could not be recorded");
                }
            }
            Err(reason) => self.job_without_tunnel(id, &reason),
        }
    }

    fn job_without_tunnel(&mut self, id: RequestId, reason: &str) {
        let note = format!("its tunnel could not be opened again: {reason}");
        self.note(CORE, "job.unreachable", Subject::Request(id), note.clone());
        if let Err(refused) = self.apply_request(CORE, id, Event::Close { reason: Some(note) }) {
            tracing::error!(request = %id, %refused, "a job without tunnel could not be closed");
        }
    }

    /// A task that this process does not run any more is begun again, or forgotten when it was a mere look.
    fn take_up_tasks(&mut self) {
        let farm = self.farm.clone();
        self.runner.retain(|task| farm.tasks().contains_key(&task));
        for task in farm.tasks().values() {
            if self.runner.holds(task.spec.worker, task.id) {
                continue;
            }
            self.end_cancelled(task.id, "the controller started again");
            let lives = self
                .farm
                .worker(task.spec.worker)
                .is_some_and(|worker| worker.task.is_some_and(|(live, _)| live == task.id));
            if lives
                && let Err(refused) =
                    self.apply_worker(CORE, task.spec.worker, worker::Event::Restarted, None)
            {
                tracing::error!(task = %task.id, %refused, "a task could not be taken up again");
            }
        }
    }

    /// A batch did not reach the disk: everything decided since is void. Whoever waits is told so; then the farm is
    /// taken up again from what is stored, as soon as the store answers.
    pub(super) async fn start_over(
        &mut self,
        epoch: u64,
        error: String,
        inbox: &mut mpsc::Receiver<Command>,
    ) {
        if epoch != self.turn.batch.epoch {
            return;
        }
        tracing::error!(%error, "the store refused; reloading");
        self.trouble.store(Arc::new(Some(error.clone())));
        self.refuse_turn(&error);
        while self.in_flight.count() > 0 {
            self.in_flight.changed().await;
        }
        let store = self.store.clone();
        let loaded = loop {
            match store.load().await {
                Ok(loaded) => break loaded,
                Err(error) => self.trouble.store(Arc::new(Some(error.0))),
            }
            self.refuse_while_waiting(inbox).await;
        };
        self.take_up(loaded).await;
        self.trouble.store(Arc::new(None));
        self.note(CORE, "farm.reloaded", Subject::Farm, error);
    }

    fn refuse_turn(&mut self, error: &str) {
        for answer in std::mem::take(&mut self.turn).answers {
            answer(Err(Refused::Unavailable(error.to_owned())));
        }
    }

    /// Callers get a clear answer at once while the store is away.
    async fn refuse_while_waiting(&mut self, inbox: &mut mpsc::Receiver<Command>) {
        let reason = self.trouble.load().as_ref().clone().unwrap_or_default();
        let wait = tokio::time::sleep(STORE_RETRY);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return,
                command = inbox.recv() => match command {
                    Some(command) => command.refuse(&Refused::Unavailable(reason.clone())),
                    None => return,
                },
            }
        }
    }
}
