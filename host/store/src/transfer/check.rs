//! Whether a store that was made of an export is one that a controller can load.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::tables::{Table, quoted};
use super::{Admission, FARM, ImportError};
use crate::error::StoreError;
use crate::rows::{
    self, FINDINGS, INTROSPECTIONS, PLUGINS, REQUESTS, SELECT_LIMITS, SELECT_MODE, SELECT_RULES,
    SELECT_VERSIONS, TASKS, WORKERS,
};

/// Every reference leads somewhere; else the line of the row is told from which one does not.
pub(super) fn references(
    connection: &Connection,
    tables: &[Table],
    first_lines: &BTreeMap<String, u64>,
) -> Result<(), ImportError> {
    let sql = "SELECT \"table\", rowid, parent FROM pragma_foreign_key_check LIMIT 1";
    let wrong = connection
        .query_row(sql, [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let Some((name, row, parent)) = wrong else { return Ok(()) };
    let problem =
        format!("{name}: the row refers to one of {parent} that is not there, or does not refer to it");
    let first = first_lines.get(&name).copied().unwrap_or_default();
    let place = match (tables.iter().find(|table| table.name == name), row) {
        (Some(table), Some(row)) => {
            let (name, keys) = (quoted(&name), table.keys(""));
            let before = format!(
                "SELECT count(*) FROM {name} WHERE ({keys}) < (SELECT {keys} FROM {name} WHERE rowid = ?)"
            );
            connection.query_row(&before, [row], |row| row.get::<_, i64>(0))?
        }
        _ => 0,
    };
    Err(ImportError::file(first + u64::try_from(place).unwrap_or(0), problem))
}

/// The database is sound, and every row is one that this version understands and that is admitted.
pub(super) fn sound(
    connection: &Connection,
    first_lines: &BTreeMap<String, u64>,
    admission: &dyn Admission,
) -> Result<(), ImportError> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Corrupt(found).into());
    }
    let broken = "SELECT count(*) FROM pragma_foreign_key_check";
    if connection.query_row(broken, [], |row| row.get::<_, i64>(0))? > 0 {
        return Err(StoreError::Corrupt("a reference leads nowhere".to_owned()).into());
    }
    let line = |table| first_lines.get(table).copied();
    let by = |select: &str, key: &str| format!("{select} ORDER BY {key}");
    let workers = |row: &Row<'_>| {
        let worker = rows::worker(row)?;
        admitted(format!("worker {}", worker.id), admission.worker(&worker))
    };
    understood(connection, line("workers"), &by(WORKERS.select(), "id"), workers)?;
    let requests = |row: &Row<'_>| {
        let request = rows::request(row)?;
        admitted(format!("request {}", request.id), admission.request(&request))
    };
    understood(connection, line("requests"), &by(REQUESTS.select(), "id"), requests)?;
    understood(connection, line("tasks"), &by(TASKS.select(), "id"), rows::task)?;
    understood(connection, line(FARM), SELECT_MODE, rows::mode)?;
    let limits = |row: &Row<'_>| {
        let limit = rows::limit(row)?;
        admitted(format!("limit {} {}", limit.scope.kind(), limit.scope.name()), admission.limit(&limit))
    };
    understood(connection, line("limits"), SELECT_LIMITS, limits)?;
    understood(connection, line("plugins"), &by(PLUGINS.select(), "name"), rows::plugin)?;
    understood(connection, line("plugin_versions"), SELECT_VERSIONS, rows::version)?;
    understood(connection, line("introspections"), &by(INTROSPECTIONS.select(), "id"), rows::introspection)?;
    // Of these only some are read here: their lines are not counted.
    let findings = format!("SELECT data FROM inventories WHERE kind = '{FINDINGS}' ORDER BY introspection");
    understood(connection, None, &findings, rows::findings)?;
    let rules = |row: &Row<'_>| {
        let rule = rows::rule(row)?;
        admitted(format!("rule {}", rule.id), admission.rule(&rule))
    };
    understood(connection, line("rules"), &by(SELECT_RULES, "id"), rules)?;
    understood(connection, line("events"), "SELECT * FROM events ORDER BY seq", rows::event)
}

fn admitted(row: String, admitted: Result<(), String>) -> Result<(), StoreError> {
    admitted.map_err(|problem| StoreError::row(row, problem))
}

/// Rows in the order in which the lines were.
fn understood<T>(
    connection: &Connection,
    first_line: Option<u64>,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<(), ImportError> {
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query([])?;
    let mut nth = 0;
    while let Some(row) = rows.next()? {
        if let Err(error) = read(row) {
            return Err(match first_line {
                Some(first) => ImportError::file(first + nth, error.to_string()),
                None => error.into(),
            });
        }
        nth += 1;
    }
    Ok(())
}
