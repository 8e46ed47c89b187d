//! When something becomes due: an index derived from rows, never the truth itself.
//!
//! A date that somebody asked for is due by the wall clock. Everything else is a span of time, and due by the clock that
//! never steps: the row says when it ends by the wall clock of the moment in which it was written, and a wall clock that
//! jumps later neither ends a job nor lets a board rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use grove_domain::id::{IntrospectionId, RequestId, WorkerId};
use grove_domain::introspection::{self, Introspection};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::plugin::Plugin;
use grove_domain::request::{self, Request};
use grove_domain::worker::{self, Worker};

use crate::clock::Clock;
use crate::runner::Lack;
use crate::settings::Settings;

/// What is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Due {
    /// A request may be matched from now on.
    Valid(RequestId),
    /// A request has waited long enough.
    Deadline(RequestId),
    /// A job's time is up.
    Timeout(RequestId),
    /// The user of a job is to be warned of its end.
    Warning(RequestId),
    /// A client's heartbeats may have stopped.
    Heartbeat(RequestId),
    /// It is to be looked at whether something moves on the board of a job.
    Meter(RequestId),
    /// The board of a job is to be looked at.
    Probe(RequestId),
    /// A worker is to be looked at.
    Check(WorkerId),
    /// A run of introspection may have been in its state for too long.
    Introspection(IntrospectionId),
    /// What the farm is short of may be there.
    Shortage(Lack),
    /// A plugin's probation is over.
    Probation(Arc<str>),
    /// The policy asked to be woken.
    PolicyWake,
    /// The policy may be tried again.
    PolicyRetry,
    /// A sign of life of this instance.
    Alive,
    /// Housekeeping.
    Tick,
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) running: Duration,
}

impl Now {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), running: clock.running() }
    }

    /// How long until then, by the wall clock as it is.
    fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.wall)).unwrap_or_default()
    }
}

/// Due times in order: each thing has one.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    dates: BTreeSet<(Timestamp, Due)>,
    date_of: HashMap<Due, Timestamp>,
    spans: BTreeSet<(Duration, Due)>,
    span_of: HashMap<Due, Duration>,
}

impl Timers {
    /// How long until the next is due.
    pub(crate) fn next(&self, now: Now) -> Option<Duration> {
        let date = self.dates.first().map(|(at, _)| now.until(*at));
        let span = self.spans.first().map(|(at, _)| at.saturating_sub(now.running));
        date.into_iter().chain(span).min()
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, now: Now) -> Option<Due> {
        if self.spans.first().is_some_and(|(at, _)| *at <= now.running) {
            let (_, due) = self.spans.pop_first()?;
            self.span_of.remove(&due);
            return Some(due);
        }
        self.dates.first().filter(|(at, _)| *at <= now.wall)?;
        let (_, due) = self.dates.pop_first()?;
        self.date_of.remove(&due);
        Some(due)
    }

    /// It is due then, by the wall clock; and no longer when it was.
    pub(crate) fn at(&mut self, at: Timestamp, due: Due) {
        self.remove(&due);
        self.dates.insert((at, due.clone()));
        self.date_of.insert(due, at);
    }

    /// It is due when so much time has passed; and no longer when it was.
    pub(crate) fn after(&mut self, now: Now, span: SignedDuration, due: Due) {
        self.remove(&due);
        let at = now.running.saturating_add(Duration::try_from(span).unwrap_or_default());
        self.spans.insert((at, due.clone()));
        self.span_of.insert(due, at);
    }

    pub(crate) fn remove(&mut self, due: &Due) {
        if let Some(at) = self.date_of.remove(due) {
            self.dates.remove(&(at, due.clone()));
        }
        if let Some(at) = self.span_of.remove(due) {
            self.spans.remove(&(at, due.clone()));
        }
    }

    /// How long until this is due, where that does not depend on the wall clock.
    pub(crate) fn left(&self, now: Now, due: &Due) -> Option<Duration> {
        self.span_of.get(due).map(|at| at.saturating_sub(now.running))
    }

    pub(crate) fn replace_request(
        &mut self,
        now: Now,
        before: Option<&Request>,
        request: Option<&Request>,
        settings: &Settings,
    ) {
        let due = |request| of_request(request, settings);
        self.replace(now, before.map(due), request.map(due));
    }

