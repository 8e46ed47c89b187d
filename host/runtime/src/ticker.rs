//! The clock that lets guests be interrupted: a thread that advances the epoch of every engine each millisecond while a
//! guest is on a thread, and a second thread that watches it. Without ticks a guest in a loop could not be stopped, so a
//! ticker that died or stalled is replaced and reported.
//!
//! While no guest is on a thread there is nothing to interrupt, and both sleep until one enters.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::{Builder, sleep};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::EngineWeak;

use crate::limits::TICK;

/// How often the watcher looks. A ticker without a beat for two looks in a row counts as stalled.
const LOOK: Duration = Duration::from_millis(250);
/// Ticks without a guest before the ticker sleeps: whoever calls guests one after the other need not wake it each time.
const LINGER: u32 = 20;

/// Owns the clock; its threads end with it.
pub(crate) struct Ticker {
    clock: Clock,
}

/// The clock, for whoever runs guests.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Shared>);

struct Shared {
    engines: Vec<EngineWeak>,
    beats: AtomicU64,
    /// Guests that are on a thread now.
    entered: AtomicUsize,
    /// Threads of ours that sleep until a guest enters.
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// The ticker thread that is in office; an older one ends when it wakes up.
    office: AtomicU64,
    stop: AtomicBool,
    #[cfg(test)]
    stalled: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engines: Vec<EngineWeak>) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            engines,
            beats: AtomicU64::new(0),
            entered: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            office: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            #[cfg(test)]
            stalled: AtomicBool::new(false),
        });
        spawn_ticker(shared.clone(), 0)?;
        let watched = shared.clone();
        Builder::new().name("grove-tick-watch".to_owned()).spawn(move || watch(&watched))?;
        Ok(Ticker { clock: Clock(shared) })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// How often a ticker had to be replaced. Anything but 0 is worth a look at the machine.
    pub(crate) fn replaced(&self) -> u64 {
        self.clock.0.office.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.0.stop.store(true, Ordering::SeqCst);
        self.clock.0.wake_all();
    }
}

impl Clock {
    /// Runs `work` so that the clock ticks whenever it is on a thread.
    pub(crate) fn ticking<F: Future>(&self, work: F) -> Ticking<F> {
        Ticking { clock: self.clone(), work: Box::pin(work) }
    }

    fn enter(&self) -> Entered<'_> {
        self.0.entered.fetch_add(1, Ordering::SeqCst);
        // Who goes to sleep counts itself first and looks for guests then: one of both sees the other.
        if self.0.asleep.load(Ordering::SeqCst) > 0 {
            self.0.wake_all();
        }
        Entered(&self.0)
    }
}

/// See [`Clock::ticking`].
pub(crate) struct Ticking<F> {
    clock: Clock,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Ticking<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let _entered = this.clock.enter();
        this.work.as_mut().poll(context)
    }
}

struct Entered<'a>(&'a Shared);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.entered.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn advance(&self) {
        for engine in &self.engines {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        }
    }

    fn wake_all(&self) {
        // With the lock nobody is between the look for guests and the sleep.
        let _sleep = self.sleep.lock();
        self.wake.notify_all();
    }

    /// Sleeps until a guest is on a thread, or it is over for this office.
    fn wait_for_guests(&self, in_office: impl Fn() -> bool) {
        let mut guard = self.sleep.lock();
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while self.entered.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) && in_office() {
            self.wake.wait(&mut guard);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

fn spawn_ticker(shared: Arc<Shared>, office: u64) -> std::io::Result<()> {
    let tick = move || {
        let in_office = || shared.office.load(Ordering::Relaxed) == office;
        let mut alone = 0;
        while !shared.stop.load(Ordering::Relaxed) && in_office() {
            #[cfg(test)]
            if office == 0 && shared.stalled.load(Ordering::Relaxed) {
                sleep(TICK);
                continue;
            }
            alone = if shared.entered.load(Ordering::Relaxed) == 0 { alone + 1 } else { 0 };
            if alone > LINGER {
                shared.wait_for_guests(in_office);
                alone = 0;
            }
            shared.advance();
            shared.beats.fetch_add(1, Ordering::Relaxed);
            sleep(TICK);
        }
    };
    Builder::new().name("grove-tick".to_owned()).spawn(tick).map(drop)
}

fn watch(shared: &Arc<Shared>) {
    let mut seen = shared.beats.load(Ordering::Relaxed);
    let mut missed = 0u32;
    while !shared.stop.load(Ordering::Relaxed) {
        shared.wait_for_guests(|| true);
        sleep(LOOK);
        let now = shared.beats.load(Ordering::Relaxed);
        let expected = shared.entered.load(Ordering::Relaxed) > 0;
        missed = if expected && now == seen { missed + 1 } else { 0 };
        seen = now;
        if missed == 0 {
            continue;
        }
        // Guests must not run free in the meantime.
        shared.advance();
        if missed >= 2 && !shared.stop.load(Ordering::Relaxed) {
            let office = shared.office.fetch_add(1, Ordering::Relaxed) + 1;
            missed = 0;
            match spawn_ticker(shared.clone(), office) {
                Ok(()) => tracing::error!(office, "the clock of the plugins stood still and was replaced"),
                Err(error) => {
                    tracing::error!(%error, "the clock of the plugins stands still and cannot be replaced")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(ticker: &Ticker) -> u64 {
        ticker.clock.0.beats.load(Ordering::Relaxed)
    }

    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..600 {
            if holds() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("{what}: not after 30 s");
    }

    #[test]
    fn a_stalled_ticker_is_replaced() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        let clock = ticker.clock();
        let _guest = clock.enter();
        ticker.clock.0.stalled.store(true, Ordering::Relaxed);
        until("somebody notices", || ticker.replaced() > 0);
        let before = beats(&ticker);
        until("the new one ticks", || beats(&ticker) > before);
    }

    #[test]
    fn nothing_wakes_while_no_guest_is_on_a_thread() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        let clock = ticker.clock();
        let asleep = || ticker.clock.0.asleep.load(Ordering::SeqCst);
        until("both threads sleep", || asleep() == 2);
        let before = beats(&ticker);
        assert!(before <= u64::from(LINGER) + 1, "{before} ticks for nobody");
        sleep(2 * LOOK);
        assert_eq!((beats(&ticker), asleep()), (before, 2));

        for _ in 0..3 {
            let guest = clock.enter();
            let before = beats(&ticker);
            until("it ticks for a guest", || beats(&ticker) > before + u64::from(LINGER));
            drop(guest);
            until("both threads sleep again", || asleep() == 2);
        }
        assert_eq!(ticker.replaced(), 0, "a ticker that sleeps has not stalled");
    }

    #[test]
    fn a_guest_that_waits_is_on_no_thread() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        let mut waits = ticker.clock().ticking(std::future::pending::<()>());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
        assert_eq!(ticker.clock.0.entered.load(Ordering::SeqCst), 0);
    }
}
