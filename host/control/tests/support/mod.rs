//! A controller on paused time, with words for what tests say often.

pub(crate) mod introspections;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use grove_control::fakes::{Behaviour, Fakes};
use grove_control::{Begin, Controller, Settings, Want};
use grove_domain::event::Event;
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{IntrospectionId, RequestId, Uuid, WorkerId};
use grove_domain::introspection::{self, Introspection, Kind, TokenDigest, Way};
use grove_domain::moment::Timestamp;
use grove_domain::plugin::{Digest, Origin, Plugin, PluginKind, PluginVersion};
use grove_domain::request::{self, Create, Request, Spec};
use grove_domain::task::{Phase, TaskKind};
use grove_domain::wants::{Term, Wants};
use grove_domain::worker::{self, Edit, Registration, State, Worker};

pub(crate) struct Farm {
    pub(crate) fakes: Fakes,
    pub(crate) controller: Controller,
    pub(crate) settings: Settings,
}

pub(crate) fn id(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

pub(crate) fn registration(capabilities: &[(&str, &str)]) -> Registration {
    let capabilities = capabilities.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Registration {
        driver: "fake".to_owned(),
        driver_config: "{}".to_owned(),
        capabilities: Arc::new(capabilities),
    }
}

pub(crate) fn token(letter: char) -> TokenDigest {
    TokenDigest([letter as u8; 32])
}

pub(crate) fn digest(letter: char) -> Digest {
    Digest::new([letter as u8; Digest::BYTES])
}

/// A version of the driver `fake`.
pub(crate) fn version(letter: char) -> PluginVersion {
    PluginVersion {
        name: "fake".to_owned(),
        digest: digest(letter),
        kind: PluginKind::Driver,
        version: format!("1.{letter}"),
        manifest: format!("version = \"1.{letter}\""),
        origin: Origin::Installed,
        installed: Timestamp::UNIX_EPOCH,
    }
}

/// A version of the inspector.
pub(crate) fn inspector(letter: char) -> PluginVersion {
    PluginVersion { name: "fake-inspector".to_owned(), kind: PluginKind::Inspector, ..version(letter) }
}

/// A version of a policy.
pub(crate) fn policy(name: &str, letter: char) -> PluginVersion {
    PluginVersion { name: name.to_owned(), kind: PluginKind::Policy, ..version(letter) }
}

pub(crate) fn wish(terms: &[&str]) -> Create {
    Create {
        spec: Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::Terms(terms.iter().map(|term| Term::parse(term).unwrap()).collect()),
            length: None,
            keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
            idempotency: None,
        },
        priority: 8,
        valid_after: None,
        deadline: None,
    }
}

