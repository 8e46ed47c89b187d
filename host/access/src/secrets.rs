//! Identities: private keys in a folder, named by the driver configuration, never shown to anyone.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use russh::keys::{PrivateKey, decode_secret_key};

/// Longest name of a secret, in bytes.
const MAX_NAME: usize = 64;
/// Most bytes of a private key file.
const MAX_FILE: u64 = 64 * 1024;

/// The folder of secrets. Clones share it.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: Arc<Path>,
}

/// Why a secret cannot be had. The texts are for the admin, and never hold a part of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not a name.
    #[error("`{0}` cannot name a secret: use up to 64 of A-Z a-z 0-9 . _ -, with no dot in front")]
    Name(String),
    /// No such file.
    #[error("there is no secret {name}: put the private key into secrets/{name} and chmod 600 it")]
    Missing {
        /// Which one.
        name: String,
    },
    /// Others may read it.
    #[error("the secret {name} can be read by others (mode {mode:03o}): chmod 600 secrets/{name}")]
    Open {
        /// Which one.
        name: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It is there, and cannot be read.
    #[error("the secret {name} cannot be read: {error}")]
    Io {
        /// Which one.
        name: String,
        /// Why not.
        error: io::Error,
    },
    /// It needs a passphrase.
    #[error("the secret {name} has a passphrase: remove it with ssh-keygen -p -N '' -f secrets/{name}")]
    Passphrase {
        /// Which one.
        name: String,
    },
    /// It is something else.
    #[error("the secret {name} is not a private key: give an OpenSSH private key, as ssh-keygen makes it")]
    NotAKey {
        /// Which one.
        name: String,
    },
}

impl Secrets {
    /// The secrets in this folder, which is looked up for each of them: it may be away for a while, and another one then.
    pub fn new(folder: impl Into<PathBuf>) -> Secrets {
        Secrets { folder: folder.into().into() }
    }

    /// The text of a secret. Reads a file: brief, but not for a thread that must never wait.
    pub fn read(&self, name: &str) -> Result<String, SecretError> {
        check_name(name)?;
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => SecretError::Missing { name: name.to_owned() },
            _ => SecretError::Io { name: name.to_owned(), error },
        };
        let folder = Dir::open_ambient_dir(&self.folder, ambient_authority()).map_err(io)?;
        let file = folder.open(name).map_err(io)?;
        // Of the open file, so that nobody swaps it in between.
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { name: name.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(io)?;
        Ok(text)
    }

    /// A secret that is a private key.
    pub(crate) fn identity(&self, name: &str) -> Result<PrivateKey, SecretError> {
        let text = self.read(name)?;
        match decode_secret_key(&text, None) {
            Ok(key) if key.is_encrypted() => Err(SecretError::Passphrase { name: name.to_owned() }),
            Ok(key) => Ok(key),
            Err(russh::keys::Error::KeyIsEncrypted) => Err(SecretError::Passphrase { name: name.to_owned() }),
            Err(_) => Err(SecretError::NotAKey { name: name.to_owned() }),
        }
    }
}

fn check_name(name: &str) -> Result<(), SecretError> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.');
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Ok(());
    }
    Err(SecretError::Name(name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()))
}
