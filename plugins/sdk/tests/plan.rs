//! Plans, against a model that does the obvious thing slowly.
#![expect(clippy::expect_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};

use grove_plugin::Pair;
use grove_plugin::policy::{
    Assignment, Change, Demand, Plan, Policy, Request, RequestId, Round, Score, Session, Worker, WorkerId,
};
use proptest::prelude::*;

/// Scores by the worker alone: its number of capabilities; workers of the group `broken` are of no use.
#[derive(Default)]
struct ByWorker;

impl Policy for ByWorker {
    fn score(&self, _request: &Request, worker: &Worker) -> Option<Score> {
        let score = i64::try_from(worker.capabilities.len()).expect("a small number");
        (!worker.in_group("broken")).then(|| Score::new(score).because("by worker"))
    }

    fn scores_depend_on_request() -> bool {
        false
    }
}

/// Scores by both: how near the request's priority is to the number of capabilities.
#[derive(Default)]
struct ByBoth;

impl Policy for ByBoth {
    fn score(&self, request: &Request, worker: &Worker) -> Option<Score> {
        let capable = i64::try_from(worker.capabilities.len()).expect("a small number");
        let distance = (i64::from(request.priority) - capable).abs();
        (!worker.in_group("broken") && distance < 6).then(|| Score::new(-distance))
    }
}

/// What a policy is told, remembered in the simplest way.
#[derive(Default)]
struct Model {
    workers: BTreeMap<WorkerId, Worker>,
    requests: BTreeMap<RequestId, Request>,
}

impl Model {
    fn apply(&mut self, change: Change) {
        match change {
            Change::WorkerPut(worker) => drop(self.workers.insert(worker.id, worker)),
            Change::WorkerGone(id) => drop(self.workers.remove(&id)),
            Change::RequestPut(request) => drop(self.requests.insert(request.id, request)),
            Change::RequestGone(id) => drop(self.requests.remove(&id)),
            Change::Started(_) | Change::Finished(_) => {}
        }
    }

    /// Pairs of request and worker, with the score; and who could not be served by any candidate.
    fn plan<P: Policy>(
        &self,
        policy: &P,
        sets: &[Vec<WorkerId>],
        demands: &[Demand],
    ) -> (Vec<(RequestId, WorkerId, i64)>, Vec<RequestId>) {
        let (mut assigned, mut waiting, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for demand in demands {
            let request = self.requests.get(&demand.request);
            let set = set_of(sets, demand);
            let mut scored = Vec::new();
            for id in set.iter().copied() {
                if let (Some(worker), Some(request)) = (self.workers.get(&id), request)
                    && !taken.contains(&id)
                    && let Some(score) = policy.score(request, worker)
                {
                    scored.push((-score.value, worker.uuid.clone(), id));
                }
            }
            scored.sort();
            match scored.first() {
                Some((score, _, id)) => {
                    taken.insert(*id);
                    assigned.push((demand.request, *id, -score));
                }
                None if self.unsuitable(policy, request, set_of(sets, demand)) => {
                    waiting.push(demand.request)
                }
                None => {}
            }
        }
        (assigned, waiting)
    }

    /// There are candidates, and they are of no use to it, taken or not.
    fn unsuitable<P: Policy>(&self, policy: &P, request: Option<&Request>, set: &[WorkerId]) -> bool {
        let mut workers = set.iter().filter_map(|id| self.workers.get(id));
        let suits = |worker| request.is_some_and(|request| policy.score(request, worker).is_some());
        !set.is_empty() && !workers.any(suits)
    }
}

fn set_of<'a>(sets: &'a [Vec<WorkerId>], demand: &Demand) -> &'a [WorkerId] {
    sets.get(demand.candidate_set as usize).map_or(&[], Vec::as_slice)
}

/// What happens to a policy.
#[derive(Clone, Debug)]
enum Event {
    Apply(Vec<Change>),
    Plan(Vec<Vec<WorkerId>>, Vec<Demand>),
}

const WORKERS: WorkerId = 200;
const REQUESTS: RequestId = 150;

