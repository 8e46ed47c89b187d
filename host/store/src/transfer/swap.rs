//! The one transaction in which a staged farm takes the place of the live one.

use std::path::PathBuf;

use grove_domain::event::{Event, Subject};
use grove_domain::mode::FarmMode;
use grove_domain::moment::Timestamp;
use rusqlite::{Connection, params};

use super::tables::{quoted, tables};
use super::{FARM, Staged};
use crate::error::StoreError;
use crate::rows::{At, Count};

/// What the writer is to put in the place of everything.
pub(crate) struct Replacement {
    pub(crate) database: PathBuf,
    /// Says so; its number is given when it is written.
    pub(crate) event: Event,
    /// Asked in the transaction, of the mode that is stored then.
    pub(crate) may: Box<dyn Fn(&FarmMode) -> bool + Send>,
    /// Why the farm is in maintenance afterwards.
    pub(crate) why: &'static str,
}

/// The farm is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// The epoch that began; batches of earlier ones are refused.
    pub epoch: u64,
    /// Number of the event that says so. It is higher than that of any event before, of either farm.
    pub event: u64,
}

impl Replacement {
    pub(crate) fn new(
        staged: &Staged,
        actor: &str,
        now: Timestamp,
        may: impl Fn(&FarmMode) -> bool + Send + 'static,
    ) -> Self {
        let (header, settled) = (staged.header(), staged.settled());
        let note = format!(
            "made {} by Grove {}; {} tasks, {} requests, {} workers and {} introspections were at something",
            header.created,
            header.version,
            settled.tasks,
            settled.requests,
            settled.workers,
            settled.introspections
        );
        let event = Event {
            seq: 0,
            at: now,
            actor: actor.into(),
            kind: staged.origin().event().into(),
            subject: Subject::Farm,
            before: None,
            after: None,
            note: Some(note),
        };
        Self { database: staged.database(), event, may: Box::new(may), why: staged.origin().done() }
    }
}

/// Puts the rows of the attached database `staged` in the place of those of `main`, in the transaction that there is; the
/// new epoch. The farm is in maintenance afterwards, whatever the mode of either was: nobody has looked at it yet. Triggers
/// must be off: they are about changes of a farm, and this is another farm.
pub(crate) fn replace_rows(connection: &Connection, why: &str, now: Timestamp) -> Result<u64, StoreError> {
    // Until the end of this transaction.
    connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
    let tables = tables(connection)?;
    for table in tables.iter().rev().filter(|table| table.name != FARM) {
        connection.execute(&format!("DELETE FROM main.{}", quoted(&table.name)), [])?;
    }
    for table in &tables {
        if table.name != FARM {
            let (name, columns) = (quoted(&table.name), table.columns());
            connection
                .execute(&format!("INSERT INTO main.{name} ({columns}) {}", table.select("staged")), [])?;
            continue;
        }
        for column in table.columns.iter().filter(|column| column.name.starts_with("last_")) {
            let column = quoted(&column.name);
            let highest =
                format!("UPDATE main.farm SET {column} = max({column}, (SELECT {column} FROM staged.farm))");
            connection.execute(&highest, [])?;
        }
    }
    let maintenance = "UPDATE main.farm SET mode = 'maintenance', mode_since = ?, mode_reason = ?,
        mode_until = NULL, mode_revision = mode_revision + 1 WHERE mode <> 'maintenance'";
    connection.execute(maintenance, params![At(now), why])?;
    let sql = "UPDATE main.farm SET epoch = max(epoch, (SELECT epoch FROM staged.farm)) + 1, stopped = 0 RETURNING epoch";
    Ok(connection.query_row(sql, [], |row| row.get::<_, Count>(0))?.0)
}
