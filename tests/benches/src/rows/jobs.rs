//! Opening jobs: one call to the driver, a tunnel, and everything on disk.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use rsa::RsaPrivateKey;

use crate::farm::{Farm, NO_KEYS, create, create_with_key, folder};
use crate::stats::median;
use crate::table::{Goal, Line, Table};

const JOBS: u64 = 2000;
const ROUNDS: usize = 3;

/// With users' own keys: everybody asks at once for a worker that is idle.
pub(super) fn own_keys(table: &mut Table) -> Result<()> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let state = folder()?;
        let farm = Farm::start(state.path(), NO_KEYS)?;
        farm.register(0..JOBS, "{}")?;
        farm.make_idle(0..JOBS)?;
        let requests: Vec<_> = (0..JOBS).map(|number| create_with_key(number, "")).collect();
        rates.push(opened(&farm, &requests)?);
        farm.stop()?;
    }
    table.line(Line {
        work: "jobs opened, users' own keys (asking for them included)",
        unit: "/s",
        ours: median(&rates),
        twin: None,
        goal: Goal::AtLeast(1000.0),
        peer: "",
    });
    Ok(())
}

/// Pairs per round: how long one takes varies much.
const PAIRS: u64 = 100;

/// With generated keys and none in stock, beside nothing but generating.
pub(super) fn generated(table: &mut Table) -> Result<()> {
    let (mut ours, mut twins) = (Vec::new(), Vec::new());
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    farm.register(0..PAIRS * ROUNDS as u64, "{}")?;
    farm.make_idle(0..PAIRS * ROUNDS as u64)?;
    for round in 0..ROUNDS as u64 {
        let numbers = round * PAIRS..(round + 1) * PAIRS;
        let requests: Vec<_> = numbers.map(|number| create("slot", &number.to_string())).collect();
        ours.push(opened(&farm, &requests)?);
        twins.push(raw_generation()?);
    }
    table.line(Line {
        work: "jobs opened, generated RSA keys, none in stock",
        unit: "/s",
        ours: median(&ours),
        twin: Some(median(&twins)),
        goal: Goal::RatioAtLeast(0.9),
        peer: "46",
    });
    farm.stop()
}

/// Jobs per second when these ask for workers that are idle.
fn opened(farm: &Farm, requests: &[Vec<u8>]) -> Result<f64> {
    let events = farm.events("request.state")?;
    let begin = Instant::now();
    farm.all(requests)?;
    let last = events.count(requests.len(), |heard| heard.after == "in_progress")?.context("no job")?;
    Ok(requests.len() as f64 / last.heard.duration_since(begin).as_secs_f64())
}

/// Pairs per second on all cores, as nice as a pool is.
fn raw_generation() -> Result<f64> {
    let cores = std::thread::available_parallelism()?.get();
    let left = std::sync::atomic::AtomicU64::new(PAIRS);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let _ = rustix::process::nice(10);
                use std::sync::atomic::Ordering::Relaxed;
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let _ = RsaPrivateKey::new(&mut UnwrapErr(SysRng), 2048);
                }
            });
        }
    });
    let took: Duration = begin.elapsed();
    Ok(PAIRS as f64 / took.as_secs_f64())
}
