//! Pairs as files: one each, readable by the owner alone, whole or not there.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};

use super::pair::KeyPair;

/// Name endings: a pair, and one that is still being written.
const PAIR: &str = ".pem";
const PART: &str = ".part";
/// Most bytes of a file that can be a pair.
const MAX_FILE: u64 = 16 * 1024;
/// Most pairs taken stock of.
const MAX_STOCK: usize = 10_000;

pub(super) struct Shelf {
    dir: Dir,
}

/// A pair and the file that says that it is nobody's yet.
pub(super) struct Stored {
    name: String,
    pair: KeyPair,
}

impl Shelf {
    pub(super) fn open(dir: Dir) -> io::Result<Shelf> {
        dir.set_permissions(".", Permissions::from_mode(0o700))?;
        Ok(Shelf { dir })
    }

    /// Every pair there is. What is not a pair any more is removed.
    pub(super) fn take_stock(&self) -> io::Result<VecDeque<Stored>> {
        let mut stock = VecDeque::new();
        for entry in self.dir.entries()? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.ends_with(PART) {
                self.discard(&name, "it was never finished");
            } else if name.ends_with(PAIR) && stock.len() < MAX_STOCK {
                match self.read(&name) {
                    Ok(pair) => stock.push_back(Stored { name, pair }),
                    Err(error) => self.discard(&name, &error),
                }
            }
        }
        Ok(stock)
    }

    /// Writes a pair so that it is either whole on disk, or not there.
    pub(super) fn store(&self, pair: KeyPair) -> Result<Stored, (KeyPair, io::Error)> {
        let mut id = [0; 16];
        if let Err(error) = getrandom::fill(&mut id) {
            return Err((pair, io::Error::other(error)));
        }
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let (name, part) = (format!("{id}{PAIR}"), format!("{id}{PART}"));
        match self.write(&part, &name, &pair.private_pem) {
            Ok(()) => Ok(Stored { name, pair }),
            Err(error) => {
                let _ = self.dir.remove_file(&part);
                let _ = self.dir.remove_file(&name);
                Err((pair, error))
            }
        }
    }

    /// Makes pairs ours for good: those come back whose files this call removed. The rest is nobody's we know.
    pub(super) fn claim(&self, stored: Vec<Stored>) -> Vec<KeyPair> {
        if stored.is_empty() {
            return Vec::new();
        }
        let mut pairs = Vec::with_capacity(stored.len());
        for Stored { name, pair } in stored {
            match self.dir.remove_file(&name) {
                Ok(()) => pairs.push(pair),
                Err(error) => tracing::warn!(name, %error, "a session key was taken by someone else"),
            }
        }
        if let Err(error) = self.flush() {
            // Not certainly gone: after a power cut these files could be back, so nobody may have the pairs.
            tracing::error!(%error, "cannot flush the folder of session keys; throwing away what was claimed");
            return Vec::new();
        }
        pairs
    }

    fn write(&self, part: &str, name: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = self.dir.open_with(part, options.write(true).create_new(true).mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        self.dir.rename(part, &self.dir, name)?;
        self.flush()
    }

    fn read(&self, name: &str) -> Result<KeyPair, String> {
        let file = self.dir.open(name).map_err(|error| error.to_string())?;
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
        KeyPair::from_pem(&text).map_err(|error| error.to_string())
    }

    fn discard(&self, name: &str, reason: &str) {
        tracing::warn!(name, reason, "discarding a session key");
        if let Err(error) = self.dir.remove_file(name) {
            tracing::warn!(name, %error, "cannot remove a session key");
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.dir.open(".")?.sync_all()
    }
}
