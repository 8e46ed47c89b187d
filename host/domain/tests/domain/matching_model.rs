//! The matcher against a model that tries every request with every worker.

use std::collections::{BTreeMap, BTreeSet};

use grove_domain::capability::Map;
use grove_domain::group::OwnerGroups;
use grove_domain::id::{RequestId, WorkerId};
use grove_domain::limit::Scope;
use grove_domain::matching::{Matcher, Round, RoundLimits, builtin};
use grove_domain::request::{Priority, Request};
use grove_domain::wants::{Term, Wants};
use grove_domain::worker::{State, Worker};
use proptest::prelude::*;

use crate::fixtures::{idle, request, with_capabilities, worker_id};

/// What is known, without any index.
#[derive(Default)]
struct Model {
    workers: BTreeMap<WorkerId, Worker>,
    requests: BTreeMap<RequestId, Request>,
    own_keys: BTreeSet<String>,
    /// Requests that were declined since the last news for them.
    declined: BTreeSet<RequestId>,
    /// Those that may be asked again: they, or others of their class, were declined when perhaps not every candidate was
    /// shown.
    declined_unseen: BTreeSet<RequestId>,
    /// Where no task can start.
    shut: BTreeSet<Scope>,
    /// Idle workers that there was news of while no task could start on them.
    missed: BTreeSet<WorkerId>,
    /// What was shut in the round that a declined request was shown in.
    shut_for: BTreeMap<RequestId, BTreeSet<Scope>>,
}

impl Model {
    fn queue(&self) -> Vec<&Request> {
        let mut queue: Vec<_> = self.requests.values().collect();
        queue.sort_by_key(|request| (request.priority, request.place, request.id));
        queue
    }

    fn fits(&self, request: &Request, worker: &Worker) -> bool {
        let own = |key: &str| self.own_keys.contains(key);
        let capabilities = worker.capabilities.effective();
        let wants = match &request.spec.wants {
            Wants::Exact(None) => true,
            Wants::Exact(Some(wanted)) => {
                wanted.iter().all(|(key, value)| own(key) || capabilities.get(key) == Some(value))
            }
            Wants::Terms(terms) => terms.iter().all(|term| own(term.key()) || term.matches(capabilities)),
        };
        wants && request.spec.owner.groups.may_use(worker.groups())
    }

    /// Requests that want the same for owners with the same groups.
    fn alike(&self, request: RequestId) -> Vec<RequestId> {
        let spec = &self.requests[&request].spec;
        let alike =
            |other: &&Request| other.spec.owner.groups == spec.owner.groups && other.spec.wants == spec.wants;
        self.requests.values().filter(alike).map(|other| other.id).collect()
    }

    fn candidates(&self, request: &Request) -> Vec<WorkerId> {
        let free = self.workers.values().filter(|worker| self.is_free(worker));
        let mut fitting: Vec<_> = free.filter(|worker| self.fits(request, worker)).collect();
        let weight = |worker: &Worker| worker.capabilities.effective().len() + worker.groups().len();
        fitting.sort_by_key(|worker| (weight(worker), worker.id));
        fitting.iter().map(|worker| worker.id).collect()
    }

    /// The ancestor's rule, word for word: the queue from the top, each request gets the least capable that is left.
    fn boruta(&self) -> BTreeMap<RequestId, WorkerId> {
        let mut given = BTreeMap::new();
        for request in self.queue() {
            let taken: BTreeSet<_> = given.values().copied().collect();
            if let Some(worker) = self.candidates(request).into_iter().find(|worker| !taken.contains(worker))
            {
                given.insert(request.id, worker);
            }
        }
        given
    }

    fn is_free(&self, worker: &Worker) -> bool {
        worker.state == State::Idle && scopes(worker).all(|scope| !self.shut.contains(&scope))
    }

    /// A worker may be given away now, or something of one that may changed.
    fn news(&mut self, worker: &Worker) {
        if self.is_free(worker) {
            let concerned = self.requests.values().filter(|request| self.fits(request, worker));
            let concerned: Vec<_> = concerned.map(|request| request.id).collect();
            concerned.iter().for_each(|request| {
                self.declined.remove(request);
            });
        }
    }
}

