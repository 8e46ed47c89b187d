//! Copies both ways between two sockets until both ways have ended.
//!
//! All ways of a thread share one large buffer, and a way keeps only what its receiver would not take at once: an idle
//! connection costs no memory, a line of a terminal costs one read and one write, and a bulky way moves half a megabyte
//! a call. Moving pages through a pipe with splice(2) was measured beside this, in turns, on one and on eight streams:
//! it was slower by a tenth, for two more descriptors a way.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::sleep;

/// The buffer of a thread: within its core's cache, and few calls a megabyte.
const BUFFER: usize = 512 * 1024;
/// Read at a time when receivers are slow.
const CAREFUL: usize = 16 * 1024;
/// Bytes that all ways together keep for slow receivers before they get careful.
const KEPT_LIMIT: usize = 64 * 1024 * 1024;

/// Bytes kept for slow receivers now.
static KEPT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// What a receiver would not take at once.
struct Rest(Vec<u8>);

impl Rest {
    fn keep(bytes: &[u8]) -> Rest {
        KEPT.fetch_add(bytes.len(), Ordering::Relaxed);
        Rest(bytes.to_vec())
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// Where bytes are counted.
#[derive(Clone, Copy)]
pub(super) struct Traffic<'a> {
    /// From the user to the board.
    pub(super) inward: &'a AtomicU64,
    /// From the board to the user.
    pub(super) outward: &'a AtomicU64,
}

/// Ends well when both ways have ended; ends with an error as soon as one breaks, or when nothing moved for `idle`.
pub(super) async fn pump(
    user: &mut TcpStream,
    board: &mut TcpStream,
    traffic: Traffic<'_>,
    idle: Option<Duration>,
) -> io::Result<()> {
    let (mut from_user, mut to_user) = user.split();
    let (mut from_board, mut to_board) = board.split();
    let moved = AtomicU64::new(0);
    let both = async {
        tokio::try_join!(
            one_way(&mut from_user, &mut to_board, [traffic.inward, &moved]),
            one_way(&mut from_board, &mut to_user, [traffic.outward, &moved]),
        )
    };
    match idle {
        None => both.await.map(drop),
        Some(idle) => tokio::select! {
            ended = both => ended.map(drop),
            () = silence(&moved, idle) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}

/// Resolves when nothing was counted for `idle` (and at most a quarter longer).
async fn silence(moved: &AtomicU64, idle: Duration) {
    let (mut last, mut quiet) = (0, 0);
    while quiet < 4 {
        sleep(idle / 4).await;
        let now = moved.load(Ordering::Relaxed);
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
}

/// Copies until the end of the stream, then passes the end on.
async fn one_way(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    counters: [&AtomicU64; 2],
) -> io::Result<()> {
    let count = |bytes: usize| {
        for counter in counters {
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    };
    loop {
        let (bytes, rest) = poll_fn(|cx| move_some(from, to, cx)).await?;
        if bytes == 0 {
            break;
        }
        if !rest.0.is_empty() {
            write_rest(from, to, &rest.0).await?;
        }
        count(bytes);
    }
    match rustix::net::shutdown(to.as_ref(), rustix::net::Shutdown::Write) {
        // The peer is gone already, as it will be in the other direction.
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One read, and as much of it written as is taken at once; returns what remains to be written.
fn move_some(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(usize, Rest)>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let careful = KEPT.load(Ordering::Relaxed) >= KEPT_LIMIT;
        let length = if careful { CAREFUL } else { BUFFER };
        let mut buffer = ReadBuf::new(scratch.get_mut(..length).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let mut rest = buffer.filled();
        let bytes = rest.len();
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest) {
                Poll::Ready(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok((bytes, Rest::keep(rest))))
    })
}

/// Writes it all, unless the source breaks meanwhile: a dead reader must not be waited for on behalf of a dead writer.
async fn write_rest(from: &ReadHalf<'_>, to: &mut WriteHalf<'_>, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        let written = tokio::select! {
            biased;
            written = poll_fn(|cx| Pin::new(&mut *to).poll_write(cx, rest)) => written?,
            error = broken(from.as_ref()) => return Err(error),
        };
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Resolves when the socket has failed (not when its stream has ended).
async fn broken(socket: &TcpStream) -> io::Error {
    match socket.ready(Interest::ERROR).await {
        Ok(_) => socket.take_error().ok().flatten().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
        Err(error) => error,
    }
}
