//! Everything at once: short jobs on many boards, a long queue of wishes that nothing fits, new wishes all the time,
//! boards that fail and are taken away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use grove_tests_kit::client::wire::request::{NewRequest, RequestState};
use grove_tests_kit::client::wire::{Span, Timestamp};
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, client, wait};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::kill9::settle;

const WORKERS: u64 = 50;
const QUEUE: usize = 2000;
/// New requests a second.
const RATE: u64 = 200;
/// Of which this many a second get a board.
const SERVED: u64 = 30;
/// Calls that may be under way at once.
const UNDER_WAY: usize = 100;
/// An answer that takes longer is none. Far beyond what a busy machine needs.
const BOUND: Duration = Duration::from_secs(15);

/// What the load leaves to be looked at.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) created: AtomicU64,
    pub(crate) refused: AtomicU64,
    slowest_ms: AtomicU64,
}

impl Seen {
    fn took(&self, since: Instant) {
        let took = since.elapsed();
        assert!(took < BOUND, "an answer took {took:?}");
        self.slowest_ms.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
    }
}

/// One of the wishes that come all the time.
fn one_of(number: u64, now: Timestamp) -> (NewRequest, bool) {
    if number % RATE < SERVED {
        return (NewRequest { length: Span::from_secs(1), ..wish(&["board=rpi4"]) }, false);
    }
    let nothing = wish(&["board=rpi4", "camera=9.."]);
    match number % 2 {
        // Its time will be up.
        0 => {
            let soon = now.checked_add(Duration::from_secs(2 + number % 5)).unwrap();
            (NewRequest { deadline: Some(soon), ..nothing }, false)
        }
        // Its user will not wait.
        _ => (nothing, true),
    }
}

pub(crate) async fn make_wishes(farm: Farm, seen: Arc<Seen>, until: Instant) {
    let mut ticks = interval(Duration::from_nanos(1_000_000_000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut calls = Vec::new();
    for number in 0.. {
        ticks.tick().await;
        if Instant::now() >= until {
            break;
        }
        let permit = under_way.clone().acquire_owned().await.unwrap();
        let (farm, seen) = (farm.clone(), seen.clone());
        calls.push(tokio::spawn(async move {
            let (wish, closes) = one_of(number, wait::now());
            let began = Instant::now();
            let made = farm.create_request(&wish, None).await;
            seen.took(began);
            drop(permit);
            match made {
                Ok(request) => {
                    seen.created.fetch_add(1, Ordering::Relaxed);
                    if closes {
                        sleep(Duration::from_millis(number % 700)).await;
                        farm.close_request(request.id, None).await.unwrap();
                    }
                }
                Err(error) => {
                    println!("refused: {error}");
                    seen.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    for call in join_all(calls).await {
        call.unwrap();
    }
}

/// Boards are taken away, come back, and break.
async fn disturb(farm: Farm, seed: u64, until: Instant) {
    let mut random = fastrand::Rng::with_seed(seed);
    while Instant::now() < until {
        let worker = uuid(random.u64(1..=WORKERS));
        let state = |state: &str, force: bool| {
            serde_json::from_value(json!({ "state": state, "force": force })).unwrap()
        };
        // Some of these are refused, as they should be.
        match random.u8(0..4) {
            0 => drop(farm.move_worker(worker, &state("maintenance", random.bool()), None).await),
            1 => drop(farm.report_failure(worker, "dropped", None).await),
            _ => drop(farm.move_worker(worker, &state("idle", true), None).await),
        }
        sleep(Duration::from_millis(random.u64(50..250))).await;
    }
}

/// The controller answers all the time, and never has two jobs on one worker.
/// `kept`: requests of these numbers there are, from 1.
pub(crate) async fn look(farm: Farm, kept: u64, seen: Arc<Seen>, until: Instant) {
    let mut random = fastrand::Rng::with_seed(1);
    while Instant::now() < until {
        let began = Instant::now();
        farm.health().await.unwrap();
        seen.took(began);
        let began = Instant::now();
        let mut on: Vec<_> = farm.all_jobs().await.iter().map(|job| job.worker).collect();
        seen.took(began);
        let running = on.len();
        on.sort();
        on.dedup();
        assert_eq!(on.len(), running, "two running jobs on one worker");
        let began = Instant::now();
        farm.request(random.u64(1..=kept)).await.unwrap();
        seen.took(began);
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_load() {
    let seconds = match std::env::var("GROVE_LOAD_SECONDS") {
        Ok(seconds) => seconds.parse().expect("GROVE_LOAD_SECONDS is a number of seconds"),
        Err(_) => 30,
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let grove = Grove::start(Setup::config("[checks]\nrecheck_first = \"1s\"\nrelapses = 100000\n"));
    let farm = grove.farm();
    farm.simulated(WORKERS, json!({ "prepare": { "delay_ms": 50 } }), &[("board", "rpi4"), ("camera", "1")])
        .await;
    let nothing = wish(&["board=tpu"]);
    for _ in 0..QUEUE / 50 {
        let made = join_all((0..50).map(|_| farm.create_request(&nothing, None))).await;
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    let seen = Arc::new(Seen::default());
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut all = vec![
        tokio::spawn(make_wishes(farm.clone(), seen.clone(), until)),
        tokio::spawn(look(farm.clone(), QUEUE as u64, seen.clone(), until)),
    ];
    all.extend((0..2).map(|number| tokio::spawn(disturb(farm.clone(), seed ^ number, until))));
    for part in all {
        part.await.unwrap();
    }

    let (created, refused) = (seen.created.load(Ordering::Relaxed), seen.refused.load(Ordering::Relaxed));
    let requests = farm.all_requests().await;
    let count = |state| requests.iter().filter(|request| request.state == state).count();
    println!(
        "{created} requests in {seconds} s, slowest answer {} ms: {} done, {} failed, {} cancelled, {} timed out, {} wait, {} run",
        seen.slowest_ms.load(Ordering::Relaxed),
        count(RequestState::Done),
        count(RequestState::Failed),
        count(RequestState::Cancelled),
        count(RequestState::Timeout),
        count(RequestState::Waiting),
        count(RequestState::InProgress),
    );
    let mut kinds = BTreeMap::<String, u64>::new();
    for event in farm.all_events().await {
        *kinds.entry(event.kind).or_default() += 1;
    }
    println!("events: {kinds:?}");
    assert_eq!(refused, 0, "requests were refused");
    assert_eq!(requests.len() as u64, created + QUEUE as u64, "requests were lost");
    let queue = requests.iter().take(QUEUE);
    assert!(queue.clone().all(|request| request.state == RequestState::Waiting), "the queue did not wait");
    assert!(count(RequestState::Done) > 0, "no job was done");

    // Those whose jobs run or will run, and those whose time will be up, end without anybody's help.
    let live = || async {
        let query = client::RequestsQuery { state: Some(RequestState::InProgress), ..Default::default() };
        farm.requests(&query).take(usize::MAX).await.unwrap().len()
    };
    wait::until_is("jobs to end", live, |running| *running == 0).await;
    settle(&farm, WORKERS).await;
}