/// The matcher and the model, kept in step.
#[derive(Default)]
struct Pair {
    model: Model,
    matcher: Matcher,
    numbers: BTreeMap<WorkerId, u32>,
    last_place: u64,
}

impl Pair {
    fn put_worker(&mut self, worker: Worker) {
        self.matcher.put_worker(&worker);
        let former = self.model.workers.get(&worker.id).cloned();
        let former = former.as_ref();
        let (was_free, is_free) =
            (former.is_some_and(|former| self.model.is_free(former)), self.model.is_free(&worker));
        let same = |former: &Worker| {
            former.state == worker.state
                && former.capabilities.effective() == worker.capabilities.effective()
                && former.groups() == worker.groups()
        };
        if !former.is_some_and(same) || is_free && !was_free {
            self.model.news(&worker);
        }
        let moved = former.is_none_or(|former| former.host != worker.host);
        if worker.state == State::Idle && !is_free && (moved || !former.is_some_and(same)) {
            self.model.missed.insert(worker.id);
        } else if is_free {
            self.model.missed.remove(&worker.id);
        }
        self.model.workers.insert(worker.id, worker);
        self.check_numbers();
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.matcher.remove_worker(worker);
        self.model.workers.remove(&worker);
        self.model.missed.remove(&worker);
        self.numbers.remove(&worker);
        self.check_numbers();
    }

    fn put_request(&mut self, request: Request) {
        self.matcher.put_request(&request);
        let former = self.model.requests.get(&request.id);
        if former.is_none_or(|former| (former.priority, former.place) != (request.priority, request.place)) {
            self.model.declined.remove(&request.id);
        }
        self.model.requests.insert(request.id, request);
    }

    fn remove_request(&mut self, request: RequestId) {
        self.matcher.remove_request(request);
        self.model.requests.remove(&request);
        self.model.declined.remove(&request);
    }

    fn check_numbers(&mut self) {
        for worker in self.model.workers.keys() {
            let dense = self.matcher.dense(*worker).expect("every registered worker has a number");
            assert_eq!(self.matcher.worker_of(dense), Some(*worker));
            assert_eq!(*self.numbers.entry(*worker).or_insert(dense), dense, "numbers are stable");
        }
    }

    /// A round, with all that must be true of any.
    fn round(&mut self, limits: RoundLimits) -> Round {
        let worked = self.matcher.has_work();
        let round = self.matcher.round(limits);
        assert!(worked || round.demands.is_empty(), "there was work after all");
        assert!(limits.max_demands == 0 || round.demands.len() <= limits.max_demands);
        let rank = |id: RequestId| {
            let request = &self.model.requests[&id];
            (request.priority, request.place, id)
        };
        assert!(round.demands.is_sorted_by_key(|demand| rank(demand.request)), "demands come in queue order");
        let mut per_set = BTreeMap::<u32, usize>::new();
        for demand in &round.demands {
            let mut expected = self.model.candidates(&self.model.requests[&demand.request]);
            if limits.max_candidates > 0 {
                expected.truncate(limits.max_candidates);
            }
            let set = &round.candidate_sets[demand.set as usize];
            let shown: Vec<_> = set.iter().map(|dense| self.matcher.worker_of(*dense).unwrap()).collect();
            assert_eq!(shown, expected, "request {} of {:?}", demand.request, self.model.queue());
            let demands = per_set.entry(demand.set).or_default();
            *demands += 1;
            assert!(*demands <= set.len(), "more demands of a class than candidates");
            let seen = self.model.declined.difference(&self.model.declined_unseen);
            assert!(!seen.copied().any(|request| request == demand.request), "asked again without news");
        }
        round
    }

    fn serve(&mut self, request: RequestId, worker: u32) {
        let id = self.matcher.worker_of(worker).unwrap();
        let mut taken = self.model.workers[&id].clone();
        assert_eq!(taken.state, State::Idle, "a worker was given twice");
        assert!(self.model.fits(&self.model.requests[&request], &taken));
        taken.state = State::Running;
        self.remove_request(request);
        self.put_worker(taken);
    }

