//! Why a request is where it is: the policy's reasons and the core's own.

use grove_domain::id::{RequestId, WorkerId};
use grove_domain::limit::Scope;
use grove_domain::matching::Explanation;
use grove_domain::mode::Mode;
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request::{Request, State};
use grove_domain::task::Phase;
use grove_domain::worker;

use super::Dispatcher;
use crate::matching::why::Reason;
use crate::refusal::Refused;
use crate::runner::Lack;
use crate::timers::Due;

/// Requests that are named as being ahead.
const NAMED: usize = 5;

impl Dispatcher {
    pub(super) fn why(&self, id: RequestId) -> Result<Vec<Reason>, Refused> {
        let request = self.farm.request(id).ok_or(Refused::NoSuchRequest)?;
        let now = self.clock.now();
        let mut reasons = Vec::new();
        if request.state == State::InProgress {
            let job = request.running_job();
            let text = job.map_or_else(String::new, |job| {
                format!("its job runs on worker {} until {}", job.worker, job.timeout)
            });
            let worker = job.map(|job| job.worker);
            return Ok(vec![Reason { code: "running", text, worker, until: job.map(|job| job.timeout) }]);
        }
        if request.state.is_terminal() {
            let text = match &request.reason {
                Some(reason) => format!("it is {}: {reason}", request.state.name()),
                None => format!("it is {}", request.state.name()),
            };
            return Ok(vec![Reason { code: "ended", text, worker: None, until: None }]);
        }
        if let Some(worker) = request.reserved {
            return Ok(vec![self.why_opening(worker)]);
        }
        if let Some(reason) = self.in_maintenance() {
            reasons.push(reason);
        }
        if let Some(begins) = request.begins().filter(|begins| *begins > now) {
            reasons.push(Reason {
                code: "not_yet_valid",
                text: format!("it asked not to be matched before {begins}"),
                worker: None,
                until: Some(begins),
            });
        }
        if let Some(reason) = &request.reason {
            let text = format!("it had a worker that could not be opened: {reason}");
            reasons.push(Reason { code: "requeued", text, worker: None, until: None });
        }
        if let Some(wait) = self.policy.waits.get(&id) {
            let text = wait.reason.clone();
            reasons.push(Reason { code: "policy", text, worker: None, until: wait.until });
        }
        let seen = self.matcher.explain(&request.spec.owner.groups, &request.spec.wants);
        reasons.extend(self.shortages_of(request, &seen));
        reasons.extend(self.full_limits(&seen));
        reasons.push(explain(&seen));
        reasons.extend(self.who_is_ahead(request));
        let matching = self.matcher.matching(&request.spec.owner.groups, &request.spec.wants);
        reasons.extend(self.first_end(&matching));
        reasons.extend(self.next_recheck(&matching));
        Ok(reasons)
    }

    /// What it would need and the farm has not.
    fn shortages_of(&self, request: &Request, seen: &Explanation) -> Vec<Reason> {
        let drivers = seen.held.keys().filter_map(|scope| match scope {
            Scope::Driver(name) => Some(Lack::Driver(name.clone())),
            Scope::Farm | Scope::Host(_) => None,
        });
        let keys = request.spec.keys.is_empty().then_some(Lack::Keys);
        let mut reasons = Vec::new();
        for lack in [Lack::Tunnels].into_iter().chain(keys).chain(drivers) {
            let Some(shortage) = self.shortages.present(&lack) else { continue };
            let again = match self.timers.left(self.times(), &Due::Shortage(lack.clone())) {
                Some(left) => format!("it is tried again in {} s", left.as_secs().max(1)),
                None => "it is being tried again".to_owned(),
            };
            let text = format!("the farm is short of {lack}: {}; {again}", shortage.reason);
            reasons.push(Reason { code: "shortage", text, worker: None, until: None });
        }
        reasons
    }

    /// Limits that keep idle workers from it.
    fn full_limits(&self, seen: &Explanation) -> Vec<Reason> {
        let full = seen.held.iter().filter_map(|(scope, held)| {
            let most = self.farm.limit(scope)?.value?;
            let running = self.slots.taken(scope);
            // Else it is something else that holds them.
            (running >= most).then(|| {
                let workers = if *held == 1 { "1 idle worker" } else { &format!("{held} idle workers") };
                let text = match most {
                    0 => format!("{workers} cannot be opened: the limit of {scope} is 0, nothing starts"),
                    _ => format!(
                        "{workers} cannot be opened: {running} tasks run, and the limit of {scope} is {most}"
                    ),
                };
                Reason { code: "limit", text, worker: None, until: None }
            })
        });
        full.collect()
    }

