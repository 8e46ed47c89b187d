//! `/api/v2/farm`, and its mode.

use axum::response::Response;
use grove_domain::limit::Scope;
use grove_domain::mode::{Mode, RunningJobs};
use grove_wire::limits;
use grove_wire::mode::{self as wire, Farm, SetMode};
use http::{HeaderMap, StatusCode, Uri};

use super::input::{Query, Served, Whole, at_most, invalid};
use super::refuse::Refuse;
use super::{revision, show};

/// Why, where nobody said.
const REASON: &str = "its admin works on it";

/// The ETag is the mode's.
pub(crate) async fn get(Served(app): Served, uri: Uri) -> Result<Response, Refuse> {
    Query::new(&uri).done()?;
    let farm = app.controller.farm();
    let shown = Farm {
        mode: show::mode(farm.mode()),
        workers: farm.workers().len() as u64,
        waiting: farm.waiting() as u64,
        jobs: farm.workers().values().filter(|worker| worker.occupation.is_some()).count() as u64,
        tasks: farm.running_in(&Scope::Farm) as u64,
    };
    Ok(revision::with_etag(StatusCode::OK, shown.mode.revision, &shown))
}

pub(crate) async fn put(Served(app): Served, headers: HeaderMap, body: Whole) -> Result<Response, Refuse> {
    let expected = revision::expected(&headers)?;
    let sent: SetMode = body.json()?;
    at_most("reason", sent.reason.as_deref().map_or(0, str::len), limits::REASON, "bytes")?;
    let running = match sent.running {
        Some(wire::RunningJobs::Cut) => RunningJobs::Cut,
        Some(wire::RunningJobs::Drain) | None => RunningJobs::Drain,
    };
    let mode = match sent.mode {
        wire::Mode::Normal => {
            let given = [
                ("running", sent.running.is_some()),
                ("reason", sent.reason.is_some()),
                ("until", sent.until.is_some()),
            ];
            if let Some((field, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(invalid(field, "only maintenance has it"));
            }
            Mode::Normal
        }
        wire::Mode::Maintenance => {
            let reason = sent.reason.filter(|reason| !reason.trim().is_empty());
            Mode::Maintenance { reason: reason.unwrap_or_else(|| REASON.to_owned()), until: sent.until }
        }
    };
    let mode = app.controller.set_mode(&app.actor, mode, running, expected).await?;
    Ok(revision::with_etag(StatusCode::OK, mode.revision, &show::mode(&mode)))
}
