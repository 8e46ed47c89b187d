//! Introspection.

use std::time::Duration;

use grove_wire::Uuid;
use grove_wire::introspection::{
    Findings, Introspection, IntrospectionState, InventoryDiff, InventoryKind, Reapplying, StartIntrospection,
};
use reqwest::Method;
use serde::Serialize;

use crate::transport::Call;
use crate::{Client, Error, Pages};

/// Which runs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct IntrospectionsQuery {
    /// Only those of this worker.
    pub worker: Option<Uuid>,
    /// Only those in this state.
    pub state: Option<IntrospectionState>,
}

impl Client {
    /// The runs, newest first.
    pub fn introspections(&self, query: &IntrospectionsQuery) -> Pages<Introspection> {
        Pages::new(self, "introspections", query)
    }

    /// One run.
    pub async fn introspection(&self, id: Uuid) -> Result<Introspection, Error> {
        self.introspection_call(Method::GET, id, &[]).json().await
    }

    /// One run, as soon as it is newer than `revision`, or after `wait` as it is.
    pub async fn introspection_newer_than(
        &self,
        id: Uuid,
        revision: u64,
        wait: Duration,
    ) -> Result<Introspection, Error> {
        let call = self.introspection_call(Method::GET, id, &[]).waiting(wait);
        let wait = format!("{}s", wait.as_secs());
        call.query(&[("wait", wait), ("revision", revision.to_string())]).json().await
    }

    /// Starts a run; the token of one whose board sends its inventory is told here and nowhere else.
    pub async fn start_introspection(
        &self,
        body: &StartIntrospection,
        expected: Option<u64>,
    ) -> Result<Introspection, Error> {
        self.v2(Method::POST, &["introspections"]).expecting(expected).body(body).json().await
    }

    /// Ends a run. It may still be on its way there when the answer comes.
    pub async fn abort_introspection(&self, id: Uuid, expected: Option<u64>) -> Result<Introspection, Error> {
        self.introspection_call(Method::POST, id, &["abort"]).expecting(expected).json().await
    }

    /// Has today's inspectors and rules process what is stored of a run.
    pub async fn reapply_introspection(
        &self,
        id: Uuid,
        expected: Option<u64>,
    ) -> Result<Introspection, Error> {
        self.introspection_call(Method::POST, id, &["reapply"]).expecting(expected).json().await
    }

    /// The same for the newest stored inventory of every worker.
    pub async fn reapply_introspections(&self) -> Result<Reapplying, Error> {
        self.v2(Method::POST, &["introspections", "reapply"]).json().await
    }

    /// An inventory.
    pub async fn inventory(&self, id: Uuid, kind: InventoryKind) -> Result<serde_json::Value, Error> {
        self.introspection_call(Method::GET, id, &["data"]).query(&[("kind", kind)]).json().await
    }

    /// What a run found.
    pub async fn findings(&self, id: Uuid) -> Result<Findings, Error> {
        self.introspection_call(Method::GET, id, &["findings"]).json().await
    }

    /// What is different in the inventory of a run; without `with`, to the worker's run before.
    pub async fn inventory_diff(&self, id: Uuid, with: Option<Uuid>) -> Result<InventoryDiff, Error> {
        self.introspection_call(Method::GET, id, &["diff"]).query(&[("with", with)]).json().await
    }

    fn introspection_call(&self, method: Method, id: Uuid, rest: &[&str]) -> Call<'_> {
        let id = id.hyphenated().to_string();
        let segments: Vec<&str> = ["introspections", id.as_str()].iter().chain(rest).copied().collect();
        self.v2(method, &segments)
    }
}
