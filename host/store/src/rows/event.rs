//! Events as rows.

use grove_domain::event::Event;
use rusqlite::Row;

use super::{At, Binder, Cells, Count};
use crate::error::StoreError;

/// Takes what [`put_event`] binds.
pub(crate) const INSERT_EVENT: &str = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// Binds [`INSERT_EVENT`].
pub(crate) fn put_event(row: &mut Binder<'_, '_>, event: &Event) -> rusqlite::Result<()> {
    row.put(Count(event.seq))?;
    row.put(At(event.at))?;
    row.put(&event.actor)?;
    row.put(&event.kind)?;
    row.put(event.subject.to_string())?;
    row.put(&event.before)?;
    row.put(&event.after)?;
    row.put(&event.note)
}

/// Reads `SELECT * FROM events`.
pub(crate) fn event(row: &Row<'_>) -> Result<Event, StoreError> {
    let mut cells = Cells::new(row, "event");
    Ok(Event {
        seq: cells.take::<Count>()?.0,
        at: cells.take::<At>()?.0,
        actor: cells.take()?,
        kind: cells.take()?,
        subject: cells.word(|text| text.parse().ok())?,
        before: cells.take()?,
        after: cells.take()?,
        note: cells.take()?,
    })
}
