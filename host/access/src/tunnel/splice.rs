//! Bulky ways: the kernel moves pages from socket to pipe to socket, and this process never sees the bytes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::pump::broken;

/// Size of the pipe in bytes; a user without privileges may get less once many pipes are open.
const PIPE: usize = 1024 * 1024;
/// A round that moved less than this is calm.
const CALM: usize = 8 * 1024;
/// After so many calm rounds on end the pipe is given back.
const CALM_ROUNDS: u32 = 16;
/// Bytes after which other tasks of this thread have their turn.
const TURN: usize = 4 * PIPE;

/// Moves bytes until the end of the stream (true), or until the way is calm again or the kernel will not splice
/// (false).
pub(super) async fn bulk(from: &ReadHalf<'_>, to: &WriteHalf<'_>, count: impl Fn(usize)) -> io::Result<bool> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let Ok(pipe) = Pipe::new() else { return Ok(false) };
    let (mut calm, mut turn) = (0, 0);
    while calm < CALM_ROUNDS {
        let taken = loop {
            match from.try_io(Interest::READABLE, || splice(from, &pipe.write, PIPE)) {
                Ok(taken) => break taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => from.readable().await?,
                Err(error) if is_refusal(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        };
        if taken == 0 {
            return Ok(true);
        }
        let mut rest = taken;
        while rest > 0 {
            match to.try_io(Interest::WRITABLE, || splice(&pipe.read, to, rest)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(given) => rest = rest.saturating_sub(given),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable(from, to).await?,
                Err(error) => return Err(error),
            }
        }
        count(taken);
        calm = if taken < CALM { calm + 1 } else { 0 };
        turn += taken;
        if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(false)
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe is slower and nothing else.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
        Ok(Pipe { read, write })
    }
}

fn splice(from: &impl std::os::fd::AsFd, to: &impl std::os::fd::AsFd, len: usize) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    loop {
        match rustix::pipe::splice(from, None, to, None, len, flags) {
            Err(Errno::INTR) => {}
            moved => return moved.map_err(io::Error::from),
        }
    }
}

/// The kernel does not splice these sockets: plain copying does.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
    refusals.iter().any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
}

async fn writable(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    tokio::select! {
        biased;
        ready = to.writable() => ready,
        error = broken(from) => Err(error),
    }
}
