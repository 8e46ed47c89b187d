//! A load generator of one thread: ready-made bytes out, as little as possible looked at of what comes back.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

/// Longest wait for anything to come back.
const HANG: Duration = Duration::from_secs(60);
/// Bytes read at once.
const READ: usize = 64 << 10;

/// How to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Whom.
    pub(crate) to: SocketAddr,
    /// Connections.
    pub(crate) connections: usize,
    /// Requests under way on each.
    pub(crate) depth: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Done {
    /// Answers, all of them good.
    pub(crate) answers: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// From sending to answer, in milliseconds, of every request.
    pub(crate) latencies: Vec<f64>,
}

impl Done {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }
}

struct Connection {
    stream: TcpStream,
    /// To be sent.
    out: Vec<u8>,
    /// Received, and not looked at.
    inbox: Vec<u8>,
    sent: VecDeque<Instant>,
    waits_to_write: bool,
}

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: farm\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

impl Load {
    /// Sends these, each once.
    pub(crate) fn all(&self, requests: &[Vec<u8>]) -> Result<Done> {
        let mut left = requests.iter();
        self.run(|out| match left.next() {
            Some(request) => {
                out.extend_from_slice(request);
                true
            }
            None => false,
        })
    }

    /// Sends what `write` writes, again and again.
    pub(crate) fn for_a_while(&self, time: Duration, mut write: impl FnMut(&mut Vec<u8>)) -> Result<Done> {
        let end = Instant::now() + time;
        self.run(|out| {
            write(out);
            Instant::now() < end
        })
    }

    /// Sends what `next` writes, until it says that there is no more (what it wrote then is sent, too).
    fn run(&self, mut next: impl FnMut(&mut Vec<u8>) -> bool) -> Result<Done> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::new();
        for number in 0..self.connections {
            let stream =
                TcpStream::connect(self.to).with_context(|| format!("failed to reach {}", self.to))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            let (out, inbox, sent) = (Vec::new(), Vec::with_capacity(2 * READ), VecDeque::new());
            connections.push(Connection { stream, out, inbox, sent, waits_to_write: false });
        }
        let mut done = Done { answers: 0, took: Duration::ZERO, latencies: Vec::new() };
        let (mut more, mut under_way) = (true, 0_u64);
        let mut fill = |connection: &mut Connection, more: &mut bool, under_way: &mut u64| {
            while *more && connection.sent.len() < self.depth {
                let before = connection.out.len();
                *more = next(&mut connection.out);
                if connection.out.len() > before {
                    connection.sent.push_back(Instant::now());
                    *under_way += 1;
                }
            }
        };
        let begin = Instant::now();
        for (number, connection) in connections.iter_mut().enumerate() {
            fill(connection, &mut more, &mut under_way);
            connection.flush(&poll, number)?;
        }
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(256);
        let patience = rustix::event::Timespec { tv_sec: HANG.as_secs().cast_signed(), tv_nsec: 0 };
        while under_way > 0 {
            ready.clear();
            if epoll::wait(&poll, spare_capacity(&mut ready), Some(&patience))? == 0 {
                bail!("{under_way} requests were not answered within {} s", HANG.as_secs());
            }
            for event in &ready {
                let number = event.data.u64() as usize;
                let Some(connection) = connections.get_mut(number) else { continue };
                let answers = connection.receive(&mut done.latencies)?;
                done.answers += answers;
                under_way -= answers;
                fill(connection, &mut more, &mut under_way);
                connection.flush(&poll, number)?;
            }
        }
        done.took = begin.elapsed();
        Ok(done)
    }
}

impl Connection {
    fn flush(&mut self, poll: &impl std::os::fd::AsFd, number: usize) -> Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => {
                    self.out.drain(..written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("failed to send"),
            }
        }
        let waits = !self.out.is_empty();
        if waits != self.waits_to_write {
            self.waits_to_write = waits;
            let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let flags = if waits { both } else { epoll::EventFlags::IN };
            epoll::modify(poll, &self.stream, epoll::EventData::new_u64(number as u64), flags)?;
        }
        Ok(())
    }

    /// Reads once, and counts the answers that are whole.
    fn receive(&mut self, latencies: &mut Vec<f64>) -> Result<u64> {
        let before = self.inbox.len();
        self.inbox.resize(before + READ, 0);
        let read = self.stream.read(self.inbox.get_mut(before..).unwrap_or_default());
        self.inbox.truncate(before + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(0) => bail!("the server closed a connection"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("failed to receive"),
        }
        let (mut at, mut answers) = (0, 0);
        while let Some(length) = answer(self.inbox.get(at..).unwrap_or_default())? {
            at += length;
            answers += 1;
            if let Some(sent) = self.sent.pop_front() {
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
            }
        }
        self.inbox.drain(..at);
        Ok(answers)
    }
}

/// Length of the answer at the beginning of these bytes, when it is whole. Anything but a 2xx is an error.
fn answer(bytes: &[u8]) -> Result<Option<usize>> {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = bytes.split_at(end + 4);
    let digits = find(head, LENGTH).map_or(head.len(), |at| at + LENGTH.len());
    let digits = head.iter().skip(digits).take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0_usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    if rest.len() < body {
        return Ok(None);
    }
    if head.get(9) != Some(&b'2') {
        let text = bytes.get(..(end + 4 + body).min(1000)).unwrap_or_default();
        bail!("the server refused: {}", String::from_utf8_lossy(text));
    }
    Ok(Some(end + 4 + body))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = what.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| byte == first)?;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// One request on a connection of its own; the body of the answer.
pub(crate) fn once(to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(HANG))?;
    stream.write_all(bytes)?;
    let mut inbox = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece)?;
        inbox.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(length) = answer(&inbox)? {
            let head = find(&inbox, b"\r\n\r\n").unwrap_or(0) + 4;
            return Ok(inbox.get(head..length).unwrap_or_default().to_vec());
        }
        if read == 0 {
            bail!("the server closed the connection");
        }
    }
}
