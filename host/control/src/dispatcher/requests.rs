//! Decisions about requests and their jobs.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::{RequestId, WorkerId};
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request::{self, Context, Create, Effect, Event, Request, Spec, State};
use grove_domain::worker;

use super::events::{CORE, Happened};
use super::{Dispatcher, TICK, TURN};
use crate::publisher;
use crate::refusal::Refused;
use crate::runner::Lack;
use crate::timers::{Due, Now};

/// Ended requests that one turn forgets: more than one turn can end, so that they never pile up.
const PRUNE: usize = 4 * TURN;

impl Dispatcher {
    /// The request, and whether it was made now.
    pub(super) fn create_request(
        &mut self,
        actor: &str,
        wish: Create,
    ) -> Result<(Arc<Request>, bool), Refused> {
        if let Some(made) = self.made_before(&wish.spec) {
            let same = made.spec.idempotency == wish.spec.idempotency;
            return if same { Ok((made.clone(), false)) } else { Err(Refused::KeyReused) };
        }
        let limit = self.settings.caps.live_requests;
        if self.farm.requests().len() - self.ended.len() >= limit {
            return Err(Refused::Full { what: "waiting and running requests", limit });
        }
        let max = self.settings.job_length_max;
        if wish.spec.length.is_some_and(|length| length > max) {
            return Err(Refused::TooLong { max });
        }
        let id = RequestId(self.next_request);
        let request = request::create(id, wish, self.request_context(actor))?;
        self.next_request += 1;
        self.next_place += 1;
        let request = Arc::new(request);
        self.put_request(None, request.clone());
        self.happened(Happened {
            actor,
            kind: "request.created",
            subject: Subject::Request(id),
            before: None,
            after: Some(State::Waiting.name().to_owned()),
            note: None,
        });
        if request.spec.heartbeat.is_some() {
            self.expect_heartbeat(&request);
        }
        if self.settings.refuse_unsatisfiable {
            let seen = self.matcher.explain(&request.spec.owner.groups, &request.spec.wants);
            if seen.matching == 0 {
                let reason = "no registered worker could ever satisfy it".to_owned();
                return Ok((self.apply_request(CORE, id, Event::Invalidate { reason })?, true));
            }
        }
        Ok((request, true))
    }

    /// What its owner made under the key of this wish.
    pub(super) fn made_before(&self, spec: &Spec) -> Option<&Arc<Request>> {
        self.farm.request(*self.made_once.get(&once(spec)?)?)
    }

    pub(super) fn move_request(
        &mut self,
        actor: &str,
        id: RequestId,
        event: Event,
        expected: Option<u64>,
    ) -> Result<Arc<Request>, Refused> {
        self.check_request_revision(id, expected)?;
        self.apply_request(actor, id, event)
    }

    /// A deadline that nobody asked for is there so that nothing waits for ever: it is held against a clock that was not
    /// just set.
    pub(super) fn deadline_due(&mut self, id: RequestId) {
        let asked = self.farm.request(id).is_some_and(|request| request.ends().is_some());
        if asked || self.settled.now(&*self.clock, SignedDuration::MAX).is_some() {
            self.request_due(id, Event::DeadlineDue);
        } else {
            self.timers.after(self.times(), TICK, Due::Deadline(id));
        }
    }

    /// A time has come. A refusal means that it was moved, or that the request ended.
    pub(super) fn request_due(&mut self, id: RequestId, event: Event) {
        if let Err(Refused::Request(request::Refusal::NotDue)) = self.apply_request(CORE, id, event)
            && let Some(request) = self.farm.request(id)
        {
            // The wall clock stepped back: the time is still to come.
            self.timers.replace_request(Now::of(&*self.clock), None, Some(request), &self.settings);
        }
    }

    pub(super) fn check_request_revision(
        &self,
        id: RequestId,
        expected: Option<u64>,
    ) -> Result<Arc<Request>, Refused> {
        let request = self.farm.request(id).ok_or(Refused::NoSuchRequest)?;
        match expected {
            Some(expected) if expected != request.revision => {
                Err(Refused::Revision { current: request.revision })
            }
            _ => Ok(request.clone()),
        }
    }

    fn request_context<'a>(&'a self, actor: &'a str) -> Context<'a> {
        let bounds = &self.settings.bounds;
        Context { now: self.clock.now(), actor, tail: self.next_place, bounds }
    }

    /// Moves a request and everything that hangs on it.
    pub(super) fn apply_request(
        &mut self,
        actor: &str,
        id: RequestId,
        event: Event,
    ) -> Result<Arc<Request>, Refused> {
        let before = self.farm.request(id).ok_or(Refused::NoSuchRequest)?.clone();
        let kind = kind_of(&event);
        let transition = request::step(&before, event, self.request_context(actor))?;
        if transition.request.place == self.next_place {
            self.next_place += 1;
        }
        let request = Arc::new(transition.request);
        if request.revision != before.revision {
            self.put_request(Some(&before), request.clone());
            self.tell_request(actor, kind, &before, &request);
        }
        for effect in transition.effects {
            let Effect::ReleaseWorker(worker) = effect;
            if let Err(refused) = self.apply_worker(actor, worker, worker::Event::Released, None) {
                tracing::error!(request = %id, %worker, %refused, "a worker could not follow its request");
            }
        }
        Ok(request)
    }

