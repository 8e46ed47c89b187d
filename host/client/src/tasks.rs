//! Tasks.

use grove_wire::Uuid;
use grove_wire::task::{Task, TaskKind, TaskPhase};
use reqwest::Method;
use serde::Serialize;

use crate::{Client, Error, Pages};

/// Which tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TasksQuery {
    /// Only those of this worker.
    pub worker: Option<Uuid>,
    /// Only those that open the job of this request.
    pub request: Option<u64>,
    /// Only those that do this.
    pub kind: Option<TaskKind>,
    /// Only those that are so far.
    pub phase: Option<TaskPhase>,
}

impl Client {
    /// The tasks, newest first.
    pub fn tasks(&self, query: &TasksQuery) -> Pages<Task> {
        Pages::new(self, "tasks", query)
    }

    /// One task.
    pub async fn task(&self, id: Uuid) -> Result<Task, Error> {
        self.v2(Method::GET, &["tasks", &id.hyphenated().to_string()]).json().await
    }

    /// Stops a live task; to its worker that is a failure of the task.
    pub async fn cancel_task(&self, id: Uuid) -> Result<Task, Error> {
        self.v2(Method::POST, &["tasks", &id.hyphenated().to_string(), "cancel"]).json().await
    }
}
