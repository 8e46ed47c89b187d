//! Requests as v1 shows and takes them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use grove_control::farm::Farm;
use grove_domain::id::RequestId;
use grove_domain::moment::Moment;
use grove_domain::request::{Create, Request, Spec, State};
use grove_domain::wants::Wants;
use grove_wire::limits;
use http::{HeaderName, HeaderValue, StatusCode};

use super::answer::{Failure, REQUEST_NOT_FOUND, json, needed, no_content};
use super::golang::{self, Error, Value, fields, number, write_map, write_number, write_text};
use super::list::{self, aside};
use super::pick::{Picked, pick, places};
use super::time::{time, whole_seconds, write_time};
use crate::app::App;

/// What a resolver may take.
const RESOLVE: Duration = Duration::from_secs(2);

/// As v1 names states.
fn state_name(state: State) -> &'static str {
    match state {
        State::Waiting => "WAITING",
        State::InProgress => "IN PROGRESS",
        State::Cancelled => "CANCELLED",
        State::Timeout => "TIMEOUT",
        State::Invalid => "INVALID",
        State::Done => "DONE",
        State::Failed => "FAILED",
    }
}

fn parse_id(text: &str) -> Result<RequestId, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten().map(RequestId);
    id.ok_or(Failure::Invalid("ID provided in URL isn't valid".into()))
}

pub(super) fn get(app: &App, id: &str) -> Result<Response, Failure> {
    let id = parse_id(id)?;
    let farm = app.controller.farm();
    let request = farm.request(id).ok_or(REQUEST_NOT_FOUND)?;
    let mut out = Vec::with_capacity(512);
    write_request(&mut out, request);
    let mut response = json(StatusCode::OK, out);
    let headers = response.headers_mut();
    let state = HeaderValue::from_static(state_name(request.state));
    headers.insert(HeaderName::from_static("boruta-request-state"), state);
    if request.state == State::InProgress
        && let Some(job) = &request.job
        && let Ok(timeout) = HeaderValue::from_bytes(&whole_seconds(job.timeout))
    {
        headers.insert(HeaderName::from_static("boruta-job-timeout"), timeout);
    }
    Ok(response)
}

fn write_request(out: &mut Vec<u8>, request: &Request) {
    out.extend_from_slice(b"{\"ID\":");
    write_number(out, request.id.0);
    out.extend_from_slice(b",\"Priority\":");
    write_number(out, request.priority.get());
    out.extend_from_slice(b",\"Owner\":{\"Groups\":null},\"Deadline\":");
    write_time(out, request.deadline);
    out.extend_from_slice(b",\"ValidAfter\":");
    write_time(out, request.valid_after);
    out.extend_from_slice(b",\"State\":\"");
    out.extend_from_slice(state_name(request.state).as_bytes());
    out.extend_from_slice(b"\",\"Job\":");
    match &request.job {
        None => out.extend_from_slice(b"null"),
        Some(job) => {
            out.extend_from_slice(b"{\"WorkerUUID\":");
            write_text(out, &job.worker.to_string());
            out.extend_from_slice(b",\"Timeout\":");
            write_time(out, Moment::utc(job.timeout));
            out.push(b'}');
        }
    }
    out.extend_from_slice(b",\"Caps\":");
    match &request.spec.wants {
        Wants::Exact(None) => out.extend_from_slice(b"null"),
        Wants::Exact(Some(caps)) => write_map(out, caps),
        // Wants that v1 cannot say are shown as they were written, by their key.
        Wants::Terms(terms) => {
            let shown: BTreeMap<String, String> = terms
                .iter()
                .map(|term| match term.as_str().split_once('=') {
                    Some((key, value)) if key == term.key() => (key.to_owned(), value.to_owned()),
                    _ => (term.as_str().to_owned(), String::new()),
                })
                .collect();
            write_map(out, &shown);
        }
    }
    out.push(b'}');
}

/// A request as sent. What the server decides on itself is read, and must have its type, but is not used.
#[derive(Default)]
struct Sent {
    id: u64,
    priority: u64,
    deadline: Option<Moment>,
    valid_after: Option<Moment>,
    caps: Option<BTreeMap<String, String>>,
}

