//! `/api/v2/workers`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use grove_control::farm::Farm;
use grove_control::refusal::Refused;
use grove_control::{Created, Registering, Want};
use grove_domain::capability::{DRIFT_KEY, UUID_KEY};
use grove_domain::event::Subject;
use grove_domain::id::WorkerId;
use grove_domain::plugin::Digest;
use grove_domain::wants::Wants;
use grove_domain::worker::{self, Edit, Worker};
use grove_wire::worker::{MoveWorker, PatchWorker, PutWorker, ReportFailure, WantedState};
use grove_wire::{Code, Page, Problem, limits};
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Named, Query, Served, Whole, at_most, bad_query, invalid, worker_id};
use super::refuse::Refuse;
use super::{revision, show};
use crate::app::App;

fn answer(app: &App, status: StatusCode, worker: &Worker) -> Response {
    revision::with_etag(status, worker.revision, &show::worker(&app.controller.farm(), worker))
}

/// Query: `wait` (answers on the next change of state, or after so long), `revision` (with it: as soon as it is newer
/// than this).
pub(crate) async fn get(Served(app): Served, Named(id): Named, uri: Uri) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let mut query = Query::new(&uri);
    let wait = query.wait()?;
    let seen = query.number("revision")?;
    query.done()?;
    let worker = match wait {
        None => found(&app.controller.farm(), id)?,
        Some(wait) => {
            let stopping = app.stopping.token();
            let newest = tokio::select! {
                newest = changed(&app, id, seen) => newest,
                () = tokio::time::sleep(wait) => found(&app.controller.farm(), id),
                () = stopping.cancelled() => found(&app.controller.farm(), id),
            };
            newest?
        }
    };
    Ok(answer(&app, StatusCode::OK, &worker))
}

fn found(farm: &Farm, id: WorkerId) -> Result<Arc<Worker>, Refuse> {
    Ok(farm.worker(id).cloned().ok_or(Refused::NoSuchWorker)?)
}

/// Resolves when the worker is in another state than at first, or is newer than `seen`.
async fn changed(app: &App, id: WorkerId, seen: Option<u64>) -> Result<Arc<Worker>, Refuse> {
    let mut first = None;
    loop {
        let watcher = app.controller.watch(Subject::Worker(id));
        let worker = found(&app.controller.farm(), id)?;
        let first = *first.get_or_insert(worker.state);
        let news = match seen {
            Some(seen) => worker.revision > seen,
            None => worker.state != first,
        };
        if news {
            return Ok(worker);
        }
        watcher.changed().await;
    }
}

/// Query: `state`, `group`, `wants` (one term), `host`, `driver`, `cursor`, `limit`. By uuid.
pub(crate) async fn list(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let names = worker::State::ALL.map(worker::State::name);
    let state = query.one_of("state", worker::State::from_name, &names)?;
    let group = query.text("group")?;
    let wants = query.text("wants")?.map(|term| Wants::parse(&[term])).transpose();
    let wants = wants.map_err(|error| bad_query("wants", error))?;
    let (host, driver) = (query.text("host")?, query.text("driver")?);
    let cursor = query.text("cursor")?;
    let cursor =
        cursor.map(|text| text.parse::<WorkerId>().map_err(|_| bad_query("cursor", "it is not one of ours")));
    let cursor = cursor.transpose()?;
    let limit = query.limit()?;
    query.done()?;

    let farm = app.controller.farm();
    let from = cursor.map_or(Bound::Unbounded, Bound::Excluded);
    let fits = |worker: &&Arc<Worker>| {
        state.is_none_or(|state| worker.state == state)
            && group.as_ref().is_none_or(|group| worker.groups().contains(group))
            && host.as_ref().is_none_or(|host| worker.host.as_ref() == Some(host))
            && driver.as_ref().is_none_or(|driver| worker.registration.driver == *driver)
            && wants.as_ref().is_none_or(|wants| wants.matches(worker.capabilities.effective()))
    };
    let after = farm.workers().range((from, Bound::Unbounded)).map(|(_, worker)| worker);
    let mut matching = after.filter(fits).peekable();
    let items: Vec<_> = matching.by_ref().take(limit).map(|worker| show::worker(&farm, worker)).collect();
    let more = matching.peek().is_some();
    let next = items.last().filter(|_| more).map(|last| last.uuid.to_string());
    Ok(revision::json(StatusCode::OK, &Page { items, next }))
}

pub(crate) async fn put(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: PutWorker = body.json()?;
    at_most("driver", sent.driver.len(), limits::DRIVER, "bytes")?;
    if let Some(capabilities) = &sent.capabilities {
        check_capabilities("capabilities", id, capabilities)?;
    }
    check_groups(sent.groups.as_deref())?;
    check_text("host", sent.host.iter().flatten().next(), limits::HOST)?;
    if !sent.driver_config.is_object() {
        return Err(invalid("driver_config", "it must be an object"));
    }
    let driver_config = canonical(&sent.driver_config).to_string();
    at_most("driver_config", driver_config.len(), limits::DRIVER_CONFIG, "bytes")?;

    let capabilities = sent.capabilities.map(Arc::new);
    let registration = Registering { driver: sent.driver, driver_config, capabilities };
    let edit = Edit { groups: sent.groups.map(Some), host: sent.host, ..Edit::default() };
    let (worker, created) = app.controller.register(&app.actor, id, registration, edit, expected).await?;
    let status = if created == Created::Yes { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(&app, status, &worker))
}