    /// Others that may get its boards first.
    fn who_is_ahead(&self, request: &Request) -> Option<Reason> {
        let ahead = self.farm.places().ahead(request);
        let named = ahead.iter().take(NAMED).filter_map(|id| self.farm.request(*id));
        let named: Vec<_> = named.map(|other| format!("{} ({})", other.id, other.spec.owner.name)).collect();
        let more = ahead.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!named.is_empty()).then(|| Reason {
            code: "ahead",
            text: format!("ahead of it in the queue: request {}{more}", named.join(", ")),
            worker: None,
            until: None,
        })
    }

    /// The job on one of its boards that ends first.
    fn first_end(&self, matching: &[WorkerId]) -> Option<Reason> {
        let jobs = matching.iter().filter_map(|id| {
            let occupation = self.farm.worker(*id)?.occupation?;
            let request = self.farm.request(occupation.request)?;
            let left = self.timers.left(self.times(), &Due::Timeout(request.id))?;
            Some((left, *id, request))
        });
        let (left, worker, request) = jobs.min_by_key(|(left, worker, _)| (*left, *worker))?;
        let ends = after(self.clock.now(), SignedDuration::try_from(left).unwrap_or_default());
        let text = format!(
            "worker {worker} is free when the job of request {} ({}) ends, at the latest at {ends:.0}",
            request.id, request.spec.owner.name
        );
        Some(Reason { code: "job_ahead", text, worker: Some(worker), until: None })
    }

    /// The failed one of its boards that is checked again first.
    fn next_recheck(&self, matching: &[WorkerId]) -> Option<Reason> {
        let failed = matching.iter().filter_map(|id| {
            let worker = self.farm.worker(*id).filter(|worker| worker.state == worker::State::Failed)?;
            let left = self.timers.left(self.times(), &Due::Check(*id))?;
            Some((left, worker))
        });
        let (left, worker) = failed.min_by_key(|(left, worker)| (*left, worker.id))?;
        let reason = worker.reason.as_deref().unwrap_or("no reason was given");
        let text = format!(
            "worker {} failed ({reason}), and is checked again in {} s",
            worker.id,
            left.as_secs().max(1)
        );
        Some(Reason { code: "recheck", text, worker: Some(worker.id), until: None })
    }

    fn in_maintenance(&self) -> Option<Reason> {
        let Mode::Maintenance { reason, until } = &self.farm.mode().mode else { return None };
        let text = format!("the farm is in maintenance: {reason}");
        Some(Reason { code: "farm_maintenance", text, worker: None, until: *until })
    }

    /// A worker is reserved: its task runs, or waits.
    fn why_opening(&self, id: WorkerId) -> Reason {
        let worker = self.farm.worker(id);
        let task = worker.and_then(|worker| self.farm.tasks().get(&worker.task?.0));
        let waiting = task.filter(|task| task.status.phase == Phase::Waiting);
        let opening = || Reason {
            code: "opening",
            text: format!("worker {id} is being opened for it"),
            worker: Some(id),
            until: None,
        };
        let Some(task) = waiting else { return opening() };
        if let Some(reason) = self.in_maintenance() {
            return Reason { worker: Some(id), ..reason };
        }
        let Some(limit) = self.slots.full(&task.spec.driver, task.spec.host.as_deref()) else {
            return opening();
        };
        let (running, most) = (self.slots.taken(&limit.scope), limit.value.unwrap_or(u32::MAX));
        let text = match most {
            0 => format!("worker {id} is reserved for it; the limit of {} is 0: nothing starts", limit.scope),
            _ => format!(
                "worker {id} is reserved for it; {running} tasks run and the limit of {} is {most}",
                limit.scope
            ),
        };
        Reason { code: "limit", text, worker: Some(id), until: None }
    }
}

fn explain(seen: &Explanation) -> Reason {
    let (code, text) = if seen.matching == 0 {
        ("no_such_worker", nothing_matches(seen))
    } else {
        let states: Vec<String> = seen
            .by_state
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{count} {}", state.name()))
            .collect();
        let matches = if seen.matching == 1 { "worker matches" } else { "workers match" };
        let text = format!("{} {matches}: {}", seen.matching, states.join(", "));
        let idle = seen.by_state.get(&worker::State::Idle).copied().unwrap_or(0);
        (if idle == 0 { "no_idle_worker" } else { "queued" }, text)
    };
    Reason { code, text, worker: None, until: None }
}

fn nothing_matches(seen: &Explanation) -> String {
    if seen.blocked_by_groups > 0 {
        return format!(
            "{} workers have what it wants, but its owner is in none of their groups",
            seen.blocked_by_groups
        );
    }
    match &seen.best_unmet {
        Some(unmet) => format!(
            "no registered worker has everything it wants; {} have all but {}",
            unmet.others_met_by, unmet.term
        ),
        None => "no registered worker has what it wants".to_owned(),
    }
}
