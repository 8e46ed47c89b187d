//! `/api/v2/requests`.

use std::sync::Arc;

use axum::response::Response;
use grove_control::Created;
use grove_control::farm::Farm;
use grove_control::refusal::Refused;
use grove_domain::event::Subject;
use grove_domain::id::RequestId;
use grove_domain::moment::{Moment, SignedDuration};
use grove_domain::plugin::Digest;
use grove_domain::request::{self, Create, Idempotency, Request, Spec};
use grove_domain::wants::Wants;
use grove_wire::request::{CloseRequest, Heartbeat, NewRequest, PatchRequest, Prolong};
use grove_wire::{Code, Page, Problem, Span, limits};
use http::header::{HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use sha2::{Digest as _, Sha256};

use super::input::{Named, Query, Served, Whole, at_most, bad_query, invalid, request_id, worker_id};
use super::refuse::Refuse;
use super::{revision, show};
use crate::app::App;

/// What makes a wish that is sent again the same one.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One request.
fn answer(app: &App, request: &Request) -> Response {
    let farm = app.controller.farm();
    let shown = show::request(&farm.places(), request, &app.options.advertise);
    revision::with_etag(StatusCode::OK, request.revision, &shown)
}

/// One request, with the reasons why it waits.
async fn answer_with_why(app: &App, status: StatusCode, request: &Request) -> Response {
    let farm = app.controller.farm();
    let mut shown = show::request(&farm.places(), request, &app.options.advertise);
    if request.state == request::State::Waiting
        && let Ok(reasons) = app.controller.why(request.id).await
    {
        shown.why = Some(reasons.into_iter().map(show::reason).collect());
    }
    revision::with_etag(status, request.revision, &shown)
}

/// Query: `wait` (answers on the next change of state, or after so long), `revision` (with it: as soon as it is newer
/// than this), `why` (with the reasons why it waits: these are asked of the dispatcher, not of the snapshot).
pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    let mut query = Query::new(&uri);
    let wait = query.wait()?;
    let seen = query.number("revision")?;
    let why = query.flag("why")?;
    query.done()?;
    let request = match wait {
        None => found(&app.controller.farm(), id)?,
        Some(wait) => {
            let stopping = app.stopping.token();
            let news = changed(&app, id, seen);
            let newest = tokio::select! {
                newest = news => newest,
                () = tokio::time::sleep(wait) => found(&app.controller.farm(), id),
                () = stopping.cancelled() => found(&app.controller.farm(), id),
            };
            newest?
        }
    };
    Ok(if why { answer_with_why(&app, StatusCode::OK, &request).await } else { answer(&app, &request) })
}

fn found(farm: &Farm, id: RequestId) -> Result<Arc<Request>, Refuse> {
    Ok(farm.request(id).cloned().ok_or(Refused::NoSuchRequest)?)
}

/// Resolves when the request is in another state than at first, has ended, or is newer than `seen`.
async fn changed(app: &App, id: RequestId, seen: Option<u64>) -> Result<Arc<Request>, Refuse> {
    let mut first = None;
    loop {
        let watcher = app.controller.watch(Subject::Request(id));
        let request = found(&app.controller.farm(), id)?;
        let state = (request.state, request.reserved);
        let first = *first.get_or_insert(state);
        let news = match seen {
            Some(seen) => request.revision > seen,
            None => state != first,
        };
        if news || request.state.is_terminal() {
            return Ok(request);
        }
        watcher.changed().await;
    }
}

