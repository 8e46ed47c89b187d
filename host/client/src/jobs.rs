//! Jobs.

use grove_wire::job::Job;
use reqwest::Method;

use crate::{Client, Error, Pages};

impl Client {
    /// The running jobs, by number.
    pub fn jobs(&self) -> Pages<Job> {
        Pages::new(self, "jobs", &())
    }

    /// One job, with the private key when the farm made one.
    pub async fn job(&self, id: u64) -> Result<Job, Error> {
        self.v2(Method::GET, &["jobs", &id.to_string()]).json().await
    }
}
