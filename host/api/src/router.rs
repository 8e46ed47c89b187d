//! Which path leads where.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use futures_util::FutureExt;
use grove_wire::{Code, Problem};
use tower::ServiceExt;

use crate::front::Front;
use crate::v2::refuse::Refuse;
use crate::{pages, v1, v2};

/// Every path outside v1.
pub(crate) const PATHS: [&str; 56] = [
    "/api/v2/workers",
    "/api/v2/workers/{uuid}",
    "/api/v2/workers/{uuid}/state",
    "/api/v2/workers/{uuid}/failure",
    "/api/v2/requests",
    "/api/v2/requests/{id}",
    "/api/v2/requests/{id}/why",
    "/api/v2/requests/{id}/close",
    "/api/v2/requests/{id}/prolong",
    "/api/v2/requests/{id}/keep",
    "/api/v2/requests/{id}/heartbeat",
    "/api/v2/jobs",
    "/api/v2/jobs/{id}",
    "/api/v2/tasks",
    "/api/v2/tasks/{id}",
    "/api/v2/tasks/{id}/cancel",
    "/api/v2/tasks/{id}/log",
    "/api/v2/introspections",
    "/api/v2/introspections/data",
    "/api/v2/introspections/reapply",
    "/api/v2/introspections/{id}",
    "/api/v2/introspections/{id}/abort",
    "/api/v2/introspections/{id}/reapply",
    "/api/v2/introspections/{id}/data",
    "/api/v2/introspections/{id}/findings",
    "/api/v2/introspections/{id}/diff",
    "/api/v2/rules",
    "/api/v2/rules/test",
    "/api/v2/rules/{id}",
    "/api/v2/artifacts",
    "/api/v2/artifacts/{group}/{key}",
    "/api/v2/artifacts/{group}/{key}/verify",
    "/api/v2/plugins",
    "/api/v2/plugins/{name}",
    "/api/v2/plugins/{name}/enable",
    "/api/v2/plugins/{name}/disable",
    "/api/v2/plugins/{name}/swap",
    "/api/v2/limits",
    "/api/v2/limits/farm",
    "/api/v2/limits/driver/{name}",
    "/api/v2/limits/host/{name}",
    "/api/v2/farm",
    "/api/v2/farm/mode",
    "/api/v2/services",
    "/api/v2/services/{*name}",
    "/api/v2/events",
    "/api/v2/farm/export",
    "/api/v2/farm/import",
    "/api/v2",
    "/api/v2/",
    "/api/v2/{*rest}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/errors/{code}",
    "/",
];

impl Front {
    /// All routes as one service, for tests and for putting behind something else; [`crate::serve`] uses the same.
    pub fn router(&self) -> Router {
        // v1 goes its own way: what it does with slashes, methods and unknown paths no router does.
        let v1 = any(async |State(front): State<Self>, request: Request| v1::handle(&front, request).await);
        self.modern()
            .route("/api", v1.clone())
            .route("/api/", v1.clone())
            .route("/api/{*rest}", v1)
            .with_state(self.clone())
    }

