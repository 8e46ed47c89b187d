//! Another farm takes the place of the stored one: all of it, or nothing.

use grove_domain::event::Event;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{Last, Writer};
use crate::error::StoreError;
use crate::rows::{self, Binder, Count, INSERT_EVENT, SELECT_MODE, put_event};
use crate::transfer::{Replaced, Replacement, replace_rows};

impl Writer {
    pub(super) fn replace(&mut self, replacement: &Replacement) -> Result<Option<Replaced>, StoreError> {
        let database = replacement.database.to_string_lossy();
        self.connection.execute("ATTACH ? AS staged", [database])?;
        let replaced = self.replace_attached(replacement);
        if let Err(error) = self.connection.execute_batch("DETACH staged") {
            tracing::warn!(%error, "what was imported is still attached");
        }
        let Some((replaced, last)) = replaced? else { return Ok(None) };
        self.last = last;
        self.epoch = replaced.epoch;
        self.void = Some("another farm was imported".to_owned());
        Ok(Some(replaced))
    }

    fn replace_attached(&self, replacement: &Replacement) -> Result<Option<(Replaced, Last)>, StoreError> {
        let _quiet = Quiet::new(&self.connection)?;
        let transaction = self.connection.unchecked_transaction()?;
        let mode = transaction.query_row_and_then(SELECT_MODE, [], rows::mode)?;
        if !(replacement.may)(&mode) {
            return Ok(None);
        }
        // Numbers are never given twice, whichever farm gave them.
        let before = self.last.or(Last::stored(&transaction)?);
        let epoch = replace_rows(&transaction, replacement.why, replacement.event.at)?;
        let mut last = before.or(Last::stored(&transaction)?);
        last.event += 1;
        let event = Event { seq: last.event, ..replacement.event.clone() };
        let mut insert = transaction.prepare(INSERT_EVENT)?;
        let mut row = Binder::new(&mut insert);
        put_event(&mut row, &event)?;
        row.run()?;
        drop(insert);
        last.keep(&transaction)?;
        transaction.commit()?;
        Ok(Some((Replaced { epoch, event: last.event }, last)))
    }
}

impl Last {
    /// What the rows say.
    fn stored(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT max(last_request, (SELECT coalesce(max(id), 0) FROM main.requests)),
            max(last_place, (SELECT coalesce(max(place), 0) FROM main.requests)),
            max(last_event, (SELECT coalesce(max(seq), 0) FROM main.events)) FROM main.farm";
        connection.query_row(sql, [], |row| {
            let number = |column| row.get::<_, Count>(column).map(|count| count.0);
            Ok(Self { request: number(0)?, place: number(1)?, event: number(2)? })
        })
    }

    /// The higher of both.
    fn or(self, other: Self) -> Self {
        Self {
            request: self.request.max(other.request),
            place: self.place.max(other.place),
            event: self.event.max(other.event),
        }
    }
}

/// No triggers as long as this lives.
struct Quiet<'c>(&'c Connection);

impl<'c> Quiet<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        Ok(Self(connection))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true) {
            tracing::error!(%error, "the triggers of the store stay off until the next start");
        }
    }
}
