//! Decisions about workers.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, WorkerId};
use grove_domain::moment::after;
use grove_domain::request::{self, JobAccess};
use grove_domain::task::TaskKind;
use grove_domain::worker::{self, Edit, Effect, Event, Worker};

use super::Dispatcher;
use super::events::{CORE, Happened};
use crate::refusal::Refused;
use crate::registering::Registering;
use crate::runner::Opened;

impl Dispatcher {
    pub(super) fn register(
        &mut self,
        actor: &str,
        id: WorkerId,
        registration: Registering,
        edit: Edit,
        expected: Option<u64>,
    ) -> Result<(Arc<Worker>, bool), Refused> {
        if let Some(disabled) = self.driver_disabled(&registration.driver) {
            return Err(disabled);
        }
        self.check_pin(&registration.driver, &edit)?;
        let registration = registration.after(self.farm.worker(id).map(|known| &*known.registration));
        if self.farm.worker(id).is_some() {
            self.check_worker_revision(id, expected)?;
            self.apply_worker(actor, id, Event::Register(registration), None)?;
            return Ok((self.edit_worker(actor, id, edit, None)?, false));
        }
        if expected.is_some() {
            return Err(Refused::NoSuchWorker);
        }
        let limit = self.settings.caps.workers;
        if self.farm.workers().len() >= limit {
            return Err(Refused::Full { what: "workers", limit });
        }
        let mut worker = Worker::register(id, registration, self.clock.now()).edited(edit);
        worker.revision = 1;
        let worker = Arc::new(worker);
        self.put_worker(None, worker.clone());
        self.happened(Happened {
            actor,
            kind: "worker.registered",
            subject: Subject::Worker(id),
            before: None,
            after: Some(worker.state.name().to_owned()),
            note: Some(format!("driver {}", worker.registration.driver)),
        });
        Ok((worker, true))
    }

    pub(super) fn edit_worker(
        &mut self,
        actor: &str,
        id: WorkerId,
        edit: Edit,
        expected: Option<u64>,
    ) -> Result<Arc<Worker>, Refused> {
        let before = self.check_worker_revision(id, expected)?;
        self.check_pin(&before.registration.driver, &edit)?;
        let worker = Arc::new(before.edited(edit));
        if worker.revision != before.revision {
            self.put_worker(Some(&before), worker.clone());
            self.note(actor, "worker.edited", Subject::Worker(id), edit_note(&before, &worker));
        }
        Ok(worker)
    }

    pub(super) fn move_worker(
        &mut self,
        actor: &str,
        id: WorkerId,
        event: Event,
        expected: Option<u64>,
    ) -> Result<Arc<Worker>, Refused> {
        self.check_worker_revision(id, expected)?;
        self.apply_worker(actor, id, event, None)
    }

    /// A check or re-check is due. A refusal means that it no longer is.
    pub(super) fn worker_due(&mut self, id: WorkerId, event: Event) {
        if self.farm.mode().mode.is_maintenance() {
            // It is looked at when the farm is back.
            return;
        }
        // Worker gone or busy meanwhile: its new state has due times of its own.
        let _ = self.apply_worker(CORE, id, event, None);
    }

    pub(super) fn check_worker_revision(
        &self,
        id: WorkerId,
        expected: Option<u64>,
    ) -> Result<Arc<Worker>, Refused> {
        let worker = self.farm.worker(id).ok_or(Refused::NoSuchWorker)?;
        match expected {
            Some(expected) if expected != worker.revision => {
                Err(Refused::Revision { current: worker.revision })
            }
            _ => Ok(worker.clone()),
        }
    }

    /// Moves a worker and everything that hangs on it. `opened` comes with the end of an `open` task.
    pub(super) fn apply_worker(
        &mut self,
        actor: &str,
        id: WorkerId,
        event: Event,
        opened: Option<Opened>,
    ) -> Result<Arc<Worker>, Refused> {
        let before = self.farm.worker(id).ok_or(Refused::NoSuchWorker)?.clone();
        let now = self.clock.now();
        let context = worker::Context { now, task: (self.new_task_id)(now), rules: &self.settings.rules };
        let transition = worker::step(&before, event, context)?;
        let worker = Arc::new(transition.worker);
        let removed = transition.effects.contains(&Effect::Removed);
        if removed || worker.generation != before.generation {
            self.supersede_introspection(&worker, removed);
        }
        if removed {
            self.remove_worker(actor, &before);
        } else if worker.revision != before.revision {
            self.put_worker(Some(&before), worker.clone());
            self.tell_state(actor, &before, &worker);
        }
        let mut opened = opened;
        let former = self.user_of(&before);
        for effect in transition.effects {
            self.carry_out(actor, former, &worker, effect, &mut opened);
        }
        Ok(worker)
    }

    /// The request whose user may be let in on the board: of its job, or of the job that the live task has not yet
    /// cleaned up after.
    fn user_of(&self, worker: &Worker) -> Option<RequestId> {
        let occupied = worker.occupation.map(|occupation| occupation.request);
        occupied.or_else(|| self.farm.tasks().get(&worker.task?.0)?.spec.request)
    }

