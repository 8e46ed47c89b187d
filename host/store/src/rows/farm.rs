//! What is of the farm as a whole, as rows: its mode, its limits, the instances that ran it.

use grove_domain::id::InstanceId;
use grove_domain::instance::Instance;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode};
use rusqlite::{Connection, Row, params};

use super::{At, Cells, Count, Id};
use crate::error::StoreError;

/// Every limit.
pub(crate) const SELECT_LIMITS: &str = "SELECT scope, name, value, revision FROM limits ORDER BY scope, name";
/// The mode.
pub(crate) const SELECT_MODE: &str =
    "SELECT mode, mode_since, mode_reason, mode_until, mode_revision FROM farm";
/// Every instance.
pub(crate) const SELECT_INSTANCES: &str =
    "SELECT id, incarnation, started, heartbeat, ended FROM instances ORDER BY incarnation";

/// Writes a limit; how many rows.
pub(crate) fn put_limit(connection: &Connection, limit: &Limit) -> rusqlite::Result<usize> {
    let (kind, name, revision) = (limit.scope.kind(), limit.scope.name(), Count(limit.revision));
    if limit.revision == 1 {
        let sql = "INSERT INTO limits (value, revision, scope, name) VALUES (?, ?, ?, ?)";
        return connection.prepare_cached(sql)?.execute(params![limit.value, revision, kind, name]);
    }
    let sql = "UPDATE limits SET value = ?, revision = ?2 WHERE scope = ? AND name = ? AND revision = ?2 - 1";
    connection.prepare_cached(sql)?.execute(params![limit.value, revision, kind, name])
}

/// Reads a row of [`SELECT_LIMITS`].
pub(crate) fn limit(row: &Row<'_>) -> Result<Limit, StoreError> {
    let mut cells = Cells::new(row, "limit");
    let (kind, name): (String, String) = (cells.take()?, cells.take()?);
    let scope = Scope::from_parts(&kind, &name)
        .ok_or_else(|| cells.wrong(format!("this version knows no scope {kind:?}")))?;
    Ok(Limit { scope, value: cells.take()?, revision: cells.take::<Count>()?.0 })
}

/// Writes the mode; how many rows.
pub(crate) fn put_mode(connection: &Connection, mode: &FarmMode) -> rusqlite::Result<usize> {
    let (reason, until) = match &mode.mode {
        Mode::Normal => (None, None),
        Mode::Maintenance { reason, until } => (Some(reason), until.map(At)),
    };
    let sql = "UPDATE farm SET mode = ?, mode_since = ?, mode_reason = ?, mode_until = ?, mode_revision = ?5
        WHERE mode_revision = ?5 - 1";
    let values = params![mode.mode.name(), mode.since.map(At), reason, until, Count(mode.revision)];
    connection.prepare_cached(sql)?.execute(values)
}

/// Reads the row of [`SELECT_MODE`].
pub(crate) fn mode(row: &Row<'_>) -> Result<FarmMode, StoreError> {
    let mut cells = Cells::new(row, "farm");
    let name: String = cells.take()?;
    let since = cells.take::<Option<At>>()?.map(|at| at.0);
    let reason: Option<String> = cells.take()?;
    let until = cells.take::<Option<At>>()?.map(|at| at.0);
    let mode = match (name.as_str(), reason) {
        ("normal", _) => Mode::Normal,
        ("maintenance", reason) => Mode::Maintenance { reason: reason.unwrap_or_default(), until },
        _ => return Err(cells.wrong(format!("this version knows no mode {name:?}"))),
    };
    Ok(FarmMode { mode, since, revision: cells.take::<Count>()?.0 })
}

/// Writes a new instance.
pub(crate) fn insert_instance(connection: &Connection, instance: &Instance) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO instances (id, incarnation, started, heartbeat, ended) VALUES (?, ?, ?, ?, ?)";
    let times = (At(instance.started), At(instance.heartbeat), instance.ended.map(At));
    let values = params![Id::from(instance.id), Count(instance.incarnation), times.0, times.1, times.2];
    connection.prepare_cached(sql)?.execute(values)
}

/// Writes the times of an instance; how many rows.
pub(crate) fn put_instance(connection: &Connection, instance: &Instance) -> rusqlite::Result<usize> {
    let sql = "UPDATE instances SET heartbeat = ?, ended = ? WHERE id = ? AND incarnation = ?";
    let values = params![
        At(instance.heartbeat),
        instance.ended.map(At),
        Id::from(instance.id),
        Count(instance.incarnation)
    ];
    connection.prepare_cached(sql)?.execute(values)
}

/// Reads a row of [`SELECT_INSTANCES`].
pub(crate) fn instance(row: &Row<'_>) -> Result<Instance, StoreError> {
    let mut cells = Cells::new(row, "instance");
    Ok(Instance {
        id: InstanceId(cells.take::<Id>()?.0),
        incarnation: cells.take::<Count>()?.0,
        started: cells.take::<At>()?.0,
        heartbeat: cells.take::<At>()?.0,
        ended: cells.take::<Option<At>>()?.map(|at| at.0),
    })
}
