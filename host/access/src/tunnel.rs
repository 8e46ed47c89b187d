//! Tunnels: one listening port per job, whose connections lead to the board of that job.
//!
//! ```text
//! Tunnels --open--> listener task --accept--> connection task --dial--> board
//!    |                   |                        |
//!    +------close------->+---------closing------->+   the listener ends last: then all is closed
//! ```

mod listener;
mod ports;
mod pump;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::ports::PortSpace;

/// Connections that may wait to be accepted on one port.
const BACKLOG: u32 = 256;

/// What all tunnels have in common.
#[derive(Clone, Debug)]
pub struct TunnelSettings {
    /// Address to listen on.
    pub bind: IpAddr,
    /// Ports to listen on: one per open job.
    pub ports: RangeInclusive<u16>,
    /// Most connections through one tunnel at a time.
    pub max_connections_per_job: usize,
    /// Most connections through all tunnels together.
    pub max_connections_total: usize,
    /// A connection without a byte in either direction for this long is closed; `None`: never.
    pub idle: Option<Duration>,
    /// Longest wait for the board to take a connection.
    pub connect_timeout: Duration,
}

impl Default for TunnelSettings {
    fn default() -> TunnelSettings {
        TunnelSettings {
            bind: IpAddr::from([0, 0, 0, 0]),
            ports: 20_000..=29_999,
            max_connections_per_job: 64,
            max_connections_total: 20_000,
            idle: None,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a tunnel did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every port of the range is taken.
    #[error("no free port in {first}-{last}: widen the range of tunnel ports")]
    NoPort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The port that the tunnel had is not to be had.
    #[error("port {port} is taken{}", error.as_ref().map_or_else(String::new, |error| format!(": {error}")))]
    Taken {
        /// Which.
        port: u16,
        /// What the system says; none when another tunnel has it, or it is not in the range.
        error: Option<std::io::Error>,
    },
    /// The id has a tunnel to somewhere else.
    #[error("tunnel {id} is open to {host}:{port} already: close it first")]
    Elsewhere {
        /// Whose tunnel.
        id: u64,
        /// Where it leads.
        host: String,
        /// Where it leads.
        port: u16,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; check the bind address of tunnels")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The tunnels are being shut down.
    #[error("tunnels are shutting down")]
    ShutDown,
}

/// What went through a tunnel so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelStats {
    /// Where it listens.
    pub port: u16,
    /// Connections now.
    pub connections: usize,
    /// Connections taken since it opened.
    pub accepted: u64,
    /// Connections refused because of a limit.
    pub refused: u64,
    /// Bytes from the user to the board.
    pub bytes_in: u64,
    /// Bytes from the board to the user.
    pub bytes_out: u64,
}

/// All tunnels of this instance. Clones share them; when the last clone is dropped, every tunnel closes.
#[derive(Clone)]
pub struct Tunnels {
    shared: Arc<Shared>,
    _close_all: Arc<DropGuard>,
}

struct Shared {
    settings: TunnelSettings,
    /// Room for connections, over all tunnels.
    room: Arc<Semaphore>,
    closing: CancellationToken,
    state: Mutex<State>,
}

struct State {
    open: HashMap<u64, Arc<Tunnel>>,
    /// Ports of tunnels that are about to open.
    claims: HashMap<u64, (TcpListener, u16)>,
    /// Ports that tunnels had and that somebody else took: their users know them, so no other tunnel gets them.
    lost: HashMap<u64, u16>,
    ports: PortSpace,
}

/// One open tunnel.
struct Tunnel {
    id: u64,
    port: u16,
    target: (String, u16),
    /// Fires when the tunnel shall close.
    closing: CancellationToken,
    /// Fires when its listener and all connections are closed.
    closed: CancellationToken,
    connections: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Tunnels {
    /// No tunnel is open yet.
    pub fn new(settings: TunnelSettings) -> Tunnels {
        let closing = CancellationToken::new();
        let room = Arc::new(Semaphore::new(settings.max_connections_total.min(Semaphore::MAX_PERMITS)));
        let state = State {
            open: HashMap::new(),
            claims: HashMap::new(),
            lost: HashMap::new(),
            ports: PortSpace::new(settings.ports.clone()),
        };
        let shared = Shared { settings, room, closing: closing.clone(), state: Mutex::new(state) };
        Tunnels { shared: Arc::new(shared), _close_all: Arc::new(closing.drop_guard()) }
    }

    /// Takes a port for the tunnel `id`: [`Self::open`] opens it there when no other is wanted, and [`Self::close`] gives
    /// it back. So one knows that there is a port before anything else is done.
    pub fn claim(&self, id: u64) -> Result<(), OpenError> {
        if self.shared.closing.is_cancelled() {
            return Err(OpenError::ShutDown);
        }
        self.shared.unclaim(id);
        let claimed = self.shared.listen()?;
        self.shared.state().claims.insert(id, claimed);
        Ok(())
    }

    /// Opens the tunnel `id` to `target`: on the port that it `had`, or else on any that no tunnel has or lost. The port it
    /// has. A tunnel that is open to the same target stays as it is; one that is just closing is waited for.
    pub async fn open(&self, id: u64, target: (String, u16), had: Option<u16>) -> Result<u16, OpenError> {
        loop {
            let Some(tunnel) = self.shared.find(id) else { break };
            if !tunnel.closing.is_cancelled() {
                return tunnel.port_to(&target);
            }
            tunnel.closed.cancelled().await;
        }
        if self.shared.closing.is_cancelled() {
            return Err(OpenError::ShutDown);
        }
        let claimed = self.shared.state().claims.remove(&id);
        let (listener, port) = match (had, claimed) {
            (Some(port), claimed) => {
                if let Some((listener, other)) = claimed {
                    drop(listener);
                    self.shared.state().ports.release(other);
                }
                (self.shared.listen_again(id, port)?, port)
            }
            (None, Some(claimed)) => claimed,
            (None, None) => self.shared.listen()?,
        };
        let tunnel = Arc::new(Tunnel::new(id, port, target, self.shared.closing.child_token()));
        {
            let mut state = self.shared.state();
            if let Some(other) = state.open.get(&id) {
                // Two calls at once: the first one's tunnel is the answer to both.
                let answer = other.port_to(&tunnel.target);
                state.ports.release(port);
                return answer;
            }
            state.open.insert(id, Arc::clone(&tunnel));
        }
        tokio::spawn(listener::run(Arc::clone(&self.shared), tunnel, listener));
        Ok(port)
    }

    /// Closes the tunnel `id`, its port and every connection at once; resolves when all of that is done. Nothing
    /// happens when there is none. Closing goes on when this future is dropped.
    pub async fn close(&self, id: u64) {
        self.shared.unclaim(id);
        self.shared.give_up(id);
        if let Some(tunnel) = self.shared.find(id) {
            tunnel.closing.cancel();
            tunnel.closed.cancelled().await;
        }
    }

    /// Closes every tunnel, for good; resolves when that is done.
    pub async fn close_all(&self) {
        self.shared.closing.cancel();
        self.shared.state().claims.clear();
        let open: Vec<_> = self.shared.state().open.values().cloned().collect();
        for tunnel in open {
            tunnel.closed.cancelled().await;
        }
    }

    /// Whether somebody takes a connection at `target`, in the time that a tunnel would wait for it.
    pub async fn reach(&self, target: (String, u16)) -> bool {
        let dial = TcpStream::connect(target);
        tokio::time::timeout(self.shared.settings.connect_timeout, dial)
            .await
            .is_ok_and(|dialled| dialled.is_ok())
    }

    /// What went through the tunnel `id`; `None` when it is not open.
    pub fn stats(&self, id: u64) -> Option<TunnelStats> {
        self.shared.find(id).map(|tunnel| tunnel.stats())
    }

    /// Number of open tunnels.
    pub fn count(&self) -> usize {
        self.shared.state().open.len()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it, and each change is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: u64) -> Option<Arc<Tunnel>> {
        self.state().open.get(&id).cloned()
    }

    fn unclaim(&self, id: u64) {
        let claimed = self.state().claims.remove(&id);
        if let Some((listener, port)) = claimed {
            drop(listener);
            self.state().ports.release(port);
        }
    }

    /// The port that the tunnel lost may be given to others.
    fn give_up(&self, id: u64) {
        let mut state = self.state();
        if let Some(port) = state.lost.remove(&id) {
            state.ports.release(port);
        }
    }

    /// Listens on the port that the tunnel had. Where that cannot be, nobody else gets it before the tunnel is closed.
    fn listen_again(&self, id: u64, port: u16) -> Result<TcpListener, OpenError> {
        let ours = {
            let mut state = self.state();
            state.lost.get(&id) == Some(&port) || state.ports.take(port)
        };
        if !ours {
            return Err(OpenError::Taken { port, error: None });
        }
        let bound = self.bind(port);
        let mut state = self.state();
        match bound {
            Ok(listener) => {
                state.lost.remove(&id);
                Ok(listener)
            }
            Err(error) => {
                state.lost.insert(id, port);
                Err(OpenError::Taken { port, error: Some(error) })
            }
        }
    }

    /// Listens on the next free port.
    fn listen(&self) -> Result<(TcpListener, u16), OpenError> {
        let (first, last) = (*self.settings.ports.start(), *self.settings.ports.end());
        for _ in self.settings.ports.clone() {
            let Some(port) = self.state().ports.take_next() else { break };
            match self.bind(port) {
                Ok(listener) => return Ok((listener, port)),
                Err(error) => {
                    self.state().ports.release(port);
                    // Taken by someone else, or not ours to take: the next one may do.
                    let kind = error.kind();
                    if kind != std::io::ErrorKind::AddrInUse && kind != std::io::ErrorKind::PermissionDenied {
                        let address = SocketAddr::new(self.settings.bind, port);
                        return Err(OpenError::Listen { address, error });
                    }
                }
            }
        }
        Err(OpenError::NoPort { first, last })
    }

    fn bind(&self, port: u16) -> std::io::Result<TcpListener> {
        let address = SocketAddr::new(self.settings.bind, port);
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of the last run that linger in the kernel must not keep a job from its port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// The listener's last act.
    fn forget(&self, tunnel: &Tunnel) {
        let mut state = self.state();
        state.open.remove(&tunnel.id);
        state.ports.release(tunnel.port);
    }
}

impl Tunnel {
    fn new(id: u64, port: u16, target: (String, u16), closing: CancellationToken) -> Tunnel {
        Tunnel {
            id,
            port,
            target,
            closing,
            closed: CancellationToken::new(),
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    fn port_to(&self, target: &(String, u16)) -> Result<u16, OpenError> {
        if self.target != *target {
            let (host, port) = self.target.clone();
            return Err(OpenError::Elsewhere { id: self.id, host, port });
        }
        Ok(self.port)
    }

    fn stats(&self) -> TunnelStats {
        TunnelStats {
            port: self.port,
            connections: self.connections.load(Ordering::Relaxed),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}