    fn carry_out(
        &mut self,
        actor: &str,
        former: Option<RequestId>,
        worker: &Arc<Worker>,
        effect: Effect,
        opened: &mut Option<Opened>,
    ) {
        match effect {
            Effect::CancelTask(task, why) => self.end_cancelled(task, why),
            Effect::StartTask(kind) => {
                let request = match kind {
                    TaskKind::Open => worker.occupation.map(|occupation| occupation.request),
                    // The task that follows a job begins with taking its user's keys away.
                    TaskKind::Prepare | TaskKind::Maintain => former,
                    TaskKind::Check | TaskKind::Recheck | TaskKind::Introspect | TaskKind::PowerOff => None,
                };
                self.start_task(worker, kind, request);
            }
            Effect::FailRequest(request, reason) => {
                self.follow(actor, request, request::Event::Fail { reason });
            }
            Effect::RequeueRequest(request, reason) => {
                self.follow(actor, request, request::Event::Requeue { reason });
            }
            Effect::OpenJob(request) => match opened.take() {
                Some(opened) => self.open_job(actor, request, opened),
                None => tracing::error!(%request, "a job was opened without access"),
            },
            Effect::BecameIdle | Effect::Removed => {}
        }
    }

    fn open_job(&mut self, actor: &str, id: RequestId, opened: Opened) {
        let Some(request) = self.farm.request(id) else { return };
        let timeout = after(self.clock.now(), self.length_of(request));
        let access = Arc::new(JobAccess {
            port: opened.port,
            target_host: opened.access.host,
            target_port: opened.access.port,
            user: opened.access.user,
            host_keys: opened.access.host_keys,
            private_key: opened.private_key,
            authorized_keys: opened.authorized_keys,
        });
        self.follow(actor, id, request::Event::Open { timeout, access });
    }

    /// The request follows its worker. A refusal would mean that the two disagreed: said loudly, never hidden.
    fn follow(&mut self, actor: &str, request: RequestId, event: request::Event) {
        if let Err(refused) = self.apply_request(actor, request, event) {
            tracing::error!(%request, %refused, "a request could not follow its worker");
        }
    }

    fn tell_state(&mut self, actor: &str, before: &Worker, worker: &Worker) {
        if worker.drain {
            let note = "it goes to maintenance when its job ends".to_owned();
            self.note(actor, "worker.drain", Subject::Worker(worker.id), note);
        } else if before.drain && worker.state == before.state {
            let note = "it stays in use when its job ends".to_owned();
            self.note(actor, "worker.drain", Subject::Worker(worker.id), note);
        }
        if before.state == worker.state && before.generation == worker.generation {
            if let Some(reason) = worker.reason.as_ref().filter(|_| before.reason != worker.reason) {
                self.note(actor, "worker.failure", Subject::Worker(worker.id), reason.clone());
            }
            return;
        }
        self.happened(Happened {
            actor,
            kind: "worker.state",
            subject: Subject::Worker(worker.id),
            before: Some(before.state.name().to_owned()),
            after: Some(worker.state.name().to_owned()),
            note: worker.reason.clone(),
        });
        let relapsed = worker.recovery.relapses > self.settings.rules.relapses;
        if relapsed && worker.recovery.quarantined && !before.recovery.quarantined {
            let note = format!("it failed {} times without a job in between", worker.recovery.relapses);
            self.note(CORE, "worker.quarantined", Subject::Worker(worker.id), note);
        }
        if worker.state != worker::State::Running && before.state == worker::State::Running {
            self.policy.told.finished(worker.id);
        }
    }

    /// Writes a worker and every index derived from it.
    pub(super) fn put_worker(&mut self, before: Option<&Worker>, worker: Arc<Worker>) {
        self.index_worker(before, &worker);
        self.turn.change(Change::PutWorker(worker));
    }

    /// Everything in memory that follows a worker's row.
    pub(super) fn index_worker(&mut self, before: Option<&Worker>, worker: &Arc<Worker>) {
        self.timers.replace_worker(self.times(), before, Some(worker), &self.settings);
        self.matcher.put_worker(worker);
        if let Some(dense) = self.matcher.dense(worker.id) {
            self.policy.told.worker_changed(before, dense, worker);
        }
        self.farm.put_worker(worker.clone());
    }

    fn remove_worker(&mut self, actor: &str, worker: &Worker) {
        self.timers.replace_worker(self.times(), Some(worker), None, &self.settings);
        if let Some(dense) = self.matcher.dense(worker.id) {
            self.policy.told.worker_gone(worker.id, dense);
        }
        self.matcher.remove_worker(worker.id);
        self.farm.remove_worker(worker.id);
        self.turn.change(Change::RemoveWorker(worker.id));
        self.happened(Happened {
            actor,
            kind: "worker.removed",
            subject: Subject::Worker(worker.id),
            before: Some(worker.state.name().to_owned()),
            after: None,
            note: None,
        });
    }
}

fn edit_note(before: &Worker, after: &Worker) -> String {
    let changed = [
        ("groups", before.groups != after.groups),
        ("capabilities", before.capabilities != after.capabilities),
        ("host", before.host != after.host),
        ("notes", before.notes != after.notes),
        ("driver version", before.driver_version != after.driver_version),
    ];
    let names: Vec<_> = changed.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    names.join(", ")
}