    fn tell_request(&mut self, actor: &str, kind: &str, before: &Request, request: &Request) {
        let (from, to) = (before.state, request.state);
        let note = request.reason.clone().or_else(|| match (request.reserved, request.running_job()) {
            (Some(worker), _) => Some(format!("worker {worker}")),
            (None, Some(job)) => Some(match (job.away, self.patience_with(request)) {
                (Some(since), Some((_, kept))) => {
                    let until = after(since, kept).min(job.timeout);
                    format!("worker {}, nothing heard since {since:.0}, kept until {until:.0}", job.worker)
                }
                _ => format!("worker {}, until {}", job.worker, job.timeout),
            }),
            _ => None,
        });
        self.happened(Happened {
            actor,
            kind: if from == to { kind } else { "request.state" },
            subject: Subject::Request(request.id),
            before: Some(from.name().to_owned()),
            after: Some(to.name().to_owned()),
            note,
        });
    }

    /// Writes a request and every index derived from it.
    fn put_request(&mut self, before: Option<&Request>, request: Arc<Request>) {
        self.index_request(before, &request);
        let held = before.and_then(holder);
        if held.is_some() && holder(&request) != held {
            // Also one that a task opened just before it was superseded. Not while the request keeps its worker: the task
            // that opens its tunnel is under way, and may be quicker than this turn.
            self.turn.effect(publisher::Effect::CloseTunnel(request.id));
            if before.is_some_and(|before| before.running_job().is_some()) {
                self.nudge(Lack::Tunnels);
            }
        }
        self.turn.change(Change::PutRequest(request));
    }

    /// Everything in memory that follows a request's row.
    pub(super) fn index_request(&mut self, before: Option<&Request>, request: &Arc<Request>) {
        self.timers.replace_request(self.times(), before, Some(request), &self.settings);
        self.index_due(request);
        self.index_meter(request);
        self.index_probe(request);
        if let Some(job) = request.job.as_ref().filter(|job| self.farm.worker(job.worker).is_some()) {
            self.policy.told.used(request.id, job);
        }
        if request.state.is_terminal() {
            if before.is_none_or(|before| !before.state.is_terminal()) {
                self.ended.push_back((request.since, request.id));
            }
            self.heard.remove(&request.id);
            self.policy.waits.remove(&request.id);
            if let Some(worker) = before.and_then(holder) {
                self.policy.told.finished(worker);
            }
            self.policy.told.request_gone(request.id);
        } else if before.is_some_and(|before| {
            before.priority != request.priority
                || before.valid_after != request.valid_after
                || before.deadline != request.deadline
        }) {
            self.policy.told.request_changed(request.id);
        }
        if before.is_none()
            && let Some(once) = once(&request.spec)
        {
            self.made_once.insert(once, request.id);
        }
        self.farm.put_request(request.clone());
    }

    /// Whether it takes part in matching.
    pub(super) fn index_due(&mut self, request: &Arc<Request>) {
        let waits = request.state == State::Waiting && request.reserved.is_none();
        if let Some(begins) = request.begins().filter(|begins| waits && *begins > self.clock.now()) {
            // Also when that had come before, and the wall clock stepped back.
            self.timers.at(begins, Due::Valid(request.id));
        }
        if request.is_due(self.clock.now()) && !self.waits_for_keys(request) {
            self.matcher.put_request(request);
        } else {
            self.matcher.remove_request(request.id);
        }
    }

    /// Forgets ended requests whose time of being kept is over, a bounded number at a time.
    pub(super) fn prune(&mut self) {
        let keep = self.settings.retention;
        let oldest = self.settled.now(&*self.clock, keep.requests).map(|now| after(now, -keep.requests));
        for _ in 0..PRUNE {
            let over = self.ended.len() > keep.requests_max;
            match self.ended.front() {
                Some(&(ended, id)) if over || oldest.is_some_and(|oldest| ended < oldest) => {
                    self.ended.pop_front();
                    let once = self.farm.request(id).and_then(|request| once(&request.spec));
                    if let Some(once) = once {
                        self.made_once.remove(&once);
                    }
                    self.farm.remove_request(id);
                    self.turn.change(Change::RemoveRequest(id));
                }
                _ => return,
            }
        }
    }
}

/// What a wish is known again by.
fn once(spec: &Spec) -> Option<(String, String)> {
    Some((spec.owner.name.clone(), spec.idempotency.as_ref()?.key.clone()))
}

/// The worker that a request holds.
fn holder(request: &Request) -> Option<WorkerId> {
    request.reserved.or_else(|| request.running_job().map(|job| job.worker))
}

fn kind_of(event: &Event) -> &'static str {
    match event {
        Event::Update { .. } => "request.updated",
        Event::Reserve(_) => "request.reserved",
        Event::Requeue { .. } => "request.requeued",
        Event::Prolong { .. } => "job.prolonged",
        Event::Extend { .. } => "job.extended",
        Event::Warn => "job.ending",
        Event::Away { .. } => "job.away",
        Event::Back => "job.back",
        Event::Keep => "job.kept",
        Event::Unreachable { .. } => "job.unreachable",
        Event::Reachable => "job.reachable",
        Event::Moved { .. } => "job.moved",
        _ => "request.state",
    }
}
