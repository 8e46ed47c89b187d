//! A policy that does what the test says.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending, ready};
use grove_domain::plugin::Digest;
use parking_lot::Mutex;

use crate::ports::{Ask, Assignment, Plan, Policies, Policy, PolicyChange};

type Script = Arc<dyn Fn(&Ask) -> Result<Plan, String> + Send + Sync>;

/// Whether a policy answers at all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Mood {
    /// It opens and answers.
    #[default]
    Willing,
    /// It cannot be opened, for this reason.
    Closed(String),
    /// It opens, and never answers.
    Silent,
}

/// Policies named `fake`, unless another is active: least capable first, unless scripted.
#[derive(Clone, Default)]
pub struct FakePolicies {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Name and version; none = `fake`, whose version nobody knows.
    active: Option<(String, Option<Digest>)>,
    script: Option<Script>,
    mood: Mood,
    own_keys: Vec<String>,
    max_candidates: usize,
    keep_no_questions: bool,
    asked: Vec<(u64, Ask)>,
    opened: Vec<String>,
}

impl FakePolicies {
    /// From now on plans come from here; none = least capable first.
    pub fn script(&self, script: Option<Script>) {
        self.shared.lock().script = script;
    }

    /// From now on this one is active; an empty name = none. The controller must be told.
    pub fn activate(&self, name: &str, version: Option<Digest>) {
        self.shared.lock().active = Some((name.to_owned(), version));
    }

    /// Names of the policies that sessions were opened with.
    pub fn opened(&self) -> Vec<String> {
        self.shared.lock().opened.clone()
    }

    /// From now on it is in this mood.
    pub fn mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    /// What the next session says of itself.
    pub fn info(&self, own_keys: &[&str], max_candidates: usize) {
        let mut shared = self.shared.lock();
        shared.own_keys = own_keys.iter().map(|key| (*key).to_owned()).collect();
        shared.max_candidates = max_candidates;
    }

    /// From now on questions are not remembered.
    pub fn keep_no_questions(&self) {
        self.shared.lock().keep_no_questions = true;
    }

    /// Every question so far, with the number of the session that it was put to.
    pub fn asked(&self) -> Vec<(u64, Ask)> {
        self.shared.lock().asked.clone()
    }
}

impl Shared {
    fn name(&self) -> String {
        self.active.as_ref().map_or_else(|| "fake".to_owned(), |(name, _)| name.clone())
    }
}

impl Policies for FakePolicies {
    fn name(&self) -> String {
        self.shared.lock().name()
    }

    fn version(&self) -> Option<Digest> {
        self.shared.lock().active.as_ref().and_then(|(_, version)| *version)
    }

    fn open(&self) -> BoxFuture<'static, Result<Box<dyn Policy>, String>> {
        let mut shared = self.shared.lock();
        if let Mood::Closed(reason) = &shared.mood {
            return ready(Err(reason.clone())).boxed();
        }
        let name = shared.name();
        shared.opened.push(name);
        let session: Box<dyn Policy> = Box::new(Session {
            shared: self.shared.clone(),
            number: shared.opened.len() as u64,
            own_keys: shared.own_keys.clone(),
            max_candidates: shared.max_candidates,
            ranks: HashMap::new(),
        });
        ready(Ok(session)).boxed()
    }
}

struct Session {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    own_keys: Vec<String>,
    max_candidates: usize,
    ranks: HashMap<u32, (usize, String)>,
}

impl Policy for Session {
    fn own_keys(&self) -> Vec<String> {
        self.own_keys.clone()
    }

    fn max_candidates(&self) -> usize {
        self.max_candidates
    }

    fn plan(&mut self, ask: Ask) -> BoxFuture<'_, Result<Plan, String>> {
        for change in &ask.changes {
            if let PolicyChange::WorkerPut(dense, worker) = change {
                let capable = worker.capabilities.effective().len() + worker.groups().len();
                self.ranks.insert(*dense, (capable, worker.id.to_string()));
            }
        }
        let (script, mood) = {
            let shared = self.shared.lock();
            (shared.script.clone(), shared.mood.clone())
        };
        let plan = match (mood, script) {
            (Mood::Silent, _) => None,
            (Mood::Closed(reason), _) => Some(Err(reason)),
            (Mood::Willing, Some(script)) => Some(script(&ask)),
            (Mood::Willing, None) => Some(Ok(self.least_capable(&ask))),
        };
        let mut shared = self.shared.lock();
        if !shared.keep_no_questions {
            shared.asked.push((self.number, ask));
        }
        plan.map_or_else(|| pending().boxed(), |plan| ready(plan).boxed())
    }
}

impl Session {
    fn least_capable(&self, ask: &Ask) -> Plan {
        let mut taken = std::collections::HashSet::new();
        let mut plan = Plan::default();
        let mut sorted: HashMap<u32, std::vec::IntoIter<u32>> = HashMap::new();
        for (request, set) in &ask.demands {
            let left = sorted.entry(*set).or_insert_with(|| {
                let mut candidates = ask.candidate_sets.get(*set as usize).cloned().unwrap_or_default();
                candidates.sort_by_key(|dense| self.ranks.get(dense));
                candidates.into_iter()
            });
            if let Some(worker) = left.find(|dense| taken.insert(*dense)) {
                let reason = "least capable".to_owned();
                plan.assignments.push(Assignment { request: *request, worker, score: 0, reason });
            }
        }
        plan
    }
}
