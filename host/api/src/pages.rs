//! What is not an API: health, metrics, error pages, and a word to people who open this in a browser.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use grove_wire::{Code, Problem};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Uri};

use crate::front::Front;
use crate::metrics::render;
use crate::services::Missing;
use crate::v2::input::Named;
use crate::v2::refuse::Refuse;

const TEXT: [(http::HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
const HTML: [(http::HeaderName, &str); 1] = [(CONTENT_TYPE, "text/html; charset=utf-8")];

pub(crate) async fn healthz() -> Response {
    (TEXT, "ok\n").into_response()
}

/// Ready: a controller is served, it takes changes, and every service that this needs is started. Else a line for each
/// thing that is missing. What else is missing, like a driver, is told in either case.
pub(crate) async fn readyz(State(front): State<Front>) -> Response {
    let Missing { essential: mut lines, other } = Missing::of(&front.services.report());
    match front.app() {
        Some(app) => lines.extend(app.controller.trouble()),
        None if lines.is_empty() => lines.push(front.why_not()),
        None => {}
    }
    if front.stopping.has_fired() {
        lines.insert(0, "the server is shutting down".to_owned());
    }
    let status = if lines.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if status == StatusCode::OK {
        lines.push("ready".to_owned());
    }
    lines.extend(other.into_iter().map(|line| format!("degraded: {line}")));
    (status, TEXT, lines.join("\n") + "\n").into_response()
}

pub(crate) async fn metrics(State(front): State<Front>) -> Response {
    const PROMETHEUS: [(http::HeaderName, &str); 1] =
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    // It counts the whole farm: others are served meanwhile.
    match tokio::task::spawn_blocking(move || render(&front)).await {
        Ok(text) => (PROMETHEUS, text).into_response(),
        Err(_) => Refuse::from(Problem::new(Code::Stopping, "the server is shutting down")).into_response(),
    }
}

pub(crate) async fn error(Named(code): Named) -> Response {
    let Some(code) = Code::from_name(&code) else {
        let problem = Problem::new(Code::NoRoute, "no problem has this code");
        return Refuse::from(problem).into_response();
    };
    let (name, title, status) = (code.name(), code.title(), code.status());
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n\
         <p>Code <code>{name}</code>, status {status}.</p>\n<h2>What it means</h2>\n<p>{}</p>\n\
         <h2>What to do</h2>\n<p>{}</p>\n</html>\n",
        code.cause(),
        code.remedy(),
    );
    (HTML, body).into_response()
}

pub(crate) async fn index() -> Response {
    (HTML, INDEX).into_response()
}

const INDEX: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Grove</title>
<h1>Grove</h1>
<p>This server controls a farm of devices and hands them, one job at a time, to people and CI.</p>
<ul>
<li><a href="/api/v2/workers">Workers</a></li>
<li><a href="/api/v2/requests?order=desc">Requests</a></li>
<li><a href="/api/v2/jobs">Running jobs</a></li>
<li><a href="/api/v2/tasks">Tasks</a></li>
<li><a href="/api/v2/artifacts">Artifacts</a></li>
<li><a href="/api/v2/plugins">Plugins</a></li>
<li><a href="/api/v2/services">Services</a></li>
<li><a href="/api/v2/events">Events</a></li>
<li><a href="/readyz">Readiness</a></li>
<li><a href="/metrics">Metrics</a></li>
</ul>
</html>
"#;

pub(crate) async fn nothing(uri: Uri) -> Refuse {
    let path: String = uri.path().chars().take(200).collect();
    let problem = Problem::new(Code::NoRoute, format!("nothing is at {path}"));
    problem
        .hint("the resources are workers, requests, jobs, tasks, artifacts, plugins, limits, services, events and the farm below /api/v2")
        .into()
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Refuse {
    let path: String = uri.path().chars().take(200).collect();
    let problem = Problem::new(Code::MethodNotAllowed, format!("{path} does not take {method}"));
    problem.hint("the header Allow names what it takes").into()
}
