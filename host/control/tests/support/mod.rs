//! A controller on paused time, with words for what tests say often.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use grove_control::fakes::{Behaviour, Fakes};
use grove_control::{Controller, Settings, Want};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::request::{self, Create, Request, Spec};
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

pub(crate) fn wish(terms: &[&str]) -> Create {
    Create {
        spec: Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::Terms(terms.iter().map(|term| Term::parse(term).unwrap()).collect()),
            length: None,
            keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
            heartbeat: None,
            hints: BTreeMap::new(),
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

    pub(crate) async fn ask(&self, terms: &[&str]) -> RequestId {
        self.controller.create_request("ann", wish(terms)).await.unwrap().id
    }

    pub(crate) fn worker(&self, number: u128) -> Arc<Worker> {
        self.controller.farm().worker(id(number)).unwrap().clone()
    }

    pub(crate) fn request(&self, id: RequestId) -> Arc<Request> {
        self.controller.farm().request(id).unwrap().clone()
    }

    pub(crate) async fn worker_is(&self, number: u128, state: State) {
        self.eventually(&format!("worker {number} is {state:?}"), || self.worker(number).state == state).await;
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
        panic!("never: {what}\n{:#?}", self.fakes.store.all_events());
    }

    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    pub(crate) fn behave(&self, call: &str, behaviour: Behaviour) {
        self.fakes.drivers.behave(None, call, behaviour);
    }

    /// What DESIGN calls "never", checked on what is stored.
    pub(crate) fn check_invariants(&self) {
        let workers = self.fakes.store.workers();
        let requests = self.fakes.store.requests();
        let tasks = self.fakes.store.all_tasks();
        let mut on_worker = HashMap::new();
        for request in &requests {
            if let Some(job) = &request.job {
                assert_eq!(job.ended.is_some(), request.state.is_terminal(), "{request:?}");
            }
            let holds = request.reserved.or(request.running_job().map(|job| job.worker));
            if let Some(worker) = holds {
                let other = on_worker.insert(worker, request.id);
                assert_eq!(other, None, "two requests on worker {worker}");
                let row = workers.iter().find(|row| row.id == worker).unwrap();
                assert_eq!(row.state, State::Running, "{request:?} on {row:?}");
                let occupation = row.occupation.unwrap();
                assert_eq!(occupation.request, request.id);
                assert_eq!(occupation.opened, request.state == request::State::InProgress);
            }
        }
        for worker in &workers {
            assert_eq!(worker.state == State::Running, worker.occupation.is_some(), "{worker:?}");
            assert_eq!(worker.state == State::Running, on_worker.contains_key(&worker.id), "{worker:?}");
            assert!(worker.state != State::Failed || worker.reason.is_some(), "{worker:?}");
            let live: Vec<_> = tasks
                .iter()
                .filter(|task| task.spec.worker == worker.id && !task.status.phase.is_terminal())
                .map(|task| (task.id, task.spec.kind))
                .collect();
            assert_eq!(live, worker.task.into_iter().collect::<Vec<_>>(), "{worker:?}");
            let must_have_task = matches!(worker.state, State::Prepare | State::Busy)
                || worker.occupation.is_some_and(|occupation| !occupation.opened);
            assert!(!must_have_task || worker.task.is_some(), "nobody moves {worker:?}");
        }
        for task in &tasks {
            assert_eq!(task.status.phase.is_terminal(), task.status.ended.is_some(), "{task:?}");
            let open = task.status.steps.iter().any(|step| step.ended.is_none());
            assert!(!(task.status.phase.is_terminal() && open), "{task:?}");
        }
        assert!(self.fakes.drivers.most_active() <= 1, "two calls at once on one worker");
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
