//! What speaks here.

use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::json;

const SERVER: &str = env!("CARGO_PKG_VERSION");

pub(super) fn get() -> Response {
    let body = format!(r#"{{"Server":"{SERVER}","API_Version":"v1","API_State":"devel"}}"#);
    let mut response = json(StatusCode::OK, body);
    let headers = response.headers_mut();
    for (name, value) in
        [("boruta-server-version", SERVER), ("boruta-api-version", "v1"), ("boruta-api-state", "devel")]
    {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
