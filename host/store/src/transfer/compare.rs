//! What an import would change.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::FARM;
use super::tables::{quoted, tables};
use crate::error::StoreError;

/// Rows of a table that an import changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableChange {
    /// The table.
    pub table: String,
    /// Rows that are only in the export.
    pub added: u64,
    /// Rows that are only in the farm.
    pub removed: u64,
    /// Rows that are in both and are not the same.
    pub changed: u64,
}

pub(super) fn compare(live: &Path, staged: &Path) -> Result<Vec<TableChange>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(live, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute("ATTACH ? AS staged", [path(staged)?])?;
    connection.execute_batch("BEGIN")?;
    let count = |sql: &str| {
        let count = connection.query_row(sql, [], |row| row.get::<_, i64>(0))?;
        Ok::<_, StoreError>(u64::try_from(count).unwrap_or(0))
    };
    let mut changes = Vec::new();
    for table in tables(&connection)?.iter().filter(|table| table.name != FARM) {
        let name = quoted(&table.name);
        let same_key = format!("({}) = ({})", table.keys("one."), table.keys("other."));
        let only_in = |one: &str, other: &str| {
            format!(
                "SELECT count(*) FROM {one}.{name} AS one
                WHERE NOT EXISTS (SELECT 1 FROM {other}.{name} AS other WHERE {same_key})"
            )
        };
        let differ: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let differ: Vec<String> =
            differ.iter().map(|column| format!("one.{column} IS NOT other.{column}")).collect();
        let changed = format!(
            "SELECT count(*) FROM staged.{name} AS one JOIN main.{name} AS other ON {same_key} WHERE {}",
            differ.join(" OR ")
        );
        changes.push(TableChange {
            table: table.name.clone(),
            added: count(&only_in("staged", "main"))?,
            removed: count(&only_in("main", "staged"))?,
            changed: count(&changed)?,
        });
    }
    Ok(changes)
}

/// A path as SQL takes it.
pub(super) fn path(path: &Path) -> Result<&str, StoreError> {
    path.to_str().ok_or_else(|| StoreError::Io(format!("{}: the name must be UTF-8", path.display())))
}
