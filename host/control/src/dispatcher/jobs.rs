//! Jobs while they run: whether anybody is there who uses them, how long they go on, and what their users are told of it.

use std::sync::Arc;
use std::time::Duration;

use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::request::{self, Event, Job, Request};

use super::Dispatcher;
use super::events::CORE;
use crate::refusal::Refused;
use crate::timers::Due;
use crate::warning::Warning;

/// Between two looks at what a tunnel has carried, at the longest.
const LOOK: Duration = Duration::from_secs(60);
/// A minute in which a tunnel carried more bytes than this is one in which something moved: keep-alives carry less.
const MOVES: u64 = 2048;
/// A user is told so long before a job is given back on which nothing moves; half of the time, where that is less.
const IDLE_WARNING: SignedDuration = SignedDuration::from_mins(2);
/// So long before its end a job is prolonged that is used; half of its length, where that is less. Before anybody is warned.
const EXTENDED_BEFORE: SignedDuration = SignedDuration::from_mins(12);

/// What was heard of a client that promised heartbeats. A restart counts as a sign of life, but is no way out for one that
/// had been silent before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// By the clock that never steps.
    at: Duration,
    /// How long it had been silent before that.
    before: Duration,
    /// Something that it started still runs.
    busy: bool,
}

/// What moves on a board, where that decides on its job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// When something moved last, or the looks began.
    moved: Duration,
    /// When the minute began that is being looked at, and what had been carried by then.
    minute: Duration,
    carried: u64,
    /// When the job is given back, where its user was told so.
    told: Option<Timestamp>,
}

impl Dispatcher {
    pub(super) fn prolong(
        &mut self,
        actor: &str,
        id: RequestId,
        length: Option<SignedDuration>,
        shorten: bool,
        expected: Option<u64>,
    ) -> Result<Arc<Request>, Refused> {
        let request = self.check_request_revision(id, expected)?;
        let max = self.settings.job_length_max;
        if length.is_some_and(|length| length > max) {
            return Err(Refused::TooLong { max });
        }
        let length = length.unwrap_or_else(|| self.length_of(&request));
        let timeout = after(self.clock.now(), length.min(max));
        self.apply_request(actor, id, Event::Prolong { timeout, shorten })
    }

    /// How long the job of a request runs.
    pub(super) fn length_of(&self, request: &Request) -> SignedDuration {
        request.spec.length.unwrap_or(self.settings.job_length).min(self.settings.job_length_max)
    }

    pub(super) fn heartbeat(
        &mut self,
        id: RequestId,
        busy: bool,
    ) -> Result<(Arc<Request>, Vec<Warning>), Refused> {
        let mut request = self.farm.request(id).ok_or(Refused::NoSuchRequest)?.clone();
        if request.state.is_terminal() {
            return Err(Refused::Request(request::Refusal::WrongState));
        }
        if let Some(heard) = self.heard.get_mut(&id) {
            *heard = Heard { at: self.clock.running(), before: Duration::ZERO, busy };
        }
        if request.running_job().is_some_and(|job| job.away.is_some()) {
            request = self.apply_request(CORE, id, Event::Back)?;
            self.listen_for(&request);
        }
        let warnings = self.warnings(&request);
        Ok((request, warnings))
    }

    /// A user is warned of the end of a job. The next time is told by what is left of it, not by the wall clock.
    pub(super) fn warning_due(&mut self, id: RequestId) {
        self.request_due(id, Event::Warn);
        let left = self.timers.left(self.times(), &Due::Timeout(id));
        let warned = self.farm.request(id).and_then(|request| Some(request.running_job()?.warned));
        let next = warned.and_then(|warned| Job::WARNINGS.get(usize::from(warned)));
        if let (Some(next), Some(left)) = (next, left.and_then(|left| SignedDuration::try_from(left).ok())) {
            self.timers.after(self.times(), left - *next, Due::Warning(id));
        }
    }

