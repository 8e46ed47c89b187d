//! The clock that lets guests be interrupted: a thread that advances the epoch of every engine each millisecond, and a
//! second thread that watches it. Without ticks a guest in a loop could not be stopped, so a ticker that died or
//! stalled is replaced and reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, sleep};
use std::time::Duration;

use wasmtime::EngineWeak;

use crate::limits::TICK;

/// How often the watcher looks. A ticker without a beat for two looks in a row counts as stalled.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    engines: Vec<EngineWeak>,
    beats: AtomicU64,
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
            office: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            #[cfg(test)]
            stalled: AtomicBool::new(false),
        });
        spawn_ticker(shared.clone(), 0)?;
        let watched = shared.clone();
        Builder::new().name("grove-tick-watch".to_owned()).spawn(move || watch(&watched))?;
        Ok(Ticker { shared })
    }

    /// How often a ticker had to be replaced. Anything but 0 is worth a look at the machine.
    pub(crate) fn replaced(&self) -> u64 {
        self.shared.office.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
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
}

fn spawn_ticker(shared: Arc<Shared>, office: u64) -> std::io::Result<()> {
    let tick = move || {
        while !shared.stop.load(Ordering::Relaxed) && shared.office.load(Ordering::Relaxed) == office {
            #[cfg(test)]
            if office == 0 && shared.stalled.load(Ordering::Relaxed) {
                sleep(TICK);
                continue;
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
        sleep(LOOK);
        let now = shared.beats.load(Ordering::Relaxed);
        missed = if now == seen { missed + 1 } else { 0 };
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

    #[test]
    fn a_stalled_ticker_is_replaced() {
        let ticker = Ticker::start(Vec::new()).unwrap();
        ticker.shared.stalled.store(true, Ordering::Relaxed);
        for _ in 0..600 {
            if ticker.replaced() > 0 {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        assert!(ticker.replaced() > 0, "nobody noticed");
        let before = ticker.shared.beats.load(Ordering::Relaxed);
        for _ in 0..600 {
            if ticker.shared.beats.load(Ordering::Relaxed) > before {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("the new ticker does not tick");
    }
}
