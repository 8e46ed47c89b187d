//! What is to be done when.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::key::Name;

/// Something that falls due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The next attempt of a service begins.
    Start(Name),
    /// The changes of a service's inputs have settled.
    Settle(Name),
    /// A service was given long enough to stop.
    Abort(Name),
    /// The engine's end: services no longer stop in order.
    AskAll,
    /// The engine's end: nobody is waited for any longer.
    AbortAll,
    /// The engine's end: those that do not even end when aborted are left behind.
    Leave,
    /// Those who watch get a report.
    Publish,
}

/// All that will fall due, in order. Whoever puts something in takes it out when it no longer counts, so that nothing
/// stale piles up.
#[derive(Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Due)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Instant, due: Due) {
        self.0.insert((at, due));
    }

    /// Takes out what was set for then; `None`: nothing was.
    pub(crate) fn clear(&mut self, at: Option<Instant>, due: Due) {
        if let Some(at) = at {
            self.0.remove(&(at, due));
        }
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the first that is due by now.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, due)| due)
    }
}
