//! Connections between commands.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::{Channel, ChannelMsg, Disconnect, client};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::{Handle, connect};
use super::{SshError, SshSettings, SshTarget};
use crate::secrets::Secrets;

/// A kept connection that does not open a channel in this time is given up for a new one.
const STALE: Duration = Duration::from_secs(5);
/// Longest wait for a farewell to be sent.
const FAREWELL: Duration = Duration::from_secs(2);

/// A logged-in connection, and its place among the allowed ones.
pub(super) struct Connection {
    target: SshTarget,
    handle: Handle,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Runs a line beside the command of this connection, to its end, whatever that is.
    pub(super) async fn exec(&self, line: &str) -> Result<(), russh::Error> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, line).await?;
        while channel.wait().await.is_some_and(|message| !matches!(message, ChannelMsg::Close)) {}
        Ok(())
    }

    /// Tells the other side, then closes.
    pub(super) async fn close(self) {
        let _ = timeout(FAREWELL, self.handle.disconnect(Disconnect::ByApplication, "", "en")).await;
    }
}

/// All connections of a client. Clones share it.
#[derive(Clone)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Arc<SshSettings>,
    secrets: Secrets,
    places: Arc<Semaphore>,
    /// Commands that wait for a place.
    waiting: AtomicUsize,
    idle: Mutex<IdleConnections>,
}

#[derive(Default)]
struct IdleConnections {
    /// Oldest first.
    by_target: HashMap<SshTarget, VecDeque<(Instant, Connection)>>,
    count: usize,
    /// Whether a task closes what gets too old.
    swept: bool,
}

impl Pool {
    pub(super) fn new(settings: Arc<SshSettings>, secrets: Secrets) -> Pool {
        let places = Arc::new(Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let idle = Mutex::new(IdleConnections::default());
        Pool { shared: Arc::new(Shared { settings, secrets, places, waiting: AtomicUsize::new(0), idle }) }
    }

    /// A channel for one command, on a kept connection if there is a good one.
    pub(super) async fn channel(
        &self,
        target: &SshTarget,
    ) -> Result<(Connection, Channel<client::Msg>), SshError> {
        while let Some(connection) = self.take(target) {
            // A board that was switched off does not say goodbye.
            if let Ok(Ok(channel)) = timeout(STALE, connection.handle.channel_open_session()).await {
                return Ok((connection, channel));
            }
        }
        let place = self.place().await?;
        let handle = connect(&self.shared.settings, &self.shared.secrets, target).await?;
        let connection = Connection { target: target.clone(), handle, _place: place };
        match connection.handle.channel_open_session().await {
            Ok(channel) => Ok((connection, channel)),
            Err(russh::Error::ChannelOpenFailure(why)) => {
                let text = format!("{} port {} opens no session: {why:?}", target.host, target.port);
                Err(SshError::Denied(text))
            }
            Err(_) => Err(SshError::Closed),
        }
    }

    /// A kept connection. The lock ends here: it must not be held while the connection is tried.
    fn take(&self, target: &SshTarget) -> Option<Connection> {
        self.idle().take(target)
    }

    /// Closes the kept connections to a target.
    pub(super) fn hang_up(&self, target: &SshTarget) {
        let kept = self.idle().take_all(target);
        for connection in kept {
            // One whose other end is gone takes its time to be given up, for which nobody waits.
            tokio::spawn(connection.close());
        }
    }

    /// Keeps a connection for the next command.
    pub(super) fn put_back(&self, connection: Connection) {
        if connection.handle.is_closed() || self.shared.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        let sweep = {
            let mut idle = self.idle();
            idle.put(connection);
            !std::mem::replace(&mut idle.swept, true)
        };
        if sweep {
            tokio::spawn(self.clone().sweep());
        }
    }

    pub(super) fn idle_connections(&self) -> usize {
        self.idle().count
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        // Each change under the lock is whole.
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection; unused ones make room.
    async fn place(&self) -> Result<OwnedSemaphorePermit, SshError> {
        loop {
            if let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() {
                return Ok(place);
            }
            let Some(oldest) = self.idle().take_oldest() else { break };
            oldest.close().await;
        }
        let _waiting = Waiting::among(&self.shared.waiting);
        let place = Arc::clone(&self.shared.places).acquire_owned().await;
        place.map_err(|_| SshError::Other("shutting down".to_owned()))
    }

    /// Closes connections that nobody used for long; ends when none is left.
    async fn sweep(self) {
        loop {
            let (old, next) = {
                let mut idle = self.idle();
                let old = idle.take_older_than(Instant::now() - self.shared.settings.idle);
                let next = idle.oldest();
                idle.swept = next.is_some();
                (old, next)
            };
            for connection in old {
                connection.close().await;
            }
            let Some(oldest) = next else { break };
            sleep_until(oldest + self.shared.settings.idle).await;
        }
    }
}

impl IdleConnections {
    fn put(&mut self, connection: Connection) {
        let list = self.by_target.entry(connection.target.clone()).or_default();
        list.push_back((Instant::now(), connection));
        self.count += 1;
    }

    /// The one used last: the older ones may then get too old.
    fn take(&mut self, target: &SshTarget) -> Option<Connection> {
        let list = self.by_target.get_mut(target)?;
        while let Some((_, connection)) = list.pop_back() {
            self.count -= 1;
            if !connection.handle.is_closed() {
                return Some(connection);
            }
        }
        self.by_target.remove(target);
        None
    }

    fn take_all(&mut self, target: &SshTarget) -> Vec<Connection> {
        let all = self.by_target.remove(target).unwrap_or_default();
        self.count -= all.len();
        all.into_iter().map(|(_, connection)| connection).collect()
    }

    fn oldest(&self) -> Option<Instant> {
        self.by_target.values().filter_map(|list| list.front()).map(|(since, _)| *since).min()
    }

    fn take_oldest(&mut self) -> Option<Connection> {
        let oldest = self.oldest()?;
        self.take_older_than(oldest).pop()
    }

    fn take_older_than(&mut self, limit: Instant) -> Vec<Connection> {
        let mut old = Vec::new();
        self.by_target.retain(|_, list| {
            while list.front().is_some_and(|(since, _)| *since <= limit) {
                old.extend(list.pop_front().map(|(_, connection)| connection));
            }
            !list.is_empty()
        });
        self.count -= old.len();
        old
    }
}

/// Counts a waiting command, also when it stops waiting by being dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(waiting: &'a AtomicUsize) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
