//! What the engine remembers of a service.

use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::Refused;
use crate::exit::{Exit, Misuse};
use crate::key::Value;
use crate::scope::Reporter;
use crate::service::Service;

/// Answer to whoever wished something.
pub(crate) type Answer = oneshot::Sender<Result<(), Refused>>;

/// An installed service.
pub(crate) struct Record {
    pub(crate) service: Service,
    pub(crate) attempt: Option<Attempt>,
    /// When the next attempt begins.
    pub(crate) start_at: Option<Instant>,
    /// The next attempt is due, but held back by what still stops.
    pub(crate) held: bool,

    /// How many of its dependents stop, or have ended but have dependents that stop.
    pub(crate) stopping_dependents: usize,
    /// It is in that number of each of its inputs.
    pub(crate) counted: bool,
    /// How many of its inputs run and are asked to stop.
    pub(crate) draining_inputs: usize,

    /// To be taken out, and who waits for that.
    pub(crate) leaving: Option<Vec<Answer>>,
    /// What comes in its place once it has ended, and who waits for that.
    pub(crate) replacement: Option<(Service, Answer)>,

    pub(crate) tally: Tally,
}

/// What counts in reports and for delays.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    pub(crate) attempts: u64,
    pub(crate) starts: u64,
    pub(crate) bounces: u64,
    pub(crate) recent_errors: u32,
    pub(crate) recent_bounces: u32,
    /// The last attempt ended for want of an input.
    pub(crate) missing: bool,
    pub(crate) last_error: Option<Exit>,
    pub(crate) last_start: Option<SystemTime>,
}

/// A running attempt.
pub(crate) struct Attempt {
    pub(crate) number: u64,
    pub(crate) stop: CancellationToken,
    pub(crate) abort: AbortHandle,
    pub(crate) started: Option<Started>,
    pub(crate) reporter: Option<Reporter>,
    /// It is to stop: now, or once its dependents have.
    pub(crate) asked: bool,
    /// Its dependents count it as an input that drains.
    pub(crate) draining: bool,
    /// When the changes of its inputs have settled.
    pub(crate) settle_at: Option<Instant>,
    /// When it is aborted. Set once its token is cancelled.
    pub(crate) abort_at: Option<Instant>,
    pub(crate) overdue: bool,
    pub(crate) misuse: Option<Misuse>,
}

pub(crate) struct Started {
    pub(crate) at: Instant,
    pub(crate) output: Option<Value>,
}

impl Record {
    pub(crate) fn new(service: Service) -> Self {
        Self {
            service,
            attempt: None,
            start_at: None,
            held: false,
            stopping_dependents: 0,
            counted: false,
            draining_inputs: 0,
            leaving: None,
            replacement: None,
            tally: Tally::default(),
        }
    }

    /// The output's holder, if it has started and is not asked to stop.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.attempt.as_ref().filter(|attempt| !attempt.asked)?.started.as_ref()
    }
}
