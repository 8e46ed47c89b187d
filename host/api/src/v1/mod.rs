//! The API that clients of the old controller speak, to the letter: routes, statuses, headers, field order, null
//! against empty, messages. Odd things here are odd on purpose.

mod answer;
mod cors;
mod golang;
mod list;
mod pick;
mod requests;
mod route;
mod time;
mod version;
mod workers;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request};

use crate::app::App;
use crate::body;
use crate::front::Front;
use answer::{Failure, failed, moved, without_body};
pub(crate) use route::Action;
use route::Found;

/// Answers anything below `/api/` that is not of a later version.
pub(crate) async fn handle(front: &Front, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let origin = cors::has_origin(&head.headers);
    let preflight = origin && head.method == Method::OPTIONS;
    let (action, mut response) = if preflight {
        (Action::Unknown, cors::preflight(&head.headers))
    } else {
        match route::find(&head.method, &head.uri) {
            Found::Action(action, id) => {
                let done = match front.app() {
                    Some(app) => carry_out(front, &app, action, id, &head.headers, body).await,
                    None => Err(Failure::Unavailable(front.why_not())),
                };
                (action, done.unwrap_or_else(failed))
            }
            Found::Moved(location) => (Action::Unknown, moved(&location)),
            Found::Nothing => {
                let message = format!("{} not found", head.uri.path());
                (Action::Unknown, failed(Failure::NotFound(message.into())))
            }
        }
    };
    if head.method == Method::HEAD {
        response = without_body(response);
    }
    cors::add(response.headers_mut(), origin && !preflight);
    front.metrics.count_v1(action, response.status());
    response
}

async fn carry_out(
    front: &Front,
    app: &App,
    action: Action,
    id: &str,
    headers: &http::HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let whole = async || -> Result<Bytes, Failure> {
        Ok(body::read(headers, body, front.limits.body, grove_wire::limits::BODY).await?)
    };
    match action {
        Action::GetRequest => requests::get(app, id),
        Action::CreateRequest => requests::create(app, &whole().await?).await,
        Action::UpdateRequest => requests::update(app, id, &whole().await?).await,
        Action::CloseRequest => requests::close(app, id).await,
        Action::AcquireWorker => requests::acquire(app, id).await,
        Action::ProlongAccess => requests::prolong(app, id).await,
        Action::ListRequests => requests::list(app, &whole().await?).await,
        Action::GetWorker => workers::get(app, id),
        Action::ListWorkers | Action::ListWorkersByPost => workers::list(app, &whole().await?).await,
        Action::SetState => workers::set_state(app, id, &whole().await?).await,
        Action::SetGroups => workers::set_groups(app, id, &whole().await?).await,
        Action::Deregister => workers::deregister(app, id).await,
        Action::Version => Ok(version::get()),
        Action::Unknown => Err(Failure::NotFound("not found".into())),
    }
}