    /// What the user of a running job should know.
    fn warnings(&self, request: &Request) -> Vec<Warning> {
        let Some(job) = request.running_job() else { return Vec::new() };
        let mut warnings = Vec::new();
        if let Some(left) = self.timers.left(self.times(), &Due::Timeout(request.id)) {
            let left = SignedDuration::from_secs(i64::try_from(left.as_secs()).unwrap_or(i64::MAX));
            if job.is_ending(left) {
                let text = format!("the time of job {} is up in {left:#}", request.id);
                warnings.push(Warning { code: "ending", text, at: job.timeout });
            }
        }
        if let (Some(at), Some(idle)) =
            (self.meters.get(&request.id).and_then(|meter| meter.told), request.spec.idle)
        {
            let text = format!(
                "nothing moves on the board: job {} ends when that has been so for {idle:#}, at {at:.0}",
                request.id
            );
            warnings.push(Warning { code: "idle", text, at });
        }
        if let Some(since) = job.unreachable {
            let text = format!("the board of job {} has not answered since {since:.0}", request.id);
            warnings.push(Warning { code: "unreachable", text, at: since });
        }
        warnings
    }

    /// From now on its client is missed when it says nothing.
    pub(super) fn expect_heartbeat(&mut self, request: &Request) {
        let away = request.running_job().and_then(|job| job.away);
        let silent = away.map(|since| self.clock.now().duration_since(since)).unwrap_or_default();
        // Whoever comes back after a restart must have the time to be heard.
        let Some((silence, kept)) = self.patience_with(request) else { return };
        let before = Duration::try_from(silent.min(kept - silence)).unwrap_or_default();
        self.heard.insert(request.id, Heard { at: self.clock.running(), before, busy: false });
        self.listen_for(request);
    }

    /// Looks again when its client may have been silent for too long.
    fn listen_for(&mut self, request: &Request) {
        let Some((silence, kept)) = self.patience_with(request) else { return };
        let silent = self.silent(request.id);
        let next = if silent < silence { silence } else { kept };
        self.timers.after(self.times(), next - silent, Due::Heartbeat(request.id));
    }

    /// How long nothing has been heard of the client of a request.
    fn silent(&self, id: RequestId) -> SignedDuration {
        let silent = self
            .heard
            .get(&id)
            .map(|heard| self.clock.running().saturating_sub(heard.at).saturating_add(heard.before));
        SignedDuration::try_from(silent.unwrap_or_default()).unwrap_or(SignedDuration::MAX)
    }

    pub(super) fn heartbeat_due(&mut self, id: RequestId) {
        let Some(request) = self.farm.request(id).filter(|_| self.heard.contains_key(&id)).cloned() else {
            return;
        };
        if request.running_job().is_some_and(|job| job.kept) {
            return;
        }
        let Some((silence, kept)) = self.patience_with(&request) else { return };
        let silent = self.silent(id);
        if silent >= kept {
            let reason = match request.running_job().and_then(|job| job.away) {
                Some(since) => format!("nothing was heard of its client since {since:.0}"),
                None => "its client stopped sending heartbeats".to_owned(),
            };
            return self.request_due(id, Event::Close { reason: Some(reason) });
        }
        if silent >= silence && request.running_job().is_some_and(|job| job.away.is_none()) {
            let since = after(self.clock.now(), -silent);
            self.request_due(id, Event::Away { since });
        }
        self.listen_for(&request);
    }

    /// Its client is away when it was silent for longer.
    fn longest_silence(&self, request: &Request) -> Option<SignedDuration> {
        let missed = i32::try_from(self.settings.missed_heartbeats).unwrap_or(i32::MAX);
        Some(request.spec.heartbeat?.checked_mul(missed).unwrap_or(SignedDuration::MAX))
    }

    /// After how long a silence its client is away, and after how long it is closed.
    pub(super) fn patience_with(&self, request: &Request) -> Option<(SignedDuration, SignedDuration)> {
        let silence = self.longest_silence(request)?;
        let away = request.spec.away.filter(|_| request.running_job().is_some());
        Some((silence, away.map_or(silence, |away| away.min(self.settings.away_max).max(silence))))
    }

    /// From now on it is looked at what moves on the board of a job, where that decides on it.
    pub(super) fn index_meter(&mut self, request: &Request) {
        let measured = request.spec.idle.is_some() || request.spec.extend;
        if request.running_job().is_none() || !measured {
            if self.meters.remove(&request.id).is_some() {
                self.timers.remove(&Due::Meter(request.id));
            }
        } else if !self.meters.contains_key(&request.id) {
            let running = self.clock.running();
            let carried = self.runner.tunnels().carried(request.id);
            let meter = Meter { moved: running, minute: running, carried, told: None };
            self.meters.insert(request.id, meter);
            self.timers.after(self.times(), self.look_every(request), Due::Meter(request.id));
        }
    }