/// Query: `state`, `owner`, `worker`, `order` (asc, desc), `cursor`, `limit`. By number.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let names = request::State::ALL.map(request::State::name);
    let state = query.one_of("state", request::State::from_name, &names)?;
    let owner = query.text("owner")?;
    let worker = query.text("worker")?.map(|text| worker_id(&text)).transpose()?;
    let descending = query.descending()?;
    let cursor = query.text("cursor")?;
    let cursor =
        cursor.map(|text| text.parse::<u64>().map_err(|_| bad_query("cursor", "it is not one of ours")));
    let cursor = cursor.transpose()?.map(RequestId);
    let limit = query.limit()?;
    query.done()?;

    let farm = app.controller.farm();
    let host = app.options.advertise.clone();
    let fits = move |request: &&Arc<Request>| {
        state.is_none_or(|state| request.state == state)
            && owner.as_ref().is_none_or(|owner| request.spec.owner.name == *owner)
            && worker.is_none_or(|worker| {
                request.reserved == Some(worker)
                    || request.job.as_ref().is_some_and(|job| job.worker == worker)
            })
    };
    let page = move || {
        let all = farm.requests();
        let places = match (cursor.map(|id| farm.rank(id)), descending) {
            (None, _) => 0..all.len(),
            (Some(Ok(place)), false) => place + 1..all.len(),
            (Some(Err(place)), false) => place..all.len(),
            (Some(Ok(place) | Err(place)), true) => 0..place,
        };
        let rest = all.focus().narrow(places);
        let places = farm.places();
        let shown = |request: &Arc<Request>| show::request(&places, request, &host);
        let (items, more): (Vec<_>, _) = if descending {
            take(rest.into_iter().rev().filter(fits), limit, shown)
        } else {
            take(rest.into_iter().filter(fits), limit, shown)
        };
        let next = items.last().filter(|_| more).map(|last| last.id.to_string());
        revision::json(StatusCode::OK, &Page { items, next })
    };
    // A rare state may be far to find: others are served meanwhile.
    match tokio::task::spawn_blocking(page).await {
        Ok(response) => Ok(response),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Refused::Stopping.into()),
        },
    }
}

/// The first items, and whether there are more.
fn take<'a, T>(
    all: impl Iterator<Item = &'a Arc<Request>>,
    limit: usize,
    show: impl Fn(&Arc<Request>) -> T,
) -> (Vec<T>, bool) {
    let mut all = all.peekable();
    let items = all.by_ref().take(limit).map(show).collect();
    (items, all.peek().is_some())
}

/// With an `Idempotency-Key`, a wish that is sent again is the request that it made first.
pub(crate) async fn create(Served(app): Served, headers: HeaderMap, body: Whole) -> Result<Response, Refuse> {
    revision::not_taken(&headers)?;
    let idempotency = idempotency(&headers, &body)?;
    let mut wish = wish(&app, body.json()?)?;
    wish.spec.idempotency = idempotency;
    let (request, made) = app.controller.create_request_once(&app.actor, wish).await?;
    Ok(created(&app, &request, made == Created::No).await)
}

fn idempotency(headers: &HeaderMap, body: &Whole) -> Result<Option<Idempotency>, Refuse> {
    let Some(key) = revision::one(headers, &IDEMPOTENCY_KEY) else { return Ok(None) };
    if key.is_empty() || key.len() > limits::IDEMPOTENCY_KEY {
        let most = limits::IDEMPOTENCY_KEY;
        let problem =
            Problem::new(Code::InvalidHeader, format!("Idempotency-Key takes 1 to {most} characters, once"));
        return Err(problem.hint("send a fresh uuid for each new request").field("Idempotency-Key").into());
    }
    let body = Digest::new(Sha256::digest(&body.0).into());
    Ok(Some(Idempotency { key: key.to_owned(), body }))
}

async fn created(app: &App, request: &Request, again: bool) -> Response {
    let mut response = answer_with_why(app, StatusCode::CREATED, request).await;
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v2/requests/{}", request.id)) {
        headers.insert(LOCATION, location);
    }
    if again {
        headers.insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
    }
    response
}

