//! What the server counts, and how the farm looks, as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use grove_domain::worker;
use grove_domain::{introspection, request};
use grove_wire::service::ServiceState;
use http::StatusCode;

use crate::app::App;
use crate::front::Front;
use crate::router::PATHS;
use crate::v1::Action;

/// Statuses that are counted apart; the last one stands for all others.
const STATUSES: [u16; 23] = [
    200, 201, 202, 204, 304, 308, 400, 401, 403, 404, 405, 408, 409, 412, 413, 422, 429, 431, 500, 501, 503,
    504, 0,
];

const SERVICE_STATES: [(ServiceState, &str); 5] = [
    (ServiceState::Stopped, "stopped"),
    (ServiceState::Waiting, "waiting"),
    (ServiceState::Starting, "starting"),
    (ServiceState::Started, "started"),
    (ServiceState::Stopping, "stopping"),
];

const ROUTES: usize = Action::ALL.len() + PATHS.len() + 1;

/// Requests to the API, by route and status. Counting is one addition.
#[derive(Debug)]
pub(crate) struct Metrics {
    counts: Box<[[AtomicU64; STATUSES.len()]]>,
    connections: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let counts = (0..ROUTES).map(|_| [const { AtomicU64::new(0) }; STATUSES.len()]).collect();
        Self { counts, connections: AtomicU64::new(0) }
    }
}

impl Metrics {
    pub(crate) fn count_v1(&self, action: Action, status: StatusCode) {
        self.count(action as usize, status);
    }

    /// `path` is the pattern that matched; none = nothing did.
    pub(crate) fn count_path(&self, path: Option<&str>, status: StatusCode) {
        let place = path.and_then(|path| PATHS.iter().position(|known| *known == path));
        self.count(Action::ALL.len() + place.unwrap_or(PATHS.len()), status);
    }

    fn count(&self, route: usize, status: StatusCode) {
        let status = STATUSES.iter().position(|known| *known == status.as_u16());
        let count = self.counts.get(route).and_then(|row| row.get(status.unwrap_or(STATUSES.len() - 1)));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The text that Prometheus reads. Without a farm, what there is.
pub(crate) fn render(front: &Front) -> String {
    let mut out = String::with_capacity(8192);
    if let Some(app) = front.app() {
        farm(&mut out, &app);
    }

    head(&mut out, "grove_services", "gauge", "Services of the controller by state.");
    let services = front.services.report();
    for (state, name) in SERVICE_STATES {
        let count = services.iter().filter(|service| service.state == state).count();
        line(&mut out, format_args!("grove_services{{state=\"{name}\"}} {count}"));
    }

    head(&mut out, "grove_http_connections", "gauge", "Open connections.");
    let connections = front.metrics.connections.load(Ordering::Relaxed);
    line(&mut out, format_args!("grove_http_connections {connections}"));

    head(&mut out, "grove_http_requests_total", "counter", "Requests to the API by route and status.");
    let v1 = Action::ALL.iter().map(|(action, path)| (if action.is_get() { "GET" } else { "POST" }, *path));
    let others = PATHS.iter().copied().chain(["other"]).map(|path| ("", path));
    for ((method, path), row) in v1.chain(others).zip(&front.metrics.counts) {
        for (status, count) in STATUSES.iter().zip(row) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let method = if method.is_empty() { String::new() } else { format!("method=\"{method}\",") };
                line(
                    &mut out,
                    format_args!(
                        "grove_http_requests_total{{{method}route=\"{path}\",status=\"{status}\"}} {count}"
                    ),
                );
            }
        }
    }
    out
}

/// How the farm looks.
fn farm(out: &mut String, app: &App) {
    let farm = app.controller.farm();

    head(out, "grove_workers", "gauge", "Registered workers by state.");
    let mut by_state = [0_u64; worker::State::ALL.len()];
    for worker in farm.workers().values() {
        let place = worker::State::ALL.iter().position(|state| *state == worker.state);
        if let Some(count) = place.and_then(|place| by_state.get_mut(place)) {
            *count += 1;
        }
    }
    for (state, count) in worker::State::ALL.iter().zip(by_state) {
        line(out, format_args!("grove_workers{{state=\"{}\"}} {count}", state.name()));
    }

    head(out, "grove_requests", "gauge", "Kept requests by state.");
    let mut by_state = [0_u64; request::State::ALL.len()];
    for request in farm.requests() {
        let place = request::State::ALL.iter().position(|state| *state == request.state);
        if let Some(count) = place.and_then(|place| by_state.get_mut(place)) {
            *count += 1;
        }
    }
    for (state, count) in request::State::ALL.iter().zip(by_state) {
        line(out, format_args!("grove_requests{{state=\"{}\"}} {count}", state.name()));
    }

    head(
        out,
        "grove_introspections",
        "gauge",
        "Introspections that go on, and the newest of each worker, by state.",
    );
    let mut by_state = [0_u64; introspection::State::ALL.len()];
    for run in farm.introspections().values() {
        let place = introspection::State::ALL.iter().position(|state| *state == run.state);
        if let Some(count) = place.and_then(|place| by_state.get_mut(place)) {
            *count += 1;
        }
    }
    for (state, count) in introspection::State::ALL.iter().zip(by_state) {
        line(out, format_args!("grove_introspections{{state=\"{}\"}} {count}", state.name()));
    }

    for (name, kind, help, value) in [
        ("grove_queue_length", "gauge", "Requests that wait for a match.", farm.waiting() as u64),
        ("grove_tasks_running", "gauge", "Tasks that run now.", app.controller.running_tasks() as u64),
        ("grove_events_total", "counter", "Events so far.", farm.last_event()),
        (
            "grove_store_trouble",
            "gauge",
            "1 while the farm cannot store changes.",
            u64::from(app.controller.trouble().is_some()),
        ),
    ] {
        head(out, name, kind, help);
        line(out, format_args!("{name} {value}"));
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}"));
    line(out, format_args!("# TYPE {name} {kind}"));
}

fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}
