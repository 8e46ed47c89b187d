//! The log of a task that runs: in memory, and written behind its back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::piece::{self, Piece};
use super::{Inner, Keeping, Kind, Line, Read};

/// What a line costs beside its text.
const LINE: usize = 96;
/// Characters of a line; the rest is cut.
const TEXT: usize = 4096;
/// Between attempts to write a piece; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Attempts after which the end of a log that is closed is given up.
const LAST_ATTEMPTS: u32 = 20;

/// The log of a task that runs. What is said here never waits.
#[derive(Clone, Debug)]
pub struct TaskLog {
    all: Arc<Inner>,
    live: Arc<Live>,
}

impl TaskLog {
    pub(super) fn new(all: Arc<Inner>, live: Arc<Live>) -> Self {
        Self { all, live }
    }

    /// Adds a line, where there is room.
    pub fn say(&self, at: Timestamp, kind: Kind, level: &str, text: &str) {
        let text = text.chars().take(TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        self.live.say(&self.all, at, kind, level.into(), text.into());
    }

    /// Nothing more will be said; what is said nevertheless is not heard.
    pub fn close(&self) {
        self.live.close();
    }
}

/// The lines of one task.
#[derive(Debug)]
pub(super) struct Live {
    task: Uuid,
    lines: Mutex<Lines>,
    news: watch::Sender<u64>,
    due: Notify,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    /// Bytes of what is kept.
    bytes: usize,
    /// Bytes of what is kept and not written.
    unwritten: usize,
    /// Bytes of all lines so far.
    all: u64,
    /// The last line that was given a number, and the last one that is written.
    last: u64,
    written: u64,
    lost: u64,
    closed: bool,
    /// Nobody writes any more.
    done: bool,
}

impl Live {
    pub(super) fn new(task: Uuid) -> Self {
        Self { task, lines: Mutex::default(), news: watch::Sender::new(0), due: Notify::new() }
    }

    fn say(&self, all: &Inner, at: Timestamp, kind: Kind, level: Arc<str>, text: Arc<str>) {
        let keeping = &all.keeping;
        let mut lines = self.lines.lock();
        if lines.closed {
            return;
        }
        let cost = LINE + text.len();
        // How a task ended, and what it lost, is said in any case.
        let room = lines.unwritten + cost <= keeping.memory
            && all.unwritten.load(Ordering::Relaxed) + cost <= keeping.unwritten
            && lines.all + cost as u64 <= keeping.log;
        if !room && kind != Kind::End {
            lines.lost += 1;
            return;
        }
        lines.tell_lost(all, at);
        lines.push(all, at, kind, level, text);
        lines.trim(keeping);
        let (last, due) = (lines.last, lines.unwritten >= keeping.piece);
        drop(lines);
        self.news.send_replace(last);
        if due {
            self.due.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.lines.lock().closed = true;
        self.news.send_modify(|_| {});
        self.due.notify_one();
    }

    /// Goes on with it, unless it is written already.
    pub(super) fn reopen(&self) -> bool {
        let mut lines = self.lines.lock();
        lines.closed &= lines.done;
        !lines.done
    }

    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Lines after this one; none when some of them are no longer here.
    pub(super) fn read(&self, after: u64, most: usize) -> Option<Read> {
        let lines = self.lines.lock();
        let first = lines.kept.front().map_or(lines.last + 1, |line| line.n);
        if after.saturating_add(1) < first {
            return None;
        }
        let from = usize::try_from(after.saturating_add(1) - first).unwrap_or(usize::MAX);
        let found: Vec<Line> = lines.kept.iter().skip(from).take(most).cloned().collect();
        let more = from.saturating_add(found.len()) < lines.kept.len();
        Some(Read { lines: found, more, open: !lines.closed })
    }

    /// The next piece; all of what waits.
    fn piece(&self) -> Option<(Piece, bytes::Bytes)> {
        let lines = self.lines.lock();
        let mut waiting = lines.kept.iter().filter(|line| line.n > lines.written).peekable();
        let first = waiting.peek()?.n;
        let piece = Piece { task: self.task, first, last: lines.last };
        Some((piece, piece::bytes(waiting)))
    }

    fn written(&self, all: &Inner, piece: Piece) {
        let mut lines = self.lines.lock();
        lines.written = piece.last;
        let still: usize = lines.kept.iter().filter(|line| line.n > piece.last).map(cost).sum();
        all.unwritten.fetch_sub(lines.unwritten.saturating_sub(still), Ordering::Relaxed);
        lines.unwritten = still;
        lines.trim(&all.keeping);
    }
}

impl Lines {
    fn tell_lost(&mut self, all: &Inner, at: Timestamp) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let text =
                if lost == 1 { "… 1 line lost".to_owned() } else { format!("… {lost} lines lost") };
            self.push(all, at, Kind::Lost, "warn".into(), text.into());
        }
    }

