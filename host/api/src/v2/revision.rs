//! Revisions as ETags.

use axum::response::{IntoResponse, Response};
use grove_wire::{Code, Problem};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::refuse::Refuse;

/// The revision that the caller saw; none = whatever it is.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<u64>, Refuse> {
    match one(headers, &IF_MATCH) {
        None | Some("*") => Ok(None),
        Some(text) => match tag(text).map(str::parse) {
            Some(Ok(revision)) => Ok(Some(revision)),
            _ => Err(bad_if_match()),
        },
    }
}

/// Refuses `If-Match` where there is no revision to hold it against: it is never left unheeded.
pub(crate) fn not_taken(headers: &HeaderMap) -> Result<(), Refuse> {
    if headers.get(IF_MATCH).is_none() {
        return Ok(());
    }
    let problem = Problem::new(Code::InvalidHeader, "what this does depends on no revision");
    Err(problem.hint("leave If-Match out").field("If-Match").into())
}

/// The header's one value; several are as one that cannot be.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let text = lines.next()?.to_str().unwrap_or_default().trim();
    Some(if lines.next().is_none() { text } else { "" })
}

/// What a strong ETag holds.
pub(super) fn tag(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

pub(super) fn bad_if_match() -> Refuse {
    let problem =
        Problem::new(Code::InvalidHeader, "If-Match must hold one ETag as it was answered, like \"7\"");
    problem.hint("send the ETag of the last answer, or leave the header out").field("If-Match").into()
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
