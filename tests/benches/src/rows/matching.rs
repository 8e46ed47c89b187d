//! A round through the policy component, and the same round by the same rule in native code: what is due and may be
//! served by whom, who gets what, and the check of each choice. Then the choice alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::matching::{Matcher, RoundLimits, builtin};
use grove_domain::moment::Timestamp;
use grove_domain::request::{self, Bounds, Create, Request, Spec};
use grove_domain::wants::Wants;
use grove_domain::worker::{Registration, State, Worker};
use grove_runtime::policy::{Change, Demand};
use grove_runtime::{CallLimits, PolicySession};

use crate::guests::{Deaf, plugin, runtime};
use crate::stats::{median, ms};
use crate::table::{Goal, Line, Table};

const ROUNDS: usize = 31;
const ALL: RoundLimits = RoundLimits { max_demands: 0, max_candidates: 0 };

/// Every size.
pub(super) fn rounds(table: &mut Table) -> Result<()> {
    let sizes = [
        ("matching round through the policy, 1,000 workers x 1,000 requests", 1_000, 1_000),
        ("matching round through the policy, 1,000 workers x 10,000 requests", 1_000, 10_000),
        ("matching round through the policy, 10,000 workers x 1,000 requests", 10_000, 1_000),
        ("matching round through the policy, 10,000 workers x 10,000 requests", 10_000, 10_000),
    ];
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (work, workers, requests) in sizes {
        let [round, choice] = threads.block_on(measure(workers, requests))?;
        let line =
            |work, (ours, twin), goal| Line { work, unit: "ms", ours, twin: Some(twin), goal, peer: "" };
        table.line(line(work, round, Goal::RatioAtMost(2.0)));
        table.line(line("  ... the choice alone", choice, Goal::None));
    }
    Ok(())
}

/// Ours and the twin's: of whole rounds, and of the choice in them.
async fn measure(workers: u64, requests: u64) -> Result<[(f64, f64); 2]> {
    let workers: Vec<_> = (0..workers).map(worker).collect();
    let requests: Vec<_> = (0..requests).map(wanted).collect::<Result<_>>()?;
    let mut matcher = Matcher::new();
    workers.iter().for_each(|worker| matcher.put_worker(worker));
    requests.iter().for_each(|request| matcher.put_request(request));

    let runtime = runtime(1)?;
    let policy = plugin(&runtime, "policy-least-capable").await?.into_policy()?;
    let mut session = policy.open("{}".to_owned(), CallLimits::default(), Arc::new(Deaf)).await?;
    session.apply(told(&matcher, &workers, &requests)).await?;
    let (mut ours, mut twins) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let round = matcher.round(ALL);
        let asked = Instant::now();
        let plan = ask(&mut session, &round).await?;
        ours.1.push(ms(asked.elapsed()));
        let given = checked(&matcher, plan.assignments.iter().map(|given| (given.request, given.worker)))?;
        ours.0.push(ms(begin.elapsed()));

        let begin = Instant::now();
        let round = matcher.round(ALL);
        let asked = Instant::now();
        let choices = builtin(&matcher, &round);
        twins.1.push(ms(asked.elapsed()));
        let native = checked(&matcher, choices.iter().map(|choice| (choice.request.0, choice.worker)))?;
        twins.0.push(ms(begin.elapsed()));
        ensure!(given == native, "the policy and the native rule disagree");
    }
    Ok([(median(&ours.0), median(&twins.0)), (median(&ours.1), median(&twins.1))])
}

/// The core's own check of every choice.
fn checked(matcher: &Matcher, choices: impl Iterator<Item = (u64, u32)>) -> Result<Vec<(u64, u32)>> {
    let choices: Vec<_> = choices.collect();
    let fits = choices.iter().all(|(request, worker)| matcher.fits(RequestId(*request), *worker));
    ensure!(fits, "a worker does not fit its request");
    Ok(choices)
}

/// As the controller asks: its round stays with it.
async fn ask(
    session: &mut PolicySession,
    round: &grove_domain::matching::Round,
) -> Result<grove_runtime::policy::Plan> {
    let demand = |demand: &grove_domain::matching::Demand| Demand {
        request: demand.request.0,
        candidate_set: demand.set,
    };
    let demands = round.demands.iter().map(demand).collect();
    Ok(session.round(Vec::new(), 0, round.candidate_sets.clone(), demands).await?)
}

fn told(matcher: &Matcher, workers: &[Worker], requests: &[Request]) -> Vec<Change> {
    let workers = workers.iter().filter_map(|worker| {
        let capabilities = worker.capabilities.effective();
        Some(Change::WorkerPut(grove_runtime::policy::Worker {
            id: matcher.dense(worker.id)?,
            uuid: worker.id.to_string(),
            capabilities: capabilities.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            groups: Vec::new(),
            state: "idle".to_owned(),
            driver: worker.registration.driver.clone(),
        }))
    });
    let requests = requests.iter().map(|request| {
        Change::RequestPut(grove_runtime::policy::Request {
            id: request.id.0,
            owner: "ann".to_owned(),
            groups: vec!["*".to_owned()],
            wants: request.spec.wants.describe(),
            priority: request.priority.get(),
            created: 0,
            valid_after: 0,
            deadline: u64::MAX,
            hints: Vec::new(),
        })
    });
    workers.chain(requests).collect()
}

fn worker(number: u64) -> Worker {
    let capabilities = [
        ("board", format!("kind{}", number % 200)),
        ("slot", number.to_string()),
        ("uart", (number / 200 % 4 + 1).to_string()),
        ("lab", format!("lab{}", number % 7)),
    ];
    let capabilities: BTreeMap<_, _> =
        capabilities.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let registration = Registration {
        driver: "simulated".to_owned(),
        driver_config: "{}".to_owned(),
        capabilities: Arc::new(capabilities),
    };
    let id = WorkerId(Uuid::from_u128(u128::from(number)));
    Worker { state: State::Idle, ..Worker::register(id, registration, Timestamp::UNIX_EPOCH) }
}

/// 200 classes of requests.
fn wanted(number: u64) -> Result<Request> {
    let spec = Spec {
        owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
        wants: Wants::parse(&[format!("board=kind{}", number % 200), "uart=1..".to_owned()])?,
        length: None,
        keys: Vec::new(),
        heartbeat: None,
        away: None,
        idle: None,
        extend: false,
        hints: BTreeMap::new(),
        idempotency: None,
    };
    let wish = Create { spec, priority: 8, valid_after: None, deadline: None };
    let bounds = Bounds::default();
    let context =
        request::Context { now: Timestamp::UNIX_EPOCH, actor: "ann", tail: number, bounds: &bounds };
    request::create(RequestId(number + 1), wish, context).ok().context("a request was refused")
}
