//! Bodies of requests: bounded in size and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Why a body could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    /// More than so many bytes.
    TooLarge(usize),
    /// It did not come in time.
    TooSlow,
    /// The client went away, or its framing is broken.
    Broken,
}

impl BodyError {
    /// For people.
    pub(crate) fn text(self) -> String {
        match self {
            Self::TooLarge(most) if most % (1 << 20) == 0 => {
                format!("the body is larger than {} MiB", most >> 20)
            }
            Self::TooLarge(most) => format!("the body is larger than {most} bytes"),
            Self::TooSlow => "the body did not arrive in time".to_owned(),
            Self::Broken => "the body could not be read to its end".to_owned(),
        }
    }
}

/// The whole body, of at most so many bytes.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    patience: Duration,
    most: usize,
) -> Result<Bytes, BodyError> {
    // A body that says beforehand that it is too large is not waited for.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(BodyError::TooLarge(most));
    }
    if axum::body::HttpBody::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(patience, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(most)),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}
