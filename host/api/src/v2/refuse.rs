//! Refusals as problems.

use std::error::Error as _;

use axum::response::{IntoResponse, Response};
use grove_control::refusal::Refused;
use grove_domain::introspection::NotAdmitted;
use grove_domain::{introspection, request, worker};
use grove_wire::{Code, Error, Problem};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::body::BodyError;

/// Seconds between looks whether a maintenance is over.
const MAINTENANCE: &str = "60";

/// An error as an answer.
#[derive(Debug)]
pub(crate) struct Refuse {
    error: Error,
    /// Seconds until it may be different; told with 429 and 503.
    retry_after: &'static str,
}

impl Refuse {
    /// The same, to be asked again after so many seconds.
    pub(crate) fn retry_after(self, retry_after: &'static str) -> Self {
        Self { retry_after, ..self }
    }
}

impl From<Error> for Refuse {
    fn from(error: Error) -> Self {
        Self { error, retry_after: "5" }
    }
}

impl From<Problem> for Refuse {
    fn from(problem: Problem) -> Self {
        Error::from(problem).into()
    }
}

impl From<BodyError> for Refuse {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge(_) => Code::BodyTooLarge,
            BodyError::TooSlow => Code::BodyTimeout,
            BodyError::Broken => Code::BadJson,
        };
        Problem::new(code, error.text()).into()
    }
}

