//! `/api/v2/jobs`.

use axum::response::Response;
use grove_domain::id::RequestId;
use grove_wire::{Code, Page, Problem};
use http::{StatusCode, Uri};

use super::input::{Named, Query, Served, bad_query, request_id};
use super::refuse::Refuse;
use super::{revision, show};

/// Running jobs. Query: `cursor`, `limit`. By number.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let cursor = query.text("cursor")?;
    let cursor =
        cursor.map(|text| text.parse::<u64>().map_err(|_| bad_query("cursor", "it is not one of ours")));
    let cursor = RequestId(cursor.transpose()?.unwrap_or(0));
    let limit = query.limit()?;
    query.done()?;

    let farm = app.controller.farm();
    // A job occupies a worker: there are never more of them than of those.
    let running = farm.workers().values().filter_map(|worker| worker.occupation);
    let mut ids: Vec<RequestId> =
        running.filter(|job| job.opened && job.request > cursor).map(|job| job.request).collect();
    ids.sort_unstable();
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().filter(|_| more).map(RequestId::to_string);
    let requests = ids.into_iter().filter_map(|id| farm.request(id));
    let items = requests.filter_map(|request| show::job(request, &app.options.advertise, false)).collect();
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    Query::new(&uri).done()?;
    let farm = app.controller.farm();
    let request = farm.request(id);
    let job = request.and_then(|request| Some((request, show::job(request, &app.options.advertise, true)?)));
    let (request, job) = job.ok_or_else(|| {
        let problem = Problem::new(Code::JobNotFound, format!("request {id} has no job"));
        problem.hint(format!("look at the request: GET /api/v2/requests/{id}; it may still wait"))
    })?;
    Ok(revision::with_etag(StatusCode::OK, request.revision, &job))
}