    /// Rounds by the built-in rule until there is no more work: the same as the ancestor's rule.
    fn settle_by_builtin(&mut self, limits: RoundLimits) {
        let declined = !self.model.declined.is_empty();
        if declined {
            self.matcher.wake();
            self.model.declined.clear();
        }
        let expected = self.model.boruta();
        let mut given = BTreeMap::new();
        let mut rounds = 0;
        while self.matcher.has_work() {
            let round = self.round(limits);
            for assignment in builtin(&self.matcher, &round) {
                given.insert(assignment.request, self.matcher.worker_of(assignment.worker).unwrap());
                self.serve(assignment.request, assignment.worker);
            }
            rounds += 1;
            assert!(rounds < 500, "rounds without end");
        }
        if limits.max_candidates == 0 {
            assert_eq!(given, expected);
        }
        let left = self.model.requests.values().find(|request| !self.model.candidates(request).is_empty());
        assert!(left.is_none(), "{left:?} could be served");
    }

    /// Rounds of a policy that serves and declines as `whims` say, until there is no more work. Meanwhile the farm
    /// changes as `changes` say: each takes place between a round and the answer to it.
    fn settle_by_whims(&mut self, limits: RoundLimits, whims: &[bool], changes: &[Change]) {
        let mut whims = whims.iter().copied().cycle();
        let mut changes = changes.iter();
        let mut rounds = 0;
        while self.matcher.has_work() {
            let round = self.round(limits);
            let before = (self.model.workers.clone(), self.model.requests.clone());
            let shut = self.model.shut.clone();
            let mut news = BTreeSet::new();
            let mut opened = false;
            if let Some(change) = changes.next() {
                opened = matches!(change, Change::Open(_));
                self.change(change);
                news = self.heard(&before.0, &before.1, &shut);
            }
            for demand in &round.demands {
                let Some(request) = self.model.requests.get(&demand.request) else { continue };
                let still = |dense: &&u32| {
                    let worker = self.matcher.worker_of(**dense).and_then(|id| self.model.workers.get(&id));
                    worker
                        .is_some_and(|worker| self.model.is_free(worker) && self.model.fits(request, worker))
                };
                let candidate = round.candidate_sets[demand.set as usize].iter().find(still).copied();
                match candidate.filter(|_| whims.next().unwrap_or_default()) {
                    Some(worker) => self.serve(demand.request, worker),
                    None => {
                        self.matcher.declined(demand.request);
                        if !news.contains(&demand.request) {
                            self.model.declined.insert(demand.request);
                            self.model.shut_for.insert(demand.request, shut.clone());
                        }
                        if limits.max_candidates > 0 {
                            // When others are shown, they are shown to every request of the class.
                            let alike = self.model.alike(demand.request);
                            self.model.declined_unseen.extend(alike);
                        } else if !opened {
                            self.model.declined_unseen.remove(&demand.request);
                        }
                    }
                }
            }
            rounds += 1;
            assert!(rounds < 2000, "rounds without end");
        }
        for request in self.model.requests.values() {
            if !self.model.candidates(request).is_empty() {
                assert!(self.model.declined.contains(&request.id), "nobody asked for {request:?}");
            }
        }
    }

    /// Requests for which the change since `workers` and `requests` was news.
    fn heard(
        &self,
        workers: &BTreeMap<WorkerId, Worker>,
        requests: &BTreeMap<RequestId, Request>,
        shut: &BTreeSet<Scope>,
    ) -> BTreeSet<RequestId> {
        let changed = |worker: &&Worker| {
            let freed = scopes(worker).any(|scope| shut.contains(&scope));
            (freed || workers.get(&worker.id) != Some(*worker)) && self.model.is_free(worker)
        };
        let changed: Vec<_> = self.model.workers.values().filter(changed).collect();
        let concerned = |request: &&Request| {
            requests.get(&request.id) != Some(*request)
                || changed.iter().any(|worker| self.model.fits(request, worker))
        };
        self.model.requests.values().filter(concerned).map(|request| request.id).collect()
    }

