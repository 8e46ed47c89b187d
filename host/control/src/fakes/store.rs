//! A store in memory, which can be told to refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use grove_domain::change::{Batch, Change, Loaded};
use grove_domain::event::Event;
use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::moment::Timestamp;
use grove_domain::request::Request;
use grove_domain::task::Task;
use grove_domain::worker::Worker;
use parking_lot::Mutex;

use crate::ports::{Committed, EventQuery, Store, StoreError, TaskQuery};

/// Rows in memory, seen by one life of a controller.
#[derive(Clone, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
    life: u64,
}

#[derive(Default)]
struct Rows {
    epoch: u64,
    life: u64,
    broken: Option<String>,
    workers: BTreeMap<WorkerId, Arc<Worker>>,
    requests: BTreeMap<RequestId, Arc<Request>>,
    tasks: BTreeMap<TaskId, Arc<Task>>,
    events: Vec<Event>,
    last_request: u64,
    last_place: u64,
}

impl MemoryStore {
    /// From now on every load and commit is refused with this text; none = works again.
    pub fn break_with(&self, error: Option<&str>) {
        self.rows.lock().broken = error.map(str::to_owned);
    }

    /// The same rows for the next life; the lives before it are refused everything.
    pub(super) fn next_life(&self) -> Self {
        let mut rows = self.rows.lock();
        rows.life += 1;
        Self { rows: self.rows.clone(), life: rows.life }
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Every stored worker.
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.rows.lock().workers.values().cloned().collect()
    }

    /// Every stored request.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.rows.lock().requests.values().cloned().collect()
    }

    /// Every stored task.
    pub fn all_tasks(&self) -> Vec<Arc<Task>> {
        self.rows.lock().tasks.values().cloned().collect()
    }

    /// Every stored event.
    pub fn all_events(&self) -> Vec<Event> {
        self.rows.lock().events.clone()
    }
}

impl Rows {
    fn ready(&self, life: u64) -> Result<(), StoreError> {
        if life != self.life {
            return Err(StoreError("this controller is dead".to_owned()));
        }
        self.broken.clone().map_or(Ok(()), |error| Err(StoreError(error)))
    }

    fn commit(&mut self, batch: Batch, life: u64) -> Result<(), StoreError> {
        self.ready(life)?;
        if batch.epoch != self.epoch {
            return Err(StoreError("a batch of an older load".to_owned()));
        }
        for event in batch.events {
            assert_eq!(event.seq, self.events.len() as u64 + 1, "events are a sequence");
            self.events.push(event);
        }
        for change in batch.changes {
            self.change(change);
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::PutWorker(worker) => {
                let before = self.workers.insert(worker.id, worker.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, worker.revision, "{worker:?}");
            }
            Change::RemoveWorker(id) => drop(self.workers.remove(&id)),
            Change::PutRequest(request) => {
                self.last_request = self.last_request.max(request.id.0);
                self.last_place = self.last_place.max(request.place);
                let before = self.requests.insert(request.id, request.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, request.revision, "{request:?}");
            }
            Change::RemoveRequest(id) => drop(self.requests.remove(&id)),
            Change::PutTask(task) => {
                let before = self.tasks.insert(task.id, task.clone());
                assert_eq!(before.map_or(0, |before| before.revision) + 1, task.revision, "{task:?}");
            }
            Change::RemoveTask(id) => drop(self.tasks.remove(&id)),
        }
    }
}

impl Store for MemoryStore {
    fn load(&self) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let mut rows = self.rows.lock();
        if let Err(error) = rows.ready(self.life) {
            return ready(Err(error)).boxed();
        }
        rows.epoch += 1;
        let loaded = Loaded {
            epoch: rows.epoch,
            workers: rows.workers.values().map(|worker| Worker::clone(worker)).collect(),
            requests: rows.requests.values().map(|request| Request::clone(request)).collect(),
            live_tasks: rows
                .tasks
                .values()
                .filter(|task| !task.status.phase.is_terminal())
                .map(|task| Task::clone(task))
                .collect(),
            last_request: rows.last_request,
            last_place: rows.last_place,
            last_event: rows.events.len() as u64,
        };
        ready(Ok(loaded)).boxed()
    }

    fn commit(&self, batch: Batch, committed: Committed) {
        let result = self.rows.lock().commit(batch, self.life);
        committed(result);
    }

    fn tasks(&self, query: TaskQuery) -> BoxFuture<'static, Result<Vec<Task>, StoreError>> {
        let rows = self.rows.lock();
        let tasks = rows
            .tasks
            .values()
            .rev()
            .filter(|task| query.before.is_none_or(|before| task.id < before))
            .filter(|task| query.worker.is_none_or(|worker| task.spec.worker == worker))
            .filter(|task| query.request.is_none_or(|request| task.spec.request == Some(request)))
            .filter(|task| query.kind.is_none_or(|kind| task.spec.kind == kind))
            .filter(|task| query.phase.is_none_or(|phase| task.status.phase == phase))
            .take(query.limit)
            .map(|task| Task::clone(task))
            .collect();
        ready(Ok(tasks)).boxed()
    }

    fn task(&self, id: TaskId) -> BoxFuture<'static, Result<Option<Task>, StoreError>> {
        ready(Ok(self.rows.lock().tasks.get(&id).map(|task| Task::clone(task)))).boxed()
    }

    fn events(&self, query: EventQuery) -> BoxFuture<'static, Result<Vec<Event>, StoreError>> {
        let rows = self.rows.lock();
        let events = rows
            .events
            .iter()
            .filter(|event| event.seq > query.after)
            .filter(|event| query.subject.as_ref().is_none_or(|subject| event.subject == *subject))
            .filter(|event| query.kind.as_ref().is_none_or(|kind| event.kind == *kind))
            .take(query.limit)
            .cloned()
            .collect();
        ready(Ok(events)).boxed()
    }

    fn prune(&self, _before: Timestamp) -> BoxFuture<'static, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }
}
