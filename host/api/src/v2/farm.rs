//! `/api/v2/farm/export` and `/api/v2/farm/import`. Both answer whether or not a farm is served.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use grove_wire::{Code, Problem, limits};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::Instant;

use super::input::Query;
use super::refuse::Refuse;
use super::revision;
use crate::body::BodyError;
use crate::front::Front;
use crate::transfer::{Feeder, Transfer, feed, sink};

/// Of a body that is not read any more, so much is still taken, so that its sender hears why.
const REST: usize = 64 << 20;

/// A stream of lines that breaks off where the export does: a short one is never whole. Query: `incomplete`.
pub(crate) async fn export(State(front): State<Front>, uri: Uri) -> Result<Response, Refuse> {
    let mut query = Query::new(&uri);
    let incomplete = query.flag("incomplete")?;
    query.done()?;
    let transfer = transfer(&front)?;
    let place = front.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "the farm is being exported as often as the server does at once")
            .hint("try again when those are done")
    })?;
    let write = transfer.export(incomplete).await?;
    let (mut sink, stream) = sink(front.limits.stalled);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let written = write(&mut sink).and_then(|()| sink.finish().map_err(|error| error.to_string()));
        if let Err(why) = written {
            tracing::warn!("an export of the farm broke off: {why}");
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"farm.jsonl\""),
        // It holds keys.
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// The body is an export. Query: `dry_run`.
pub(crate) async fn import(State(front): State<Front>, request: Request) -> Result<Response, Refuse> {
    let (head, body) = request.into_parts();
    let mut query = Query::new(&head.uri);
    let dry_run = query.flag("dry_run")?;
    query.done()?;
    revision::not_taken(&head.headers)?;
    let transfer = transfer(&front)?;
    if announced(&head.headers).is_some_and(|length| length > front.limits.import) {
        return Err(too_large(front.limits.import));
    }
    if !dry_run && let Err(refused) = transfer.may_import() {
        hear_out(body).await;
        return Err(refused.into());
    }
    let place = front.imports.clone().try_acquire_owned().map_err(|_| {
        Problem::new(Code::Overloaded, "another export is being imported").hint("try again when that is done")
    })?;
    let (feeder, from) = feed();
    let work = transfer.import(from, dry_run);
    // What was read to its end is carried out, whoever waits.
    let work = tokio::spawn(async move {
        let _place = place;
        work.await
    });
    let sent = send(body, feeder, front.limits.import, front.limits.body).await;
    let done = match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(Problem::new(Code::Stopping, "the server is shutting down").into()),
        },
    };
    match (sent, done) {
        (_, Ok(done)) => Ok(revision::json(StatusCode::OK, &done)),
        // That the body broke off says more than where the reader noticed.
        (Err(refuse), Err(error)) if error.is_unavailable() => Err(refuse),
        (_, Err(error)) => Err(error.into()),
    }
}

fn transfer(front: &Front) -> Result<Arc<dyn Transfer>, Refuse> {
    let none = || Problem::new(Code::Unavailable, "this server cannot move its farm").into();
    front.transfer.get().cloned().ok_or_else(none)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Hands the body on, as long as each further MiB of it comes within `patience`. The time that the reader takes is not the
/// client's.
async fn send(body: Body, feeder: Feeder, most: u64, patience: Duration) -> Result<(), Refuse> {
    let mut body = body.into_data_stream();
    let (mut total, mut since, mut left) = (0_u64, 0, patience);
    let mut rest = REST;
    let mut reads = true;
    loop {
        let asked = Instant::now();
        let piece = match tokio::time::timeout(left, body.next()).await {
            Ok(Some(Ok(piece))) => piece,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Broken.into()),
            Err(_) => return Err(BodyError::TooSlow.into()),
        };
        left = left.saturating_sub(asked.elapsed());
        since += piece.len();
        if since >= limits::BODY {
            (since, left) = (0, patience);
        }
        total += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if total > most {
            return Err(too_large(most));
        }
        if reads {
            reads = feeder.give(piece).await;
        } else {
            rest = rest.saturating_sub(piece.len());
            if rest == 0 {
                return Ok(());
            }
        }
    }
    feeder.finish().await;
    Ok(())
}

fn too_large(most: u64) -> Refuse {
    let problem = Problem::new(Code::BodyTooLarge, format!("the export is larger than {} MiB", most >> 20));
    problem.hint("the admin sets the limit: limits.import_mib").into()
}

/// Bytes of a refused export that are read all the same, and how long that may take.
const HEARD_OUT: (usize, Duration) = (64 << 20, Duration::from_secs(10));

/// Whoever is cut off while sending never reads why: what is not too long is read, and thrown away.
async fn hear_out(body: Body) {
    let (mut left, patience) = HEARD_OUT;
    let mut pieces = body.into_data_stream();
    let reading = async {
        while let Some(Ok(piece)) = pieces.next().await {
            if piece.len() >= left {
                return;
            }
            left -= piece.len();
        }
    };
    // Late or not, it is answered now.
    let _ = tokio::time::timeout(patience, reading).await;
}