    fn open(&mut self, scope: &Scope) {
        self.matcher.open(scope);
        if !self.model.shut.remove(scope) {
            return;
        }
        let opened = |worker: &&Worker| self.model.is_free(worker) && scopes(worker).any(|own| own == *scope);
        let opened: Vec<Worker> = self.model.workers.values().filter(opened).cloned().collect();
        if !opened.is_empty() {
            // Where that costs less than to find out whom it concerns, everybody is asked about.
            self.model.declined_unseen.extend(self.model.requests.keys().copied());
        }
        for worker in opened {
            if self.model.missed.remove(&worker.id) && *scope != Scope::Farm {
                self.model.news(&worker);
            }
            let fitting: Vec<_> =
                self.model.requests.values().filter(|request| self.model.fits(request, &worker)).collect();
            let fitting: Vec<_> = fitting.into_iter().map(|request| request.id).collect();
            for request in fitting {
                let unseen = |shut: &BTreeSet<Scope>| scopes(&worker).any(|scope| shut.contains(&scope));
                if self.model.shut_for.get(&request).is_some_and(unseen) {
                    self.model.declined.remove(&request);
                }
            }
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Shut(scope) => {
                self.matcher.shut(scope);
                self.model.shut.insert(scope.clone());
            }
            Change::Open(scope) => self.open(scope),
            Change::Worker { number, state, capabilities, groups, host } => {
                let groups: Vec<_> = groups.iter().map(String::as_str).collect();
                let mut worker =
                    with_capabilities(&idle(u128::from(*number), &[], &groups), capabilities.clone());
                worker.state = *state;
                worker.host = host.map(str::to_owned);
                self.put_worker(worker);
            }
            Change::State { number, state } => {
                if let Some(worker) = self.model.workers.get(&worker_id(u128::from(*number))) {
                    self.put_worker(Worker { state: *state, ..worker.clone() });
                }
            }
            Change::RemoveWorker { number } => self.remove_worker(worker_id(u128::from(*number))),
            Change::Request { number, priority, groups, wants } => {
                self.last_place += 1;
                let id = RequestId(u64::from(*number));
                if !self.model.requests.contains_key(&id) {
                    let mut new = request(id.0, *priority, groups.clone(), wants.clone());
                    new.place = self.last_place;
                    self.put_request(new);
                }
            }
            Change::Reput { number, priority, moved } => {
                if let Some(known) = self.model.requests.get(&RequestId(u64::from(*number))) {
                    let mut changed = known.clone();
                    if *moved {
                        self.last_place += 1;
                        changed.place = self.last_place;
                        changed.priority = Priority::new(*priority).unwrap();
                    }
                    self.put_request(changed);
                }
            }
            Change::RemoveRequest { number } => self.remove_request(RequestId(u64::from(*number))),
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Worker { number: u8, state: State, capabilities: Map, groups: Vec<String>, host: Option<&'static str> },
    Shut(Scope),
    Open(Scope),
    State { number: u8, state: State },
    RemoveWorker { number: u8 },
    Request { number: u8, priority: u8, groups: OwnerGroups, wants: Wants },
    Reput { number: u8, priority: u8, moved: bool },
    RemoveRequest { number: u8 },
}

#[derive(Clone, Debug)]
enum Op {
    Change(Change),
    OwnKeys(BTreeSet<String>),
    Wake,
    Builtin(RoundLimits),
    Whims(RoundLimits, Vec<bool>, Vec<Change>),
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![4 => Just(State::Idle), 3 => prop::sample::select(State::ALL.to_vec())]
}

fn groups() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(vec!["g".to_owned(), "h".to_owned()]), 0..3)
}

fn offers() -> impl Strategy<Value = Map> {
    let value = prop::sample::select(vec!["1", "2", "1,2", "1..3", "2..", "x", "x,y", "", " 1"]);
    let key = prop::sample::select(vec!["a", "b", "c"]);
    prop::collection::btree_map(key.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..4)
}

fn wants() -> impl Strategy<Value = Wants> {
    let terms = vec![
        "a",
        "!a",
        "a=1",
        "a=2",
        "a!=1",
        "a=1,2",
        "a=2..",
        "a!=2..",
        "a=\"1,2\"",
        "a=x",
        "b",
        "b=1",
        "b=x,y",
        "b=..2",
        "!b",
        "c=\"\"",
        "c=1",
        "UUID",
        "UUID=00000000-0000-0000-0000-000000000001",
    ];
    let terms = prop::collection::vec(prop::sample::select(terms), 0..4)
        .prop_map(|terms| Wants::Terms(terms.into_iter().map(|term| Term::parse(term).unwrap()).collect()));
    let exact = prop::option::of(offers()).prop_map(Wants::Exact);
    prop_oneof![3 => terms, 1 => exact]
}

fn change() -> impl Strategy<Value = Change> {
    let owner = prop_oneof![1 => Just(OwnerGroups::All), 2 => groups().prop_map(OwnerGroups::Some)];
    prop_oneof![
        4 => (0u8..8, state(), offers(), groups(), host()).prop_map(
            |(number, state, capabilities, groups, host)| Change::Worker { number, state, capabilities, groups, host }
        ),
        2 => scope().prop_map(Change::Shut),
        3 => scope().prop_map(Change::Open),
        4 => (0u8..8, state()).prop_map(|(number, state)| Change::State { number, state }),
        1 => (0u8..8).prop_map(|number| Change::RemoveWorker { number }),
        6 => (1u8..20, 1u8..4, owner, wants())
            .prop_map(|(number, priority, groups, wants)| Change::Request { number, priority, groups, wants }),
        2 => (1u8..20, 1u8..4, any::<bool>())
            .prop_map(|(number, priority, moved)| Change::Reput { number, priority, moved }),
        1 => (1u8..20).prop_map(|number| Change::RemoveRequest { number }),
    ]
}

fn host() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![None, Some("rack"), Some("shelf")])
}

