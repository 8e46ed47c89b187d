//! A real ssh server on this host that stands for a board: what the demo hands out, and what tests log in to.
//!
//! The one key given at the start is the driver's: it opens both `admin` and `board`. Users come in as `board` alone,
//! with the keys in `~/.ssh/authorized_keys`, read at each attempt. All get a real shell with the board's home around it.
//! Nothing that a channel started outlives it. It is no jail: whoever may log in acts as the user this process runs as.

mod host_key;
mod process;
mod visitor;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PublicKey;
use russh::server::{Config, run_stream};
use russh::{Disconnect, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::visitor::Visitor;
use crate::keys::{KeyError, parse_public_line};

/// User of drivers.
pub const ADMIN_USER: &str = "admin";
/// User of those who have the board.
pub const BOARD_USER: &str = "board";

/// Wait after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a farewell to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a board is like.
#[derive(Clone, Debug)]
pub struct BoardSettings {
    /// Its name, for people.
    pub name: String,
    /// Where its ssh server listens; port 0: anywhere.
    pub listen: SocketAddr,
    /// Its home folder; made when it is not there.
    pub home: PathBuf,
    /// File of its host key; made when it is not there. `None`: beside the home, with `.host_key` appended.
    pub host_key: Option<PathBuf>,
    /// The OpenSSH public key line of the driver: it lets in as `admin` and as `board`.
    pub admin_key: String,
    /// Its shell.
    pub shell: PathBuf,
    /// What an interactive shell begins with.
    pub motd: String,
    /// Most connections at a time.
    pub max_connections: usize,
}

impl BoardSettings {
    /// An ordinary board on a free port of the loopback.
    pub fn new(name: &str, home: impl Into<PathBuf>, admin_key: &str) -> BoardSettings {
        BoardSettings {
            name: name.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            home: home.into(),
            host_key: None,
            admin_key: admin_key.to_owned(),
            shell: login_shell(),
            motd: format!("This is {name}, all yours until your job ends.\n"),
            max_connections: 64,
        }
    }
}

/// Why a board did not start.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// Its admin key is none.
    #[error("the admin key of the board: {0}")]
    AdminKey(#[from] KeyError),
    /// Its host key can be neither read nor made.
    #[error("the host key {path} of the board: {reason}")]
    HostKey {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Its home cannot be made.
    #[error("the home {path} of the board: {error}")]
    Home {
        /// Which folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its address is taken.
    #[error("the board cannot listen on {address}: {error}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// A running board. Stops when dropped.
#[derive(Debug)]
pub struct Board {
    addr: SocketAddr,
    host_key_line: String,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// What every connection needs to know.
struct Site {
    settings: BoardSettings,
    admin_key: PublicKey,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// The public key line of the private key in this file, which is made when it is not there: the identity of a
/// supervisor's user, or a host key.
pub fn identity(path: &Path) -> Result<String, BoardError> {
    let broken = |reason| BoardError::HostKey { path: path.to_owned(), reason };
    let key = host_key::load_or_make(path).map_err(broken)?;
    key.public_key().to_openssh().map_err(|error| broken(error.to_string()))
}

impl Board {
    /// Makes what is missing, and listens.
    pub async fn start(settings: BoardSettings) -> Result<Board, BoardError> {
        let admin_key = parse_public_line(&settings.admin_key)?;
        let admin_key = PublicKey::from_openssh(&admin_key.to_string())
            .map_err(|error| KeyError::Malformed(error.to_string()))?;
        make_home(&settings.home).map_err(|error| BoardError::Home { path: settings.home.clone(), error })?;
        let path = settings.host_key.clone().unwrap_or_else(|| beside(&settings.home));
        let host_key =
            host_key::load_or_make(&path).map_err(|reason| BoardError::HostKey { path, reason })?;
        let host_key_line = host_key.public_key().to_openssh().unwrap_or_default();
        let unheard = |error| BoardError::Listen { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).await.map_err(unheard)?;
        let addr = listener.local_addr().map_err(unheard)?;
        let config = Arc::new(Config {
            keys: vec![host_key],
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::from_millis(300),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: None,
            keepalive_interval: Some(Duration::from_secs(15)),
            ..Config::default()
        });
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let site = Site { settings, admin_key, stopping: stopping.clone(), tasks: tasks.clone() };
        tasks.spawn(listen(Arc::new(site), config, listener));
        Ok(Board { addr, host_key_line, stopping, tasks })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its host key, as an OpenSSH public key line.
    pub fn host_key_line(&self) -> &str {
        &self.host_key_line
    }

    /// Ends every connection and everything that runs on it; resolves when that is done.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// What most boards have, with all its habits: it replaces itself with the last command, so that a signal which ends that
/// ends the session.
fn login_shell() -> PathBuf {
    let shells = ["/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"].map(PathBuf::from);
    shells.into_iter().find(|shell| shell.exists()).unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

fn make_home(home: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home.join(".ssh"))
}

fn beside(home: &Path) -> PathBuf {
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(".host_key");
    home.with_file_name(name)
}

async fn listen(site: Arc<Site>, config: Arc<Config>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(site.settings.max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = site.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                let (site, config) = (Arc::clone(&site), Arc::clone(&config));
                site.tasks.clone().spawn(async move {
                    serve(site, config, stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the board cannot accept; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(site: Arc<Site>, config: Arc<Config>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let stopping = site.stopping.clone();
    let greeted = tokio::select! {
        () = stopping.cancelled() => return,
        greeted = run_stream(config, stream, Visitor::new(site)) => greeted,
    };
    let Ok(mut session) = greeted else { return };
    let handle = session.handle();
    tokio::select! {
        ended = &mut session => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the board broke");
            }
            return;
        }
        () = stopping.cancelled() => {}
    }
    let farewell =
        handle.disconnect(Disconnect::ByApplication, "the board is switched off".to_owned(), "en".to_owned());
    let _ = timeout(FAREWELL, farewell).await;
    let _ = timeout(FAREWELL, session).await;
}
