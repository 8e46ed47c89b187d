//! The farm as the controller told it: nothing is here that did not come through `apply`.

use std::collections::HashMap;

use super::{Assignment, Change, Request, RequestId, Worker, WorkerId};

/// The controller numbers workers densely; a number beyond this is not one of its.
const MAX_WORKERS: usize = 1 << 20;

/// Workers, requests and what runs where.
#[derive(Debug, Default)]
pub struct Farm {
    workers: Vec<Option<Worker>>,
    requests: HashMap<RequestId, Request>,
    running: HashMap<WorkerId, RequestId>,
}

impl Farm {
    /// A worker, if it is there.
    pub fn worker(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(id as usize)?.as_ref()
    }

    /// All workers, by number.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().flatten()
    }

    /// A request that waits or runs.
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.requests.get(&id)
    }

    /// All requests that wait or run, in no order.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// The request that occupies a worker.
    pub fn running_on(&self, worker: WorkerId) -> Option<&Request> {
        self.running.get(&worker).and_then(|request| self.request(*request))
    }

    /// One more than the highest worker number.
    pub(super) fn worker_numbers(&self) -> usize {
        self.workers.len()
    }

    /// Takes a change in.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::WorkerPut(worker) => {
                let id = worker.id as usize;
                if id >= MAX_WORKERS {
                    crate::log::error(format!("ignored worker number {id}: more than {MAX_WORKERS} workers"));
                    return;
                }
                if self.workers.len() <= id {
                    self.workers.resize_with(id + 1, || None);
                }
                if let Some(place) = self.workers.get_mut(id) {
                    *place = Some(worker);
                }
            }
            Change::WorkerGone(id) => {
                if let Some(place) = self.workers.get_mut(id as usize) {
                    *place = None;
                }
                self.running.remove(&id);
            }
            Change::RequestPut(request) => {
                self.requests.insert(request.id, request);
            }
            Change::RequestGone(id) => {
                self.requests.remove(&id);
            }
            Change::Started(Assignment { request, worker, .. }) => {
                self.running.insert(worker, request);
            }
            Change::Finished(Assignment { worker, .. }) => {
                self.running.remove(&worker);
            }
        }
    }
}
