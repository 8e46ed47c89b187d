//! What the server asks of whoever can write the farm as a file and take one in, and the two pipes between: bytes come
//! and go in tasks, and are made and read on threads that may block.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, stream};
use grove_wire::Error;
use grove_wire::farm::FarmImport;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Pieces that wait in a pipe.
const WAITING: usize = 4;

/// Writes an export to its end, blocking; else says why not.
pub type Write = Box<dyn FnOnce(&mut dyn io::Write) -> Result<(), String> + Send>;

/// A farm that can be moved.
pub trait Transfer: Send + Sync + 'static {
    /// Whether the farm may be replaced now, before anything is sent: it is decided when it is replaced.
    ///
    /// # Errors
    /// It may not.
    fn may_import(&self) -> Result<(), Error>;

    /// Takes a snapshot of the farm, whether or not it is served. Components that the farm has lost are refused, unless it
    /// may be `incomplete`.
    fn export(&self, incomplete: bool) -> BoxFuture<'static, Result<Write, Error>>;

    /// Reads an export, and replaces the farm by it; with `dry_run` it only says what would change. What has been read to
    /// its end is carried out, even when nobody waits for it any more.
    fn import(&self, from: Feed, dry_run: bool) -> BoxFuture<'static, Result<FarmImport, Error>>;
}

enum Piece {
    Data(Bytes),
    /// All of it was there. Without this it broke off.
    End,
}

/// Where an export is written. Blocks while the client takes nothing, but not for longer than `patience`.
pub struct Sink {
    pieces: mpsc::Sender<Piece>,
    patience: Duration,
    runtime: Handle,
}

/// Where an import is read. Blocks while the client sends nothing.
pub struct Feed {
    pieces: mpsc::Receiver<Piece>,
    rest: Bytes,
    done: bool,
}

/// What a [`Feed`] is fed with.
pub(crate) struct Feeder(mpsc::Sender<Piece>);

/// A sink, and what comes out of it: broken unless the sink was finished.
pub(crate) fn sink(patience: Duration) -> (Sink, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (pieces, taken) = mpsc::channel(WAITING);
    let stream = stream::unfold(Some(taken), |taken| async {
        let mut taken = taken?;
        match taken.recv().await {
            Some(Piece::Data(bytes)) => Some((Ok(bytes), Some(taken))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the export broke off")), None)),
        }
    });
    (Sink { pieces, patience, runtime: Handle::current() }, stream)
}

/// A feed, and what it is fed with: it breaks unless that is finished.
pub(crate) fn feed() -> (Feeder, Feed) {
    let (give, pieces) = mpsc::channel(WAITING);
    (Feeder(give), Feed { pieces, rest: Bytes::new(), done: false })
}

impl Sink {
    fn send(&self, piece: Piece) -> io::Result<()> {
        let sent = self.runtime.block_on(tokio::time::timeout(self.patience, self.pieces.send(piece)));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more")),
        }
    }

    /// Everything was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.send(Piece::End)
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            self.send(Piece::Data(Bytes::copy_from_slice(bytes)))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.done {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => self.rest = bytes,
                Some(Piece::End) => self.done = true,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client broke off")),
            }
        }
        let length = self.rest.len().min(buffer.len());
        let piece = self.rest.split_to(length);
        if let Some(buffer) = buffer.get_mut(..length) {
            buffer.copy_from_slice(&piece);
        }
        Ok(length)
    }
}

impl Feeder {
    /// Whether somebody still reads.
    pub(crate) async fn give(&self, bytes: Bytes) -> bool {
        self.0.send(Piece::Data(bytes)).await.is_ok()
    }

    pub(crate) async fn finish(self) {
        // Who does not read any more has its reason.
        let _ = self.0.send(Piece::End).await;
    }
}