impl IntoResponse for Refuse {
    fn into_response(self) -> Response {
        if let Some(cause) = self.error.source() {
            tracing::warn!(code = self.error.code(), "{}: {cause}", self.error);
        }
        let mut problem = self.error.problem().clone();
        if problem.hint.is_none() {
            problem.hint = Code::from_name(&problem.code).map(|code| {
                // A sentence there, a fragment here.
                let remedy = code.remedy().trim_end_matches('.');
                let (first, rest) = remedy.split_at(1);
                first.to_lowercase() + rest
            });
        }
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Text and numbers: this cannot fail.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(problem.status, 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(self.retry_after));
        }
        if problem.status == 401 {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // The rest of the body is not waited for.
        if matches!(problem.status, 408 | 413) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refused> for Refuse {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        let problem =
            match refused {
                Refused::NoSuchWorker => Problem::new(Code::WorkerNotFound, detail)
                    .hint("list the workers there are: GET /api/v2/workers"),
                Refused::NoSuchRequest => Problem::new(Code::RequestNotFound, detail)
                    .hint("list the requests there are: GET /api/v2/requests"),
                Refused::NoSuchTask => Problem::new(Code::TaskNotFound, detail)
                    .hint("list the tasks there are: GET /api/v2/tasks"),
                Refused::NoSuchIntrospection => Problem::new(Code::IntrospectionNotFound, detail)
                    .hint("list the introspections there are: GET /api/v2/introspections"),
                Refused::NoSuchRule => Problem::new(Code::RuleNotFound, detail)
                    .hint("list the rules there are: GET /api/v2/rules"),
                Refused::RuleExists(_) => Problem::new(Code::RuleExists, detail).field("id"),
                Refused::Rule(invalid) => Problem::new(Code::InvalidField, detail).field(invalid.field),
                Refused::Introspection(refusal) => introspection_refused(refusal, detail),
                Refused::NotAdmitted(refusal) => not_admitted(refusal, detail),
                Refused::UnderWay(run) => Problem::new(Code::IntrospectionState, detail)
                    .hint(format!("wait until it ends, or end it: POST /api/v2/introspections/{run}/abort")),
                Refused::Outdated(run) => Problem::new(Code::IntrospectionState, detail)
                    .hint(format!("reapply that one: POST /api/v2/introspections/{run}/reapply")),
                Refused::CannotIntrospect(_) => Problem::new(Code::CannotIntrospect, detail)
                    .hint("start it with \"way\": \"push\", and let the board send its inventory")
                    .field("way"),
                Refused::InventoryTooLarge { .. } => {
                    Problem::new(Code::BodyTooLarge, detail).hint("leave out what no inspector looks at")
                }
                Refused::DriverDisabled(_) => Problem::new(Code::UnknownDriver, detail)
                    .hint("enable the driver, or use another")
                    .field("driver"),
                Refused::NoSuchPlugin(_) => Problem::new(Code::PluginNotFound, detail)
                    .hint("list the plugins there are: GET /api/v2/plugins"),
                // Only a pin names one here: in a body, about a worker that there is.
                Refused::NoSuchVersion { .. } => Problem::new(Code::InvalidField, detail)
                    .hint("look at its versions: GET /api/v2/plugins/{name}")
                    .field("driver_version"),
                // Changes of plugins have their own way to be refused.
                Refused::Plugin(_) => Problem::new(Code::PluginInUse, detail),
                Refused::Worker(refusal) => worker_refused(refusal, detail),
                Refused::Request(refusal) => request_refused(refusal, detail),
                Refused::KeyReused => Problem::new(Code::IdempotencyMismatch, detail)
                    .hint("use a new key for a new request")
                    .field("Idempotency-Key"),
                Refused::Revision { current } => Problem::new(Code::RevisionMismatch, detail)
                    .hint(format!("read it again, then send If-Match: \"{current}\""))
                    .field("If-Match"),
                Refused::UnknownDriver { .. } => Problem::new(Code::UnknownDriver, detail)
                    .hint("use one of these, or install the driver's plugin")
                    .field("driver"),
                Refused::DriverConfig(_) => Problem::new(Code::DriverConfig, detail)
                    .hint("correct driver_config as the driver says")
                    .field("driver_config"),
                Refused::Full { .. } => {
                    Problem::new(Code::FarmFull, detail).hint("try later, or close what is no longer needed")
                }
                Refused::TooLong { .. } => Problem::new(Code::JobTooLong, detail)
                    .hint("ask for less time, and prolong the job while it runs")
                    .field("for"),
                Refused::TaskEnded => {
                    Problem::new(Code::TaskEnded, detail).hint("look at the task: nothing is left to stop")
                }
                Refused::FarmMaintenance { .. } => return maintenance(detail),
                Refused::Unavailable(_) => Problem::new(Code::Unavailable, detail)
                    .hint("try again later; the admin sees the reason at /readyz"),
                Refused::Stopping => {
                    Problem::new(Code::Stopping, detail).hint("try again when the controller is back")
                }
            };
        problem.into()
    }
}

/// While the farm is in maintenance.
pub(super) fn maintenance(detail: String) -> Refuse {
    let problem = Problem::new(Code::FarmMaintenance, detail)
        .hint("try again when the farm is out of maintenance: GET /api/v2/farm");
    Refuse::from(problem).retry_after(MAINTENANCE)
}

fn worker_refused(refusal: worker::Refusal, detail: String) -> Problem {
    use worker::Refusal;
    let (code, hint) = match refusal {
        Refusal::RunsJob(request) => {
            let problem = Problem::new(Code::WorkerRuns, format!("request {request} runs on it"));
            return problem.hint(format!("close request {request} first, or use force to end its job"));
        }
        Refusal::NoWayToIdle => {
            (Code::WorkerState, "from failed, use force; otherwise wait until its job or its task has ended")
        }
        Refusal::InMaintenance => {
            (Code::WorkerState, "nothing needs to be reported: its admin has it already")
        }
        Refusal::NotRemovable => (Code::WorkerState, "bring it to maintenance first, or use ?force=true"),
        Refusal::NotInMaintenance => {
            (Code::WorkerState, "bring it to maintenance first: grove worker state maintenance")
        }
        Refusal::NotIdle
        | Refusal::NotRunning
        | Refusal::NothingToDismiss
        | Refusal::NoCheckDue
        | Refusal::Stale => (Code::WorkerState, "look at the worker's state, and try again"),
    };
    Problem::new(code, detail).hint(hint)
}

fn introspection_refused(refusal: introspection::Refusal, detail: String) -> Problem {
    use introspection::Refusal;
    match refusal {
        Refusal::NotNow { .. } => Problem::new(Code::IntrospectionState, detail)
            .hint("look at where it is: GET /api/v2/introspections/{id}"),
        Refusal::NothingStored => Problem::new(Code::IntrospectionState, detail)
            .hint("no inventory came in it: start another introspection"),
        Refusal::NoWorker => {
            Problem::new(Code::IntrospectionState, detail).hint("register the board, then introspect it")
        }
    }
}

fn not_admitted(refusal: NotAdmitted, detail: String) -> Problem {
    match refusal {
        NotAdmitted::WrongToken => Problem::new(Code::WrongToken, detail).field("Authorization"),
        NotAdmitted::Early => Problem::new(Code::IntrospectionState, detail)
            .hint("send it again in a moment, when the introspection is waiting"),
        NotAdmitted::Used | NotAdmitted::Late(_) => Problem::new(Code::IntrospectionState, detail)
            .hint("start another introspection: each has a token of its own"),
    }
}

fn request_refused(refusal: request::Refusal, detail: String) -> Problem {
    use request::Refusal;
    match refusal {
        Refusal::DeadlinePast => {
            Problem::new(Code::DeadlinePast, detail).hint("give a later deadline, or none").field("deadline")
        }
        Refusal::EmptyRange => Problem::new(Code::EmptyRange, "valid_after lies after the deadline")
            .hint("give a valid_after before the deadline")
            .field("valid_after"),
        Refusal::Priority => Problem::new(Code::InvalidPriority, detail)
            .hint("give a priority from 1 (highest) to 16 (lowest)")
            .field("priority"),
        Refusal::WrongState => {
            Problem::new(Code::RequestState, "the request has ended, or its job runs already")
                .hint("look at its state: GET /api/v2/requests/{id}")
        }
        Refusal::NoJob => Problem::new(Code::NoJob, "the request has no running job")
            .hint("wait until its state is in_progress: GET /api/v2/requests/{id}?wait=60s"),
        Refusal::Shorter(_) => Problem::new(Code::JobShorter, detail)
            .hint("send \"shorten\": true if it shall end earlier")
            .field("for"),
        Refusal::ProlongLimit => {
            Problem::new(Code::ProlongLimit, detail).hint("make a new request when this job is over")
        }
        Refusal::NotDue => Problem::new(Code::RequestState, detail).hint("look at its state, and try again"),
    }
}
