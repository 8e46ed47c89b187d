//! The tables of a database, as its schema has them.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::OF_THE_PROCESS;
use crate::error::StoreError;

/// A table.
pub(super) struct Table {
    pub(super) name: String,
    /// Those that are stored, in their order; what is computed from them is not among them.
    pub(super) columns: Vec<Column>,
    /// The primary key: places among the columns, in its order.
    pub(super) key: Vec<usize>,
}

/// A column.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a column holds. All tables are strict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Integer,
    Real,
    Blob,
}

impl Table {
    /// `"a", "b"`
    pub(super) fn columns(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }

    /// The columns of the primary key, each with this before it.
    pub(super) fn keys(&self, prefix: &str) -> String {
        let columns = self.key.iter().filter_map(|&at| self.columns.get(at));
        let names: Vec<String> = columns.map(|column| format!("{prefix}{}", quoted(&column.name))).collect();
        names.join(", ")
    }

    /// Every row in the order of the primary key, of the database of this name.
    pub(super) fn select(&self, database: &str) -> String {
        format!("SELECT {} FROM {database}.{} ORDER BY {}", self.columns(), quoted(&self.name), self.keys(""))
    }

    pub(super) fn insert(&self) -> String {
        let marks = vec!["?"; self.columns.len()].join(", ");
        format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(&self.name), self.columns())
    }
}

/// A name as SQL takes it, whatever it is.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables that are a farm, in the order of their references, then of their names. Where references go in a circle,
/// the first by name comes first.
pub(super) fn tables(connection: &Connection) -> Result<Vec<Table>, StoreError> {
    let names = "SELECT name FROM pragma_table_list
        WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut names = connection.prepare(names)?;
    let names = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut left = BTreeMap::new();
    for name in names.into_iter().filter(|name| !OF_THE_PROCESS.contains(&name.as_str())) {
        let references = references(connection, &name)?;
        left.insert(name, references);
    }
    let mut tables = Vec::new();
    while !left.is_empty() {
        let ready = left.iter().find(|(name, references)| {
            references.iter().all(|other| other == *name || !left.contains_key(other))
        });
        let Some(next) = ready.or_else(|| left.iter().next()).map(|(name, _)| name.clone()) else { break };
        left.remove(&next);
        tables.push(table(connection, next)?);
    }
    Ok(tables)
}

fn references(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    let mut list = connection.prepare("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?)")?;
    list.query_map([table], |row| row.get(0))?.collect()
}

fn table(connection: &Connection, name: String) -> Result<Table, StoreError> {
    // Hidden ones are computed.
    let sql = "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid";
    let mut list = connection.prepare(sql)?;
    let mut rows = list.query([&name])?;
    let (mut columns, mut key) = (Vec::new(), BTreeMap::new());
    while let Some(row) = rows.next()? {
        let (column, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let kind = match kind.to_ascii_uppercase().as_str() {
            "TEXT" => Kind::Text,
            "INTEGER" | "INT" => Kind::Integer,
            "REAL" => Kind::Real,
            "BLOB" => Kind::Blob,
            other => {
                return Err(StoreError::row(format!("{name}.{column}"), format!("no type {other} is known")));
            }
        };
        let place: u32 = row.get(2)?;
        if place > 0 {
            key.insert(place, columns.len());
        }
        columns.push(Column { name: column, kind });
    }
    if key.is_empty() {
        return Err(StoreError::row(name, "the table has no primary key"));
    }
    Ok(Table { name, columns, key: key.into_values().collect() })
}
