//! Answers of v1.

use std::borrow::Cow;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use grove_control::refusal::Refused;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::golang;
use crate::body::BodyError;

/// Why there is nothing better to answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// 404 with just this message.
    NotFound(Cow<'static, str>),
    /// 400 with this message after the prefix.
    Invalid(Cow<'static, str>),
    /// 400: a body was needed.
    NoBody,
    /// The body could not be had.
    Body(BodyError),
    /// 503 with just this message: there is nobody to ask.
    Unavailable(String),
}

pub(super) const REQUEST_NOT_FOUND: Failure = Failure::NotFound(Cow::Borrowed("Request not found"));
pub(super) const WORKER_NOT_FOUND: Failure = Failure::NotFound(Cow::Borrowed("Worker not found"));

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<golang::Error> for Failure {
    fn from(error: golang::Error) -> Self {
        Self::Invalid(error)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoSuchWorker => WORKER_NOT_FOUND,
            Refused::NoSuchRequest => REQUEST_NOT_FOUND,
            other => Self::Invalid(other.to_string().into()),
        }
    }
}

/// The value that a body must hold.
pub(super) fn needed(body: &[u8]) -> Result<golang::Value<'_>, Failure> {
    golang::parse(body)?.ok_or(Failure::NoBody)
}

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(super) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn moved(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(super) fn failed(failure: Failure) -> Response {
    let unavailable = matches!(failure, Failure::Unavailable(_));
    let (status, message, hang_up) = match failure {
        Failure::NotFound(message) => (StatusCode::NOT_FOUND, message, false),
        Failure::Invalid(message) => {
            (StatusCode::BAD_REQUEST, format!("invalid request: {message}").into(), false)
        }
        Failure::NoBody => (StatusCode::BAD_REQUEST, "no body provided in HTTP request".into(), false),
        Failure::Unavailable(message) => (StatusCode::SERVICE_UNAVAILABLE, message.into(), false),
        Failure::Body(error) => {
            let status = match error {
                BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
                BodyError::Broken => StatusCode::BAD_REQUEST,
            };
            (status, format!("invalid request: {}", error.text()).into(), true)
        }
    };
    let mut body = b"{\"message\":".to_vec();
    golang::write_text(&mut body, &message);
    body.push(b'}');
    let mut response = json(status, body);
    if unavailable {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if hang_up {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The same as HEAD answers it.
pub(super) fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
    response
}
