//! `kill -9` at random moments, with everything going on, and the store on disk: nothing acknowledged is lost, and nothing
//! is left lying.
//!
//! CI kills 25 times. `GROVE_KILLS=200 cargo test -p grove-tests-e2e killed -- --nocapture` kills 200 times, and
//! `GROVE_SEED=7` makes the same choices again (though not the same moments: those are the machine's).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use grove_tests_kit::client::wire::Span;
use grove_tests_kit::client::wire::request::{NewRequest, PatchRequest, Prolong, Request, RequestState};
use grove_tests_kit::client::wire::worker::{MoveWorker, PatchWorker, PutWorker, WantedState, WorkerState};
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, wait};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep};

use crate::kill9::settle;
use crate::ledger::{self, Ledger, SERIAL, Write};

pub(crate) const WORKERS: u64 = 8;
const USERS: u64 = 12;
/// All who write.
const ALL: u32 = (WORKERS + USERS) as u32;
/// Requests that a user has at a time.
const OWN: usize = 5;
/// Kills between two looks at whether anything was forgotten.
const LOOKS: u64 = 10;

/// Writers that find the controller again after each of its starts.
#[derive(Clone)]
struct Writers {
    farm: watch::Receiver<Farm>,
    ended: Arc<AtomicBool>,
    /// Held while something is written; all of it is taken to pause them.
    pen: Arc<Semaphore>,
    ledger: Ledger,
}

/// Whoever lets them write.
pub(crate) struct Load {
    writers: Writers,
    say: watch::Sender<Farm>,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn farm(&self) -> Farm {
        self.farm.borrow().clone()
    }

    fn go_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Users and boards begin.
    pub(crate) fn start(farm: Farm, seed: u64) -> Load {
        let (say, farm) = watch::channel(farm);
        let pen = Arc::new(Semaphore::new(ALL as usize));
        let writers = Writers { farm, ended: Arc::default(), pen, ledger: Ledger::default() };
        let users = (0..USERS).map(|number| tokio::spawn(user(writers.clone(), seed ^ number)));
        let boards =
            (1..=WORKERS).map(|number| tokio::spawn(board(writers.clone(), number, seed ^ number << 8)));
        let running = users.chain(boards).collect();
        Load { writers, say, running }
    }

    /// What they were answered.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.writers.ledger
    }

    /// Nobody writes from now on; what was being written has its answer.
    pub(crate) async fn pauses(&self) {
        self.writers.pen.acquire_many(ALL).await.unwrap().forget();
    }

    /// They write again.
    pub(crate) fn goes_on(&self) {
        self.writers.pen.add_permits(ALL as usize);
    }

    /// The controller has another address.
    pub(crate) fn moves(&self, farm: Farm) {
        self.say.send_replace(farm);
    }

    /// Users and boards end.
    pub(crate) async fn stop(self) -> Ledger {
        self.writers.ended.store(true, Ordering::Relaxed);
        self.goes_on();
        for ended in join_all(self.running).await {
            ended.unwrap();
        }
        self.writers.ledger
    }
}

/// What a board's driver is told to take for its work.
pub(crate) fn busy() -> serde_json::Value {
    json!({
        "prepare": { "delay_ms": 60 }, "authorize": { "delay_ms": 40 }, "revoke": { "delay_ms": 30 },
        "maintenance": { "delay_ms": 50 }, "check": { "delay_ms": 10 },
    })
}

/// Asks for boards, has jobs, and changes its mind.
async fn user(writers: Writers, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let ledger = writers.ledger.clone();
    let mut own: BTreeMap<u64, Request> = BTreeMap::new();
    while writers.go_on() {
        let pen = writers.pen.acquire().await.unwrap();
        let farm = writers.farm();
        if own.len() < OWN && random.bool() {
            let wants = if random.u8(0..5) == 0 { "board=none" } else { "board=rpi4" };
            let length = Span::from_secs(random.u64(1..4));
            let one = NewRequest { length, priority: random.u8(1..=16), ..wish(&[wants]) };
            if let Some(request) = ledger.created(farm.create_request(&one, None).await) {
                own.insert(request.id, request);
            }
        } else if let Some(id) = random.choice(own.keys().copied().collect::<Vec<_>>()) {
            let written = match random.u8(0..8) {
                0 | 1 => {
                    let priority = random.u8(1..=16);
                    let patch = PatchRequest { priority: Some(priority), ..PatchRequest::default() };
                    ledger.sends(id, Write::Priority(priority));
                    ledger.written(id, farm.patch_request(id, &patch, None).await)
                }
                2 | 3 => {
                    ledger.sends(id, Write::Prolong);
                    let length = Span::from_secs(random.u64(1..4));
                    let prolong = Prolong { length, shorten: true };
                    ledger.written(id, farm.prolong(id, &prolong, None).await)
                }
                4 => {
                    ledger.sends(id, Write::Close);
                    ledger.written(id, farm.close_request(id, None).await)
                }
                // What it sees it relies on as well.
                _ => ledger.seen(farm.request(id).await),
            };
            match written {
                Some(request) if request.state.is_terminal() => drop(own.remove(&id)),
                Some(request) => drop(own.insert(id, request)),
                None => {}
            }
        }
        drop(pen);
        sleep(Duration::from_millis(random.u64(0..8))).await;
    }
}

