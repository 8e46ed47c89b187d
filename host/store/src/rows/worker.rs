//! Workers as rows.

use std::borrow::Cow;
use std::sync::Arc;

use grove_domain::capability::Capabilities;
use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::task::TaskKind;
use grove_domain::worker::{Access, Health, Occupation, Recovery, Registration, State, Worker};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id, Sha, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] = &[
    "state",
    "since",
    "reason",
    "driver",
    "driver_config",
    "agent",
    "introspected",
    "admin",
    "groups",
    "host",
    "notes",
    "driver_version",
    "health_ok",
    "health_checked_at",
    "health_note",
    "access",
    "occupied_by",
    "occupation_opened",
    "task",
    "task_kind",
    "relapses",
    "attempts",
    "recheck_at",
    "quarantined",
    "drain",
    "generation",
    "revision",
];
const FIXED: &[&str] = &["id"];

pub(super) fn table() -> Table {
    Table::new("workers", WRITTEN, FIXED)
}

/// Binds the insert of a first revision, or the update of a later one.
pub(crate) fn put_worker(row: &mut Binder<'_, '_>, worker: &Worker) -> rusqlite::Result<()> {
    row.put(worker.state.name())?;
    row.put(At(worker.since))?;
    row.put(&worker.reason)?;
    row.put(&worker.registration.driver)?;
    row.put(&worker.registration.driver_config)?;
    // What the registration says and what the agent offers are one thing, kept once.
    row.json(worker.capabilities.agent())?;
    row.json(worker.capabilities.introspected())?;
    row.json(worker.capabilities.admin())?;
    row.json_or_null(worker.groups.as_ref())?;
    row.put(&worker.host)?;
    row.put(&worker.notes)?;
    row.put(worker.driver_version.map(Sha))?;
    row.put(worker.health.ok)?;
    row.put(worker.health.checked_at.map(At))?;
    row.put(&worker.health.note)?;
    row.json_or_null(worker.access.as_deref().map(AccessRow::from).as_ref())?;
    row.put(worker.occupation.map(|occupation| Count(occupation.request.0)))?;
    row.put(worker.occupation.map(|occupation| occupation.opened))?;
    row.put(worker.task.map(|(task, _)| Id::from(task)))?;
    row.put(worker.task.map(|(_, kind)| kind.name()))?;
    row.put(worker.recovery.relapses)?;
    row.put(worker.recovery.attempts)?;
    row.put(worker.recovery.recheck_at.map(At))?;
    row.put(worker.recovery.quarantined)?;
    row.put(worker.drain)?;
    row.put(Count(worker.generation))?;
    row.put(Count(worker.revision))?;
    row.put(Id::from(worker.id))?;
    if worker.revision > 1 {
        row.put(Count(worker.revision - 1))?;
    }
    Ok(())
}

/// Reads a row of the table's select.
pub(crate) fn worker(row: &Row<'_>) -> Result<Worker, StoreError> {
    let mut cells = Cells::new(row, "worker");
    let id = WorkerId(row.get::<_, Id>("id")?.0);
    let state = cells.word(State::from_name)?;
    let since = cells.take::<At>()?.0;
    let reason = cells.take()?;
    let driver = cells.take()?;
    let driver_config = cells.take()?;
    let agent: Arc<_> = cells.json()?;
    let introspected = cells.json()?;
    let admin = cells.json()?;
    Ok(Worker {
        id,
        state,
        since,
        reason,
        registration: Arc::new(Registration { driver, driver_config, capabilities: Arc::clone(&agent) }),
        capabilities: Capabilities::new(id, agent, introspected, admin),
        groups: cells.json_or_null::<Vec<String>>()?.map(Arc::from),
        host: cells.take()?,
        notes: cells.take()?,
        driver_version: cells.take::<Option<Sha>>()?.map(|sha| sha.0),
        health: Health {
            ok: cells.take()?,
            checked_at: cells.take::<Option<At>>()?.map(|at| at.0),
            note: cells.take()?,
        },
        access: cells.json_or_null::<AccessRow<'_>>()?.map(|row| Arc::new(row.access())),
        occupation: occupation(&mut cells)?,
        task: live_task(&mut cells)?,
        recovery: Recovery {
            relapses: cells.take()?,
            attempts: cells.take()?,
            recheck_at: cells.take::<Option<At>>()?.map(|at| at.0),
            quarantined: cells.take()?,
        },
        drain: cells.take()?,
        generation: cells.take::<Count>()?.0,
        revision: cells.take::<Count>()?.0,
    })
}

fn occupation(cells: &mut Cells<'_>) -> Result<Option<Occupation>, StoreError> {
    let (request, opened) = (cells.take::<Option<Count>>()?, cells.take::<Option<bool>>()?);
    Ok(request.zip(opened).map(|(request, opened)| Occupation { request: RequestId(request.0), opened }))
}

fn live_task(cells: &mut Cells<'_>) -> Result<Option<(TaskId, TaskKind)>, StoreError> {
    let (task, kind) = (cells.take::<Option<Id>>()?, cells.word_or_null(TaskKind::from_name)?);
    Ok(task.zip(kind).map(|(task, kind)| (TaskId(task.0), kind)))
}

#[derive(Serialize, Deserialize)]
struct AccessRow<'a> {
    host: Cow<'a, str>,
    port: u16,
    user: Cow<'a, str>,
    host_keys: Cow<'a, [String]>,
}

impl<'a> From<&'a Access> for AccessRow<'a> {
    fn from(access: &'a Access) -> Self {
        Self {
            host: Cow::Borrowed(&access.host),
            port: access.port,
            user: Cow::Borrowed(&access.user),
            host_keys: Cow::Borrowed(&access.host_keys),
        }
    }
}

impl AccessRow<'_> {
    fn access(self) -> Access {
        Access {
            host: self.host.into_owned(),
            port: self.port,
            user: self.user.into_owned(),
            host_keys: self.host_keys.into_owned(),
        }
    }
}