    /// Everything outside v1.
    fn modern(&self) -> Router<Self> {
        Router::new()
            .route("/api/v2/workers", get(v2::workers::list))
            .route(
                "/api/v2/workers/{uuid}",
                get(v2::workers::get)
                    .put(v2::workers::put)
                    .patch(v2::workers::patch)
                    .delete(v2::workers::delete),
            )
            .route("/api/v2/workers/{uuid}/state", post(v2::workers::set_state))
            .route("/api/v2/workers/{uuid}/failure", post(v2::workers::report_failure))
            .route("/api/v2/requests", get(v2::requests::list).post(v2::requests::create))
            .route("/api/v2/requests/{id}", get(v2::requests::get).patch(v2::requests::patch))
            .route("/api/v2/requests/{id}/why", get(v2::requests::why))
            .route("/api/v2/requests/{id}/close", post(v2::requests::close))
            .route("/api/v2/requests/{id}/prolong", post(v2::requests::prolong))
            .route("/api/v2/requests/{id}/keep", post(v2::requests::keep))
            .route("/api/v2/requests/{id}/heartbeat", post(v2::requests::heartbeat))
            .route("/api/v2/jobs", get(v2::jobs::list))
            .route("/api/v2/jobs/{id}", get(v2::jobs::get))
            .route("/api/v2/tasks", get(v2::tasks::list))
            .route("/api/v2/tasks/{id}", get(v2::tasks::get))
            .route("/api/v2/tasks/{id}/cancel", post(v2::tasks::cancel))
            .route("/api/v2/tasks/{id}/log", get(v2::logs::get))
            .route("/api/v2/introspections", get(v2::introspections::list).post(v2::introspections::start))
            .route("/api/v2/introspections/data", post(v2::introspections::enrol))
            .route("/api/v2/introspections/reapply", post(v2::introspections::reapply_all))
            .route("/api/v2/introspections/{id}", get(v2::introspections::get))
            .route("/api/v2/introspections/{id}/abort", post(v2::introspections::abort))
            .route("/api/v2/introspections/{id}/reapply", post(v2::introspections::reapply))
            .route(
                "/api/v2/introspections/{id}/data",
                get(v2::introspections::get_data).post(v2::introspections::put_data),
            )
            .route("/api/v2/introspections/{id}/findings", get(v2::introspections::findings))
            .route("/api/v2/introspections/{id}/diff", get(v2::introspections::difference))
            .route("/api/v2/rules", get(v2::rules::list).post(v2::rules::add).delete(v2::rules::remove_all))
            .route("/api/v2/rules/test", post(v2::rules::test))
            .route("/api/v2/rules/{id}", get(v2::rules::get).delete(v2::rules::remove))
            .route("/api/v2/artifacts", get(v2::artifacts::list))
            .route(
                "/api/v2/artifacts/{group}/{key}",
                get(v2::artifacts::get)
                    .head(v2::artifacts::head)
                    .put(v2::artifacts::put)
                    .delete(v2::artifacts::remove),
            )
            .route("/api/v2/artifacts/{group}/{key}/verify", post(v2::artifacts::verify))
            .route("/api/v2/plugins", get(v2::plugins::list).post(v2::plugins::install))
            .route("/api/v2/plugins/{name}", get(v2::plugins::get).delete(v2::plugins::remove))
            .route("/api/v2/plugins/{name}/enable", post(v2::plugins::enable))
            .route("/api/v2/plugins/{name}/disable", post(v2::plugins::disable))
            .route("/api/v2/plugins/{name}/swap", post(v2::plugins::swap))
            .route("/api/v2/limits", get(v2::limits::list))
            .route("/api/v2/limits/farm", get(v2::limits::get_farm).put(v2::limits::put_farm))
            .route("/api/v2/limits/driver/{name}", get(v2::limits::get_driver).put(v2::limits::put_driver))
            .route("/api/v2/limits/host/{name}", get(v2::limits::get_host).put(v2::limits::put_host))
            .route("/api/v2/farm", get(v2::mode::get))
            .route("/api/v2/farm/mode", put(v2::mode::put))
            .route("/api/v2/services", get(v2::services::list))
            .route("/api/v2/services/{*name}", get(v2::services::get))
            .route("/api/v2/events", get(v2::events::events))
            .route("/api/v2/farm/export", get(v2::farm::export))
            .route("/api/v2/farm/import", post(v2::farm::import))
            .route("/api/v2", any(pages::nothing))
            .route("/api/v2/", any(pages::nothing))
            .route("/api/v2/{*rest}", any(pages::nothing))
            .route("/healthz", get(pages::healthz))
            .route("/readyz", get(pages::readyz))
            .route("/metrics", get(pages::metrics))
            .route("/errors/{code}", get(pages::error))
            .route("/", get(pages::index))
            .fallback(pages::nothing)
            .method_not_allowed_fallback(pages::method_not_allowed)
            .layer(from_fn_with_state(self.clone(), counted))
    }

    /// Answers one request, whatever happens.
    pub(crate) async fn answer(&self, router: Router, request: Request) -> Response {
        let path = request.uri().path();
        // Straight to the handlers that are asked most.
        let old = path.starts_with("/api/") && !path.starts_with("/api/v2");
        let work = async {
            if old {
                return v1::handle(self, request).await;
            }
            match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
            // The panic hook has told where.
            tracing::error!("a handler broke");
            Refuse::from(Problem::new(Code::Internal, "the server could not finish this")).into_response()
        })
    }
}

async fn counted(
    State(front): State<Front>,
    path: Option<MatchedPath>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    front.metrics.count_path(path.as_ref().map(MatchedPath::as_str), response.status());
    response
}
