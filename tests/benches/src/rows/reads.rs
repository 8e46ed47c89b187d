//! Reading a farm of 10,000 workers and 100,000 requests, and what it takes to hold it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::farm::{Farm, NO_KEYS, create, folder};
use crate::http::{Load, once, request};
use crate::stats::median;
use crate::table::{Goal, Line, Table};
use crate::twin::{Server, Work};

const ROUNDS: usize = 5;
const FOR: Duration = Duration::from_secs(2);
const WORKERS: u64 = 10_000;
const REQUESTS: u64 = 100_000;

/// One request, a page of 100, memory.
pub(super) fn get_list_memory(table: &mut Table) -> Result<()> {
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    std::thread::sleep(Duration::from_secs(1));
    let empty = farm.resident_mb()?;
    farm.register(0..WORKERS, "{}")?;
    let requests: Vec<_> =
        (0..REQUESTS).map(|number| create("board", &format!("none{}", number % 1000))).collect();
    farm.all(&requests)?;
    drop(requests);
    let full = farm.resident_mb()?;

    let number = || fastrand(REQUESTS);
    let get = move || request("GET", &format!("/api/v1/reqs/{}", number()), "");
    let page = move || {
        let anchor = fastrand(REQUESTS - 100);
        request("POST", "/api/v1/reqs/list", &format!(r#"{{"Paginator":{{"ID":{anchor},"Limit":100}}}}"#))
    };
    let shown: serde_json::Value = serde_json::from_slice(&once(farm.address, &page())?)?;
    ensure!(shown.as_array().is_some_and(|page| page.len() == 100), "a page of 100 holds {shown}");

    let (ours, twin) = beside(&farm, 64, get)?;
    table.line(Line {
        work: "get a request (v1, 64 connections), 100,000 kept",
        unit: "/s",
        ours,
        twin: Some(twin),
        goal: Goal::AtLeast(80_000.0),
        peer: "55,000",
    });
    let (ours, twin) = beside(&farm, 1, page)?;
    table.line(Line {
        work: "list a page of 100 of 100,000 requests (v1, 1 connection)",
        unit: "/s",
        ours,
        twin: Some(twin),
        goal: Goal::AtLeast(3_000.0),
        peer: "33",
    });
    let memory =
        |work, ours, goal| Line { work, unit: "MB", ours, twin: None, goal: Goal::AtMost(goal), peer: "" };
    table.line(memory("resident memory, empty farm", empty, 60.0));
    table.line(memory("resident memory, 10,000 workers and 100,000 requests", full, 500.0));
    farm.stop()
}

/// Rates of ours, and of a bare server whose answers are as long.
fn beside(farm: &Farm, connections: usize, request: impl Fn() -> Vec<u8>) -> Result<(f64, f64)> {
    let requests: Vec<_> = (0..10_000).map(|_| request()).collect();
    let loaded = |to| {
        let mut number = 0;
        Load { to, connections, depth: 1 }.for_a_while(FOR, |out| {
            number = (number + 1) % requests.len();
            out.extend_from_slice(requests.get(number).map_or(&[], Vec::as_slice));
        })
    };
    let size = once(farm.address, &request())?.len();
    let twin = Server::start(size, Work::None)?;
    let (mut ours, mut twins) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(loaded(farm.address)?.rate());
        twins.push(loaded(twin.address)?.rate());
    }
    Ok((median(&ours), median(&twins)))
}

/// A number from 1 to `most`, from a sequence that is the same in every run.
fn fastrand(most: u64) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SEED: AtomicU64 = AtomicU64::new(7);
    let seed = SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 27) % most + 1
}
