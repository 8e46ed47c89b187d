//! The request machine: a table of pure functions from (request, event) to a new request and effects as data.

use std::sync::Arc;

use super::{Job, JobAccess, Priority, Request, Spec, State};
use crate::id::{RequestId, WorkerId};
use crate::moment::{Moment, Timestamp, one_month_after};

/// What a step needs to know besides the request and the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Timestamp,
    /// Who does it.
    pub actor: &'a str,
    /// A place at the tail of every queue.
    pub tail: u64,
    /// The admin's bounds.
    pub bounds: &'a Bounds,
}

/// The admin's bounds on jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// How often a job may be prolonged; none = any number of times.
    pub prolongs: Option<u32>,
}

/// A wish, not yet a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create {
    /// What it asks for.
    pub spec: Spec,
    /// Priority as given: checked here.
    pub priority: u8,
    /// Not before; none = now.
    pub valid_after: Option<Moment>,
    /// Not after; none = one calendar month from now.
    pub deadline: Option<Moment>,
}

/// What can happen to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Its owner changes it; none = unchanged.
    Update {
        /// New priority, as given: checked here.
        priority: Option<u8>,
        /// New earliest time.
        valid_after: Option<Moment>,
        /// New latest time.
        deadline: Option<Moment>,
    },
    /// Its owner is done with it.
    Close {
        /// Why, where that is worth telling.
        reason: Option<String>,
    },
    /// Its deadline may have passed.
    DeadlineDue,
    /// A match reserved a worker.
    Reserve(WorkerId),
    /// The reserved worker did not open.
    Requeue {
        /// Why.
        reason: String,
    },
    /// The reserved worker opened.
    Open {
        /// When the job ends by itself.
        timeout: Timestamp,
        /// How the user gets in.
        access: Arc<JobAccess>,
    },
    /// The tunnel had to move to another port.
    Moved {
        /// The new way in.
        access: Arc<JobAccess>,
    },
    /// The job shall end at `timeout` instead.
    Prolong {
        /// New end.
        timeout: Timestamp,
        /// Also when that is earlier.
        shorten: bool,
    },
    /// The job is used, and its user wants it to go on for as long as it is: it ends at `timeout` if that is later.
    Extend {
        /// New end.
        timeout: Timestamp,
    },
    /// Its user is to be warned of the job's end.
    Warn,
    /// Nothing is heard of its client.
    Away {
        /// When it was last heard of.
        since: Timestamp,
    },
    /// Its client is heard of again.
    Back,
    /// The job outlives its client.
    Keep,
    /// Its board does not answer.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
    /// Its board answers again.
    Reachable,
    /// The job ran as long as it may. Not to be told from its `timeout`, which a wall clock that steps makes come early or
    /// late.
    TimeoutDue,
    /// The worker failed under the job.
    Fail {
        /// Why.
        reason: String,
    },
    /// No registered worker could ever satisfy it.
    Invalidate {
        /// Why.
        reason: String,
    },
}

/// What must be done once the new request is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The worker is free of this request.
    ReleaseWorker(WorkerId),
}

/// A step of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The request afterwards. Equal to the one before when nothing changed.
    pub request: Request,
    /// What must be done.
    pub effects: Vec<Effect>,
}

/// Why an event is refused; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// The deadline lies in the past.
    #[error("deadline in the past")]
    DeadlinePast,
    /// The earliest time lies after the deadline.
    #[error("requested time range illegal - ValidAfter must be before Deadline")]
    EmptyRange,
    /// Not 1..=16.
    #[error("requested priority out of bounds")]
    Priority,
    /// The request's state does not allow it.
    #[error("action cannot be executed in current state")]
    WrongState,
    /// It has no running job.
    #[error("worker not assigned")]
    NoJob,
    /// The job would end earlier than it does.
    #[error("the job ends later than that already, at {0:.0}")]
    Shorter(Timestamp),
    /// The job was prolonged as often as the admin allows.
    #[error("the job was prolonged as often as the farm allows")]
    ProlongLimit,
    /// The time that the event is about has not come, or was moved.
    #[error("not due yet")]
    NotDue,
}

/// Makes a request of a wish. Checks in this order: deadline in the past, range, priority.
pub fn create(id: RequestId, wish: Create, context: Context<'_>) -> Result<Request, Refusal> {
    let now = context.now;
    let deadline = wish.deadline.unwrap_or_else(|| Moment::utc(one_month_after(now)));
    let valid_after = wish.valid_after.unwrap_or_else(|| Moment::utc(now));
    if deadline.at < now {
        return Err(Refusal::DeadlinePast);
    }
    if valid_after.at > deadline.at {
        return Err(Refusal::EmptyRange);
    }
    let priority = Priority::new(wish.priority).ok_or(Refusal::Priority)?;
    Ok(Request {
        id,
        spec: Arc::new(wish.spec),
        state: State::Waiting,
        since: now,
        created: now,
        priority,
        place: context.tail,
        valid_after,
        deadline,
        reserved: None,
        job: None,
        reason: None,
        ended_by: None,
        revision: 1,
    })
}