pub(crate) async fn patch(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: PatchWorker = body.json()?;
    if let Some(capabilities) = sent.capabilities.iter().flatten().next() {
        check_capabilities("capabilities", id, capabilities)?;
    }
    check_groups(sent.groups.iter().flatten().next().map(Vec::as_slice))?;
    check_text("host", sent.host.iter().flatten().next(), limits::HOST)?;
    check_text("notes", sent.notes.iter().flatten().next(), limits::NOTES)?;
    let driver_version = sent.driver_version.map(pin).transpose()?;
    let edit = Edit {
        groups: sent.groups,
        capabilities: sent.capabilities.map(Option::unwrap_or_default),
        host: sent.host,
        notes: sent.notes,
        driver_version,
    };
    let worker = app.controller.edit_worker(&app.actor, id, edit, expected).await?;
    Ok(answer(&app, StatusCode::OK, &worker))
}

/// Query: `force`.
pub(crate) async fn delete(
    Served(app): Served,
    Named(id): Named,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let mut query = Query::new(&uri);
    let force = query.flag("force")?;
    query.done()?;
    app.controller.deregister(&app.actor, id, force, revision::expected(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 200 when it is there already, 202 when it is on its way.
pub(crate) async fn set_state(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: MoveWorker = body.json()?;
    let (want, target) = match sent.state {
        WantedState::Idle if sent.when_free => {
            return Err(invalid("when_free", "it waits for maintenance only"));
        }
        WantedState::Maintenance if sent.when_free && sent.force => {
            return Err(invalid("when_free", "either now, by force, or when it is free"));
        }
        WantedState::Idle => (Want::Idle { force: sent.force }, worker::State::Idle),
        WantedState::Maintenance if sent.when_free => (Want::MaintenanceWhenFree, worker::State::Maintenance),
        WantedState::Maintenance => {
            (Want::Maintenance { rerun: sent.force, interrupt: sent.force }, worker::State::Maintenance)
        }
    };
    let worker = app.controller.move_worker(&app.actor, id, want, expected).await?;
    let status = if worker.state == target { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(answer(&app, status, &worker))
}

pub(crate) async fn report_failure(
    Served(app): Served,
    Named(id): Named,
    headers: HeaderMap,
    body: Whole,
) -> Result<Response, Refuse> {
    let id = worker_id(&id)?;
    let expected = revision::expected(&headers)?;
    let sent: ReportFailure = body.json()?;
    if sent.reason.trim().is_empty() {
        return Err(invalid("reason", "say what is wrong with it"));
    }
    at_most("reason", sent.reason.len(), limits::REASON, "bytes")?;
    let worker = app.controller.report_failure(&app.actor, id, sent.reason, !sent.recheck, expected).await?;
    Ok(answer(&app, StatusCode::OK, &worker))
}

fn check_capabilities(field: &str, id: WorkerId, map: &BTreeMap<String, String>) -> Result<(), Refuse> {
    at_most(field, map.len(), limits::CAPABILITIES, "entries")?;
    for (key, value) in map {
        if key.is_empty() {
            return Err(invalid(field, "a key is empty"));
        }
        let shown: String = key.chars().take(40).collect();
        at_most(&format!("{field}.{shown} (its key)"), key.len(), limits::CAPABILITY_KEY, "bytes")?;
        at_most(&format!("{field}.{shown}"), value.len(), limits::CAPABILITY_VALUE, "bytes")?;
        if key == DRIFT_KEY {
            let what = "it is the farm's own: introspection says it when a board is not what it promised";
            return Err(invalid(format!("{field}.{DRIFT_KEY}"), what));
        }
        if key == UUID_KEY && *value != id.to_string() {
            return Err(invalid(
                format!("{field}.{UUID_KEY}"),
                "it must be the uuid in the path, or left out",
            ));
        }
    }
    Ok(())
}

fn check_groups(groups: Option<&[String]>) -> Result<(), Refuse> {
    let groups = groups.unwrap_or_default();
    at_most("groups", groups.len(), limits::GROUPS, "entries")?;
    for (at, group) in groups.iter().enumerate() {
        if group.is_empty() {
            return Err(invalid(format!("groups[{at}]"), "a group has a name"));
        }
        at_most(&format!("groups[{at}]"), group.len(), limits::GROUP, "bytes")?;
    }
    Ok(())
}

fn check_text(field: &str, text: Option<&String>, most: usize) -> Result<(), Refuse> {
    text.map_or(Ok(()), |text| at_most(field, text.len(), most, "bytes"))
}

fn pin(digest: Option<String>) -> Result<Option<Digest>, Refuse> {
    let read = |digest: String| {
        digest.parse().map_err(|_| {
            let field = "driver_version";
            let what =
                "it must be the whole digest of an installed version: 64 characters, 0 to 9 and a to f";
            let problem = Problem::new(Code::InvalidField, format!("{field}: {what}")).field(field);
            Refuse::from(problem.hint("look at the versions of the driver: GET /api/v2/plugins/{name}"))
        })
    };
    digest.map(read).transpose()
}

/// The same value with the members of every object by name, so that equal means equal as text.
fn canonical(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> =
                members.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}
