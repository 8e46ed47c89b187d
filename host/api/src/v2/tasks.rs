//! `/api/v2/tasks`. A task has no ETag: it is written by its farm alone, and nobody edits it.

use axum::response::Response;
use grove_control::ports::TaskQuery;
use grove_domain::id::TaskId;
use grove_domain::task::{Phase, TaskKind};
use grove_wire::Page;
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Named, Query, Served, bad_query, request_id, task_id, worker_id};
use super::refuse::Refuse;
use super::{revision, show};

/// Newest first. Query: `worker`, `request`, `kind`, `phase`, `cursor`, `limit`.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let cursor = query.text("cursor")?;
    let cursor =
        cursor.map(|text| text.parse::<TaskId>().map_err(|_| bad_query("cursor", "it is not one of ours")));
    let limit = query.limit()?;
    let asked = TaskQuery {
        worker: query.text("worker")?.map(|text| worker_id(&text)).transpose()?,
        request: query.text("request")?.map(|text| request_id(&text)).transpose()?,
        kind: query.one_of("kind", TaskKind::from_name, &TaskKind::ALL.map(TaskKind::name))?,
        phase: query.one_of("phase", Phase::from_name, &Phase::ALL.map(Phase::name))?,
        before: cursor.transpose()?,
        limit: limit + 1,
    };
    query.done()?;
    let short = |task| grove_wire::task::Task { log: None, ..show::task(task) };
    let mut items: Vec<_> = app.controller.tasks(asked).await?.into_iter().map(short).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = task_id(&id)?;
    Query::new(&uri).done()?;
    let task = app.controller.task(id).await?;
    Ok(revision::json(StatusCode::OK, &show::task(task)))
}

pub(crate) async fn cancel(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let id = task_id(&id)?;
    revision::not_taken(&headers)?;
    app.controller.cancel_task(&app.actor, id).await?;
    let task = app.controller.task(id).await?;
    Ok(revision::json(StatusCode::ACCEPTED, &show::task(task)))
}
