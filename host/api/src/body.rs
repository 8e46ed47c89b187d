//! Bodies of requests: bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use grove_wire::limits;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Why a body could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// More than [`limits::BODY`].
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The client went away, or its framing is broken.
    Broken,
}

impl BodyError {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "the body is larger than 1 MiB",
            Self::TooSlow => "the body did not arrive in time",
            Self::Broken => "the body could not be read to its end",
        }
    }
}

/// The whole body.
pub(crate) async fn read(headers: &HeaderMap, body: Body, patience: Duration) -> Result<Bytes, BodyError> {
    // A body that says beforehand that it is too large is not waited for.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits::BODY as u64) {
        return Err(BodyError::TooLarge);
    }
    if axum::body::HttpBody::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(patience, Limited::new(body, limits::BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}
