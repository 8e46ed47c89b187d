//! A policy that does what the test says.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use crate::ports::{Ask, Assignment, Plan, Policies, Policy, PolicyChange};

type Script = Arc<dyn Fn(&Ask) -> Result<Plan, String> + Send + Sync>;

/// Policies named `fake`: least capable first, unless scripted.
#[derive(Clone, Default)]
pub struct FakePolicies {
    script: Arc<Mutex<Option<Script>>>,
    asked: Arc<Mutex<Vec<Ask>>>,
}

impl FakePolicies {
    /// From now on plans come from here; none = least capable first.
    pub fn script(&self, script: Option<Script>) {
        *self.script.lock() = script;
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().clone()
    }
}

impl Policies for FakePolicies {
    fn open(&self) -> BoxFuture<'static, Result<Box<dyn Policy>, String>> {
        let session: Box<dyn Policy> = Box::new(Session { all: self.clone(), ranks: HashMap::new() });
        ready(Ok(session)).boxed()
    }
}

struct Session {
    all: FakePolicies,
    ranks: HashMap<u32, (usize, String)>,
}

impl Policy for Session {
    fn name(&self) -> String {
        "fake".to_owned()
    }

    fn own_keys(&self) -> Vec<String> {
        Vec::new()
    }

    fn max_candidates(&self) -> usize {
        0
    }

    fn plan(&mut self, ask: Ask) -> BoxFuture<'_, Result<Plan, String>> {
        for change in &ask.changes {
            if let PolicyChange::WorkerPut(dense, worker) = change {
                let capable = worker.capabilities.effective().len() + worker.groups().len();
                self.ranks.insert(*dense, (capable, worker.id.to_string()));
            }
        }
        let script = self.all.script.lock().clone();
        let plan = match script {
            Some(script) => script(&ask),
            None => Ok(self.least_capable(&ask)),
        };
        self.all.asked.lock().push(ask);
        ready(plan).boxed()
    }
}

impl Session {
    fn least_capable(&self, ask: &Ask) -> Plan {
        let mut taken = std::collections::HashSet::new();
        let mut plan = Plan::default();
        for (request, set) in &ask.demands {
            let candidates = ask.candidate_sets.get(*set as usize).into_iter().flatten();
            let best =
                candidates.filter(|dense| !taken.contains(*dense)).min_by_key(|dense| self.ranks.get(*dense));
            if let Some(&worker) = best {
                taken.insert(worker);
                let reason = "least capable".to_owned();
                plan.assignments.push(Assignment { request: *request, worker, score: 0, reason });
            }
        }
        plan
    }
}
