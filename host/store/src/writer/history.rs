//! Forgetting: history older than its time of being kept goes, a bounded piece at a time.

use grove_domain::moment::Timestamp;
use rusqlite::{Connection, params};

use super::Writer;
use crate::error::StoreError;
use crate::rows::{At, Count};

/// What need not be kept any longer. None = keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Events before this.
    pub events_before: Option<Timestamp>,
    /// Tasks that ended before this.
    pub tasks_before: Option<Timestamp>,
    /// Most rows to remove of each, so that no commit waits long.
    pub limit: u32,
}

/// What was removed; equal to the limit where there may be more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Tasks.
    pub tasks: u64,
}

impl Writer {
    pub(super) fn prune(&mut self, retention: &Retention) -> Result<Pruned, StoreError> {
        if self.void.is_some() && self.epoch == 0 {
            // The highest numbers are known only after a load, and must be kept with what goes.
            return Err(StoreError::Other("load before pruning".to_owned()));
        }
        let transaction = self.connection.unchecked_transaction()?;
        let mut pruned = Pruned::default();
        if let Some(before) = retention.events_before {
            pruned.events = events(&transaction, before, retention.limit)?;
        }
        if let Some(before) = retention.tasks_before {
            pruned.tasks = tasks(&transaction, before, retention.limit)?;
        }
        self.last.keep(&transaction)?;
        transaction.commit()?;
        Ok(pruned)
    }
}

/// Removes the oldest events up to the first that is kept: what remains has no gaps.
fn events(connection: &Connection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let mut oldest = connection.prepare_cached("SELECT seq, at FROM events ORDER BY seq LIMIT ?")?;
    let mut rows = oldest.query([limit])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, At>(1)?.0 >= before {
            break;
        }
        last = Some(row.get::<_, Count>(0)?);
    }
    let Some(last) = last else { return Ok(0) };
    let removed = connection.prepare_cached("DELETE FROM events WHERE seq <= ?")?.execute([last])?;
    Ok(removed.try_into().unwrap_or(u64::MAX))
}

fn tasks(connection: &Connection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE ended < ? ORDER BY ended LIMIT ?)";
    let removed = connection.prepare_cached(sql)?.execute(params![At(before), limit])?;
    Ok(removed.try_into().unwrap_or(u64::MAX))
}
