//! What matching costs: `cargo run --release --example matching_figures -p grove-domain`.
//!
//! A farm of 10,000 boards of 200 kinds, and requests that want a kind, a number of ports and one slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::matching::{Matcher, RoundLimits, builtin};
use grove_domain::moment::Timestamp;
use grove_domain::request::{self, Bounds, Create, Request, Spec};
use grove_domain::wants::{Wants, WantsError};
use grove_domain::worker::{Registration, State, Worker};
use rustix::time::{ClockId, clock_gettime};

const WORKERS: u64 = 10_000;
const ALL: RoundLimits = RoundLimits { max_demands: 0, max_candidates: 0 };

/// Terms of the request of that number.
type Shape = fn(u64) -> Vec<String>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<70} {:>12}", "with 10,000 workers", "");
    println!("{:<70} {:>9} MB", "  memory before anything", resident_mb());

    let workers: Vec<_> = (0..WORKERS).map(|number| worker(number, State::Idle)).collect();
    let mut matcher = Matcher::new();
    let (_, took) = timed(|| workers.iter().for_each(|worker| matcher.put_worker(worker)));
    each("registering a worker", took, WORKERS);
    println!("{:<70} {:>9} MB", "  memory with the workers", resident_mb());

    let unmatchable = requests(10_000, |number| vec![format!("board=none{number}"), "uart=2..".to_owned()])?;
    let (_, took) = timed(|| unmatchable.iter().for_each(|request| matcher.put_request(request)));
    each("putting a request of a new class that nothing matches", took, 10_000);
    let (round, took) = timed(|| matcher.round(ALL));
    whole("looking at 10,000 such classes once", took, round.demands.len());
    let (_, took) = timed(|| unmatchable.iter().for_each(|request| matcher.remove_request(request.id)));
    each("removing it again", took, 10_000);

    full_rounds(&mut matcher, &workers)?;
    turning_idle(&workers)?;
    hundred_thousand(&workers)
}

fn full_rounds(matcher: &mut Matcher, workers: &[Worker]) -> Result<(), WantsError> {
    let shapes: [(&str, Shape); 4] = [
        ("1 class", |_| vec!["board".to_owned()]),
        ("200 classes", |number| vec![format!("board=kind{}", number % 200), "uart=1..".to_owned()]),
        ("10,000 classes, one board each", |number| vec![format!("slot={number}"), "uart=1..".to_owned()]),
        ("10,000 classes, about 38 boards each", |number| {
            vec![format!("board=kind{}", number % 200), "uart=2..".to_owned(), format!("!not{number}")]
        }),
    ];
    for (name, wants) in shapes {
        let asked = requests(10_000, wants)?;
        let (_, took) = timed(|| asked.iter().for_each(|request| matcher.put_request(request)));
        each(&format!("putting a request, {name}"), took, 10_000);
        let (round, took) = timed(|| matcher.round(ALL));
        whole(
            &format!("a round of 10,000 requests x 10,000 idle workers, {name}"),
            took,
            round.demands.len(),
        );
        let (given, took) = timed(|| builtin(matcher, &round));
        whole("  the built-in rule on it", took, given.len());
        let (_, took) = timed(|| {
            for given in &given {
                matcher.remove_request(given.request);
                if let Some(worker) = workers.get(given.worker as usize) {
                    matcher.put_worker(&Worker { state: State::Running, ..worker.clone() });
                }
            }
        });
        each("  taking in an assignment", took, given.len() as u64);
        let (round, took) = timed(|| matcher.round(ALL));
        whole("  the round after it", took, round.demands.len());
        asked.iter().for_each(|request| matcher.remove_request(request.id));
        workers.iter().for_each(|worker| matcher.put_worker(worker));
    }
    Ok(())
}

