//! The lines of tasks: live while these run, and kept in pieces afterwards.
//!
//! ```text
//! task ── line ──▶ lines in memory ──▶ readers and followers
//!                        │ pieces, behind the task's back; short logs whole, with others
//!                        ▼
//!                     objects ───────▶ readers of what is no longer in memory
//! ```
//!
//! What has no room, because the objects are slow or gone, is lost, and counted in a line that says so. A task never
//! waits.

mod live;
mod piece;
mod together;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use object_store::ObjectMeta;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub use live::TaskLog;

use crate::{Error, Objects};
use live::Live;
use piece::Piece;
use together::Together;

/// Below this are all logs.
const PLACE: &str = "logs";
/// Pieces that are written at the same time.
const AT_ONCE: usize = 8;
/// What an object takes at least, as files and buckets count it.
const BLOCK: u64 = 4 << 10;
/// Most lines that are read at once.
const READ: usize = 2_000;

/// Bounds on logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keeping {
    /// Bytes of the lines of one task that are in memory.
    pub memory: usize,
    /// Bytes of the lines of all tasks that are in memory and not written yet.
    pub unwritten: usize,
    /// Bytes of one log.
    pub log: u64,
    /// Bytes from which on a piece is written.
    pub piece: usize,
    /// Longest that a line waits to be written.
    pub delay: Duration,
    /// A log is removed when its last piece is so old.
    pub age: SignedDuration,
    /// Bytes of all logs, with at least 4 KiB for each object: beyond it the oldest go.
    pub total: u64,
}

impl Default for Keeping {
    fn default() -> Self {
        Self {
            memory: 256 << 10,
            unwritten: 64 << 20,
            log: 16 << 20,
            piece: 64 << 10,
            delay: Duration::from_secs(20),
            age: SignedDuration::from_hours(30 * 24),
            total: 4 << 30,
        }
    }
}

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The driver said it.
    Log,
    /// A step begins.
    Step,
    /// How far it is.
    Progress,
    /// How the task ended.
    End,
    /// Lines were lost here.
    Lost,
}

/// A line of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its place in the log, from 1 on.
    pub n: u64,
    /// When it was said.
    pub at: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// How grave: trace, debug, info, warn, error.
    pub level: Arc<str>,
    /// What was said.
    pub text: Arc<str>,
}

/// Lines that were read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// The lines, in order.
    pub lines: Vec<Line>,
    /// More are there already.
    pub more: bool,
    /// More may come: the task runs.
    pub open: bool,
}

/// The logs; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    keeping: Keeping,
    live: Mutex<HashMap<Uuid, Arc<Live>>>,
    /// Bytes in memory that are not written yet.
    unwritten: AtomicUsize,
    places: Semaphore,
    together: Together,
    writers: TaskTracker,
    hurry: CancellationToken,
}

impl Logs {
    /// The logs in `objects`.
    pub fn new(objects: Objects, keeping: Keeping) -> Self {
        Self {
            inner: Arc::new(Inner {
                objects,
                keeping,
                live: Mutex::default(),
                unwritten: AtomicUsize::new(0),
                places: Semaphore::new(AT_ONCE),
                together: Together::default(),
                writers: TaskTracker::new(),
                hurry: CancellationToken::new(),
            }),
        }
    }

    /// Begins the log of a task; one that was begun already goes on. Within a tokio runtime.
    pub fn begin(&self, task: Uuid) -> TaskLog {
        let mut all = self.inner.live.lock();
        if let Some(live) = all.get(&task).filter(|live| live.reopen()) {
            return TaskLog::new(self.inner.clone(), live.clone());
        }
        let live = Arc::new(Live::new(task));
        all.insert(task, live.clone());
        drop(all);
        self.inner.writers.spawn(live::write_behind(self.inner.clone(), live.clone()));
        TaskLog::new(self.inner.clone(), live)
    }

    /// How many logs are not closed or not written yet.
    pub fn live(&self) -> usize {
        self.inner.live.lock().len()
    }