fn worker() -> impl Strategy<Value = Worker> {
    // Few uuids of each form, so that ties within and between the forms happen; the number makes them unique.
    let uuid = (0..WORKERS, any::<bool>());
    (uuid, 0_usize..5, prop::bool::weighted(0.1)).prop_map(|((id, usual), capabilities, broken)| {
        let scattered = id.wrapping_mul(2_654_435_761);
        Worker {
            id,
            uuid: if usual {
                format!("{scattered:08x}-0000-4000-8000-{id:012x}")
            } else {
                format!("Board-{scattered:x}-{id}")
            },
            capabilities: vec![Pair { key: String::new(), value: String::new() }; capabilities],
            groups: broken.then(|| "broken".to_owned()).into_iter().collect(),
            state: "idle".into(),
            driver: "ssh".into(),
        }
    })
}

fn request(id: RequestId, priority: u8) -> Request {
    Request {
        id,
        owner: "me".into(),
        groups: Vec::new(),
        wants: Vec::new(),
        priority,
        created: 0,
        valid_after: 0,
        deadline: 0,
        hints: Vec::new(),
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => worker().prop_map(Change::WorkerPut),
        1 => (0..WORKERS).prop_map(Change::WorkerGone),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let set = prop::collection::vec(0..WORKERS, 0..180);
    let demand =
        (0..REQUESTS, 0_u32..4).prop_map(|(request, candidate_set)| Demand { request, candidate_set });
    let demands = prop::collection::vec(demand, 0..80);
    prop_oneof![
        prop::collection::vec(change(), 1..150).prop_map(Event::Apply),
        (prop::collection::vec(set, 0..4), demands).prop_map(|(sets, demands)| Event::Plan(sets, demands)),
    ]
}

fn agrees_with_model<P: Policy>(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut session = Session::<P>::default();
    session.init(grove_plugin::about("policy-x", "0", ""), "{}").expect("no settings");
    let policy = P::default();
    let mut model = Model::default();
    let requests: Vec<_> = (0..REQUESTS)
        .map(|id| Change::RequestPut(request(id, u8::try_from(id % 16).expect("small"))))
        .collect();
    for event in std::iter::once(Event::Apply(requests)).chain(events) {
        match event {
            Event::Apply(changes) => {
                changes.iter().cloned().for_each(|change| model.apply(change));
                session.apply(changes);
            }
            Event::Plan(sets, demands) => {
                let plan = session.plan(0, &sets, &demands);
                let (assigned, waiting) = model.plan(&policy, &sets, &demands);
                let planned: Vec<_> =
                    plan.assignments.iter().map(|a| (a.request, a.worker, a.score)).collect();
                prop_assert_eq!(planned, assigned);
                let waits: Vec<_> = plan.waits.iter().map(|wait| wait.request).collect();
                // A taken worker is not scored again, so a policy by both may not know that it would have been of no use.
                prop_assert!(waits.iter().all(|request| waiting.contains(request)), "{waits:?} {waiting:?}");
                if !P::scores_depend_on_request() {
                    prop_assert_eq!(waits, waiting);
                }
                prop_assert!(plan.waits.iter().all(|wait| !wait.reason.is_empty()));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn plans_by_worker_agree_with_the_model(events in prop::collection::vec(event(), 1..10)) {
        agrees_with_model::<ByWorker>(events)?;
    }

    #[test]
    fn plans_by_both_agree_with_the_model(events in prop::collection::vec(event(), 1..10)) {
        agrees_with_model::<ByBoth>(events)?;
    }
}

fn put(id: WorkerId, capabilities: usize) -> Change {
    Change::WorkerPut(Worker {
        id,
        uuid: id.to_string(),
        capabilities: vec![Pair { key: String::new(), value: String::new() }; capabilities],
        groups: Vec::new(),
        state: "idle".into(),
        driver: "ssh".into(),
    })
}

fn session<P: Policy>(workers: WorkerId) -> Session<P> {
    let mut session = Session::default();
    session.init(grove_plugin::about("policy-x", "0", ""), "").expect("no settings");
    session.apply((0..workers).map(|id| put(id, 1)).chain([Change::RequestPut(request(7, 1))]).collect());
    session
}

#[test]
fn only_the_policys_own_reasons_are_waits() {
    let mut session = session::<ByWorker>(1);
    let broken = Worker { groups: vec!["broken".into()], ..worker_of(put(1, 0)) };
    session.apply(vec![Change::WorkerPut(broken)]);
    let demand = |request, candidate_set| Demand { request, candidate_set };
    let demands = [demand(1, 0), demand(2, 0), demand(3, 1), demand(4, 2), demand(5, 99)];
    let plan = session.plan(0, &[vec![0], vec![1], vec![]], &demands);
    let waits: Vec<_> = plan.waits.iter().map(|wait| (wait.request, wait.reason.as_str())).collect();
    assert_eq!(waits, [(3, "the policy finds none of the idle workers suitable")]);
    assert_eq!(plan.assignments.iter().map(|a| a.reason.as_str()).collect::<Vec<_>>(), ["by worker"]);
}

fn worker_of(change: Change) -> Worker {
    let Change::WorkerPut(worker) = change else { unreachable!("only workers are put here") };
    worker
}

#[test]
fn a_request_that_was_never_told_of_waits() {
    let mut session = session::<ByBoth>(1);
    let plan = session.plan(0, &[vec![0]], &[Demand { request: 8, candidate_set: 0 }]);
    assert_eq!(
        plan.waits.iter().map(|wait| wait.reason.as_str()).collect::<Vec<_>>(),
        ["the policy was never told of it"]
    );
    assert_eq!(session.plan(0, &[vec![0]], &[Demand { request: 7, candidate_set: 0 }]).assignments.len(), 1);
}

#[test]
fn before_init_there_is_no_plan() {
    let mut session = Session::<ByWorker>::default();
    session.apply(vec![put(0, 0)]);
    let plan = session.plan(0, &[vec![0]], &[Demand { request: 1, candidate_set: 0 }]);
    assert!(plan.assignments.is_empty() && plan.waits.is_empty());
}

#[test]
fn a_worker_number_out_of_reach_is_ignored() {
    let mut session = session::<ByWorker>(1);
    session.apply(vec![put(u32::MAX, 1)]);
    let plan = session.plan(0, &[vec![u32::MAX, 0]], &[Demand { request: 1, candidate_set: 0 }]);
    assert_eq!(plan.assignments.iter().map(|a| a.worker).collect::<Vec<_>>(), [0]);
}

/// One job per owner at a time: needs the plan hook, and counts of its own.
#[derive(Default)]
struct OnePerOwner {
    running: BTreeSet<RequestId>,
}

impl Policy for OnePerOwner {
    fn score(&self, _request: &Request, _worker: &Worker) -> Option<Score> {
        Some(Score::new(0))
    }

    fn observe(&mut self, _farm: &grove_plugin::policy::Farm, change: &Change) {
        match change {
            Change::Started(Assignment { request, .. }) => drop(self.running.insert(*request)),
            Change::Finished(Assignment { request, .. }) => drop(self.running.remove(request)),
            _ => {}
        }
    }

    fn plan(&mut self, round: Round<'_>) -> Plan {
        let mut plan = round.by_score(self);
        plan.assignments.truncate(1_usize.saturating_sub(self.running.len()));
        plan.wake_at = Some(99);
        plan
    }
}

#[test]
fn a_policy_can_keep_counts_and_change_the_plan() {
    let mut session = session::<OnePerOwner>(2);
    session.apply(vec![Change::RequestPut(request(8, 1))]);
    let demands = [7, 8].map(|request| Demand { request, candidate_set: 0 });
    let plan = session.plan(0, &[vec![0, 1]], &demands);
    assert_eq!((plan.assignments.len(), plan.wake_at), (1, Some(99)));
    let started = plan.assignments.first().expect("an assignment").clone();
    session.apply(vec![Change::Started(started.clone())]);
    assert!(session.plan(0, &[vec![1]], &demands).assignments.is_empty());
    session.apply(vec![Change::Finished(started)]);
    assert_eq!(session.plan(0, &[vec![0, 1]], &demands).assignments.len(), 1);
}
