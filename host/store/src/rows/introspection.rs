//! Runs of introspection, and what is kept of their inventories, as rows.

use std::borrow::Cow;

use grove_domain::capability::Map;
use grove_domain::id::{IntrospectionId, WorkerId};
use grove_domain::introspection::{Ending, Findings, Introspection, Kind, State, TokenDigest, Way};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] = &[
    "worker",
    "state",
    "since",
    "started",
    "finished",
    "error",
    "ending",
    "switch_off",
    "has_raw",
    "has_processed",
    "revision",
];
const FIXED: &[&str] = &["id", "way", "token"];

/// Those that have not ended, and of each worker the newest, the newest with an inventory, and the newest with a processed
/// one.
pub(crate) const KEPT: &str = "finished IS NULL OR id IN (
    SELECT max(id) FROM introspections WHERE worker IS NOT NULL GROUP BY worker UNION ALL
    SELECT max(id) FROM introspections WHERE worker IS NOT NULL AND has_raw GROUP BY worker UNION ALL
    SELECT max(id) FROM introspections WHERE worker IS NOT NULL AND has_processed GROUP BY worker)";

/// Takes what [`put_inventory`] and [`put_findings`] bind.
pub(crate) const PUT_INVENTORY: &str = "INSERT INTO inventories (introspection, kind, data) VALUES (?, ?, ?)
    ON CONFLICT (introspection, kind) DO UPDATE SET data = excluded.data";
/// What is kept of one run, by its id and kind.
pub(crate) const SELECT_INVENTORY: &str = "SELECT data FROM inventories WHERE introspection = ? AND kind = ?";
/// The kind of findings.
pub(crate) const FINDINGS: &str = "findings";

pub(super) fn table() -> Table {
    Table::new("introspections", WRITTEN, FIXED)
}

/// Binds the insert of a first revision, or the update of a later one.
pub(crate) fn put_introspection(row: &mut Binder<'_, '_>, run: &Introspection) -> rusqlite::Result<()> {
    row.put(run.worker.map(Id::from))?;
    row.put(run.state.name())?;
    row.put(At(run.since))?;
    row.put(At(run.started))?;
    row.put(run.finished.map(At))?;
    row.put(&run.error)?;
    row.put(run.ending.as_ref().map(|ending| &ending.reason))?;
    row.put(run.ending.as_ref().map(|ending| ending.switch_off))?;
    row.put(run.has_raw)?;
    row.put(run.has_processed)?;
    row.put(Count(run.revision))?;
    row.put(Id::from(run.id))?;
    if run.revision > 1 {
        return row.put(Count(run.revision - 1));
    }
    row.put(run.way.name())?;
    row.put(run.token.map(|token| token.0))
}

/// Reads a row of the table's select.
pub(crate) fn introspection(row: &Row<'_>) -> Result<Introspection, StoreError> {
    let mut cells = Cells::new(row, "introspection");
    Ok(Introspection {
        worker: cells.take::<Option<Id>>()?.map(|id| WorkerId(id.0)),
        state: cells.word(State::from_name)?,
        since: cells.take::<At>()?.0,
        started: cells.take::<At>()?.0,
        finished: cells.take::<Option<At>>()?.map(|at| at.0),
        error: cells.take()?,
        ending: ending(&mut cells)?,
        has_raw: cells.take()?,
        has_processed: cells.take()?,
        revision: cells.take::<Count>()?.0,
        id: IntrospectionId(cells.take::<Id>()?.0),
        way: cells.word(Way::from_name)?,
        token: cells.take::<Option<[u8; 32]>>()?.map(TokenDigest),
    })
}

fn ending(cells: &mut Cells<'_>) -> Result<Option<Ending>, StoreError> {
    let (reason, switch_off) = (cells.take::<Option<String>>()?, cells.take::<Option<bool>>()?);
    Ok(reason.zip(switch_off).map(|(reason, switch_off)| Ending { reason, switch_off }))
}

/// Binds [`PUT_INVENTORY`].
pub(crate) fn put_inventory(
    row: &mut Binder<'_, '_>,
    run: IntrospectionId,
    kind: Kind,
    inventory: &str,
) -> rusqlite::Result<()> {
    row.put(Id::from(run))?;
    row.put(kind.name())?;
    row.put(inventory)
}

/// Binds [`PUT_INVENTORY`].
pub(crate) fn put_findings(
    row: &mut Binder<'_, '_>,
    run: IntrospectionId,
    found: &Findings,
) -> rusqlite::Result<()> {
    row.put(Id::from(run))?;
    row.put(FINDINGS)?;
    row.json(&FindingsRow::from(found))
}

/// Reads findings from a row whose one column they are.
pub(crate) fn findings(row: &Row<'_>) -> Result<Findings, StoreError> {
    Ok(Cells::new(row, "inventory").json::<FindingsRow<'_>>()?.findings())
}

#[derive(Serialize, Deserialize)]
struct FindingsRow<'a> {
    capabilities: Cow<'a, Map>,
    labels: Cow<'a, Map>,
    by: Cow<'a, Map>,
}

impl<'a> From<&'a Findings> for FindingsRow<'a> {
    fn from(found: &'a Findings) -> Self {
        Self {
            capabilities: Cow::Borrowed(&found.capabilities),
            labels: Cow::Borrowed(&found.labels),
            by: Cow::Borrowed(&found.by),
        }
    }
}

impl FindingsRow<'_> {
    fn findings(self) -> Findings {
        Findings {
            capabilities: self.capabilities.into_owned(),
            labels: self.labels.into_owned(),
            by: self.by.into_owned(),
        }
    }
}