    /// Often enough to tell and to prolong in time.
    fn look_every(&self, request: &Request) -> SignedDuration {
        let look = SignedDuration::try_from(LOOK).unwrap_or_default();
        let extends = request.spec.extend.then(|| extended_before(self.length_of(request)));
        let idles = request.spec.idle.map(idle_warning);
        extends.into_iter().chain(idles).fold(look, SignedDuration::min).max(SignedDuration::from_secs(1))
    }

    pub(super) fn meter_due(&mut self, id: RequestId) {
        let Some(request) = self.farm.request(id).cloned() else { return };
        let (Some(job), Some(mut meter)) = (request.running_job(), self.meters.get(&id).copied()) else {
            return;
        };
        let running = self.clock.running();
        meter.look(running, self.runner.tunnels().carried(id));
        let still = SignedDuration::try_from(running.saturating_sub(meter.moved)).unwrap_or_default();
        if let Some(idle) = request.spec.idle {
            if still >= idle {
                let reason = Some(format!("nothing moved on its board for {idle:#}"));
                return self.request_due(id, Event::Close { reason });
            }
            if meter.told.is_none() && idle - still <= idle_warning(idle) {
                let at = after(self.clock.now(), idle - still);
                meter.told = Some(at);
                let note = format!("nothing moves on worker {}: the job ends at {at:.0}", job.worker);
                self.note(CORE, "job.idle", Subject::Request(id), note);
            }
        }
        self.meters.insert(id, meter);
        self.extend_if_used(&request, job, running, meter);
        self.timers.after(self.times(), self.look_every(&request), Due::Meter(id));
    }

    fn extend_if_used(&mut self, request: &Request, job: &Job, running: Duration, meter: Meter) {
        // A kept job is never away: what its client said last may be long ago.
        let heard_of = self.longest_silence(request).is_some_and(|silence| self.silent(request.id) < silence);
        let busy = heard_of && self.heard.get(&request.id).is_some_and(|heard| heard.busy);
        let used = busy || running.saturating_sub(meter.moved) <= LOOK;
        let length = self.length_of(request);
        let left = self.timers.left(self.times(), &Due::Timeout(request.id)).unwrap_or_default();
        if request.spec.extend
            && used
            && SignedDuration::try_from(left).is_ok_and(|left| left <= extended_before(length))
        {
            let latest = after(job.opened, self.settings.job_length_max);
            let timeout = after(self.clock.now(), length).min(latest);
            self.request_due(request.id, Event::Extend { timeout });
        }
    }
}

impl Meter {
    /// A look at what was carried by now.
    fn look(&mut self, running: Duration, carried: u64) {
        // A tunnel that was opened again begins to count again.
        let moved = carried.checked_sub(self.carried).unwrap_or(carried) > MOVES;
        if moved {
            (self.moved, self.told) = (running, None);
        }
        if moved || running.saturating_sub(self.minute) >= LOOK {
            (self.minute, self.carried) = (running, carried);
        }
    }
}

fn idle_warning(idle: SignedDuration) -> SignedDuration {
    IDLE_WARNING.min(idle / 2)
}

fn extended_before(length: SignedDuration) -> SignedDuration {
    EXTENDED_BEFORE.min(length / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_in_a_minute_is_added_up() {
        let start = Duration::from_secs(1000);
        let mut meter = Meter { moved: start, minute: start, carried: 0, told: None };
        let at = |seconds| start + Duration::from_secs(seconds);
        meter.look(at(20), 1500);
        assert_eq!(meter.moved, start, "too little so far");
        meter.look(at(40), 3000);
        assert_eq!(meter.moved, at(40), "too much for keep-alives");
        for minute in 1..=10 {
            meter.look(at(40 + 60 * minute), 3000 + 2048 * minute);
        }
        assert_eq!(meter.moved, at(40), "keep-alives");
        meter.look(at(700), 2049);
        assert_eq!(meter.moved, at(700), "another tunnel");
    }
}