/// A board that registers again and again, and whose admin never leaves it alone.
async fn board(writers: Writers, number: u64, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let (ledger, worker) = (writers.ledger.clone(), uuid(number));
    let mut serial = 0;
    while writers.go_on() {
        let pen = writers.pen.acquire().await.unwrap();
        let farm = writers.farm();
        serial += 1;
        let moves = |state, force| MoveWorker { state, force, when_free: false };
        match random.u8(0..12) {
            _ if !ledger.knows(worker) => {
                let body = registration(serial);
                ledger.sends_to(worker, Write::Serial(serial));
                ledger.written_to(worker, farm.put_worker(worker, &body, None).await);
            }
            0 => {
                let body = registration(serial);
                ledger.sends_to(worker, Write::Serial(serial));
                ledger.written_to(worker, farm.put_worker(worker, &body, None).await);
            }
            1..=5 => {
                let notes = Some(Some(serial.to_string()));
                let body = PatchWorker { notes, ..PatchWorker::default() };
                ledger.sends_to(worker, Write::Notes(serial));
                ledger.written_to(worker, farm.patch_worker(worker, &body, None).await);
            }
            6 => {
                ledger.sends_to(worker, Write::Move);
                let body = moves(WantedState::Maintenance, random.bool());
                ledger.written_to(worker, farm.move_worker(worker, &body, None).await);
            }
            7 if random.u8(0..4) == 0 => {
                ledger.sends_to(worker, Write::Move);
                ledger.written_to(worker, farm.report_failure(worker, "kicked", None).await);
            }
            _ => {
                ledger.sends_to(worker, Write::Move);
                ledger.written_to(
                    worker,
                    farm.move_worker(worker, &moves(WantedState::Idle, true), None).await,
                );
            }
        }
        drop(pen);
        sleep(Duration::from_millis(random.u64(2..40))).await;
    }
}

fn registration(serial: u64) -> PutWorker {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    PutWorker {
        driver: "simulated".to_owned(),
        driver_config: busy(),
        capabilities: Some([("board", "rpi4"), (SERIAL, &serial.to_string())].map(text).into()),
        groups: None,
        host: None,
    }
}

/// Nobody writes any more: whatever is under way comes to its end, and nobody is forgotten.
pub(crate) async fn nothing_is_forgotten(farm: &Farm) {
    let look = || async {
        let moving = |state| matches!(state, WorkerState::Prepare | WorkerState::Busy);
        let opening =
            |worker: &grove_tests_kit::client::wire::worker::Worker| worker.job.is_some_and(|job| !job.open);
        let workers = farm.all_workers().await;
        let busy = workers
            .into_iter()
            .filter(|worker| moving(worker.state) || worker.task.is_some() || opening(worker));
        let busy: Vec<_> = busy.collect();
        let requests = farm.all_requests().await;
        let live = requests
            .into_iter()
            .filter(|request| request.state == RequestState::InProgress || request.reserved.is_some());
        (busy, live.collect::<Vec<_>>())
    };
    // Jobs end by themselves, and with them whatever is under way; failed boards come back by themselves.
    wait::until_is("everything to come to its end", look, |(busy, live)| busy.is_empty() && live.is_empty())
        .await;
}

fn number_from(variable: &str) -> Option<u64> {
    let number = std::env::var(variable).ok()?;
    Some(number.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {number:?}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments_under_load() {
    let kills = number_from("GROVE_KILLS").unwrap_or(25);
    let seed = number_from("GROVE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let began = Instant::now();
    let mut grove = Grove::start(Setup::config("[checks]\nrecheck_first = \"1s\"\nrelapses = 1000000\n"));
    let load = Load::start(grove.farm(), seed);
    let (mut killed, mut while_starting, mut start) = (0, 0, Duration::from_millis(100));
    while killed < kills {
        sleep(Duration::from_millis(random.u64(10..500))).await;
        grove.kill();
        killed += 1;
        if random.u8(0..3) == 0 && killed < kills {
            let after = start.mul_f64(random.f64() * 1.2);
            tokio::task::block_in_place(|| grove.kill_while_starting(after));
            (killed, while_starting) = (killed + 1, while_starting + 1);
        }
        let starting = Instant::now();
        tokio::task::block_in_place(|| grove.start_again());
        start = starting.elapsed();
        let farm = grove.farm();
        load.ledger().check(&farm).await;
        ledger::invariants_hold(&farm).await;
        if killed % LOOKS == 0 {
            nothing_is_forgotten(&farm).await;
        }
        load.moves(farm);
    }
    let ledger = load.stop().await;
    let farm = grove.farm();
    ledger.check(&farm).await;
    let (requests, events) = (farm.all_requests().await.len(), farm.all_events().await.len());
    settle(&farm, WORKERS).await;
    let figures = ledger.figures();
    println!(
        "{kills} kills in {:.1} s, {while_starting} of them while it started; {} writes acknowledged, {} refused, {} without an \
         answer; {requests} requests, {events} events; lost: 0",
        began.elapsed().as_secs_f64(),
        figures.acknowledged,
        figures.refused,
        figures.unanswered,
    );
    assert!(figures.acknowledged > kills * 10, "too little was written to prove anything: {figures:?}");
}