    /// Lines of a task after this one.
    ///
    /// # Errors
    /// When those that are kept cannot be read now.
    pub async fn read(&self, task: Uuid, after: u64) -> Result<Read, Error> {
        let live = self.inner.live.lock().get(&task).cloned();
        if let Some(live) = &live
            && let Some(read) = live.read(after, READ)
        {
            return Ok(read);
        }
        let objects = self.inner.objects.list(&piece::shard(task)).await?;
        let pieces = objects.iter().filter_map(|object| Piece::of(&object.location));
        let mut pieces: Vec<_> = pieces.filter(|piece| piece.task == task).collect();
        pieces.sort_by_key(|piece| piece.first);
        let open = live.is_some();
        let first = pieces.first().map_or(u64::MAX, |piece| piece.first);
        if after.saturating_add(1) < first
            && let Some(whole) = together::find(&self.inner.objects, &objects, task).await?
        {
            let mut lines = piece::lines(&whole);
            lines.retain(|line| line.n > after);
            if !lines.is_empty() {
                return Ok(Read { lines, more: open || !pieces.is_empty(), open });
            }
        }
        let Some(at) = pieces.iter().position(|piece| piece.last > after) else {
            // Written and let go of in between; or what is in memory begins later.
            return Ok(live.and_then(|live| live.read(u64::MAX, 0)).map_or(
                Read { lines: Vec::new(), more: false, open: false },
                |read| Read { more: false, ..read },
            ));
        };
        let Some(piece) = pieces.get(at) else { return Err(Error::NotFound) };
        let bytes = self.inner.objects.get(&piece.path()).await?;
        let mut lines = piece::lines(&bytes);
        lines.retain(|line| line.n > after);
        let more = open || at + 1 < pieces.len();
        Ok(Read { lines, more, open })
    }

    /// What changes whenever there is something new to read of a task that runs; none = nothing more will come.
    pub fn follow(&self, task: Uuid) -> Option<watch::Receiver<u64>> {
        self.inner.live.lock().get(&task).map(|live| live.follow())
    }

    /// Removes logs that are too old, and the oldest beyond the bounds; how many objects went. Logs of tasks that began
    /// within the same seconds go together, with the youngest of them.
    ///
    /// # Errors
    /// When they cannot be listed or removed now.
    pub async fn retire(&self, now: Timestamp) -> Result<usize, Error> {
        let mut shards: HashMap<Path, (i64, u64)> = HashMap::new();
        let tally = |object: ObjectMeta| {
            let shard = object.location.parts().take(2).collect();
            let (last, bytes) = shards.entry(shard).or_default();
            *last = (*last).max(object.last_modified.timestamp());
            *bytes += object.size.max(BLOCK);
            Ok(())
        };
        self.inner.objects.each(&Path::from(PLACE), tally).await?;
        let mut total: u64 = shards.values().map(|(_, bytes)| bytes).sum();
        let mut shards: Vec<_> = shards.into_iter().collect();
        shards.sort_by_key(|(_, (last, _))| *last);
        let oldest = now.as_second().saturating_sub(self.inner.keeping.age.as_secs());
        let mut removed = 0;
        for (shard, (last, bytes)) in shards {
            if total <= self.inner.keeping.total && last >= oldest {
                break;
            }
            let mut pieces = self.inner.objects.list(&shard).await?;
            {
                let live = self.inner.live.lock();
                let runs = |piece: Piece| live.contains_key(&piece.task);
                pieces.retain(|object| !Piece::of(&object.location).is_some_and(runs));
            }
            for piece in &pieces {
                self.inner.objects.delete(&piece.location).await?;
            }
            total = total.saturating_sub(bytes);
            removed += pieces.len();
        }
        Ok(removed)
    }

    /// Closes every log, and waits until what was said is written; not longer than `patience`.
    pub async fn finish(&self, patience: Duration) {
        let live: Vec<_> = self.inner.live.lock().values().cloned().collect();
        for live in live {
            live.close();
        }
        self.inner.hurry.cancel();
        self.inner.writers.close();
        if tokio::time::timeout(patience, self.inner.writers.wait()).await.is_err() {
            tracing::warn!("the last lines of some tasks were not written");
        }
    }
}
