//! `/api/v2/introspections`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use grove_control::Begin;
use grove_control::refusal::Refused;
use grove_domain::event::Subject;
use grove_domain::history::IntrospectionQuery;
use grove_domain::id::{IntrospectionId, WorkerId};
use grove_domain::introspection::{self, Introspection, Kind, Way};
use grove_domain::inventory::{MAX_DIFFERENCES, diff};
use grove_wire::introspection as wire;
use grove_wire::{Code, Page, Problem};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::input::{Named, Query, Served, Whole, bad_query, introspection_id, worker_id};
use super::refuse::Refuse;
use super::{inventory, revision, token};
use crate::app::App;
use crate::front::Front;

/// Runs that are looked at in one go.
const PIECE: usize = 100;

fn answer(status: StatusCode, run: &Introspection) -> Response {
    revision::with_etag(status, run.revision, &show(run))
}

/// If-Match is the worker's.
pub(crate) async fn start(Served(app): Served, headers: HeaderMap, body: Whole) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    let sent: wire::StartIntrospection = body.json()?;
    let token = match sent.way {
        wire::WantedWay::Pull => None,
        wire::WantedWay::Push => Some(token::make()?),
    };
    let begin = token.as_deref().map_or(Begin::Pull, |token| Begin::Push(token::digest(token)));
    let worker = WorkerId(sent.worker);
    let run = app.controller.start_introspection(&app.actor, worker, begin, expected).await?;
    let data_url = token.as_ref().map(|_| format!("/api/v2/introspections/{}/data", run.id));
    let shown = wire::Introspection { token, data_url, ..show(&run) };
    Ok(revision::with_etag(StatusCode::ACCEPTED, run.revision, &shown))
}

/// Newest first. Query: `worker`, `state`, `cursor`, `limit`.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let cursor = query.text("cursor")?;
    let cursor = cursor.map(|text| {
        text.parse::<IntrospectionId>().map_err(|_| bad_query("cursor", "it is not one of ours"))
    });
    let limit = query.limit()?;
    let names = introspection::State::ALL.map(introspection::State::name);
    let asked = IntrospectionQuery {
        worker: query.text("worker")?.map(|text| worker_id(&text)).transpose()?,
        state: query.one_of("state", introspection::State::from_name, &names)?,
        before: cursor.transpose()?,
        limit: limit + 1,
    };
    query.done()?;
    let runs = app.controller.introspections(asked).await?;
    let mut items: Vec<_> = runs.iter().map(show).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

/// Query: `wait` (answers on the next change of state, or after so long), `revision` (with it: as soon as it is newer
/// than this).
pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    let mut query = Query::new(&uri);
    let wait = query.wait()?;
    let seen = query.number("revision")?;
    query.done()?;
    let run = match wait {
        None => found(&app, id).await?,
        Some(wait) => {
            let stopping = app.stopping.token();
            tokio::select! {
                newest = changed(&app, id, seen) => newest?,
                () = tokio::time::sleep(wait) => found(&app, id).await?,
                () = stopping.cancelled() => found(&app, id).await?,
            }
        }
    };
    Ok(answer(StatusCode::OK, &run))
}

/// Resolves when the run is in another state than at first, or is newer than `seen`.
async fn changed(app: &App, id: IntrospectionId, seen: Option<u64>) -> Result<Arc<Introspection>, Refuse> {
    let mut first = None;
    loop {
        let watcher = app.controller.watch(Subject::Introspection(id));
        let run = found(app, id).await?;
        let first = *first.get_or_insert(run.state);
        let news = match seen {
            Some(seen) => run.revision > seen,
            None => run.state != first,
        };
        if news {
            return Ok(run);
        }
        watcher.changed().await;
    }
}

pub(crate) async fn abort(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    let expected = revision::expected(&headers)?;
    let run = app.controller.abort_introspection(&app.actor, id, expected).await?;
    Ok(answer(StatusCode::ACCEPTED, &run))
}

pub(crate) async fn reapply(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    let expected = revision::expected(&headers)?;
    let run = app.controller.reapply_introspection(&app.actor, id, expected).await?;
    Ok(answer(StatusCode::ACCEPTED, &run))
}

pub(crate) async fn reapply_all(
    Served(app): Served,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    revision::not_taken(&headers)?;
    let begun = app.controller.reapply_all(&app.actor).await?;
    Ok(revision::json(StatusCode::ACCEPTED, &wire::Reapplying { count: begun.len() as u64 }))
}

/// The board sends its inventory, with the token of the run. Whoever has no right to is not listened to.
pub(crate) async fn put_data(
    State(front): State<Front>,
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    revision::not_taken(&headers)?;
    let shown = token::shown(&headers)?;
    found(&app, id).await?.admit(shown).map_err(Refused::from)?;
    let raw = inventory::receive(&front, &headers, body).await?;
    let run = app.controller.introspection_data(id, shown, raw).await?;
    Ok(answer(StatusCode::ACCEPTED, &run))
}