fn wish(app: &App, sent: NewRequest) -> Result<Create, Refuse> {
    at_most("wants", sent.wants.len(), limits::WANTS, "terms")?;
    for (at, want) in sent.wants.iter().enumerate() {
        at_most(&format!("wants[{at}]"), want.len(), limits::WANT, "bytes")?;
    }
    let wants = Wants::parse(&sent.wants).map_err(|error| {
        let problem = Problem::new(Code::InvalidWant, error.to_string());
        problem.hint("write terms like camera, !camera, board=rpi4, uart=2.., lab!=berlin").field("wants")
    })?;
    at_most("keys", sent.keys.len(), limits::KEYS, "lines")?;
    let mut keys = Vec::with_capacity(sent.keys.len());
    for (at, line) in sent.keys.iter().enumerate() {
        at_most(&format!("keys[{at}]"), line.len(), limits::KEY, "bytes")?;
        keys.push((app.check_key)(line).map_err(|text| {
            let problem = Problem::new(Code::InvalidKey, format!("keys[{at}]: {text}"));
            problem.hint("give the one line of a .pub file").field(format!("keys[{at}]"))
        })?);
    }
    at_most("hints", sent.hints.len(), limits::HINTS, "entries")?;
    for (key, value) in &sent.hints {
        let shown: String = key.chars().take(40).collect();
        at_most(&format!("hints.{shown}"), key.len().max(value.len()), limits::HINT, "bytes")?;
    }
    if let Some(heartbeat) = sent.heartbeat
        && !(limits::HEARTBEAT_MIN_SECONDS..=limits::HEARTBEAT_MAX_SECONDS).contains(&heartbeat.as_secs())
    {
        return Err(invalid("heartbeat", "promise one every 1s to 1d"));
    }
    if sent.away.is_some() && sent.heartbeat.is_none() {
        return Err(invalid("away", "it counts from the last heartbeat: promise one with \"heartbeat\""));
    }
    if sent.idle.is_some_and(|idle| idle.as_secs() < limits::IDLE_MIN_SECONDS) {
        return Err(invalid("idle", "what moves is counted by the minute: give 1m or more"));
    }
    Ok(Create {
        priority: sent.priority,
        valid_after: sent.valid_after.map(Moment::utc),
        deadline: sent.deadline.map(Moment::utc),
        spec: Spec {
            owner: app.options.owner.clone(),
            wants,
            length: length(sent.length)?,
            keys,
            heartbeat: sent.heartbeat.map(signed),
            away: sent.away.map(signed),
            idle: sent.idle.map(signed),
            extend: sent.extend,
            hints: sent.hints,
            idempotency: None,
        },
    })
}

fn length(span: Option<Span>) -> Result<Option<SignedDuration>, Refuse> {
    if span.is_some_and(|span| span.as_secs() == 0) {
        return Err(invalid("for", "a job takes some time"));
    }
    Ok(span.map(signed))
}

fn signed(span: Span) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

pub(crate) async fn patch(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: PatchRequest = body.json()?;
    let (from, until) = (sent.valid_after.map(Moment::utc), sent.deadline.map(Moment::utc));
    let request = app.controller.update_request(&app.actor, id, sent.priority, from, until, expected).await?;
    Ok(answer(&app, &request))
}

pub(crate) async fn close(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: CloseRequest = body.optional_json()?;
    at_most("reason", sent.reason.as_deref().map_or(0, str::len), limits::REASON, "bytes")?;
    let request = app.controller.close_request(&app.actor, id, sent.reason, expected).await?;
    Ok(answer(&app, &request))
}

pub(crate) async fn prolong(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: Prolong = body.optional_json()?;
    let request =
        app.controller.prolong(&app.actor, id, length(sent.length)?, sent.shorten, expected).await?;
    Ok(answer(&app, &request))
}

pub(crate) async fn keep(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    let request = app.controller.keep_job(&app.actor, request_id(&id)?, expected).await?;
    Ok(answer(&app, &request))
}

/// A sign of life changes nothing that a revision counts.
pub(crate) async fn heartbeat(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = request_id(&id)?;
    revision::not_taken(&headers)?;
    let sent: Heartbeat = body.optional_json()?;
    let (request, warnings) = app.controller.heartbeat(id, sent.busy).await?;
    let farm = app.controller.farm();
    let mut shown = show::request(&farm.places(), &request, &app.options.advertise);
    shown.warnings = Some(warnings.into_iter().map(show::warning).collect());
    Ok(revision::with_etag(StatusCode::OK, request.revision, &shown))
}

pub(crate) async fn why(Served(app): Served, Named(id): Named) -> Result<Response, Refuse> {
    let reasons = app.controller.why(request_id(&id)?).await?;
    let shown: Vec<_> = reasons.into_iter().map(show::reason).collect();
    Ok(revision::json(StatusCode::OK, &shown))
}
