//! Requests.

use std::time::Duration;

use grove_wire::request::{
    CloseRequest, Heartbeat, NewRequest, PatchRequest, Prolong, Reason, Request, RequestState,
};
use grove_wire::{Span, Uuid, limits};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde::Serialize;

use crate::transport::Call;
use crate::{Client, Error, Pages};

/// Which requests.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RequestsQuery {
    /// Only those in this state.
    pub state: Option<RequestState>,
    /// Only those of this owner.
    pub owner: Option<String>,
    /// Only those whose job is, or was, on this worker.
    pub worker: Option<Uuid>,
    /// In which order of their numbers; none = ascending.
    pub order: Option<Order>,
}

/// Order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Order {
    /// Oldest first.
    #[serde(rename = "asc")]
    Ascending,
    /// Newest first.
    #[serde(rename = "desc")]
    Descending,
}

impl Client {
    /// The requests, by number.
    pub fn requests(&self, query: &RequestsQuery) -> Pages<Request> {
        Pages::new(self, "requests", query)
    }

    /// Asks for a worker. Calls with the same `idempotency_key` and body make one request, however often they are
    /// made.
    pub async fn create_request(
        &self,
        body: &NewRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Request, Error> {
        let call = self.v2(Method::POST, &["requests"]);
        let call = match idempotency_key {
            Some(key) => call.header(HeaderName::from_static("idempotency-key"), key),
            None => call,
        };
        call.body(body).json().await
    }

    /// One request.
    pub async fn request(&self, id: u64) -> Result<Request, Error> {
        self.request_call(Method::GET, id, &[]).json().await
    }

    /// One request as soon as it is newer than revision `seen`, or has ended; or as it is after `wait` (whole
    /// seconds, at most [`limits::WAIT_SECONDS`]).
    pub async fn request_newer_than(&self, id: u64, seen: u64, wait: Duration) -> Result<Request, Error> {
        let seconds = wait.as_secs().min(limits::WAIT_SECONDS);
        let span = Span::from_secs(seconds).unwrap_or(Span::MAX);
        let call =
            self.request_call(Method::GET, id, &[]).query(&[("wait", span)]).query(&[("revision", seen)]);
        call.waiting(span.duration()).json().await
    }

    /// Why a request waits, or ended as it did.
    pub async fn why(&self, id: u64) -> Result<Vec<Reason>, Error> {
        self.request_call(Method::GET, id, &["why"]).json().await
    }

    /// The owner changes a waiting request.
    pub async fn patch_request(
        &self,
        id: u64,
        body: &PatchRequest,
        expected: Option<u64>,
    ) -> Result<Request, Error> {
        self.request_call(Method::PATCH, id, &[]).expecting(expected).body(body).json().await
    }

    /// The owner is done with a request: its job ends, whatever became of it meanwhile.
    pub async fn close_request(&self, id: u64, reason: Option<&str>) -> Result<Request, Error> {
        let body = CloseRequest { reason: reason.map(str::to_owned) };
        self.request_call(Method::POST, id, &["close"]).body(&body).json().await
    }

    /// The job shall run for so long from now.
    pub async fn prolong(&self, id: u64, body: &Prolong, expected: Option<u64>) -> Result<Request, Error> {
        self.request_call(Method::POST, id, &["prolong"]).expecting(expected).body(body).json().await
    }

    /// The client of a request is still there. The answer has the job's warnings.
    pub async fn heartbeat(&self, id: u64, body: &Heartbeat) -> Result<Request, Error> {
        self.request_call(Method::POST, id, &["heartbeat"]).body(body).json().await
    }

    /// The running job outlives its client: heartbeats are no longer needed.
    pub async fn keep(&self, id: u64, expected: Option<u64>) -> Result<Request, Error> {
        self.request_call(Method::POST, id, &["keep"]).expecting(expected).json().await
    }

    fn request_call(&self, method: Method, id: u64, rest: &[&str]) -> Call<'_> {
        let id = id.to_string();
        let segments: Vec<&str> = ["requests", id.as_str()].iter().chain(rest).copied().collect();
        self.v2(method, &segments)
    }
}
