//! Revisions as ETags.

use axum::response::{IntoResponse, Response};
use grove_wire::{Code, Problem};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::refuse::Refuse;

/// The revision that the caller saw; none = whatever it is.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<u64>, Refuse> {
    let mut lines = headers.get_all(IF_MATCH).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let text = line.to_str().unwrap_or_default().trim();
    if lines.next().is_none() {
        if text == "*" {
            return Ok(None);
        }
        let revision = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        if let Some(Ok(revision)) = revision.map(str::parse) {
            return Ok(Some(revision));
        }
    }
    let problem =
        Problem::new(Code::InvalidHeader, "If-Match must hold one ETag as it was answered, like \"7\"");
    Err(problem.hint("send the ETag of the last answer, or leave the header out").field("If-Match").into())
}

/// A resource with its revision.
pub(crate) fn with_etag(status: StatusCode, revision: u64, body: &impl Serialize) -> Response {
    let mut response = json(status, body);
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Any answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let mut response = (status, bytes).into_response();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            Refuse::from(Problem::new(Code::Internal, "the answer could not be written")).into_response()
        }
    }
}
