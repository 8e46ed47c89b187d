//! The board's own key, the same over restarts.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, decode_secret_key, key};

/// The key in the file, or a new one that is now in the file. The error is for people.
pub(super) fn load_or_make(path: &Path) -> Result<PrivateKey, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => decode_secret_key(&text, None).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        Err(error) => Err(error.to_string()),
    }
}

fn make(path: &Path) -> Result<PrivateKey, String> {
    let made = PrivateKey::random(&mut key::safe_rng(), Algorithm::Ed25519);
    let made = made.map_err(|error| error.to_string())?;
    let text = made.to_openssh(LineEnding::LF).map_err(|error| error.to_string())?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| error.to_string())?;
    Ok(made)
}
