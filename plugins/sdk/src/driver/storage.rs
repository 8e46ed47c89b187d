//! Artifacts that users brought, like images to flash. The driver needs the grant `storage` for their cache group.

use super::Failure;
use crate::bindings::driver::grove::plugin::storage::{self, StorageError};

/// Bytes that are read at a time; the controller gives no more.
const PIECE: u32 = 1 << 20;

/// An artifact, as it was when it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Artifact {
    group: String,
    key: String,
    /// Bytes.
    pub size: u64,
    /// What it holds: SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Artifact {
    /// The artifact of this cache group and key.
    ///
    /// # Errors
    /// [`Failure::Config`] when there is none, or the group was not granted.
    pub fn find(group: &str, key: &str) -> Result<Self, Failure> {
        let found = storage::stat(group, key).map_err(|error| explained(error, group, key))?;
        Ok(Self { group: group.into(), key: key.into(), size: found.size, sha256: found.sha256 })
    }

    /// Some bytes from `offset` on; none at the end.
    ///
    /// # Errors
    /// When they cannot be read now, or another artifact took its place.
    pub fn read_at(&self, offset: u64) -> Result<Vec<u8>, Failure> {
        let read = storage::read(&self.group, &self.key, &self.sha256, offset, PIECE);
        read.map_err(|error| explained(error, &self.group, &self.key))
    }

    /// Gives all of it to `take`, piece by piece.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), and those of `take`.
    pub fn for_each_piece(&self, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut offset = 0;
        while offset < self.size {
            let piece = self.read_at(offset)?;
            if piece.is_empty() {
                return Err(Failure::Environment(format!("{}/{} ends early", self.group, self.key)));
            }
            offset += piece.len() as u64;
            take(&piece)?;
        }
        Ok(())
    }
}

fn explained(error: StorageError, group: &str, key: &str) -> Failure {
    match error {
        StorageError::Denied(why) => {
            Failure::Config(format!("no artifacts for this driver: {why}; grant `storage`"))
        }
        StorageError::NotFound => Failure::Config(format!(
            "there is no artifact `{key}` in the group `{group}`; bring it with `grove artifact put`"
        )),
        StorageError::Changed => {
            Failure::Environment(format!("{group}/{key} was replaced while it was read"))
        }
        StorageError::Unavailable(why) => {
            Failure::Environment(format!("{group}/{key} cannot be read: {why}"))
        }
    }
}