impl Sent {
    fn read(value: &Value<'_>) -> Result<Self, Error> {
        const NAMES: [&str; 8] =
            ["ID", "Priority", "Owner", "Deadline", "ValidAfter", "State", "Job", "Caps"];
        let mut sent = Self::default();
        fields(value, "request", &NAMES, |field, value| match field {
            0 => number(value, "ID", u64::MAX, &mut sent.id),
            1 => number(value, "Priority", u64::from(u8::MAX), &mut sent.priority),
            2 => fields(value, "Owner", &["Groups"], |_, value| golang::texts(value, "Groups", &mut None)),
            3 => time(value, "Deadline", &mut sent.deadline),
            4 => time(value, "ValidAfter", &mut sent.valid_after),
            5 => golang::text(value, "State", &mut String::new()),
            6 => fields(value, "Job", &["WorkerUUID", "Timeout"], |field, value| match field {
                0 => golang::text(value, "WorkerUUID", &mut String::new()),
                _ => time(value, "Timeout", &mut None),
            }),
            _ => golang::map(value, "Caps", &mut sent.caps),
        })?;
        Ok(sent)
    }

    fn priority(&self) -> u8 {
        u8::try_from(self.priority).unwrap_or(u8::MAX)
    }
}

pub(super) async fn create(app: &App, body: &[u8]) -> Result<Response, Failure> {
    let sent = Sent::read(&needed(body)?)?;
    if let Some(caps) = &sent.caps {
        let fine = caps.len() <= limits::CAPABILITIES
            && caps.iter().all(|(key, value)| {
                key.len() <= limits::CAPABILITY_KEY && value.len() <= limits::CAPABILITY_VALUE
            });
        if !fine {
            let (most, key, value) = (limits::CAPABILITIES, limits::CAPABILITY_KEY, limits::CAPABILITY_VALUE);
            let text = format!("Caps may hold {most} entries with keys of {key} and values of {value} bytes");
            return Err(Failure::Invalid(text.into()));
        }
    }
    let in_utc = |moment: Moment| Moment::utc(moment.at);
    let wish = Create {
        priority: sent.priority(),
        valid_after: sent.valid_after.map(in_utc),
        deadline: sent.deadline.map(in_utc),
        spec: Spec {
            owner: app.options.owner.clone(),
            wants: Wants::Exact(sent.caps),
            length: None,
            keys: Vec::new(),
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
            idempotency: None,
        },
    };
    let request = app.controller.create_request(&app.actor, wish).await?;
    let mut out = b"{\"ReqID\":".to_vec();
    write_number(&mut out, request.id.0);
    out.push(b'}');
    Ok(json(StatusCode::CREATED, out))
}

pub(super) async fn update(app: &App, id: &str, body: &[u8]) -> Result<Response, Failure> {
    let id = parse_id(id)?;
    let sent = Sent::read(&needed(body)?)?;
    if sent.id != 0 && sent.id != id.0 {
        return Err(Failure::Invalid("request ID set in JSON doesn't match ID from URL".into()));
    }
    let priority = (sent.priority != 0).then(|| sent.priority());
    // Nothing to change is fine, whatever it is about.
    if priority.is_some() || sent.valid_after.is_some() || sent.deadline.is_some() {
        let (from, until) = (sent.valid_after, sent.deadline);
        app.controller.update_request(&app.actor, id, priority, from, until, None).await?;
    }
    Ok(no_content())
}

pub(super) async fn close(app: &App, id: &str) -> Result<Response, Failure> {
    app.controller.close_request(&app.actor, parse_id(id)?, None, None).await?;
    Ok(no_content())
}

pub(super) async fn prolong(app: &App, id: &str) -> Result<Response, Failure> {
    app.controller.prolong(&app.actor, parse_id(id)?, None, true, None).await?;
    Ok(no_content())
}

pub(super) async fn acquire(app: &App, id: &str) -> Result<Response, Failure> {
    let id = parse_id(id)?;
    let farm = app.controller.farm();
    let request = farm.request(id).ok_or(REQUEST_NOT_FOUND)?;
    let job = request.running_job().ok_or(Failure::Invalid("worker not assigned".into()))?;
    let ip = advertised(&app.options.advertise).await?;
    let mut out = b"{\"Addr\":{\"IP\":".to_vec();
    write_text(&mut out, &ip.to_string());
    out.extend_from_slice(b",\"Port\":");
    write_number(&mut out, job.access.port);
    out.extend_from_slice(b",\"Zone\":\"\"},\"Key\":");
    write_text(&mut out, job.access.private_key.as_deref().unwrap_or_default());
    out.extend_from_slice(b",\"Username\":");
    write_text(&mut out, &job.access.user);
    out.push(b'}');
    Ok(json(StatusCode::OK, out))
}

/// v1 clients are given an address, never a name.
async fn advertised(host: &str) -> Result<IpAddr, Failure> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await;
    let first = found.ok().and_then(Result::ok).and_then(|mut all| all.next());
    let none = || Failure::Invalid(format!("the farm's advertised host {host:?} has no address").into());
    first.map(|address| address.ip()).ok_or_else(none)
}

