//! Waiting for a board, through restarts of the farm.

use std::time::Duration;

use grove_client::wire::job::{Access, Job};
use grove_client::wire::request::{Reason, Request, RequestState};
use grove_client::wire::{Span, Uuid};
use grove_client::{Client, Error};
use tokio::time::{Instant, sleep, timeout};

use crate::cli::progress::Progress;

/// How long a farm may be away before a wait is given up: a restart takes less.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses between attempts to reach a farm that is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Long polls: long enough to be few, short enough to show how the queue moves.
const POLL: Duration = Duration::from_secs(10);
/// Pause between two polls: a farm whose queue moves all the time answers polls at once.
const BREATH: Duration = Duration::from_millis(100);

/// A board that somebody has.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Which one.
    pub(crate) worker: Uuid,
    /// How to get in.
    pub(crate) access: Access,
}

impl Place {
    /// Where a running job is.
    pub(crate) fn of(job: &Job) -> Option<Self> {
        Some(Self { worker: job.worker, access: job.access.clone()? })
    }
}

/// How a wait ended.
pub(crate) enum Arrival {
    /// The job runs.
    Board(Box<Place>),
    /// The request has ended.
    Over(Box<Request>),
    /// No board within the user's bound.
    Late(Span),
}

/// Waits until the job of `request` runs, or never will.
pub(crate) async fn board(
    farm: &Client,
    request: Request,
    bound: Option<Span>,
    progress: &mut Progress,
) -> Result<Arrival, Error> {
    let arrival = arrival(farm, request, progress);
    match bound {
        Some(bound) => timeout(bound.duration(), arrival).await.unwrap_or(Ok(Arrival::Late(bound))),
        None => arrival.await,
    }
}

async fn arrival(farm: &Client, mut request: Request, progress: &mut Progress) -> Result<Arrival, Error> {
    loop {
        request = settled(farm, request, progress).await?;
        if request.state.is_terminal() {
            return Ok(Arrival::Over(Box::new(request)));
        }
        if let Some(place) = place(farm, &request).await? {
            progress.say(describe(&request));
            return Ok(Arrival::Board(Box::new(place)));
        }
        request = patiently(|| farm.request_newer_than(request.id, request.revision, POLL)).await?;
    }
}

/// Waits until `request` no longer waits.
pub(crate) async fn settled(
    farm: &Client,
    mut request: Request,
    progress: &mut Progress,
) -> Result<Request, Error> {
    while request.state == RequestState::Waiting {
        progress.say(describe(&request));
        request = patiently(|| farm.request_newer_than(request.id, request.revision, POLL)).await?;
        if request.state == RequestState::Waiting {
            sleep(BREATH).await;
        }
    }
    Ok(request)
}

/// How to get in, from the request itself or from its job.
async fn place(farm: &Client, request: &Request) -> Result<Option<Place>, Error> {
    if let Some(place) = request.job.as_ref().and_then(Place::of) {
        return Ok(Some(place));
    }
    match patiently(|| farm.job(request.id)).await {
        Ok(job) => Ok(Place::of(&job)),
        // It ended meanwhile: the next look at the request tells how.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a call again while the farm is away, but not for ever. Only for calls that may be made twice.
pub(crate) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut away: Option<(Instant, Duration)> = None;
    loop {
        match call().await {
            Err(error) if error.is_transient() => {
                let (deadline, pause) = *away.get_or_insert_with(|| (Instant::now() + PATIENCE, PAUSES.0));
                if Instant::now() + pause > deadline {
                    return Err(error);
                }
                sleep(pause).await;
                away = Some((deadline, (pause * 2).min(PAUSES.1)));
            }
            result => return result,
        }
    }
}

/// One line about where a request stands.
pub(crate) fn describe(request: &Request) -> String {
    let id = request.id;
    let state = match (request.state, request.position) {
        (RequestState::Waiting, _) if request.reserved.is_some() => {
            // A farm in maintenance opens none.
            let held = request.why.iter().flatten().any(|reason| reason.code != "opening");
            format!("request {id}: a board {}", if held { "is reserved" } else { "is being opened" })
        }
        (RequestState::Waiting, Some(position)) => format!("request {id} waits at place {position}"),
        (RequestState::Waiting, None) => format!("request {id} waits"),
        (RequestState::InProgress, _) => format!("request {id} runs on worker {}", worker(request)),
        (state, _) => format!("request {id} is {}", crate::cli::args::wire_word(&state)),
    };
    match because(request) {
        Some(reason) => format!("{state}: {reason}"),
        None => state,
    }
}

fn because(request: &Request) -> Option<String> {
    let reasons: &[Reason] = request.why.as_deref().unwrap_or_default();
    if request.state != RequestState::Waiting || reasons.is_empty() {
        return request.reason.clone();
    }
    Some(reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; "))
}

fn worker(request: &Request) -> String {
    request.job.as_ref().map_or_else(|| "?".to_owned(), |job| job.worker.to_string())
}
