//! The lines of one guest, bounded in length and number, on their way to the controller's log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::host::Level;

/// Longest line in bytes; the rest of it is cut.
pub(crate) const MAX_LINE: usize = 4096;

/// Most lines in one call; the others are counted and dropped.
pub(crate) const MAX_LINES: u32 = 500;

/// How much of the guest's last words is kept to explain a trap, in bytes.
const TAIL: usize = 1024;

type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Where a guest's lines go: its `log` calls, and whatever it writes to stdout and stderr.
pub(crate) struct GuestLog {
    sink: Sink,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: u32,
    dropped: u64,
    tail: String,
}

impl GuestLog {
    pub(crate) fn new(sink: Sink) -> Arc<GuestLog> {
        Arc::new(GuestLog { sink, state: Mutex::new(State::default()) })
    }

    /// A new call has its own share of lines.
    pub(crate) fn begin_call(&self) {
        *self.state.lock() = State::default();
    }

    /// Says how many lines were dropped.
    pub(crate) fn end_call(&self) {
        let dropped = std::mem::take(&mut self.state.lock().dropped);
        if dropped > 0 {
            (self.sink)(Level::Warn, &format!("{dropped} more lines in this call were dropped"));
        }
    }

    pub(crate) fn line(&self, level: Level, text: &str) {
        {
            let mut state = self.state.lock();
            if level >= Level::Error {
                state.remember(text);
            }
            if state.lines >= MAX_LINES {
                state.dropped += 1;
                return;
            }
            state.lines += 1;
        }
        // Control characters could forge lines or colours in a terminal.
        let clean: String =
            cut(text, MAX_LINE).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        (self.sink)(level, clean.trim_end());
    }

    /// The guest's last error lines: a panic of a Rust guest is told only there.
    pub(crate) fn last_words(&self) -> String {
        self.state.lock().tail.trim().to_owned()
    }
}

impl State {
    fn remember(&mut self, text: &str) {
        if !self.tail.is_empty() {
            self.tail.push_str("; ");
        }
        self.tail.push_str(cut(text, TAIL).trim());
        if let Some(excess) = self.tail.len().checked_sub(TAIL) {
            let from = (excess..self.tail.len()).find(|at| self.tail.is_char_boundary(*at)).unwrap_or(0);
            self.tail.drain(..from);
        }
    }
}

/// The longest start of `text` with at most `max` bytes that ends between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

/// A guest's stdout or stderr: whole lines go to its log.
#[derive(Clone)]
pub(crate) struct Lines {
    log: Arc<GuestLog>,
    level: Level,
    open: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(crate) fn new(log: Arc<GuestLog>, level: Level) -> Lines {
        Lines { log, level, open: Arc::default() }
    }

    /// Gives out a last line that no newline ended.
    pub(crate) fn finish(&self) {
        let rest = std::mem::take(&mut *self.open.lock());
        if !rest.is_empty() {
            self.log.line(self.level, &String::from_utf8_lossy(&rest));
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut open = self.open.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(open.len());
            open.extend_from_slice(text.get(..room).unwrap_or(text));
            if ended {
                self.log.line(self.level, &String::from_utf8_lossy(&open));
                open.clear();
            }
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured() -> (Arc<Mutex<Vec<String>>>, Arc<GuestLog>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        (seen, GuestLog::new(Box::new(move |_, line| sink.lock().push(line.to_owned()))))
    }

    #[test]
    fn bytes_become_whole_lines() {
        let (seen, log) = captured();
        let lines = Lines::new(log, Level::Info);
        lines.take(b"one\ntw");
        lines.take(b"o\n\x1b[31mred");
        lines.finish();
        assert_eq!(*seen.lock(), ["one", "two", " [31mred"]);
    }

    #[test]
    fn lines_are_bounded_in_length_and_number() {
        let (seen, log) = captured();
        let lines = Lines::new(log.clone(), Level::Info);
        for _ in 0..40 {
            lines.take(&[b'x'; 1000]);
        }
        lines.take(b"\n");
        assert_eq!(seen.lock()[0].len(), MAX_LINE);
        for _ in 0..2 * MAX_LINES {
            log.line(Level::Info, "again");
        }
        log.end_call();
        let seen = seen.lock();
        assert_eq!(seen.len() as u32, MAX_LINES + 1);
        assert!(seen.last().unwrap().contains(&(MAX_LINES + 1).to_string()), "{:?}", seen.last());
    }

    #[test]
    fn last_words_are_kept_short() {
        let (_, log) = captured();
        for n in 0..1000 {
            log.line(Level::Error, &format!("é{n}"));
        }
        assert!(log.last_words().ends_with("é999"));
        assert!(log.last_words().len() <= TAIL);
    }
}