/// A board that nobody registered sends its inventory, with the farm's secret.
pub(crate) async fn enrol(
    State(front): State<Front>,
    Served(app): Served,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refuse> {
    revision::not_taken(&headers)?;
    let Some(secret) = app.options.enrolment else {
        let problem = Problem::new(Code::EnrolmentOff, "this farm takes in no boards that nobody registered");
        return Err(problem.into());
    };
    if token::shown(&headers)? != secret {
        let problem = Problem::new(Code::WrongToken, "this is not the farm's enrolment secret");
        let problem = problem.hint("ask the admin for the secret that introspection.enrolment_secret names");
        return Err(problem.field("Authorization").into());
    }
    let raw = inventory::receive(&front, &headers, body).await?;
    let run = app.controller.enrol(&app.actor, raw).await?;
    Ok(answer(StatusCode::ACCEPTED, &run))
}

/// Query: `kind` (`processed` or `raw`).
pub(crate) async fn get_data(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    let mut query = Query::new(&uri);
    let kind = query.one_of("kind", Kind::from_name, &Kind::ALL.map(Kind::name))?;
    query.done()?;
    found(&app, id).await?;
    let text = stored(&app, id, kind.unwrap_or(Kind::Processed)).await?;
    let mut response = Response::new(Body::from(text.as_bytes().to_vec()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(crate) async fn findings(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    Query::new(&uri).done()?;
    found(&app, id).await?;
    let findings = app.controller.findings(id).await?.ok_or_else(|| nothing("it has found nothing yet"))?;
    let shown =
        wire::Findings { capabilities: findings.capabilities, labels: findings.labels, by: findings.by };
    Ok(revision::json(StatusCode::OK, &shown))
}

/// Query: `with` (another run; else the worker's run before).
pub(crate) async fn difference(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = introspection_id(&id)?;
    let mut query = Query::new(&uri);
    let with = query.text("with")?.map(|text| introspection_id(&text)).transpose()?;
    query.done()?;
    let run = found(&app, id).await?;
    let with = match (with, run.worker) {
        (Some(with), _) => found(&app, with).await?.id,
        (None, Some(worker)) => newest(&app, worker, Some(id), |run| run.has_processed)
            .await?
            .map(|run| run.id)
            .ok_or_else(|| nothing("the worker has no earlier introspection with a processed inventory"))?,
        (None, None) => return Err(nothing("it has no worker, and so no earlier introspection")),
    };
    let before = stored(&app, with, Kind::Processed).await?;
    let after = stored(&app, id, Kind::Processed).await?;
    let compared = tokio::task::spawn_blocking(move || compare(&before, &after));
    let (differences, more) =
        compared.await.map_err(|error| error.to_string()).and_then(|done| done).map_err(unread)?;
    let shown = wire::InventoryDiff { id: id.0, with: with.0, differences, more };
    Ok(revision::json(StatusCode::OK, &shown))
}

fn compare(before: &str, after: &str) -> Result<(Vec<wire::Difference>, bool), String> {
    let (before, after) = (inventory::read(before)?, inventory::read(after)?);
    let mut differences = diff(&before, &after, MAX_DIFFERENCES + 1);
    let more = differences.len() > MAX_DIFFERENCES;
    differences.truncate(MAX_DIFFERENCES);
    let shown = differences.into_iter().map(|difference| wire::Difference {
        path: difference.path.to_string(),
        before: difference.before.map(inventory::to_json),
        after: difference.after.map(inventory::to_json),
    });
    Ok((shown.collect(), more))
}

/// What is stored cannot be read: that is the farm's fault.
pub(super) fn unread(error: String) -> Refuse {
    tracing::error!(%error, "a stored inventory could not be read");
    Problem::new(Code::Internal, "the stored inventory could not be read").into()
}

fn nothing(detail: &str) -> Refuse {
    Problem::new(Code::NoInventory, detail).into()
}

async fn found(app: &App, id: IntrospectionId) -> Result<Arc<Introspection>, Refuse> {
    Ok(app.controller.introspection(id).await?.ok_or(Refused::NoSuchIntrospection)?)
}

/// An inventory there is.
pub(super) async fn stored(app: &App, id: IntrospectionId, kind: Kind) -> Result<Arc<str>, Refuse> {
    let text = app.controller.inventory(id, kind).await?;
    text.ok_or_else(|| nothing(&format!("it has no {} inventory", kind.name())))
}

/// The newest run of a worker that is wanted, of those before `before`.
pub(super) async fn newest(
    app: &App,
    worker: WorkerId,
    mut before: Option<IntrospectionId>,
    wanted: impl Fn(&Introspection) -> bool,
) -> Result<Option<Introspection>, Refuse> {
    loop {
        let asked = IntrospectionQuery { worker: Some(worker), state: None, before, limit: PIECE };
        let runs = app.controller.introspections(asked).await?;
        let full = runs.len() == PIECE;
        before = runs.last().map(|run| run.id);
        let run = runs.into_iter().find(&wanted);
        if run.is_some() || !full {
            return Ok(run);
        }
    }
}

fn show(run: &Introspection) -> wire::Introspection {
    wire::Introspection {
        id: run.id.0,
        worker: run.worker.map(|worker| worker.0),
        way: match run.way {
            Way::Pull => wire::IntrospectionWay::Pull,
            Way::Push => wire::IntrospectionWay::Push,
            Way::Enrol => wire::IntrospectionWay::Enrol,
        },
        state: state(run.state),
        since: run.since,
        started: run.started,
        finished: run.finished,
        error: run.error.clone(),
        has_data: wire::HasData { raw: run.has_raw, processed: run.has_processed },
        revision: run.revision,
        token: None,
        data_url: None,
    }
}

/// The newest run of a worker, as it is told with the worker.
pub(super) fn told(run: &Introspection) -> wire::NewestIntrospection {
    wire::NewestIntrospection { id: run.id.0, state: state(run.state) }
}

fn state(state: introspection::State) -> wire::IntrospectionState {
    use introspection::State;
    match state {
        State::Starting => wire::IntrospectionState::Starting,
        State::Waiting => wire::IntrospectionState::Waiting,
        State::Processing => wire::IntrospectionState::Processing,
        State::Finished => wire::IntrospectionState::Finished,
        State::Error => wire::IntrospectionState::Error,
        State::Reapplying => wire::IntrospectionState::Reapplying,
        State::Enrolling => wire::IntrospectionState::Enrolling,
        State::Aborting => wire::IntrospectionState::Aborting,
    }
}