    pub(crate) fn replace_worker(
        &mut self,
        now: Now,
        before: Option<&Worker>,
        worker: Option<&Worker>,
        settings: &Settings,
    ) {
        let due = |worker| of_worker(worker, settings);
        self.replace(now, before.map(due), worker.map(due));
    }

    pub(crate) fn replace_plugin(
        &mut self,
        now: Now,
        before: Option<&Plugin>,
        plugin: Option<&Plugin>,
        settings: &Settings,
    ) {
        let due = |plugin| of_plugin(plugin, settings);
        self.replace(now, before.map(due), plugin.map(due));
    }

    pub(crate) fn replace_introspection(
        &mut self,
        now: Now,
        before: Option<&Introspection>,
        run: &Introspection,
        rules: &introspection::Rules,
    ) {
        let due = |run| of_introspection(run, rules);
        self.replace(now, before.map(due), Some(due(run)));
    }

    /// What has not moved stays due when it was, whatever the wall clock says by now.
    fn replace<const N: usize>(&mut self, now: Now, before: Option<Times<N>>, after: Option<Times<N>>) {
        let before = before.unwrap_or([const { None }; N]);
        let after = after.unwrap_or([const { None }; N]);
        for (_, due) in before.iter().flatten() {
            if !after.iter().flatten().any(|(_, other)| other == due) {
                self.remove(due);
            }
        }
        for (time, due) in after.into_iter().flatten() {
            let known = self.date_of.contains_key(&due) || self.span_of.contains_key(&due);
            if known && before.iter().flatten().any(|(earlier, other)| *other == due && *earlier == time) {
                continue;
            }
            match time {
                Time::Date(at) => self.at(at, due),
                Time::Span { ends, most } => {
                    let span = ends.duration_since(now.wall).min(most);
                    self.after(now, span, due);
                }
            }
        }
    }
}

/// When something is due, as rows say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Time {
    /// On this date.
    Date(Timestamp),
    /// When a span has passed that ends then if the wall clock does not step, and that is never longer than `most`.
    Span { ends: Timestamp, most: SignedDuration },
}

type Times<const N: usize> = [Option<(Time, Due)>; N];

fn of_request(request: &Request, settings: &Settings) -> Times<2> {
    let id = request.id;
    match (request.state, request.running_job()) {
        (request::State::Waiting, _) if request.reserved.is_none() => [
            request.begins().map(|at| (Time::Date(at), Due::Valid(id))),
            Some((Time::Date(request.deadline.at), Due::Deadline(id))),
        ],
        (request::State::InProgress, Some(job)) => {
            let most = settings.job_length_max;
            let time = |ends| Time::Span { ends, most };
            let warning = job.next_warning().map(|at| (time(at), Due::Warning(id)));
            [Some((time(job.timeout), Due::Timeout(id))), warning]
        }
        _ => [None, None],
    }
}

/// One that starts has its time from the beginning of its task on, which its row does not tell. Of one that is processed
/// the processor says when it has taken too long.
fn of_introspection(run: &Introspection, rules: &introspection::Rules) -> Times<1> {
    use introspection::State::{Aborting, Waiting};

    let longest = rules.longest(run.state).filter(|_| matches!(run.state, Waiting | Aborting));
    let time = |most| Time::Span { ends: after(run.since, most), most };
    [longest.map(|most| (time(most), Due::Introspection(run.id)))]
}

fn of_plugin(plugin: &Plugin, settings: &Settings) -> Times<1> {
    let time = |ends| Time::Span { ends, most: settings.plugin_rules.probation };
    [plugin.probation_ends().map(|ends| (time(ends), Due::Probation(plugin.name.as_str().into())))]
}

fn of_worker(worker: &Worker, settings: &Settings) -> Times<1> {
    let time = match (worker.state, worker.task) {
        (_, Some(_)) => None,
        (worker::State::Idle, None) => {
            let most = settings.check_interval;
            Some(Time::Span { ends: after(worker.health.checked_at.unwrap_or(worker.since), most), most })
        }
        (worker::State::Failed, None) => {
            let most = settings.rules.recheck_max;
            worker.recovery.recheck_at.map(|ends| Time::Span { ends, most })
        }
        _ => None,
    };
    [time.map(|time| (time, Due::Check(worker.id)))]
}