/// Moves `request` by `event`, or says why not.
pub fn step(request: &Request, event: Event, context: Context<'_>) -> Result<Transition, Refusal> {
    let mut next = request.clone();
    let mut effects = Vec::new();
    let now = context.now;
    match event {
        Event::Update { priority, valid_after, deadline } => {
            update(&mut next, priority, valid_after, deadline, context)?;
        }
        Event::Close { reason } => {
            let state = match request.state {
                State::Waiting => State::Cancelled,
                State::InProgress => State::Done,
                _ => return Err(Refusal::WrongState),
            };
            effects.extend(end(&mut next, state, reason, context));
        }
        Event::DeadlineDue => match (request.state, request.reserved) {
            (State::Waiting, None) if request.deadline.at <= now => {
                effects.extend(end(&mut next, State::Timeout, None, context));
            }
            (State::Waiting, _) => return Err(Refusal::NotDue),
            _ => return Err(Refusal::WrongState),
        },
        Event::Reserve(worker) => match (request.state, request.reserved) {
            (State::Waiting, None) => {
                next.reserved = Some(worker);
                next.reason = None;
            }
            _ => return Err(Refusal::WrongState),
        },
        Event::Requeue { reason } => match (request.state, request.reserved) {
            (State::Waiting, Some(_)) => {
                next.reserved = None;
                next.reason = Some(reason);
            }
            _ => return Err(Refusal::WrongState),
        },
        Event::Open { timeout, access } => match (request.state, request.reserved) {
            (State::Waiting, Some(worker)) => {
                next.job = Some(Arc::new(Job::new(worker, now, timeout, access)));
                next.reserved = None;
                next.state = State::InProgress;
                next.since = now;
                next.reason = None;
            }
            _ => return Err(Refusal::WrongState),
        },
        Event::Moved { access } => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            next.job = Some(Arc::new(Job { access, ..Job::clone(job) }));
        }
        Event::Prolong { timeout, shorten } => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            if context.bounds.prolongs.is_some_and(|most| job.prolongs >= most) {
                return Err(Refusal::ProlongLimit);
            }
            if timeout < job.timeout && !shorten {
                return Err(Refusal::Shorter(job.timeout));
            }
            next.job = Some(Arc::new(Job { prolongs: job.prolongs + 1, ..job.until(timeout, now) }));
        }
        Event::Extend { timeout } => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            if timeout > job.timeout {
                next.job = Some(Arc::new(job.until(timeout, now)));
            }
        }
        Event::Warn => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            job.next_warning().ok_or(Refusal::NotDue)?;
            next.job = Some(Arc::new(Job { warned: job.warned + 1, ..Job::clone(job) }));
        }
        Event::Away { since } => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            // What it was told first stays true; one that is kept need not be heard of.
            if !job.kept && job.away.is_none() {
                next.job = Some(Arc::new(Job { away: Some(since), ..Job::clone(job) }));
            }
        }
        Event::Back => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            next.job = Some(Arc::new(Job { away: None, ..Job::clone(job) }));
        }
        Event::Unreachable { since } => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            let unreachable = job.unreachable.or(Some(since));
            next.job = Some(Arc::new(Job { unreachable, ..Job::clone(job) }));
        }
        Event::Reachable => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            next.job = Some(Arc::new(Job { unreachable: None, ..Job::clone(job) }));
        }
        Event::Keep => {
            let job = request.running_job().ok_or(Refusal::NoJob)?;
            next.job = Some(Arc::new(Job { kept: true, away: None, ..Job::clone(job) }));
        }
        Event::TimeoutDue => {
            request.running_job().ok_or(Refusal::NoJob)?;
            let reason = Some("the job's time is up".to_owned());
            effects.extend(end(&mut next, State::Done, reason, context));
        }
        Event::Fail { reason } => {
            request.running_job().ok_or(Refusal::NoJob)?;
            // The worker is not released: its failure is what ended the job.
            end(&mut next, State::Failed, Some(reason), context);
        }
        Event::Invalidate { reason } => match (request.state, request.reserved) {
            (State::Waiting, None) => {
                end(&mut next, State::Invalid, Some(reason), context);
            }
            _ => return Err(Refusal::WrongState),
        },
    }
    if next != *request {
        next.revision = request.revision + 1;
    }
    Ok(Transition { request: next, effects })
}

fn update(
    request: &mut Request,
    priority: Option<u8>,
    valid_after: Option<Moment>,
    deadline: Option<Moment>,
    context: Context<'_>,
) -> Result<(), Refusal> {
    if request.state != State::Waiting {
        return Err(Refusal::WrongState);
    }
    let same = priority.is_none_or(|new| new == request.priority.get())
        && valid_after.is_none_or(|new| new.at == request.valid_after.at)
        && deadline.is_none_or(|new| new.at == request.deadline.at);
    if same {
        return Ok(());
    }
    let new_priority = priority.map(|new| Priority::new(new).ok_or(Refusal::Priority)).transpose()?;
    if deadline.is_some_and(|new| new.at < context.now) {
        return Err(Refusal::DeadlinePast);
    }
    let (from, until) = (valid_after.unwrap_or(request.valid_after), deadline.unwrap_or(request.deadline));
    // The wall clock may have stepped back behind a beginning that nobody asked for.
    let begins = valid_after.is_some() || request.begins().is_some();
    if begins && from.at > until.at {
        return Err(Refusal::EmptyRange);
    }
    if let Some(new) = new_priority {
        request.priority = new;
        request.place = context.tail;
    }
    request.valid_after = from;
    request.deadline = until;
    Ok(())
}

/// Ends the request, and its job with it; the worker that is free then is the effect.
fn end(request: &mut Request, state: State, reason: Option<String>, context: Context<'_>) -> Option<Effect> {
    let now = context.now;
    let worker = request.reserved.take().or_else(|| request.running_job().map(|job| job.worker));
    if let Some(job) = request.running_job() {
        // The private key opens nothing any more: it is forgotten with the job.
        let access = JobAccess { private_key: None, ..JobAccess::clone(&job.access) };
        request.job = Some(Arc::new(Job { ended: Some(now), access: Arc::new(access), ..Job::clone(job) }));
    }
    request.state = state;
    request.since = now;
    request.reason = reason;
    request.ended_by = Some(context.actor.to_owned());
    worker.map(Effect::ReleaseWorker)
}
