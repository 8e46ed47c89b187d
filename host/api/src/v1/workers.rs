//! Workers as v1 shows and takes them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::response::Response;
use grove_control::Want;
use grove_control::refusal::Refused;
use grove_domain::id::WorkerId;
use grove_domain::worker::{Edit, State, Worker};
use grove_wire::limits;
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::{Failure, WORKER_NOT_FOUND, json, needed, no_content};
use super::golang::{self, Error, Value, fields, texts, write_map, write_text, write_texts};
use super::list::{self, aside};
use super::pick::{Picked, pick};
use crate::app::App;

/// As v1 names states.
fn state_name(state: State) -> &'static str {
    match state {
        State::Maintenance => "MAINTENANCE",
        State::Prepare => "PREPARE",
        State::Idle => "IDLE",
        State::Running => "RUNNING",
        State::Busy => "BUSY",
        State::Failed => "FAILED",
    }
}

/// Lower-case 8-4-4-4-12.
fn parse_uuid(text: &str) -> Option<WorkerId> {
    let plain = text.len() == 36 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    plain.then(|| text.parse().ok()).flatten()
}

fn path_id(text: &str) -> Result<WorkerId, Failure> {
    parse_uuid(text).ok_or(Failure::Invalid("ID provided in URL isn't valid UUID".into()))
}

pub(super) fn get(app: &App, id: &str) -> Result<Response, Failure> {
    let farm = app.controller.farm();
    let worker = farm.worker(path_id(id)?).ok_or(WORKER_NOT_FOUND)?;
    let mut out = Vec::with_capacity(512);
    write_worker(&mut out, worker);
    let mut response = json(StatusCode::OK, out);
    let state = HeaderValue::from_static(state_name(worker.state));
    response.headers_mut().insert(HeaderName::from_static("boruta-worker-state"), state);
    Ok(response)
}

fn write_worker(out: &mut Vec<u8>, worker: &Worker) {
    out.extend_from_slice(b"{\"WorkerUUID\":");
    write_text(out, &worker.id.to_string());
    out.extend_from_slice(b",\"State\":\"");
    out.extend_from_slice(state_name(worker.state).as_bytes());
    out.extend_from_slice(b"\",\"Groups\":");
    match &worker.groups {
        None => out.extend_from_slice(b"null"),
        Some(groups) => write_texts(out, groups.iter()),
    }
    out.extend_from_slice(b",\"Caps\":");
    write_map(out, worker.capabilities.effective());
    out.push(b'}');
}

pub(super) async fn set_state(app: &App, id: &str, body: &[u8]) -> Result<Response, Failure> {
    let id = path_id(id)?;
    let mut state = String::new();
    fields(&needed(body)?, "worker state", &["WorkerState"], |_, value| {
        golang::text(value, "WorkerState", &mut state)
    })?;
    let want = match state.as_str() {
        "IDLE" => Want::Idle { force: false },
        "MAINTENANCE" => Want::Maintenance { rerun: false, interrupt: true },
        _ => {
            let text = "Only state changes to IDLE and MAINTENANCE are allowed";
            return Err(Failure::Invalid(text.into()));
        }
    };
    // One that is idle already is refused; elsewhere the machine knows.
    let idle = |worker: &Arc<Worker>| worker.state == State::Idle;
    if matches!(want, Want::Idle { .. }) && app.controller.farm().worker(id).is_some_and(idle) {
        return Err(Failure::Invalid("Invalid state transition was requested".into()));
    }
    match app.controller.move_worker(&app.actor, id, want, None).await {
        Ok(_) => Ok(json(StatusCode::ACCEPTED, "null")),
        Err(Refused::Worker(_)) => Err(Failure::Invalid("Invalid state transition was requested".into())),
        Err(other) => Err(other.into()),
    }
}

pub(super) async fn set_groups(app: &App, id: &str, body: &[u8]) -> Result<Response, Failure> {
    let id = path_id(id)?;
    let mut groups = None;
    texts(&needed(body)?, "groups", &mut groups)?;
    let long = |group: &String| group.len() > limits::GROUP;
    if groups.iter().any(|groups| groups.len() > limits::GROUPS || groups.iter().any(long)) {
        let text = format!("a worker may have {} groups of {} bytes", limits::GROUPS, limits::GROUP);
        return Err(Failure::Invalid(text.into()));
    }
    let edit = Edit { groups: Some(groups), ..Edit::default() };
    app.controller.edit_worker(&app.actor, id, edit, None).await?;
    Ok(no_content())
}

pub(super) async fn deregister(app: &App, id: &str) -> Result<Response, Failure> {
    match app.controller.deregister(&app.actor, path_id(id)?, false, None).await {
        Ok(_) => Ok(no_content()),
        Err(Refused::Worker(_)) => Err(Failure::Invalid("Worker is not in FAIL or MAINTENANCE state".into())),
        Err(other) => Err(other.into()),
    }
}

/// By what a list of workers can be sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Uuid,
    State,
    Groups,
}

impl Item {
    fn compare(self, a: &Worker, b: &Worker) -> Ordering {
        let first = match self {
            Self::Uuid => Ordering::Equal,
            Self::State => state_name(a.state).cmp(state_name(b.state)),
            Self::Groups => a.groups().cmp(b.groups()),
        };
        first.then(a.id.cmp(&b.id))
    }
}

/// Empty = no restriction.
#[derive(Default)]
struct Filter {
    groups: Option<Vec<String>>,
    capabilities: Option<BTreeMap<String, String>>,
}

impl Filter {
    fn read(&mut self, value: &Value<'_>) -> Result<(), Error> {
        if *value == Value::Null {
            *self = Self::default();
        }
        fields(value, "Filter", &["Groups", "Capabilities"], |field, value| match field {
            0 => texts(value, "Groups", &mut self.groups),
            _ => golang::map(value, "Capabilities", &mut self.capabilities),
        })
    }

    fn into_test(self) -> impl Fn(&Worker) -> bool {
        let groups: BTreeSet<String> = self.groups.into_iter().flatten().collect();
        let wanted = self.capabilities.unwrap_or_default();
        move |worker| {
            let offered = worker.capabilities.effective();
            (groups.is_empty() || worker.groups().iter().any(|group| groups.contains(group)))
                && wanted.len() <= offered.len()
                && wanted.iter().all(|(key, value)| offered.get(key) == Some(value))
        }
    }
}

pub(super) async fn list(app: &App, body: &[u8]) -> Result<Response, Failure> {
    let mut filter = Filter::default();
    let spec = list::read(&list::optional(body)?, false, |value| filter.read(value))?;
    let item = match spec.item.as_str() {
        "" | "uuid" => Item::Uuid,
        "state" => Item::State,
        "groups" => Item::Groups,
        _ => return Err(list::unknown_item()),
    };
    let farm = app.controller.farm();
    let anchor = match spec.anchor.text.as_str() {
        "" => None,
        text => {
            let worker = parse_uuid(text).and_then(|id| farm.worker(id)).cloned();
            Some(worker.ok_or(Failure::NotFound("worker not found".into()))?)
        }
    };
    aside(farm.workers().len(), move || {
        let test = filter.into_test();
        let all = farm.workers().values().map(Arc::as_ref);
        let picked = pick(all.filter(|worker| test(worker)), anchor.as_deref(), spec.window, |a, b| {
            item.compare(a, b)
        });
        let Picked { items, total, remaining } = picked;
        let batch = items.len();
        Ok(list::answer(list::array(items.into_iter(), 512, write_worker), batch, total, remaining))
    })
    .await
}