/// By what a list of requests can be sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Item {
    Id,
    Priority,
    Deadline,
    ValidAfter,
    State,
}

impl Item {
    fn compare(self, a: &Request, b: &Request) -> Ordering {
        let first = match self {
            Self::Id => Ordering::Equal,
            Self::Priority => a.priority.cmp(&b.priority),
            Self::Deadline => a.deadline.at.cmp(&b.deadline.at),
            Self::ValidAfter => a.valid_after.at.cmp(&b.valid_after.at),
            Self::State => state_name(a.state).cmp(state_name(b.state)),
        };
        first.then(a.id.cmp(&b.id))
    }
}

/// Empty = no restriction.
#[derive(Default)]
struct Filter {
    ids: Vec<u64>,
    priorities: Vec<u64>,
    states: Option<Vec<String>>,
}

impl Filter {
    fn read(&mut self, value: &Value<'_>) -> Result<(), Error> {
        if *value == Value::Null {
            *self = Self::default();
        }
        fields(value, "Filter", &["IDs", "Priorities", "States"], |field, value| match field {
            0 => golang::numbers(value, "IDs", u64::MAX, &mut self.ids),
            1 => golang::numbers(value, "Priorities", u64::from(u8::MAX), &mut self.priorities),
            _ => golang::texts(value, "States", &mut self.states),
        })
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.priorities.is_empty() && self.states.iter().all(Vec::is_empty)
    }

    /// The filter as a test that takes the same time however long its lists are.
    fn into_test(mut self) -> impl Fn(&Request) -> bool {
        self.ids.sort_unstable();
        let states = self.states.unwrap_or_default();
        let any_state = states.is_empty();
        let states = State::ALL.map(|state| any_state || states.iter().any(|name| name == state_name(state)));
        let known = self.priorities.iter().filter(|priority| **priority < 64);
        let priorities = known.fold(0_u64, |bits, priority| bits | 1 << priority);
        let any_priority = self.priorities.is_empty();
        move |request| {
            (self.ids.is_empty() || self.ids.binary_search(&request.id.0).is_ok())
                && (any_priority || priorities & 1 << request.priority.get() != 0)
                && State::ALL.iter().zip(states).any(|(state, wanted)| wanted && *state == request.state)
        }
    }
}

pub(super) async fn list(app: &App, body: &[u8]) -> Result<Response, Failure> {
    let mut filter = Filter::default();
    let spec = list::read(&list::optional(body)?, true, |value| filter.read(value))?;
    let item = match spec.item.as_str() {
        "" | "id" => Item::Id,
        "priority" => Item::Priority,
        "deadline" => Item::Deadline,
        "validafter" => Item::ValidAfter,
        "state" => Item::State,
        _ => return Err(list::unknown_item()),
    };
    let farm = app.controller.farm();
    let anchor = match spec.anchor.number {
        0 => None,
        number => {
            let none = || Failure::NotFound("request not found".into());
            Some(farm.rank(RequestId(number)).map_err(|_| none())?)
        }
    };
    let quick = item == Item::Id && filter.is_empty();
    let cost = if quick { spec.window.limit.min(farm.requests().len()) } else { farm.requests().len() };
    aside(cost, move || {
        let window = spec.window;
        if quick {
            return Ok(straight(&farm, anchor, window));
        }
        let test = filter.into_test();
        let ascending = farm.requests().iter().map(Arc::as_ref);
        let all: Box<dyn Iterator<Item = &Request>> =
            if window.begins_small() { Box::new(ascending) } else { Box::new(ascending.rev()) };
        let anchor = anchor.and_then(|place| farm.requests().get(place)).map(Arc::as_ref);
        let picked = pick(all.filter(|request| test(request)), anchor, window, |a, b| item.compare(a, b));
        let Picked { items, total, remaining } = picked;
        let batch = items.len();
        Ok(list::answer(list::array(items.into_iter(), 256, write_request), batch, total, remaining))
    })
    .await
}

/// Everything by id: the farm holds it in that order.
fn straight(farm: &Farm, anchor: Option<usize>, window: super::pick::Window) -> Response {
    let len = farm.requests().len();
    let (places, remaining) = places(len, anchor, window);
    let batch = places.len();
    let page = farm.requests().focus().narrow(places);
    let body = if window.descending {
        list::array(page.into_iter().rev(), 256, |out, request| write_request(out, request))
    } else {
        list::array(page.into_iter(), 256, |out, request| write_request(out, request))
    };
    list::answer(body, batch, len, remaining)
}
