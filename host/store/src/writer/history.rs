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
    /// Runs of introspection that ended before this. Of each worker the newest, the newest with an inventory, and the newest
    /// with a processed one stay all the same.
    pub introspections_before: Option<Timestamp>,
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
    /// Runs of introspection.
    pub introspections: u64,
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
        if let Some(before) = retention.introspections_before {
            pruned.introspections = introspections(&transaction, before, retention.limit)?;
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

/// Runs of boards that did not become workers: so many are kept, whatever their age.
const REFUSED_BOARDS: u32 = 1000;

fn introspections(connection: &Connection, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let later = |what: &str| {
        format!(
            "EXISTS (SELECT 1 FROM introspections AS later WHERE later.worker = old.worker AND later.id > old.id{what})"
        )
    };
    let (newer, raw, processed) = (later(""), later(" AND later.has_raw"), later(" AND later.has_processed"));
    let past = format!(
        "DELETE FROM introspections WHERE id IN (SELECT id FROM introspections AS old WHERE finished < ?
            AND (worker IS NULL OR {newer} AND (NOT has_raw OR {raw}) AND (NOT has_processed OR {processed}))
            ORDER BY finished LIMIT ?)"
    );
    let removed = connection.prepare_cached(&past)?.execute(params![At(before), limit])?;
    let many = "DELETE FROM introspections WHERE id IN (SELECT id FROM introspections
        WHERE worker IS NULL AND finished IS NOT NULL ORDER BY id DESC LIMIT ? OFFSET ?)";
    let refused = connection.prepare_cached(many)?.execute(params![limit, REFUSED_BOARDS])?;
    Ok((removed + refused).try_into().unwrap_or(u64::MAX))
}