    fn push(&mut self, all: &Inner, at: Timestamp, kind: Kind, level: Arc<str>, text: Arc<str>) {
        self.last += 1;
        let line = Line { n: self.last, at, kind, level, text };
        let cost = cost(&line);
        self.bytes += cost;
        self.unwritten += cost;
        self.all += cost as u64;
        all.unwritten.fetch_add(cost, Ordering::Relaxed);
        self.kept.push_back(line);
    }

    /// Lets go of what is written, beyond what is kept for readers.
    fn trim(&mut self, keeping: &Keeping) {
        while self.bytes > keeping.memory && self.kept.front().is_some_and(|line| line.n <= self.written) {
            if let Some(line) = self.kept.pop_front() {
                self.bytes = self.bytes.saturating_sub(cost(&line));
            }
        }
    }
}

fn cost(line: &Line) -> usize {
    LINE + line.text.len()
}

/// Writes the lines of a task in pieces until it has ended.
pub(super) async fn write_behind(all: Arc<Inner>, live: Arc<Live>) {
    let mut failures = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        if failures == 0 && !live.lines.lock().closed {
            tokio::select! {
                () = live.due.notified() => {}
                () = tokio::time::sleep(all.keeping.delay) => {}
                () = all.hurry.cancelled() => {}
            }
        }
        let Some((piece, bytes)) = live.piece() else {
            let mut lines = live.lines.lock();
            if (lines.closed || all.hurry.is_cancelled()) && lines.written == lines.last {
                lines.done = true;
                break;
            }
            continue;
        };
        let whole = piece.first == 1 && live.lines.lock().closed;
        let put = if whole {
            all.together.put(&all.objects, live.task, bytes, &all.hurry).await
        } else {
            let Ok(_place) = all.places.acquire().await else { break };
            all.objects.put_hastily(&piece.path(), bytes).await
        };
        match put {
            Ok(()) => {
                (failures, pause) = (0, FIRST_PAUSE);
                live.written(&all, piece);
            }
            Err(error) => {
                failures += 1;
                let given_up =
                    live.lines.lock().closed && failures >= LAST_ATTEMPTS || all.hurry.is_cancelled();
                if given_up {
                    tracing::warn!(task = %live.task, %error, "the end of a log is lost");
                    break;
                }
                tracing::debug!(task = %live.task, %error, "a piece of a log is not written yet");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = all.hurry.cancelled() => {}
                }
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
    all.let_go(&live);
}

impl Inner {
    fn let_go(&self, live: &Arc<Live>) {
        let mut lines = live.lines.lock();
        lines.done = true;
        lines.closed = true;
        self.unwritten.fetch_sub(std::mem::take(&mut lines.unwritten), Ordering::Relaxed);
        drop(lines);
        let mut all = self.live.lock();
        if all.get(&live.task).is_some_and(|known| Arc::ptr_eq(known, live)) {
            all.remove(&live.task);
        }
        drop(all);
        // Followers look again, and find that it is over.
        live.news.send_modify(|_| {});
    }
}
