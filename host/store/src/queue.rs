//! What waits for the writer: bounded, in order, taken all at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use grove_domain::change::{Batch, Loaded};
use grove_domain::instance::Instance;

use crate::error::{CommitError, StoreError};
use crate::transfer::{Replaced, Replacement};
use crate::writer::{Pruned, Retention};

/// Most batches that wait.
const MAX_BATCHES: usize = 4096;
/// Most rows that wait; a single larger batch may wait alone.
const MAX_ROWS: usize = 65_536;

/// Told once what became of a batch.
pub(crate) type Done = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// One thing for the writer to do.
pub(crate) enum Work {
    Commit(Batch, Done),
    Load(Option<Instance>, Box<dyn FnOnce(Result<Loaded, StoreError>) + Send>),
    Prune(Retention, Box<dyn FnOnce(Result<Pruned, StoreError>) + Send>),
    Replace(Replacement, Box<dyn FnOnce(Result<Option<Replaced>, StoreError>) + Send>),
}

impl Work {
    fn rows(&self) -> usize {
        match self {
            Self::Commit(batch, _) => batch.changes.len() + batch.events.len(),
            Self::Load(..) | Self::Prune(..) | Self::Replace(..) => 1,
        }
    }

    /// Answers that the store is closed.
    pub(crate) fn refuse(self) {
        match self {
            Self::Commit(_, done) => done(Err(StoreError::Closed.into())),
            Self::Load(_, done) => done(Err(StoreError::Closed)),
            Self::Prune(_, done) => done(Err(StoreError::Closed)),
            Self::Replace(_, done) => done(Err(StoreError::Closed)),
        }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Work>,
    rows: usize,
    writer: Option<ThreadId>,
    closed: bool,
}

impl Inner {
    fn is_full(&self, rows: usize) -> bool {
        !self.waiting.is_empty() && (self.waiting.len() >= MAX_BATCHES || self.rows + rows > MAX_ROWS)
    }
}

impl Queue {
    /// Puts `work` at the end. Waits for room, unless the writer itself asks: it makes the room.
    pub(crate) fn put(&self, work: Work) {
        let rows = work.rows();
        let mut inner = self.lock();
        let is_writer = inner.writer == Some(thread::current().id());
        while inner.is_full(rows) && !inner.closed && !is_writer {
            inner = self.emptied.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.closed {
            drop(inner);
            return work.refuse();
        }
        inner.rows += rows;
        inner.waiting.push_back(work);
        drop(inner);
        self.filled.notify_one();
    }

    /// The calling thread becomes the writer.
    pub(crate) fn serve(&self) {
        self.lock().writer = Some(thread::current().id());
    }

    /// Everything that waits, as soon as there is something; none once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<VecDeque<Work>> {
        let mut inner = self.lock();
        while inner.waiting.is_empty() && !inner.closed {
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.rows = 0;
        let taken = std::mem::take(&mut inner.waiting);
        drop(inner);
        self.emptied.notify_all();
        (!taken.is_empty()).then_some(taken)
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
