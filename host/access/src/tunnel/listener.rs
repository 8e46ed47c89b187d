//! The life of one tunnel: accept, dial, copy, and the end of it all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::pump::{Traffic, pump};
use super::{Shared, Tunnel};

/// Wait after a failed accept: out of descriptors is not over in a microsecond.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A peer that is gone without a word is found by probes after this long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_COUNT: u32 = 4;
/// A peer that does not take what was sent is given up after this many milliseconds.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MS: u32 = 120_000;

/// Serves the tunnel until it shall close; returns when everything of it is closed.
pub(super) async fn run(shared: Arc<Shared>, tunnel: Arc<Tunnel>, listener: TcpListener) {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(shared.settings.max_connections_per_job.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = tokio::select! {
            biased;
            () = tunnel.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let user = match accepted {
            Ok((user, _)) => user,
            Err(error) if is_about_the_peer(&error) => continue,
            Err(error) => {
                tracing::warn!(tunnel = tunnel.id, port = tunnel.port, %error, "cannot accept; trying again");
                tokio::select! {
                    () = tunnel.closing.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let permits = (Arc::clone(&room).try_acquire_owned(), Arc::clone(&shared.room).try_acquire_owned());
        let (Ok(own), Ok(common)) = permits else {
            tunnel.refused.fetch_add(1, Ordering::Relaxed);
            abort(&user);
            continue;
        };
        tunnel.accepted.fetch_add(1, Ordering::Relaxed);
        tunnel.connections.fetch_add(1, Ordering::Relaxed);
        let (shared, tunnel) = (Arc::clone(&shared), Arc::clone(&tunnel));
        connections.spawn(async move {
            serve(&shared, &tunnel, user).await;
            tunnel.connections.fetch_sub(1, Ordering::Relaxed);
            drop((own, common));
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    shared.forget(&tunnel);
    tunnel.closed.cancel();
}

/// The peer left before it was accepted: nothing is wrong with us.
fn is_about_the_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// One connection, from its beginning to its end.
async fn serve(shared: &Shared, tunnel: &Tunnel, mut user: TcpStream) {
    let dial = timeout(shared.settings.connect_timeout, TcpStream::connect(&tunnel.target));
    let dialled = tokio::select! {
        biased;
        () = tunnel.closing.cancelled() => return abort(&user),
        dialled = dial => dialled,
    };
    let mut board = match dialled {
        Ok(Ok(board)) => board,
        Ok(Err(error)) => {
            let (host, port) = &tunnel.target;
            tracing::info!(tunnel = tunnel.id, host, port, %error, "board not reached");
            return abort(&user);
        }
        Err(_) => {
            let (host, port) = &tunnel.target;
            tracing::info!(tunnel = tunnel.id, host, port, "board not reached in time");
            return abort(&user);
        }
    };
    tune(&user);
    tune(&board);
    let traffic = Traffic { inward: &tunnel.bytes_in, outward: &tunnel.bytes_out };
    let whole = tokio::select! {
        biased;
        () = tunnel.closing.cancelled() => false,
        ended = pump(&mut user, &mut board, traffic, shared.settings.idle) => ended.is_ok(),
    };
    if !whole {
        abort(&user);
        abort(&board);
    }
}

/// Small messages leave at once; silent death is noticed. A socket that refuses an option works all the same.
fn tune(socket: &TcpStream) {
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT);
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED_MS);
}

/// Has the coming drop reset the connection: what is still under way is thrown away, and the peer knows at once.
fn abort(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}
