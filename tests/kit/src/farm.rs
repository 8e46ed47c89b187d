//! What tests do to a farm, over version 2.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::OnceLock;

use grove_client::wire::Uuid;
use grove_client::wire::event::Event;
use grove_client::wire::job::{Access, Job};
use grove_client::wire::request::{NewRequest, Request, RequestState};
use grove_client::wire::task::Task;
use grove_client::wire::worker::{MoveWorker, PutWorker, WantedState, Worker, WorkerState};
use grove_client::{Client, EventsQuery, RequestsQuery, TasksQuery, WorkersQuery};
use serde_json::Value;

use crate::{tools, wait};

/// A farm, seen through a typed client.
#[derive(Clone, Debug)]
pub struct Farm {
    client: Client,
}

impl Deref for Farm {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Workers of tests: number 7 is always the same one.
pub fn uuid(number: u64) -> Uuid {
    Uuid::from_u64_pair(0x0198_c0de_0000_7000, 0x8000_0000_0000_0000 | number)
}

/// A request that wants this, of somebody with a key of their own.
pub fn wish(wants: &[&str]) -> NewRequest {
    static KEY: OnceLock<String> = OnceLock::new();
    let key = KEY.get_or_init(|| tools::make_key(tempfile::tempdir().unwrap().path(), "mine"));
    let wants = wants.iter().map(|term| (*term).to_owned()).collect();
    NewRequest { wants, keys: vec![key.clone()], ..NewRequest::default() }
}

impl Farm {
    /// Through this client.
    pub fn new(client: Client) -> Farm {
        Farm { client }
    }

    /// Registers a worker.
    pub async fn register(&self, uuid: Uuid, driver: &str, config: Value, capabilities: &[(&str, &str)]) {
        let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let capabilities: BTreeMap<_, _> = capabilities.iter().map(text).collect();
        let body = PutWorker {
            driver: driver.to_owned(),
            driver_config: config,
            capabilities: Some(capabilities),
            groups: None,
            host: None,
        };
        self.put_worker(uuid, &body, None).await.unwrap();
    }

    /// Wants a worker idle, and does not wait.
    pub async fn want_idle(&self, uuid: Uuid) {
        let body = MoveWorker { state: WantedState::Idle, force: true, when_free: false };
        self.move_worker(uuid, &body, None).await.unwrap();
    }

    /// Wants a worker idle, and waits until it is.
    pub async fn to_idle(&self, uuid: Uuid) -> Worker {
        self.want_idle(uuid).await;
        self.until_worker(uuid, WorkerState::Idle).await
    }

    /// Registers simulated workers with numbers `1..=count`, and waits until they are idle.
    pub async fn simulated(&self, count: u64, config: Value, capabilities: &[(&str, &str)]) {
        for number in 1..=count {
            self.register(uuid(number), "simulated", config.clone(), capabilities).await;
            self.want_idle(uuid(number)).await;
        }
        for number in 1..=count {
            self.until_worker(uuid(number), WorkerState::Idle).await;
        }
    }

    /// Waits until a worker is in a state.
    pub async fn until_worker(&self, uuid: Uuid, state: WorkerState) -> Worker {
        let look = || async { self.worker(uuid).await.unwrap() };
        wait::until_is(&format!("worker {uuid} to be {state:?}"), look, |worker| worker.state == state).await
    }

    /// Waits until a request is in a state.
    pub async fn until_request(&self, id: u64, state: RequestState) -> Request {
        let look = || async { self.request(id).await.unwrap() };
        wait::until_is(&format!("request {id} to be {state:?}"), look, |request| request.state == state).await
    }

    /// Makes a request and waits until its job runs.
    pub async fn get(&self, wish: &NewRequest) -> (u64, Access) {
        let id = self.create_request(wish, None).await.unwrap().id;
        let request = self.until_request(id, RequestState::InProgress).await;
        let access = match request.job.and_then(|job| job.access) {
            Some(access) => access,
            None => self.job(id).await.unwrap().access.expect("a running job has access"),
        };
        (id, access)
    }

    /// Waits for an event of this kind about this.
    pub async fn until_event(&self, kind: &str, subject: &str) -> Event {
        let query = EventsQuery {
            after: Some(0),
            subject: Some(subject.to_owned()),
            kind: Some(kind.to_owned()),
            ..EventsQuery::default()
        };
        let look = || async { self.past_events(&query).next().await.unwrap() };
        wait::until(&format!("event {kind} of {subject}"), look).await
    }

    /// All workers.
    pub async fn all_workers(&self) -> Vec<Worker> {
        self.workers(&WorkersQuery::default()).take(usize::MAX).await.unwrap()
    }

    /// All requests.
    pub async fn all_requests(&self) -> Vec<Request> {
        self.requests(&RequestsQuery::default()).take(usize::MAX).await.unwrap()
    }

    /// All running jobs.
    pub async fn all_jobs(&self) -> Vec<Job> {
        self.jobs().take(usize::MAX).await.unwrap()
    }

    /// All tasks that are kept.
    pub async fn all_tasks(&self) -> Vec<Task> {
        self.tasks(&TasksQuery::default()).take(usize::MAX).await.unwrap()
    }

    /// All events.
    pub async fn all_events(&self) -> Vec<Event> {
        let query = EventsQuery { after: Some(0), ..EventsQuery::default() };
        self.past_events(&query).take(usize::MAX).await.unwrap()
    }
}
