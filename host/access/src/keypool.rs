//! Session key pairs, made ahead of time because one takes a twenty-fifth of a second of a core. How many are kept
//! follows from how many were taken lately.
//!
//! ```text
//! generator threads --new pair--> waiter, if one waits
//!                             \-> file --> shelf --claim (unlink, fsync)--> waiter
//! ```
//!
//! A pair whose file is gone belongs to whoever removed it, and removing is what the file system lets happen only once:
//! so no pair is handed out twice, whatever dies when, and however many pools share a folder.

mod demand;
mod pair;
mod shelf;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cap_std::fs::Dir;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::demand::Demand;
pub use self::pair::KeyPair;
use self::shelf::{Shelf, Stored};

/// Most pairs that are claimed with one flush of the folder.
const CLAIM_BATCH: usize = 64;
/// Wait after a generation that failed (no entropy): it will not be better in a microsecond.
const RETRY: Duration = Duration::from_secs(1);

/// How large a pool is and how hard it works.
#[derive(Clone, Copy, Debug)]
pub struct KeyPoolSettings {
    /// Pairs to have in stock when none were taken lately; 0: none are ever made ahead.
    pub size: usize,
    /// Most pairs to have in stock, however many are taken.
    pub most: usize,
    /// Threads that generate; `None`: one per core.
    pub threads: Option<NonZeroUsize>,
}

impl Default for KeyPoolSettings {
    fn default() -> KeyPoolSettings {
        KeyPoolSettings { size: 16, most: 256, threads: None }
    }
}

/// Why a pool did not open.
#[derive(Debug, thiserror::Error)]
pub enum KeyPoolError {
    /// Its folder cannot be used.
    #[error("the folder of session keys cannot be used: {0}")]
    Folder(#[from] std::io::Error),
}

/// A pool of session key pairs. Clones share it; when the last one is dropped, generation stops.
#[derive(Clone)]
pub struct KeyPool {
    handle: Arc<Handle>,
}

struct Handle {
    pool: Arc<Pool>,
}

struct Pool {
    shelf: Shelf,
    size: usize,
    most: usize,
    opened: Instant,
    state: Mutex<State>,
    /// Rung when a pair is wanted, and when it is over.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// On disk, and nobody's.
    stored: VecDeque<Stored>,
    /// Not on disk (any more), and nobody's.
    loose: VecDeque<KeyPair>,
    waiters: VecDeque<oneshot::Sender<Handout>>,
    demand: Demand,
    generating: usize,
    /// Whether somebody is claiming pairs for the waiters.
    serving: bool,
    over: bool,
}

/// A pair on its way to a waiter. One that never arrives goes back to the pool.
struct Handout {
    pair: Option<KeyPair>,
    pool: Arc<Pool>,
}

impl KeyPool {
    /// Opens the pool in a folder of its own, takes stock, and begins to fill it. Reads every pair in the folder.
    pub fn open(dir: Dir, settings: KeyPoolSettings) -> Result<KeyPool, KeyPoolError> {
        let shelf = Shelf::open(dir)?;
        let stored = shelf.take_stock()?;
        let pool = Arc::new(Pool {
            shelf,
            size: settings.size,
            most: settings.most,
            opened: Instant::now(),
            state: Mutex::new(State { stored, ..State::default() }),
            news: Condvar::new(),
        });
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        for _ in 0..settings.threads.unwrap_or_else(cores).get() {
            let pool = Arc::clone(&pool);
            std::thread::Builder::new().name("session-keys".to_owned()).spawn(move || pool.generate())?;
        }
        Ok(KeyPool { handle: Arc::new(Handle { pool }) })
    }

    /// A pair that nobody else ever got, in the order of asking. Waits for one to be made when the pool is empty; an
    /// asker that leaves takes no pair along.
    pub async fn take(&self) -> KeyPair {
        let pool = &self.handle.pool;
        pool.state().demand.taken(pool.opened.elapsed());
        loop {
            let answer = pool.ask();
            // The pool lives as long as `self`, and keeps its askers until they are served; should an answer be lost
            // all the same, asking again is right.
            if let Ok(mut handout) = answer.await
                && let Some(pair) = handout.pair.take()
            {
                return pair;
            }
        }
    }

    /// Pairs that are to be in stock, by what was taken lately.
    pub fn wanted(&self) -> usize {
        let pool = &self.handle.pool;
        pool.wanted(&pool.state())
    }

