//! What was found to be damaged in an open store.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::error::{CommitError, StoreError};
use crate::open;
use crate::reader;

/// The first damage that anybody met. Once there is one, the store is not left as clean: the next start looks through it
/// before it trusts it.
#[derive(Clone, Default)]
pub(crate) struct Damage(Arc<OnceLock<StoreError>>);

impl Damage {
    /// Takes note when this is about damage.
    pub(crate) fn meet(&self, error: &StoreError) {
        if matches!(error, StoreError::Corrupt(_)) && self.0.set(error.clone()).is_ok() {
            tracing::error!(%error, "the store is not to be trusted any more");
        }
    }

    pub(crate) fn meet_commit(&self, error: &CommitError) {
        if let CommitError::Store(error) = error {
            self.meet(error);
        }
    }

    pub(crate) fn found(&self) -> Option<StoreError> {
        self.0.get().cloned()
    }
}

/// A look through everything that is stored, on a connection of its own: nothing waits for it, and it keeps no store
/// open.
pub struct Check {
    pub(crate) database: PathBuf,
    pub(crate) damage: Damage,
}

impl Check {
    /// Looks; blocks the calling thread for as long as it takes to read all of the file.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn run(&self) -> Result<(), StoreError> {
        let checked = reader::connect(&self.database).and_then(|connection| open::check(&connection));
        checked.inspect_err(|error| self.damage.meet(error))
    }
}
