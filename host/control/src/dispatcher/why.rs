//! Why a request is where it is: the policy's reasons and the core's own.

use grove_domain::id::{RequestId, WorkerId};
use grove_domain::matching::Explanation;
use grove_domain::mode::Mode;
use grove_domain::request::State;
use grove_domain::task::Phase;

use super::Dispatcher;
use crate::matching::why::Reason;
use crate::refusal::Refused;

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
        if request.valid_after.at > now {
            reasons.push(Reason {
                code: "not_yet_valid",
                text: format!("it asked not to be matched before {}", request.valid_after.at),
                worker: None,
                until: Some(request.valid_after.at),
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
        reasons.push(explain(&seen));
        Ok(reasons)
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
        let idle = seen.by_state.get(&grove_domain::worker::State::Idle).copied().unwrap_or(0);
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
