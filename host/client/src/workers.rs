//! Workers.

use grove_wire::Uuid;
use grove_wire::worker::{MoveWorker, PatchWorker, PutWorker, ReportFailure, Worker, WorkerState};
use reqwest::Method;
use serde::Serialize;

use crate::transport::Call;
use crate::{Client, Error, Pages};

/// Which workers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct WorkersQuery {
    /// Only those in this state.
    pub state: Option<WorkerState>,
    /// Only those that this group may use.
    pub group: Option<String>,
    /// Only those that fit this one term.
    pub wants: Option<String>,
    /// Only those that stand here.
    pub host: Option<String>,
    /// Only those of this driver.
    pub driver: Option<String>,
}

impl Client {
    /// The workers, by uuid.
    pub fn workers(&self, query: &WorkersQuery) -> Pages<Worker> {
        Pages::new(self, "workers", query)
    }

    /// One worker.
    pub async fn worker(&self, uuid: Uuid) -> Result<Worker, Error> {
        self.worker_call(Method::GET, uuid, &[]).json().await
    }

    /// The board registers, or registers again.
    pub async fn put_worker(
        &self,
        uuid: Uuid,
        body: &PutWorker,
        expected: Option<u64>,
    ) -> Result<Worker, Error> {
        self.worker_call(Method::PUT, uuid, &[]).expecting(expected).body(body).json().await
    }

    /// The admin edits a worker.
    pub async fn patch_worker(
        &self,
        uuid: Uuid,
        body: &PatchWorker,
        expected: Option<u64>,
    ) -> Result<Worker, Error> {
        self.worker_call(Method::PATCH, uuid, &[]).expecting(expected).body(body).json().await
    }

    /// A worker leaves the farm; `force` ends a job that runs on it.
    pub async fn delete_worker(&self, uuid: Uuid, force: bool, expected: Option<u64>) -> Result<(), Error> {
        let call = self.worker_call(Method::DELETE, uuid, &[]).expecting(expected);
        let call = if force { call.query(&[("force", true)]) } else { call };
        call.done().await
    }

    /// The admin wants a worker elsewhere. It may still be on its way when the answer comes.
    pub async fn move_worker(
        &self,
        uuid: Uuid,
        body: &MoveWorker,
        expected: Option<u64>,
    ) -> Result<Worker, Error> {
        self.worker_call(Method::POST, uuid, &["state"]).expecting(expected).body(body).json().await
    }

    /// The admin says who may use a worker; nobody named = everyone.
    pub async fn set_worker_groups(
        &self,
        uuid: Uuid,
        groups: Vec<String>,
        expected: Option<u64>,
    ) -> Result<Worker, Error> {
        let body = PatchWorker { groups: Some(Some(groups)), ..PatchWorker::default() };
        self.patch_worker(uuid, &body, expected).await
    }

    /// Somebody who knows reports that a worker is broken.
    pub async fn report_failure(
        &self,
        uuid: Uuid,
        reason: &str,
        expected: Option<u64>,
    ) -> Result<Worker, Error> {
        let body = ReportFailure { reason: reason.to_owned(), recheck: false };
        self.worker_call(Method::POST, uuid, &["failure"]).expecting(expected).body(&body).json().await
    }

    fn worker_call(&self, method: Method, uuid: Uuid, rest: &[&str]) -> Call<'_> {
        let uuid = uuid.hyphenated().to_string();
        let segments: Vec<&str> = ["workers", uuid.as_str()].iter().chain(rest).copied().collect();
        self.v2(method, &segments)
    }
}
