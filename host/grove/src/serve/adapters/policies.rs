//! The policy plugin as the controller's policy.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_control::ports::{self, Ask, Policies, Policy, PolicyChange};
use grove_domain::group::OwnerGroups;
use grove_domain::id::RequestId;
use grove_domain::moment::Timestamp;
use grove_domain::plugin::Digest;
use grove_domain::request::Request;
use grove_domain::worker::Worker;
use grove_runtime::policy as guest;
use grove_runtime::{CallLimits, PolicyPlugin, PolicySession};
use tokio::sync::watch;

use super::log::PluginLog;

/// Limits of one call into a policy.
const LIMITS: CallLimits = CallLimits { deadline: Duration::from_secs(5), running: Duration::from_secs(2) };
/// Longest wait for the policy of a farm that is being taken up.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who decides.
#[derive(Clone)]
pub(crate) enum Chosen {
    /// Not known yet: the farm is being taken up. Whoever asks waits.
    Undecided,
    /// No policy: the built-in rule.
    Nobody,
    /// A policy that can be asked.
    Policy {
        /// Its name.
        name: String,
        version: Digest,
        plugin: PolicyPlugin,
        /// Its settings, JSON text.
        settings: String,
    },
    /// A policy that cannot be asked, and why: the built-in rule decides meanwhile.
    Broken {
        /// Its name.
        name: String,
        /// None: there is no such policy.
        version: Option<Digest>,
        why: String,
    },
}

/// The farm's policy; cheap to clone.
#[derive(Clone)]
pub(crate) struct PluginPolicies(Arc<watch::Sender<Chosen>>);

impl PluginPolicies {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Chosen::Undecided)))
    }

    /// From now on; whoever uses this tells the controller.
    pub(crate) fn choose(&self, chosen: Chosen) {
        self.0.send_replace(chosen);
    }
}

impl Policies for PluginPolicies {
    fn name(&self) -> String {
        match &*self.0.borrow() {
            Chosen::Undecided => "the policy".to_owned(),
            Chosen::Nobody => String::new(),
            Chosen::Policy { name, .. } | Chosen::Broken { name, .. } => name.clone(),
        }
    }

    fn version(&self) -> Option<Digest> {
        match &*self.0.borrow() {
            Chosen::Undecided | Chosen::Nobody => None,
            Chosen::Policy { version, .. } => Some(*version),
            Chosen::Broken { version, .. } => *version,
        }
    }

    fn open(&self) -> BoxFuture<'static, Result<Box<dyn Policy>, String>> {
        let mut chosen = self.0.subscribe();
        async move {
            let decided = chosen.wait_for(|chosen| !matches!(chosen, Chosen::Undecided));
            let chosen = match tokio::time::timeout(PATIENCE, decided).await {
                Ok(Ok(chosen)) => chosen.clone(),
                _ => Chosen::Undecided,
            };
            match chosen {
                Chosen::Undecided => Err("the policy is not loaded yet".to_owned()),
                Chosen::Nobody => Ok(Box::new(NoPolicy) as Box<dyn Policy>),
                Chosen::Broken { why, .. } => Err(why),
                Chosen::Policy { name, plugin, settings, .. } => {
                    Ok(Box::new(PluginPolicy(open(&plugin, &name, settings).await?)) as Box<dyn Policy>)
                }
            }
        }
        .boxed()
    }
}

/// A session with a policy, or its words why not.
pub(crate) async fn open(
    plugin: &PolicyPlugin,
    name: &str,
    settings: String,
) -> Result<PolicySession, String> {
    let log = Arc::new(PluginLog(name.to_owned()));
    plugin.open(settings, LIMITS, log).await.map_err(|error| error.to_string())
}

/// Stands in for the moment between being asked for and the controller's hearing that there is no policy: it leaves
/// everything as it is.
struct NoPolicy;

impl Policy for NoPolicy {
    fn own_keys(&self) -> Vec<String> {
        Vec::new()
    }

    fn max_candidates(&self) -> usize {
        0
    }

    fn plan(&mut self, _ask: Ask) -> BoxFuture<'_, Result<ports::Plan, String>> {
        std::future::ready(Ok(ports::Plan::default())).boxed()
    }
}

struct PluginPolicy(PolicySession);

impl Policy for PluginPolicy {
    fn own_keys(&self) -> Vec<String> {
        self.0.info().own_keys.clone()
    }

    fn max_candidates(&self) -> usize {
        usize::try_from(self.0.info().max_candidates).unwrap_or(usize::MAX)
    }

    fn plan(&mut self, ask: Ask) -> BoxFuture<'_, Result<ports::Plan, String>> {
        async move {
            let changes = ask.changes.into_iter().map(change).collect();
            let demands = ask
                .demands
                .into_iter()
                .map(|(request, candidate_set)| guest::Demand { request: request.0, candidate_set })
                .collect();
            let plan = self.0.round(changes, millis(ask.now), ask.candidate_sets, demands).await;
            plan.map(answer).map_err(|error| error.to_string())
        }
        .boxed()
    }
}

fn change(change: PolicyChange) -> guest::Change {
    match change {
        PolicyChange::WorkerPut(dense, worker) => guest::Change::WorkerPut(worker_record(dense, &worker)),
        PolicyChange::WorkerGone(dense) => guest::Change::WorkerGone(dense),
        PolicyChange::RequestPut(request) => guest::Change::RequestPut(request_record(&request)),
        PolicyChange::RequestGone(request) => guest::Change::RequestGone(request.0),
        PolicyChange::Started(assignment) => guest::Change::Started(to_guest(assignment)),
        PolicyChange::Finished(assignment) => guest::Change::Finished(to_guest(assignment)),
    }
}

fn worker_record(dense: u32, worker: &Worker) -> guest::Worker {
    let capabilities = worker.capabilities.effective();
    guest::Worker {
        id: dense,
        uuid: worker.id.to_string(),
        capabilities: capabilities.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        groups: worker.groups().to_vec(),
        state: worker.state.name().to_owned(),
        driver: worker.registration.driver.clone(),
    }
}

fn request_record(request: &Request) -> guest::Request {
    let groups = match &request.spec.owner.groups {
        OwnerGroups::All => vec!["*".to_owned()],
        OwnerGroups::Some(groups) => groups.clone(),
    };
    guest::Request {
        id: request.id.0,
        owner: request.spec.owner.name.clone(),
        groups,
        wants: request.spec.wants.describe(),
        priority: request.priority.get(),
        created: millis(request.created),
        valid_after: millis(request.valid_after.at),
        deadline: millis(request.deadline.at),
        hints: request.spec.hints.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

fn answer(plan: guest::Plan) -> ports::Plan {
    ports::Plan {
        assignments: plan.assignments.into_iter().map(from_guest).collect(),
        waits: plan
            .waits
            .into_iter()
            .map(|wait| ports::Wait {
                request: RequestId(wait.request),
                reason: wait.reason,
                until: wait.until.map(timestamp),
            })
            .collect(),
        wake_at: plan.wake_at.map(timestamp),
    }
}

fn to_guest(assignment: ports::Assignment) -> guest::Assignment {
    guest::Assignment {
        request: assignment.request.0,
        worker: assignment.worker,
        score: assignment.score,
        reason: assignment.reason,
    }
}

fn from_guest(assignment: guest::Assignment) -> ports::Assignment {
    ports::Assignment {
        request: RequestId(assignment.request),
        worker: assignment.worker,
        score: assignment.score,
        reason: assignment.reason,
    }
}

/// Milliseconds since the epoch; times before it count as the epoch.
fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn timestamp(millis: u64) -> Timestamp {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
