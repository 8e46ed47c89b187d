//! What becomes of that which was going on when an export or a backup was made. This is the one place that says it.
//!
//! Nobody here has begun any of it, and what state its boards are in is not known. So nothing goes on by itself:
//!
//! - a task that had not ended has failed: `imported` (of a backup: `restored`);
//! - a request with a running job has failed, and the key of the job is gone; one that was only reserved waits again, in
//!   its old place;
//! - a worker that was held, had a task, or was on its way (PREPARE, RUNNING, BUSY) is in MAINTENANCE, its admin's; one
//!   that was FAILED stays so, and is re-checked. Both with the reason;
//! - an introspection that had not ended is in ERROR: `imported`.
//!
//! Everything else is as it was: an idle worker is idle, a waiting request waits.

use std::sync::Arc;

use grove_domain::introspection::{self, Introspection};
use grove_domain::moment::Timestamp;
use grove_domain::request::{self, Job, JobAccess, Request};
use grove_domain::task::{End, Report};
use grove_domain::worker::{self, Worker};
use rusqlite::Connection;

use super::Origin;
use crate::error::StoreError;
use crate::rows::{
    self, Binder, INTROSPECTIONS, REQUESTS, TASKS, Table, WORKERS, put_introspection, put_request, put_task,
    put_worker,
};
use crate::writer::all;

/// Who ended it.
const CORE: &str = "core";

/// What was going on in an export, and was ended: tasks that had not ended are failed as `imported`, requests with a
/// running job are failed, reserved ones wait again, and workers that had anything to do with these are in maintenance
/// (or failed, as they were).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Tasks that had not ended.
    pub tasks: u64,
    /// Requests that had a running job, or were reserved.
    pub requests: u64,
    /// Workers that were at something.
    pub workers: u64,
    /// Introspections that had not ended.
    pub introspections: u64,
}

pub(super) fn settle(
    connection: &mut Connection,
    origin: Origin,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let why = origin.done();
    let transaction = connection.transaction()?;
    let mut settled = Settled::default();
    let live = format!("{} WHERE ended IS NULL", TASKS.select());
    for task in all(&transaction, &live, rows::task)? {
        let report = Report::Ended { end: End::Failed, error: Some(why.to_owned()), at: now };
        let Some(task) = task.reported(report) else {
            return Err(StoreError::Other(format!("task {} could not be ended", task.id)));
        };
        update(&transaction, &TASKS, |row| put_task(row, &task))?;
        settled.tasks += 1;
    }
    let holding = format!("{} WHERE holds IS NOT NULL", REQUESTS.select());
    for request in all(&transaction, &holding, rows::request)? {
        update(&transaction, &REQUESTS, |row| put_request(row, &let_go(request, why, now)))?;
        settled.requests += 1;
    }
    let at_something = format!(
        "{} WHERE occupied_by IS NOT NULL OR task IS NOT NULL OR state IN ('prepare', 'running', 'busy')",
        WORKERS.select()
    );
    for worker in all(&transaction, &at_something, rows::worker)? {
        update(&transaction, &WORKERS, |row| put_worker(row, &at_rest(worker, why, now)))?;
        settled.workers += 1;
    }
    let under_way = format!("{} WHERE finished IS NULL", INTROSPECTIONS.select());
    for run in all(&transaction, &under_way, rows::introspection)? {
        update(&transaction, &INTROSPECTIONS, |row| put_introspection(row, &cut_off(run, why, now)))?;
        settled.introspections += 1;
    }
    transaction.commit()?;
    Ok(settled)
}

fn update(
    connection: &Connection,
    table: &'static Table,
    bind: impl FnOnce(&mut Binder<'_, '_>) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(table.update())?;
    let mut row = Binder::new(&mut statement);
    bind(&mut row)?;
    match row.run()? {
        1 => Ok(()),
        _ => Err(StoreError::Other("what was going on in the export could not be ended".to_owned())),
    }
}

fn let_go(mut request: Request, why: &str, now: Timestamp) -> Request {
    request.revision += 1;
    request.reserved = None;
    if let Some(job) = request.job.take() {
        request.state = request::State::Failed;
        request.since = now;
        request.reason = Some(why.to_owned());
        request.ended_by = Some(CORE.to_owned());
        let access = JobAccess { private_key: None, ..JobAccess::clone(&job.access) };
        request.job = Some(Arc::new(Job { ended: Some(now), access: Arc::new(access), ..Job::clone(&job) }));
    }
    request
}

fn cut_off(run: Introspection, why: &str, now: Timestamp) -> Introspection {
    Introspection {
        state: introspection::State::Error,
        since: now,
        finished: Some(now),
        error: Some(why.to_owned()),
        ending: None,
        revision: run.revision + 1,
        ..run
    }
}

fn at_rest(mut worker: Worker, why: &str, now: Timestamp) -> Worker {
    let was = match (worker.occupation, worker.task) {
        (Some(occupation), _) => format!("was held by request {}", occupation.request),
        (None, Some((_, kind))) => format!("its task {} was cut off", kind.name()),
        (None, None) => format!("was in {}", worker.state.name()),
    };
    worker.occupation = None;
    worker.task = None;
    worker.generation += 1;
    worker.revision += 1;
    if worker.state == worker::State::Failed {
        let before = worker.reason.unwrap_or_default();
        worker.reason = Some(format!("{why}: {was}; before that: {before}"));
        if !worker.recovery.quarantined {
            worker.recovery.recheck_at.get_or_insert(now);
        }
    } else {
        worker.state = worker::State::Maintenance;
        worker.since = now;
        worker.reason = Some(format!("{why}: {was}"));
        worker.recovery.recheck_at = None;
    }
    worker
}