    /// Pairs in stock now.
    pub fn stock(&self) -> usize {
        let state = self.handle.pool.state();
        state.stored.len() + state.loose.len()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.state().over = true;
        self.pool.news.notify_all();
    }
}

impl Drop for Handout {
    fn drop(&mut self) {
        if let Some(pair) = self.pair.take() {
            self.pool.give(pair);
        }
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pairs that are to be in stock now.
    fn wanted(&self, state: &State) -> usize {
        match self.size {
            0 => 0,
            least => state.demand.expected(self.opened.elapsed()).min(self.most).max(least),
        }
    }

    /// Queues an asker, and has the stock looked at on its behalf.
    fn ask(self: &Arc<Pool>) -> oneshot::Receiver<Handout> {
        let (sender, receiver) = oneshot::channel();
        let serve = {
            let mut state = self.state();
            state.waiters.push_back(sender);
            state.begin_to_serve()
        };
        self.news.notify_all();
        if serve {
            let pool = Arc::clone(self);
            tokio::task::spawn_blocking(move || pool.serve());
        }
        receiver
    }

    /// Serves waiters from the stock, until one of both runs out. One at a time does this.
    fn serve(self: &Arc<Pool>) {
        loop {
            let (loose, claims) = {
                let mut state = self.state();
                state.waiters.retain(|waiter| !waiter.is_closed());
                let from_memory = state.waiters.len().min(state.loose.len());
                let loose: Vec<KeyPair> = state.loose.drain(..from_memory).collect();
                let from_disk = (state.waiters.len() - from_memory).min(state.stored.len()).min(CLAIM_BATCH);
                let claims: Vec<Stored> = state.stored.drain(..from_disk).collect();
                if loose.is_empty() && claims.is_empty() {
                    state.serving = false;
                    break;
                }
                (loose, claims)
            };
            for pair in loose {
                self.give(pair);
            }
            for pair in self.shelf.claim(claims) {
                self.give(pair);
            }
        }
        self.news.notify_all();
    }

    /// Gives a pair that is not on disk to the first waiter that is still there, or keeps it.
    fn give(self: &Arc<Pool>, pair: KeyPair) {
        let mut handout = Handout { pair: Some(pair), pool: Arc::clone(self) };
        loop {
            let mut state = self.state();
            let Some(waiter) = state.waiters.pop_front() else {
                state.loose.extend(handout.pair.take());
                return;
            };
            drop(state);
            match waiter.send(handout) {
                Ok(()) => return,
                Err(back) => handout = back,
            }
        }
    }

    /// The life of a generator thread.
    fn generate(self: Arc<Pool>) {
        // Filling a pool is never urgent; if the system will not let us be nice, so be it.
        let _ = rustix::process::nice(10);
        while self.wait_until_wanted() {
            match KeyPair::generate() {
                Ok(pair) => self.shelve(pair),
                Err(error) => {
                    tracing::warn!(%error, "cannot generate a session key; trying again");
                    std::thread::sleep(RETRY);
                }
            }
            self.state().generating -= 1;
        }
    }

    /// Counts a generation as begun; false when it is all over.
    fn wait_until_wanted(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.over {
                return false;
            }
            let coming = state.stored.len() + state.loose.len() + state.generating;
            if coming < self.wanted(&state) + state.waiters.len() {
                state.generating += 1;
                return true;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A new pair goes to a waiter, else to disk; should the disk not take it, memory does.
    fn shelve(self: &Arc<Pool>, pair: KeyPair) {
        let asked_for = {
            let mut state = self.state();
            state.waiters.retain(|waiter| !waiter.is_closed());
            !state.waiters.is_empty()
        };
        if asked_for {
            return self.give(pair);
        }
        match self.shelf.store(pair) {
            Ok(stored) => self.state().stored.push_back(stored),
            Err((pair, error)) => {
                tracing::warn!(%error, "cannot store a session key; keeping it in memory");
                self.give(pair);
            }
        }
        // Somebody may have asked while it was being written.
        let serve = self.state().begin_to_serve();
        if serve {
            self.serve();
        }
    }
}

impl State {
    /// Whether the caller has to serve now.
    fn begin_to_serve(&mut self) -> bool {
        let stock = !self.stored.is_empty() || !self.loose.is_empty();
        if self.serving || self.waiters.is_empty() || !stock {
            return false;
        }
        self.serving = true;
        true
    }
}
