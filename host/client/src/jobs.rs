//! Jobs.

use grove_wire::job::{Job, JobState};
use reqwest::Method;
use serde::Serialize;

use crate::{Client, Error, Pages};

/// Which jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct JobsQuery {
    /// Only those in this state.
    pub state: Option<JobState>,
}

impl Client {
    /// The jobs, newest first.
    pub fn jobs(&self, query: &JobsQuery) -> Pages<Job> {
        Pages::new(self, "jobs", query)
    }

    /// One job, with the private key when the farm made one.
    pub async fn job(&self, id: u64) -> Result<Job, Error> {
        self.v2(Method::GET, &["jobs", &id.to_string()]).json().await
    }
}