fn turning_idle(workers: &[Worker]) -> Result<(), WantsError> {
    let shapes: [(&str, Shape); 3] = [
        ("one board each", |number| vec![format!("slot={number}"), "uart=1..".to_owned()]),
        ("50 classes for every board", |number| {
            vec![format!("board=kind{}", number % 200), format!("!not{number}")]
        }),
        ("only ranges, all for every board", |number| vec![format!("uart=1..{}", 10 + number)]),
    ];
    for (name, wants) in shapes {
        let mut matcher = Matcher::new();
        for worker in workers {
            matcher.put_worker(&Worker { state: State::Prepare, ..worker.clone() });
        }
        for request in requests(10_000, wants)? {
            matcher.put_request(&request);
        }
        matcher.round(ALL);
        let some = workers.iter().step_by(100);
        let (_, took) = timed(|| some.clone().for_each(|worker| matcher.put_worker(worker)));
        each(&format!("a worker turning idle, 10,000 waiting classes, {name}"), took, some.len() as u64);
    }
    Ok(())
}

fn hundred_thousand(workers: &[Worker]) -> Result<(), Box<dyn std::error::Error>> {
    let mut matcher = Matcher::new();
    for worker in workers {
        matcher.put_worker(&Worker { state: State::Running, ..worker.clone() });
    }
    let asked = requests(100_000, |number| {
        vec![format!("board=kind{}", number % 200), "uart=2..".to_owned(), format!("slot!={number}")]
    })?;
    let before = resident_mb();
    let (_, took) = timed(|| asked.iter().for_each(|request| matcher.put_request(request)));
    each("putting one of 100,000 requests, each a class", took, 100_000);
    println!("{:<70} {:>9} MB", "  memory of these in the matcher", resident_mb() - before);
    let (round, took) = timed(|| matcher.round(ALL));
    whole("looking at them, no worker idle", took, round.demands.len());
    // The boards that have two ports.
    let wanted = workers.iter().skip(200).take(50);
    let (_, took) = timed(|| wanted.clone().for_each(|worker| matcher.put_worker(worker)));
    each("a worker turning idle that 500 of them want", took, wanted.len() as u64);
    let (round, took) = timed(|| matcher.round(RoundLimits { max_demands: 1000, max_candidates: 0 }));
    whole("  the round for 50 of these, at most 1,000 demands", took, round.demands.len());
    let (_, took) = timed(|| matcher.wake());
    whole("  waking", took, 0);
    if let Some(request) = asked.first() {
        let (_, took) = timed(|| matcher.explain(&request.spec.owner.groups, &request.spec.wants));
        each("explaining one", took, 1);
    }
    Ok(())
}

fn worker(number: u64, state: State) -> Worker {
    let capabilities = [
        ("board", format!("kind{}", number % 200)),
        ("slot", number.to_string()),
        ("uart", (number / 200 % 4 + 1).to_string()),
        ("lab", format!("lab{}", number % 7)),
        ("baud", "57600,115200".to_owned()),
        ("voltage", "2.9..3.6".to_owned()),
    ];
    let capabilities: BTreeMap<_, _> =
        capabilities.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let registration = Registration {
        driver: "ssh".to_owned(),
        driver_config: "{}".to_owned(),
        capabilities: Arc::new(capabilities),
    };
    let id = WorkerId(Uuid::from_u128(u128::from(number)));
    Worker { state, ..Worker::register(id, registration, Timestamp::UNIX_EPOCH) }
}

fn requests(count: u64, wants: Shape) -> Result<Vec<Request>, WantsError> {
    let request = |number: u64| {
        let spec = Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::parse(&wants(number))?,
            length: None,
            keys: Vec::new(),
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
            idempotency: None,
        };
        let wish = Create { spec, priority: (number % 16 + 1) as u8, valid_after: None, deadline: None };
        let context = request::Context {
            now: Timestamp::UNIX_EPOCH,
            actor: "ann",
            tail: number,
            bounds: &Bounds::default(),
        };
        Ok(request::create(RequestId(number), wish, context).ok())
    };
    (0..count).map(request).filter_map(Result::transpose).collect()
}

/// The processor time that `work` takes, so that a busy machine counts little.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let spent = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = spent();
    let result = work();
    (result, spent().saturating_sub(start))
}

fn each(what: &str, took: Duration, count: u64) {
    println!("{what:<70} {:>9.2} us", took.as_secs_f64() * 1e6 / count.max(1) as f64);
}

fn whole(what: &str, took: Duration, found: usize) {
    println!("{what:<70} {:>9.2} ms  ({found} found)", took.as_secs_f64() * 1e3);
}

/// Memory in use by this process; 0 where that cannot be told.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
}
