//! What the policy was told: it hears only what changed, and everything again when its session is new.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use grove_domain::id::{RequestId, WorkerId};
use grove_domain::moment::Timestamp;
use grove_domain::request::{Job, Request};
use grove_domain::worker::Worker;

use crate::ports::{Assignment, PolicyChange};

/// News beyond this are not kept: a new session that hears everything is cheaper then.
const NEWS: usize = 100_000;
/// Workers whose last use a new session hears of: the latest.
const PAST: usize = 4096;

/// The policy's knowledge, and what it must still hear.
#[derive(Default)]
pub(crate) struct Told {
    requests: HashSet<RequestId>,
    /// Ordered, so that the same farm is always told the same way.
    assigned: BTreeMap<WorkerId, Assignment>,
    news: Vec<PolicyChange>,
    /// Which request used a worker last, and since when.
    last: HashMap<WorkerId, (Timestamp, RequestId)>,
    /// Something changed of what it was told, but for what it did itself.
    stirred: bool,
}

impl Told {
    pub(crate) fn worker_changed(&mut self, before: Option<&Worker>, dense: u32, worker: &Arc<Worker>) {
        let looks_same = before.is_some_and(|before| {
            before.capabilities.effective() == worker.capabilities.effective()
                && before.groups() == worker.groups()
                && before.registration.driver == worker.registration.driver
        });
        if !looks_same {
            self.stirred = true;
            self.push(PolicyChange::WorkerPut(dense, worker.clone()));
        }
    }

    pub(crate) fn worker_gone(&mut self, worker: WorkerId, dense: u32) {
        self.last.remove(&worker);
        self.stirred = true;
        self.push(PolicyChange::WorkerGone(dense));
    }

    /// The request is about to be demanded for.
    pub(crate) fn demand(&mut self, request: &Arc<Request>) {
        if self.requests.insert(request.id) {
            // Bounded by the demands of a round.
            self.news.push(PolicyChange::RequestPut(request.clone()));
        }
    }

    /// The request has, or had, a job.
    pub(crate) fn used(&mut self, request: RequestId, job: &Job) {
        let last = self.last.entry(job.worker).or_insert((job.opened, request));
        *last = (*last).max((job.opened, request));
    }

    /// Whether something changed since the last call that may make the policy choose otherwise.
    pub(crate) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// The request looks different: it is told again with its next demand.
    pub(crate) fn request_changed(&mut self, request: RequestId) {
        self.stirred |= self.requests.remove(&request);
    }

    pub(crate) fn request_gone(&mut self, request: RequestId) {
        if self.requests.remove(&request) {
            self.stirred = true;
            self.push(PolicyChange::RequestGone(request));
        }
    }

    pub(crate) fn started(&mut self, worker: WorkerId, assignment: Assignment) {
        self.push(PolicyChange::Started(assignment.clone()));
        self.assigned.insert(worker, assignment);
    }

    /// The worker was assigned before this controller began: a new session hears of it with everything else.
    pub(crate) fn occupied(&mut self, worker: WorkerId, assignment: Assignment) {
        self.assigned.insert(worker, assignment);
    }

    pub(crate) fn finished(&mut self, worker: WorkerId) {
        if let Some(assignment) = self.assigned.remove(&worker) {
            self.stirred = true;
            self.push(PolicyChange::Finished(assignment));
        }
    }

    /// Whether there is more to tell than is worth telling piece by piece.
    pub(crate) fn is_too_much(&self) -> bool {
        self.news.len() >= NEWS
    }

    fn push(&mut self, change: PolicyChange) {
        if !self.is_too_much() {
            self.news.push(change);
        }
    }

    /// What is new since the last call.
    pub(crate) fn take(&mut self) -> Vec<PolicyChange> {
        std::mem::take(&mut self.news)
    }

    /// A new session knows nothing: everything from the beginning. Of the past it hears how each worker was last used, in
    /// the order in which that began, as if it had been there.
    pub(crate) fn begin_anew<'a>(
        &mut self,
        workers: impl Iterator<Item = (u32, &'a Arc<Worker>)>,
        request: impl Fn(RequestId) -> Option<Arc<Request>>,
    ) {
        self.news.clear();
        self.requests.clear();
        let mut past = Vec::new();
        for (dense, worker) in workers {
            self.news.push(PolicyChange::WorkerPut(dense, worker.clone()));
            past.extend(
                self.last.get(&worker.id).map(|(since, request)| (*since, *request, worker.id, dense)),
            );
        }
        past.sort_unstable();
        let begin = past.len().saturating_sub(PAST);
        for (_, id, worker, dense) in past.into_iter().skip(begin) {
            let still = self.assigned.get(&worker).is_some_and(|assigned| assigned.request == id);
            let Some(request) = request(id).filter(|_| !still) else { continue };
            let reason = "before this session".to_owned();
            let assignment = Assignment { request: id, worker: dense, score: 0, reason };
            self.news.extend([
                PolicyChange::RequestPut(request),
                PolicyChange::Started(assignment.clone()),
                PolicyChange::Finished(assignment),
                PolicyChange::RequestGone(id),
            ]);
        }
        let assigned: Vec<Assignment> = self.assigned.values().cloned().collect();
        for assignment in assigned {
            if let Some(request) = request(assignment.request) {
                self.demand(&request);
                self.news.push(PolicyChange::Started(assignment));
            }
        }
    }

    /// Without a session there is nobody to tell; the next one hears everything anyway.
    pub(crate) fn forget_news(&mut self) {
        self.news.clear();
        self.requests.clear();
    }
}
