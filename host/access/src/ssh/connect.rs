//! Dial, make sure who answers, log in.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, client};
use tokio::net::TcpStream;

use super::{SshError, SshSettings, SshTarget};
use crate::secrets::Secrets;

/// A logged-in connection.
pub(super) type Handle = client::Handle<Doorkeeper>;

/// Whose host key is accepted.
enum Welcome {
    Anyone,
    Nobody,
    Only(PublicKey),
}

/// Looks at the host key before anything else is said.
pub(super) struct Doorkeeper {
    welcome: Welcome,
    /// Who was turned away.
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl client::Handler for Doorkeeper {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let welcome = match &self.welcome {
            Welcome::Anyone => true,
            Welcome::Nobody => false,
            Welcome::Only(pinned) => pinned.key_data() == key.key_data(),
        };
        if !welcome {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        }
        Ok(welcome)
    }
}

/// A new connection to the target, logged in.
pub(super) async fn connect(
    settings: &SshSettings,
    secrets: &Secrets,
    target: &SshTarget,
) -> Result<Handle, SshError> {
    let welcome = match pinned(target)? {
        Some(pinned) => Welcome::Only(pinned),
        None if settings.allow_unpinned_hosts => Welcome::Anyone,
        // Still connected to, so that the refusal can show the key to pin.
        None => Welcome::Nobody,
    };
    let work = async {
        let handle = greet(settings, target, welcome).await?;
        let identity = identity(settings, secrets, target).await?;
        log_in(handle, target, identity).await
    };
    tokio::time::timeout(settings.connect_timeout, work).await.unwrap_or_else(|_| {
        let (address, limit) = (address(target), settings.connect_timeout);
        Err(SshError::Unreachable(format!("{address} did not answer in {limit:?}")))
    })
}

fn address(target: &SshTarget) -> String {
    format!("{} port {}", target.host, target.port)
}

fn pinned(target: &SshTarget) -> Result<Option<PublicKey>, SshError> {
    let Some(line) = &target.host_key else { return Ok(None) };
    let key = PublicKey::from_openssh(line.trim());
    key.map(Some).map_err(|error| {
        SshError::HostKey(format!(
            "`host_key` is not an OpenSSH public key line ({error}): take one from `ssh-keyscan {}`",
            target.host
        ))
    })
}

struct Identity {
    name: String,
    key: Arc<russh::keys::PrivateKey>,
}

async fn identity(
    settings: &SshSettings,
    secrets: &Secrets,
    target: &SshTarget,
) -> Result<Identity, SshError> {
    let Some(name) = target.identity.clone().or_else(|| settings.default_identity.clone()) else {
        let text = "no identity to log in with: set `identity` in the driver config to the name of a secret";
        return Err(SshError::Denied(text.to_owned()));
    };
    let secrets = secrets.clone();
    let read = move || secrets.identity(&name).map(|key| Identity { name, key: Arc::new(key) });
    match tokio::task::spawn_blocking(read).await {
        Ok(identity) => Ok(identity?),
        Err(_) => Err(SshError::Other("shutting down".to_owned())),
    }
}

/// Connects up to the point where we know who the other machine is.
async fn greet(settings: &SshSettings, target: &SshTarget, welcome: Welcome) -> Result<Handle, SshError> {
    let stream = TcpStream::connect((target.host.as_str(), target.port));
    let stream = stream.await.map_err(|error| {
        let text = format!("{}: {error}", address(target));
        if is_short(&error) { SshError::Short(text) } else { SshError::Unreachable(text) }
    })?;
    let _ = stream.set_nodelay(true);
    let pinned = match &welcome {
        Welcome::Only(pinned) => Some(pinned.clone()),
        Welcome::Anyone | Welcome::Nobody => None,
    };
    let config = Arc::new(config(settings.keepalive, pinned.as_ref()));
    let seen = Arc::new(Mutex::new(None));
    let doorkeeper = Doorkeeper { welcome, seen: Arc::clone(&seen) };
    client::connect_stream(config, stream, doorkeeper).await.map_err(|error| {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        refusal(target, pinned.as_ref(), seen.as_ref(), error)
    })
}

/// Whether it says nothing about the other side: no file descriptor or memory was left on this one.
fn is_short(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS))
        || error.kind() == io::ErrorKind::OutOfMemory
}

fn config(keepalive: Duration, pinned: Option<&PublicKey>) -> client::Config {
    let mut preferred = Preferred::default();
    if let Some(pinned) = pinned {
        // A server with several host keys shall show the one that is pinned.
        preferred.key = Cow::Owned(match pinned.algorithm() {
            Algorithm::Rsa { .. } => vec![
                Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
                Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
            ],
            other => vec![other],
        });
    }
    client::Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(keepalive),
        keepalive_max: 3,
        ..client::Config::default()
    }
}

/// What went wrong, in words for the admin.
fn refusal(
    target: &SshTarget,
    pinned: Option<&PublicKey>,
    seen: Option<&PublicKey>,
    error: russh::Error,
) -> SshError {
    let address = address(target);
    match (pinned, seen, error) {
        (Some(pinned), Some(seen), _) => SshError::HostKey(format!(
            "{address} is not who it was: expected {}, seen {}; if the board was set up anew, set its `host_key` to: {}",
            print(pinned),
            print(seen),
            line(seen)
        )),
        (None, Some(seen), _) => SshError::HostKey(format!(
            "none is pinned for {address}, which shows {}; if that is the board, set its `host_key` to: {}",
            print(seen),
            line(seen)
        )),
        (Some(pinned), None, russh::Error::NoCommonAlgo { theirs, .. }) => SshError::HostKey(format!(
            "{address} has nothing in common with us: expected {}, offered {}",
            print(pinned),
            theirs.join(", ")
        )),
        (_, _, russh::Error::IO(error)) => SshError::Unreachable(format!("{address}: {error}")),
        (_, _, russh::Error::HUP | russh::Error::Disconnect) => {
            SshError::Unreachable(format!("{address} closed the connection"))
        }
        (_, _, error) => SshError::Unreachable(format!("{address} does not speak ssh with us: {error}")),
    }
}

fn print(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn line(key: &PublicKey) -> String {
    PublicKey::from(key.key_data().clone()).to_openssh().unwrap_or_default()
}

async fn log_in(mut handle: Handle, target: &SshTarget, identity: Identity) -> Result<Handle, SshError> {
    let lost = |error: russh::Error| match error {
        russh::Error::IO(error) if error.kind() == io::ErrorKind::TimedOut => SshError::TimedOut,
        error => SshError::Unreachable(format!("{}: {error}", address(target))),
    };
    let fingerprint = identity.key.fingerprint(HashAlg::Sha256);
    let hash = match identity.key.algorithm() {
        Algorithm::Rsa { .. } => handle.best_supported_rsa_hash().await.map_err(lost)?.flatten(),
        _ => None,
    };
    let key = PrivateKeyWithHashAlg::new(identity.key, hash);
    if handle.authenticate_publickey(target.user.clone(), key).await.map_err(lost)?.success() {
        return Ok(handle);
    }
    Err(SshError::Denied(format!(
        "{} does not let {} in with the identity {} ({fingerprint}): add its public key to authorized_keys there",
        address(target),
        target.user,
        identity.name
    )))
}
