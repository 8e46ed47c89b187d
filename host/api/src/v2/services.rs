//! `/api/v2/services`. Answers whether or not a farm is served: this is where one looks why it is not.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use grove_wire::{Code, Page, Problem};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Named, Query, shown};
use super::refuse::Refuse;
use super::revision;
use crate::front::Front;

const GRAPHVIZ: &str = "text/vnd.graphviz";

/// All of them. Query: `format` (`json` or `dot`; else as the header `Accept` says).
pub(crate) async fn list(
    State(front): State<Front>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let word = |text: &str| match text {
        "json" => Some(false),
        "dot" => Some(true),
        _ => None,
    };
    let asked = query.one_of("format", word, &["json", "dot"])?;
    query.done()?;
    if asked.unwrap_or_else(|| accepts_graphviz(&headers)) {
        let kind = [(CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")];
        return Ok((kind, front.services.dot()).into_response());
    }
    let items = front.services.detailed().await;
    Ok(revision::json(StatusCode::OK, &Page { items, next: None }))
}

pub(crate) async fn get(
    State(front): State<Front>,
    Named(name): Named,
    uri: Uri,
) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let services = front.services.detailed().await;
    let service = services.into_iter().find(|service| service.name == name).ok_or_else(|| {
        let problem = Problem::new(Code::ServiceNotFound, format!("no service is named {:?}", shown(&name)));
        problem.hint("list the services there are: GET /api/v2/services")
    })?;
    Ok(revision::json(StatusCode::OK, &service))
}

fn accepts_graphviz(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| {
            accept.split(',').any(|kind| kind.trim().to_ascii_lowercase().starts_with(GRAPHVIZ))
        })
    })
}
