//! What one says to a policy, and what it plans.

use crate::bindings::policy::exports::grove::plugin::policy as wit;
use crate::bindings::policy::grove::plugin::types::Pair;
use crate::driver_call::Info;
use crate::error::Cause;
use crate::guest_log::cut;
use crate::limits::MAX_TEXT;

/// A worker, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Dense number, stable while a session lives.
    pub id: u32,
    /// Its uuid.
    pub uuid: String,
    /// Its effective capabilities.
    pub capabilities: Vec<(String, String)>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its state when this was sent.
    pub state: String,
    /// Name of its driver.
    pub driver: String,
}

/// A request, as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its public number.
    pub id: u64,
    /// Whose it is.
    pub owner: String,
    /// The owner's groups.
    pub groups: Vec<String>,
    /// The terms it wants.
    pub wants: Vec<String>,
    /// 1 (first) to 16.
    pub priority: u8,
    /// When it was made; ms since the Unix epoch, as all times here.
    pub created: u64,
    /// Not before.
    pub valid_after: u64,
    /// Not after.
    pub deadline: u64,
    /// Hints to policies.
    pub hints: Vec<(String, String)>,
}

/// Something that changed since the last call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A worker is new or different.
    WorkerPut(Worker),
    /// A worker is gone.
    WorkerGone(u32),
    /// A request is new or different.
    RequestPut(Request),
    /// A request no longer waits or runs.
    RequestGone(u64),
    /// A job began.
    Started(Assignment),
    /// A job ended.
    Finished(Assignment),
}

/// A request and the worker it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The request.
    pub request: u64,
    /// The worker.
    pub worker: u32,
    /// Higher is better.
    pub score: i64,
    /// For people.
    pub reason: String,
}

/// A waiting request and the set of workers it could get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The request.
    pub request: u64,
    /// Index into the candidate sets of the same call.
    pub candidate_set: u32,
}

/// A request that the policy lets wait, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The request.
    pub request: u64,
    /// For people.
    pub reason: String,
    /// Until when at least, if it knows.
    pub until: Option<u64>,
}

/// A policy's answer. Only its size is checked here: whether it makes sense is the core's to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Who gets what; at most one per demand.
    pub assignments: Vec<Assignment>,
    /// Who waits and why; at most one per demand.
    pub waits: Vec<Wait>,
    /// When it wants to be asked again at the latest.
    pub wake_at: Option<u64>,
}

/// What a policy says of itself when a session opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInfo {
    /// What it is.
    pub info: Info,
    /// Capability keys that it matches itself.
    pub own_keys: Vec<String>,
    /// The most candidates a set may hold; 0 = all.
    pub max_candidates: u32,
}

fn pairs(pairs: Vec<(String, String)>) -> Vec<Pair> {
    pairs.into_iter().map(|(key, value)| Pair { key, value }).collect()
}

impl From<Change> for wit::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::WorkerPut(w) => wit::Change::WorkerPut(wit::Worker {
                id: w.id,
                uuid: w.uuid,
                capabilities: pairs(w.capabilities),
                groups: w.groups,
                state: w.state,
                driver: w.driver,
            }),
            Change::WorkerGone(id) => wit::Change::WorkerGone(id),
            Change::RequestPut(r) => wit::Change::RequestPut(wit::Request {
                id: r.id,
                owner: r.owner,
                groups: r.groups,
                wants: r.wants,
                priority: r.priority,
                created: r.created,
                valid_after: r.valid_after,
                deadline: r.deadline,
                hints: pairs(r.hints),
            }),
            Change::RequestGone(id) => wit::Change::RequestGone(id),
            Change::Started(assignment) => wit::Change::Started(assignment.into()),
            Change::Finished(assignment) => wit::Change::Finished(assignment.into()),
        }
    }
}

impl From<Assignment> for wit::Assignment {
    fn from(a: Assignment) -> Self {
        wit::Assignment { request: a.request, worker: a.worker, score: a.score, reason: a.reason }
    }
}

impl From<Demand> for wit::Demand {
    fn from(demand: Demand) -> Self {
        wit::Demand { request: demand.request, candidate_set: demand.candidate_set }
    }
}

impl From<wit::PolicyInfo> for PolicyInfo {
    fn from(info: wit::PolicyInfo) -> Self {
        let wit::PolicyInfo { base, own_keys, max_candidates } = info;
        let info = Info { name: base.name, version: base.version, summary: base.summary };
        PolicyInfo { info, own_keys, max_candidates }
    }
}

/// Takes over a plan if its size is in order. A refused plan costs as little as possible.
pub(crate) fn checked(plan: wit::PlanResult, demands: usize) -> Result<Plan, Cause> {
    let too_many = |what: &str, number: usize| {
        Err(Cause::TooMuchData(format!("the plan holds {number} {what} for {demands} demands")))
    };
    if plan.assignments.len() > demands {
        return too_many("assignments", plan.assignments.len());
    }
    if plan.waits.len() > demands {
        return too_many("waits", plan.waits.len());
    }
    let assignments = plan.assignments.into_iter().map(|a| Assignment {
        request: a.request,
        worker: a.worker,
        score: a.score,
        reason: short(a.reason),
    });
    let waits =
        plan.waits.into_iter().map(|w| Wait { request: w.request, reason: short(w.reason), until: w.until });
    Ok(Plan { assignments: assignments.collect(), waits: waits.collect(), wake_at: plan.wake_at })
}

fn short(text: String) -> String {
    if text.len() <= MAX_TEXT { text } else { cut(&text, MAX_TEXT).to_owned() }
}
