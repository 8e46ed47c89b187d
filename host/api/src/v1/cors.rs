//! Pages of other origins may use v1.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// Headers of answers that pages may read.
const EXPOSED: &str = "Boruta-List-Total, Boruta-List-Remaining, Boruta-List-Batch-Size, Boruta-Request-State, \
                       Boruta-Job-Timeout, Boruta-Worker-State, Boruta-Server-Version, Boruta-Api-Version, \
                       Boruta-Api-State";

pub(super) fn has_origin(headers: &HeaderMap) -> bool {
    headers.get(ORIGIN).is_some_and(|origin| !origin.is_empty())
}

/// What every answer says; with `origin`, one to a page of another origin.
pub(super) fn add(headers: &mut HeaderMap, origin: bool) {
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// May a page send this? A refusal says nothing.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok());
    let method =
        METHODS.into_iter().find(|known| method.is_some_and(|asked| asked.eq_ignore_ascii_case(known)));
    let asked = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS);
    let fine = asked.iter().all(|line| line.to_str().is_ok_and(|line| line.split(',').all(is_allowed)));
    if let (Some(method), true) = (method, fine) {
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}

fn is_allowed(header: &str) -> bool {
    let header = header.trim();
    header.is_empty() || ["content-type", "origin"].iter().any(|known| header.eq_ignore_ascii_case(known))
}