fn scope() -> impl Strategy<Value = Scope> {
    let host = |name: &str| Scope::Host(name.to_owned());
    let driver = |name: &str| Scope::Driver(name.to_owned());
    prop::sample::select(vec![Scope::Farm, host("rack"), host("rack"), host("shelf"), driver("ssh")])
}

/// Where a task on this worker counts.
fn scopes(worker: &Worker) -> impl Iterator<Item = Scope> {
    let driver = Scope::Driver(worker.registration.driver.clone());
    [Scope::Farm, driver].into_iter().chain(worker.host.clone().map(Scope::Host))
}

fn limits() -> impl Strategy<Value = RoundLimits> {
    (0usize..4, prop_oneof![3 => Just(0usize), 1 => 1usize..3])
        .prop_map(|(max_demands, max_candidates)| RoundLimits { max_demands, max_candidates })
}

fn op() -> impl Strategy<Value = Op> {
    let keys = prop::collection::btree_set(prop::sample::select(vec!["a".to_owned(), "b".to_owned()]), 0..3);
    prop_oneof![
        30 => change().prop_map(Op::Change),
        1 => keys.prop_map(Op::OwnKeys),
        1 => Just(Op::Wake),
        2 => limits().prop_map(Op::Builtin),
        3 => (limits(), prop::collection::vec(any::<bool>(), 1..5), prop::collection::vec(change(), 0..4))
            .prop_map(|(limits, whims, changes)| Op::Whims(limits, whims, changes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_does_what_trying_everything_would(ops in prop::collection::vec(op(), 1..80)) {
        let mut pair = Pair::default();
        for op in ops {
            match op {
                Op::Change(change) => pair.change(&change),
                Op::OwnKeys(keys) => {
                    pair.matcher.set_own_keys(keys.clone());
                    if pair.model.own_keys != keys {
                        pair.model.declined.clear();
                    }
                    pair.model.own_keys = keys;
                }
                Op::Wake => {
                    pair.matcher.wake();
                    pair.model.declined.clear();
                }
                Op::Builtin(limits) => pair.settle_by_builtin(limits),
                Op::Whims(limits, whims, changes) => pair.settle_by_whims(limits, &whims, &changes),
            }
        }
        pair.settle_by_builtin(RoundLimits::default());
        for request in pair.model.requests.values() {
            let explained = pair.matcher.explain(&request.spec.owner.groups, &request.spec.wants);
            let fitting = pair.model.workers.values().filter(|worker| pair.model.fits(request, worker));
            prop_assert_eq!(explained.matching, fitting.count());
            prop_assert_eq!(explained.by_state.values().sum::<usize>(), explained.matching);
            let idle = explained.by_state.get(&State::Idle).copied().unwrap_or_default();
            let free = pair.model.candidates(request).len();
            prop_assert_eq!(explained.held.values().sum::<usize>(), idle - free);
        }
    }
}
