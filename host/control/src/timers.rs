//! When something becomes due: an ordered index derived from rows, never the truth itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use grove_domain::id::{IntrospectionId, RequestId, WorkerId};
use grove_domain::introspection::{self, Introspection};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::plugin::Plugin;
use grove_domain::request::{self, Request};
use grove_domain::worker::{self, Worker};

/// What is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// A request may be matched from now on.
    Valid(RequestId),
    /// A request has waited long enough.
    Deadline(RequestId),
    /// A job's time is up.
    Timeout(RequestId),
    /// A client's heartbeats may have stopped.
    Heartbeat(RequestId),
    /// A worker is to be looked at.
    Check(WorkerId),
    /// A run of introspection may have been in its state for too long.
    Introspection(IntrospectionId),
    /// A plugin's probation is over.
    Probation(Arc<str>),
    /// The policy asked to be woken, or may be tried again.
    Policy,
    /// A sign of life of this instance.
    Alive,
    /// Housekeeping.
    Tick,
}

/// Due times in order.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, Due)>,
}

impl Timers {
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due at `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first().map(|(_, due)| due)
    }

    pub(crate) fn add(&mut self, at: Timestamp, due: Due) {
        self.due.insert((at, due));
    }

    pub(crate) fn remove(&mut self, at: Timestamp, due: Due) {
        self.due.remove(&(at, due));
    }

    pub(crate) fn replace_request(&mut self, before: Option<&Request>, now: Option<&Request>) {
        self.replace(before.map(of_request), now.map(of_request));
    }

    pub(crate) fn replace_worker(
        &mut self,
        before: Option<&Worker>,
        now: Option<&Worker>,
        check_interval: SignedDuration,
    ) {
        let due = |worker| of_worker(worker, check_interval);
        self.replace(before.map(due), now.map(due));
    }

    pub(crate) fn replace_plugin(&mut self, before: Option<&Plugin>, now: Option<&Plugin>) {
        self.replace(before.map(of_plugin), now.map(of_plugin));
    }

    pub(crate) fn replace_introspection(
        &mut self,
        before: Option<&Introspection>,
        now: &Introspection,
        rules: &introspection::Rules,
    ) {
        let due = |run| of_introspection(run, rules);
        self.replace(before.map(due), Some(due(now)));
    }

    fn replace<const N: usize>(&mut self, before: Option<Times<N>>, now: Option<Times<N>>) {
        for (at, due) in before.into_iter().flatten().flatten() {
            self.remove(at, due);
        }
        for (at, due) in now.into_iter().flatten().flatten() {
            self.add(at, due);
        }
    }
}

type Times<const N: usize> = [Option<(Timestamp, Due)>; N];

fn of_request(request: &Request) -> Times<2> {
    let id = request.id;
    match (request.state, request.running_job()) {
        (request::State::Waiting, _) if request.reserved.is_none() => {
            [Some((request.valid_after.at, Due::Valid(id))), Some((request.deadline.at, Due::Deadline(id)))]
        }
        (request::State::InProgress, Some(job)) => [Some((job.timeout, Due::Timeout(id))), None],
        _ => [None, None],
    }
}

/// One that starts has its time from the beginning of its task on, which its row does not tell. Of one that is processed
/// the processor says when it has taken too long.
fn of_introspection(run: &Introspection, rules: &introspection::Rules) -> Times<1> {
    use introspection::State::{Aborting, Waiting};

    let due = run.due(rules).filter(|_| matches!(run.state, Waiting | Aborting));
    [due.map(|at| (at, Due::Introspection(run.id)))]
}

fn of_plugin(plugin: &Plugin) -> Times<1> {
    [plugin.probation_ends().map(|at| (at, Due::Probation(plugin.name.as_str().into())))]
}

fn of_worker(worker: &Worker, check_interval: SignedDuration) -> Times<1> {
    let at = match (worker.state, worker.task) {
        (_, Some(_)) => None,
        (worker::State::Idle, None) => {
            Some(after(worker.health.checked_at.unwrap_or(worker.since), check_interval))
        }
        (worker::State::Failed, None) => worker.recovery.recheck_at,
        _ => None,
    };
    [at.map(|at| (at, Due::Check(worker.id)))]
}