impl Farm {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let fakes = Fakes::new();
        let controller = Controller::start(fakes.parts(settings.clone())).await.unwrap();
        Self { fakes, controller, settings }
    }

    /// The process dies (nothing is stopped cleanly) and another takes the farm up.
    pub(crate) async fn crash_and_restart(&mut self) {
        let settings = self.settings.clone();
        self.controller = Controller::start(self.fakes.parts(settings)).await.unwrap();
    }

    /// The same, and nobody is there for a while.
    pub(crate) async fn be_gone_for(&mut self, time: Duration) {
        drop(self.fakes.parts(self.settings.clone()));
        tokio::time::sleep(time).await;
        self.crash_and_restart().await;
    }

    pub(crate) async fn add(&self, number: u128, capabilities: &[(&str, &str)]) -> Arc<Worker> {
        let registered = self
            .controller
            .register("test", id(number), registration(capabilities), Edit::default(), None)
            .await
            .unwrap();
        registered.0
    }

    pub(crate) async fn want_idle(&self, number: u128) -> Arc<Worker> {
        let want = Want::Idle { force: false };
        self.controller.move_worker("admin", id(number), want, None).await.unwrap()
    }

    pub(crate) async fn want_maintenance(&self, number: u128) -> Arc<Worker> {
        let want = Want::Maintenance { rerun: false, interrupt: true };
        self.controller.move_worker("admin", id(number), want, None).await.unwrap()
    }

    /// A worker that is IDLE.
    pub(crate) async fn idle(&self, number: u128, capabilities: &[(&str, &str)]) {
        self.add(number, capabilities).await;
        self.want_idle(number).await;
        self.worker_is(number, State::Idle).await;
    }

    /// A worker that is on its way to IDLE, and may be taken at once.
    pub(crate) async fn idle_soon(&self, number: u128, capabilities: &[(&str, &str)]) {
        self.add(number, capabilities).await;
        self.want_idle(number).await;
    }

    pub(crate) async fn ask(&self, terms: &[&str]) -> RequestId {
        self.controller.create_request("ann", wish(terms)).await.unwrap().id
    }

    pub(crate) async fn create(&self, wish: Create) -> Arc<Request> {
        self.controller.create_request("ann", wish).await.unwrap()
    }

    pub(crate) async fn close(&self, id: RequestId) -> Arc<Request> {
        self.controller.close_request("ann", id, None, None).await.unwrap()
    }

    /// A worker with a running job.
    pub(crate) async fn running(&self, number: u128) -> RequestId {
        self.idle(number, &[]).await;
        let id = self.ask(&[&format!("UUID={}", id(number))]).await;
        self.request_is(id, request::State::InProgress).await;
        id
    }

    /// A worker in MAINTENANCE is introspected: its driver reads it.
    pub(crate) async fn pull(&self, number: u128) -> IntrospectionId {
        self.controller.start_introspection("admin", id(number), Begin::Pull, None).await.unwrap().id
    }

    /// A worker in MAINTENANCE is introspected: it sends its inventory, with the token of this letter.
    pub(crate) async fn push(&self, number: u128, letter: char) -> IntrospectionId {
        let begin = Begin::Push(token(letter));
        self.controller.start_introspection("admin", id(number), begin, None).await.unwrap().id
    }

    /// A run as it is stored.
    pub(crate) fn run(&self, run: IntrospectionId) -> Arc<Introspection> {
        let stored = self.fakes.store.introspections();
        stored.into_iter().find(|stored| stored.id == run).expect("the run is stored")
    }

    pub(crate) async fn run_is(
        &self,
        run: IntrospectionId,
        state: introspection::State,
    ) -> Arc<Introspection> {
        self.eventually(&format!("introspection {run} is {state:?}"), || self.run(run).state == state).await;
        self.run(run)
    }

    pub(crate) async fn report_failure(&self, number: u128, reason: &str) -> Arc<Worker> {
        self.controller.report_failure("board", id(number), reason.to_owned(), false, None).await.unwrap()
    }

    /// A version is installed and used.
    pub(crate) async fn install(&self, version: PluginVersion) -> Arc<Plugin> {
        self.controller.install_plugin("admin", version, true, None).await.unwrap().0
    }

    pub(crate) async fn swap(&self, name: &str, letter: char) -> Arc<Plugin> {
        self.controller.swap_plugin("admin", name, digest(letter), None).await.unwrap()
    }

    pub(crate) fn plugin(&self, name: &str) -> Arc<Plugin> {
        self.controller.farm().plugin(name).unwrap().clone()
    }

    /// Versions that calls ran on, in the order in which these began.
    pub(crate) fn ran_on(&self, number: u128) -> Vec<(&'static str, Option<Digest>)> {
        let calls = self.fakes.drivers.calls_on_versions();
        let own = calls.into_iter().filter(|(worker, ..)| *worker == id(number));
        own.map(|(_, call, version)| (call, version)).collect()
    }

    pub(crate) fn worker(&self, number: u128) -> Arc<Worker> {
        self.controller.farm().worker(id(number)).unwrap().clone()
    }

    pub(crate) fn request(&self, id: RequestId) -> Arc<Request> {
        self.controller.farm().request(id).unwrap().clone()
    }

    pub(crate) async fn worker_is(&self, number: u128, state: State) {
        self.eventually(&format!("worker {number} is {state:?}"), || self.worker(number).state == state)
            .await;
    }

    pub(crate) async fn request_is(&self, id: RequestId, state: request::State) {
        self.eventually(&format!("request {id} is {state:?}"), || self.request(id).state == state).await;
    }

    /// Paused time passes only while everybody waits: this is a bound on steps, not on seconds of the machine.
    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..2000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let events = self.fakes.store.all_events();
        let told: Vec<_> = events
            .iter()
            .map(|event| format!("{} {}: {:?} {:?}", event.subject, event.kind, event.after, event.note))
            .collect();
        panic!("never: {what}\n{}", told.join("\n"));
    }

    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Time passes.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.settle().await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.controller.clock().now()
    }

    /// How often a call was made on a worker.
    pub(crate) fn calls(&self, number: u128) -> Vec<&'static str> {
        let calls = self.fakes.drivers.calls();
        calls.into_iter().filter(|(worker, _)| *worker == id(number)).map(|(_, call)| call).collect()
    }

    pub(crate) fn events(&self, kind: &str) -> Vec<Event> {
        let events = self.fakes.store.all_events();
        events.into_iter().filter(|event| event.kind == kind).collect()
    }

    pub(crate) fn behave(&self, call: &str, behaviour: Behaviour) {
        self.fakes.drivers.behave(None, call, behaviour);
    }

    /// What must never be, checked on what is stored.
    pub(crate) fn check_invariants(&self) {
        self.check_rows();
        for task in self.fakes.store.ended_tasks() {
            assert!(task.status.ended.is_some(), "{task:?}");
            assert!(
                task.status.steps.iter().all(|step| step.outcome.is_some() && step.ended.is_some()),
                "{task:?}"
            );
        }
        for (place, event) in self.fakes.store.all_events().iter().enumerate() {
            assert_eq!(event.seq, place as u64 + 1, "events are a sequence without gaps");
        }
    }

    /// The same without history, which only grows.
    pub(crate) fn check_rows(&self) {
        let workers: BTreeMap<_, _> =
            self.fakes.store.workers().into_iter().map(|worker| (worker.id, worker)).collect();
        let mut on_worker = HashMap::new();
        for request in self.fakes.store.requests() {
            if let Some(job) = &request.job {
                assert_eq!(job.ended.is_some(), request.state.is_terminal(), "{request:?}");
                assert!(job.ended.is_none() || job.access.private_key.is_none(), "a key outlives its job");
            }
            assert!(request.reserved.is_none() || request.state == request::State::Waiting, "{request:?}");
            let holds = request.reserved.or(request.running_job().map(|job| job.worker));
            if let Some(worker) = holds {
                let other = on_worker.insert(worker, request.id);
                assert_eq!(other, None, "two requests on worker {worker}");
                let row = &workers[&worker];
                assert_eq!(row.state, State::Running, "{request:?} on {row:?}");
                let occupation = row.occupation.unwrap();
                assert_eq!(occupation.request, request.id);
                assert_eq!(occupation.opened, request.state == request::State::InProgress);
                assert!(request.spec.owner.groups.may_use(row.groups()) || occupation.opened, "{request:?}");
            }
        }
        let mut live: HashMap<WorkerId, Vec<_>> = HashMap::new();
        let newest = self.fakes.store.instances().last().map(|instance| instance.id);
        for task in self.fakes.store.live_tasks() {
            let running = task.status.phase == Phase::Running;
            assert_eq!(task.status.started.is_some(), running, "{task:?}");
            assert_eq!(task.status.instance.is_some(), running, "{task:?}");
            assert!(task.status.instance.is_none_or(|id| Some(id) == newest), "its instance died: {task:?}");
            assert_eq!(task.status.ended, None, "{task:?}");
            live.entry(task.spec.worker).or_default().push((task.id, task.spec.kind));
        }
        for worker in workers.values() {
            assert_eq!(worker.state == State::Running, worker.occupation.is_some(), "{worker:?}");
            assert_eq!(worker.state == State::Running, on_worker.contains_key(&worker.id), "{worker:?}");
            assert!(worker.state != State::Failed || worker.reason.is_some(), "{worker:?}");
            let own = live.remove(&worker.id).unwrap_or_default();
            assert_eq!(own, worker.task.into_iter().collect::<Vec<_>>(), "{worker:?}");
            let must_have_task = matches!(worker.state, State::Prepare | State::Busy)
                || worker.occupation.is_some_and(|occupation| !occupation.opened);
            assert!(!must_have_task || worker.task.is_some(), "nobody moves {worker:?}");
        }
        self.check_plugins(&workers);
        self.check_introspections(&workers);
        assert!(live.is_empty(), "tasks of workers that are gone: {live:?}");
        assert!(self.fakes.drivers.most_active() <= 1, "two calls at once on one worker");
    }

    /// A run ends whole, there is one at a time, and somebody moves it.
    fn check_introspections(&self, workers: &BTreeMap<WorkerId, Arc<Worker>>) {
        use introspection::State as Run;
        let tasks = self.fakes.store.live_tasks();
        let mut under_way = BTreeMap::new();
        for run in self.fakes.store.introspections() {
            assert_eq!(run.finished.is_some(), run.state.is_terminal(), "{run:?}");
            assert_eq!(run.error.is_some(), run.state == Run::Error, "{run:?}");
            assert_eq!(run.ending.is_some(), run.state == Run::Aborting, "{run:?}");
            for (kind, has) in [(Kind::Raw, run.has_raw), (Kind::Processed, run.has_processed)] {
                assert_eq!(self.fakes.store.inventory_of(run.id, kind).is_some(), has, "{kind:?} of {run:?}");
            }
            let Some(worker) = run.worker else { continue };
            assert!(workers.contains_key(&worker), "{run:?}");
            if run.state.is_terminal() {
                continue;
            }
            assert_eq!(under_way.insert(worker, run.id), None, "two introspections of worker {worker}");
            let task = tasks.iter().find(|task| task.spec.introspection == Some(run.id));
            let kind = task.map(|task| task.spec.kind);
            let expected: &[Option<TaskKind>] = match (run.state, run.way) {
                (Run::Starting | Run::Waiting, Way::Pull) => {
                    &[Some(TaskKind::Introspect), Some(TaskKind::Prepare)]
                }
                (Run::Starting, _) => &[Some(TaskKind::Introspect)],
                (Run::Aborting, _) => &[Some(TaskKind::PowerOff)],
                (Run::Waiting, _) => &[None],
                (Run::Processing | Run::Reapplying, _) => {
                    &[None, Some(TaskKind::Introspect), Some(TaskKind::Prepare)]
                }
                (state, way) => panic!("{way:?} of a worker in {state:?}: {run:?}"),
            };
            assert!(expected.contains(&kind), "{kind:?} works for {run:?}");
        }
        let live = |id: &IntrospectionId| under_way.values().any(|run| run == id);
        for task in tasks.iter().filter(|task| task.spec.kind == TaskKind::PowerOff) {
            assert!(task.spec.introspection.as_ref().is_some_and(live), "nobody needs {task:?}");
        }
    }

    fn check_plugins(&self, workers: &BTreeMap<WorkerId, Arc<Worker>>) {
        let versions = self.fakes.store.plugin_versions();
        let installed = |name: &str, digest: Digest| {
            versions.iter().any(|version| version.name == name && version.digest == digest)
        };
        let plugins = self.fakes.store.plugins();
        for plugin in &plugins {
            assert!(plugin.active.is_none_or(|active| installed(&plugin.name, active)), "{plugin:?}");
            assert!(plugin.previous.is_none_or(|previous| installed(&plugin.name, previous)), "{plugin:?}");
            assert!(plugin.previous.is_none() || plugin.previous != plugin.active, "{plugin:?}");
            assert!(plugin.active.is_some() || !plugin.enabled, "{plugin:?}");
            assert!(plugin.probation.is_none() || plugin.previous.is_some(), "{plugin:?}");
        }
        let policies = plugins.iter().filter(|plugin| plugin.kind == PluginKind::Policy && plugin.enabled);
        assert!(policies.count() <= 1, "{plugins:?}");
        for worker in workers.values() {
            let pinned = worker.driver_version;
            assert!(pinned.is_none_or(|pinned| installed(&worker.registration.driver, pinned)), "{worker:?}");
        }
    }

    /// What holds besides once nothing is under way any more.
    pub(crate) fn check_settled(&self) {
        self.check_invariants();
        let farm = self.controller.farm();
        let stored: Vec<_> = self.fakes.store.workers();
        assert_eq!(farm.workers().values().cloned().collect::<Vec<_>>(), stored, "memory is what is stored");
        let requests = self.fakes.store.requests();
        assert_eq!(farm.requests().iter().cloned().collect::<Vec<_>>(), requests, "memory is what is stored");
        let plugins = self.fakes.store.plugins();
        assert_eq!(farm.plugins().values().cloned().collect::<Vec<_>>(), plugins, "memory is what is stored");
        let versions = self.fakes.store.plugin_versions();
        let known: Vec<_> = farm.plugin_versions().values().cloned().collect();
        assert_eq!(known, versions, "memory is what is stored");
        for run in self.fakes.store.introspections().iter().filter(|run| !run.state.is_terminal()) {
            assert_eq!(farm.introspection(run.id), Some(run), "memory is what is stored");
        }
        for run in farm.introspections().values() {
            assert_eq!(*run, self.run(run.id), "memory is what is stored");
        }
        assert_eq!(farm.rules().cloned().collect::<Vec<_>>(), self.fakes.store.rules());
        let mut jobs: Vec<_> = requests
            .iter()
            .filter_map(|request| Some((request.id, request.running_job()?.access.port)))
            .collect();
        let mut tunnels: Vec<_> = self.fakes.tunnels.open_now().into_iter().collect();
        jobs.sort_unstable();
        tunnels.sort_unstable();
        assert_eq!(jobs, tunnels, "tunnels are open exactly as long as their jobs");
        let now = self.controller.clock().now();
        let idle: Vec<_> = stored.iter().filter(|worker| worker.state == State::Idle).collect();
        for request in requests.iter().filter(|request| request.is_due(now)) {
            let fits = |worker: &&&Arc<Worker>| {
                request.spec.owner.groups.may_use(worker.groups())
                    && request.spec.wants.matches(worker.capabilities.effective())
            };
            let unserved = idle.iter().find(fits);
            assert_eq!(unserved, None, "nobody gives it to the waiting {request:?}");
        }
        self.check_positions();
    }

    /// Places in the queue against a model that sorts.
    pub(crate) fn check_positions(&self) {
        let farm = self.controller.farm();
        let mut queue: Vec<_> = farm
            .requests()
            .iter()
            .filter(|request| request.state == request::State::Waiting && request.reserved.is_none())
            .collect();
        queue.sort_by_key(|request| (request.priority, request.place));
        assert_eq!(farm.waiting(), queue.len());
        for (place, request) in queue.iter().enumerate() {
            assert_eq!(farm.position(request), Some(place + 1), "{request:?}");
        }
        for request in farm.requests().iter().filter(|request| request.state.is_terminal()) {
            assert_eq!(farm.position(request), None, "{request:?}");
        }
    }
}

pub(crate) fn kinds_of(farm: &Farm, subject: &str) -> Vec<String> {
    let events = farm.fakes.store.all_events();
    let about = events.iter().filter(|event| event.subject.to_string() == subject);
    about.map(|event| event.kind.clone()).collect()
}

pub(crate) fn failure(reason: &str) -> Behaviour {
    Behaviour::Fail(worker::FailureKind::Device, reason.to_owned())
}
