//! What decisions cost, without disk and boards: `cargo run --release -p grove-control --example dispatcher_bench`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use grove_control::fakes::Fakes;
use grove_control::{Controller, Settings, Want};
use grove_domain::event::Subject;
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::request::{self, Create, Spec};
use grove_domain::wants::Wants;
use grove_domain::worker::{Edit, Registration, State};
use tokio::task::JoinSet;
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Callers at the same time.
const CALLERS: usize = 256;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    creates().await?;
    jobs().await?;
    latency().await?;
    drain().await
}

async fn farm() -> Outcome<Controller> {
    let fakes = Fakes::new();
    fakes.store.keep_no_history();
    fakes.drivers.keep_no_calls();
    fakes.policies.keep_no_questions();
    Ok(Controller::start(fakes.parts(Settings::default())).await?)
}

fn id(number: usize) -> WorkerId {
    WorkerId(Uuid::from_u128(number as u128 + 1))
}

fn wish(term: &str, priority: u8) -> Outcome<Create> {
    Ok(Create {
        spec: Spec {
            owner: Owner { name: "ann".to_owned(), groups: OwnerGroups::All },
            wants: Wants::parse(&[term])?,
            length: None,
            keys: vec!["ssh-ed25519 AAAA ann".to_owned()],
            heartbeat: None,
            away: None,
            idle: None,
            extend: false,
            hints: BTreeMap::new(),
            idempotency: None,
        },
        priority,
        valid_after: None,
        deadline: None,
    })
}

/// `CALLERS` at a time ask for something, numbers 0..count; the answers by number.
async fn all<T, F>(count: usize, ask: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let ask = ask.clone();
        callers.spawn(async move {
            let mut answers = Vec::new();
            for number in (caller..count).step_by(CALLERS) {
                answers.push((number, ask(number).await?));
            }
            Outcome::Ok(answers)
        });
    }
    let mut answers = Vec::with_capacity(count);
    while let Some(caller) = callers.join_next().await {
        answers.extend(caller??);
    }
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

async fn create_all(
    farm: &Controller,
    count: usize,
    term: fn(usize) -> String,
    priority: u8,
) -> Outcome<Vec<RequestId>> {
    let farm = farm.clone();
    all(count, move |number| {
        let farm = farm.clone();
        async move { Ok(farm.create_request("user:ann", wish(&term(number), priority)?).await?.id) }
    })
    .await
}

async fn register_all(farm: &Controller, count: usize) -> Outcome<()> {
    let farm = farm.clone();
    all(count, move |number| {
        let farm = farm.clone();
        async move {
            let capabilities = [("board".to_owned(), format!("b{}", number % 50))];
            let registration = Registration {
                driver: "fake".to_owned(),
                driver_config: "{}".to_owned(),
                capabilities: Arc::new(capabilities.into_iter().collect()),
            };
            farm.register("board", id(number), registration, Edit::default(), None).await?;
            Ok(())
        }
    })
    .await?;
    Ok(())
}

async fn until_worker(farm: &Controller, number: usize, state: State) {
    loop {
        let changed = farm.watch(Subject::Worker(id(number)));
        if farm.farm().worker(id(number)).is_some_and(|worker| worker.state == state) {
            return;
        }
        changed.changed().await;
    }
}

async fn until_running(farm: &Controller, request: RequestId) {
    loop {
        let changed = farm.watch(Subject::Request(request));
        if farm.farm().request(request).is_some_and(|row| row.state == request::State::InProgress) {
            return;
        }
        changed.changed().await;
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

async fn creates() -> Outcome<()> {
    let farm = farm().await?;
    create_all(&farm, 10_000, |number| format!("laser=l{}", number % 200), 8).await?;
    for listeners in [0, 1] {
        let listening: Vec<_> = (0..listeners).map(|_| farm.feed().subscribe()).collect();
        let began = Instant::now();
        create_all(&farm, 100_000, |number| format!("laser=l{}", number % 200), 8).await?;
        let rate = rate(100_000, began.elapsed());
        println!("creates, 10k and more waiting, {} listeners: {rate:.0}/s", listening.len());
    }
    farm.stop().await;
    Ok(())
}

async fn jobs() -> Outcome<()> {
    let (farm, count) = (farm().await?, 500);
    register_all(&farm, count).await?;
    let began = Instant::now();
    let each = {
        let farm = farm.clone();
        all(count, move |number| {
            let farm = farm.clone();
            async move {
                farm.move_worker("admin", id(number), Want::Idle { force: false }, None).await?;
                for _ in 0..40 {
                    let wish = wish(&format!("UUID={}", id(number)), 8)?;
                    let request = farm.create_request("user:ann", wish).await?.id;
                    until_running(&farm, request).await;
                    farm.close_request("user:ann", request, None, None).await?;
                }
                Ok(40usize)
            }
        })
        .await?
    };
    let jobs: usize = each.iter().sum();
    println!("jobs (created, opened, closed, board prepared): {:.0}/s", rate(jobs, began.elapsed()));
    farm.stop().await;
    Ok(())
}

async fn latency() -> Outcome<()> {
    let (farm, workers) = (farm().await?, 10_000);
    register_all(&farm, workers).await?;
    let requests = create_all(&farm, workers, |number| format!("UUID={}", id(number)), 8).await?;
    let mut times = Vec::new();
    for (number, request) in requests.into_iter().enumerate().step_by(10) {
        let began = Instant::now();
        farm.move_worker("admin", id(number), Want::Idle { force: false }, None).await?;
        until_running(&farm, request).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!("idle wanted to in progress, 10k workers, 10k waiting: p50 {:?}, p99 {:?}", at(50), at(99));
    farm.stop().await;
    Ok(())
}

async fn drain() -> Outcome<()> {
    let (farm, workers) = (farm().await?, 1000);
    register_all(&farm, workers).await?;
    create_all(&farm, 1000, |number| format!("laser=l{number}"), 1).await?;
    let began = Instant::now();
    {
        let farm = farm.clone();
        all(workers, move |number| {
            let farm = farm.clone();
            async move {
                farm.move_worker("admin", id(number), Want::Idle { force: false }, None).await?;
                until_worker(&farm, number, State::Idle).await;
                Ok(())
            }
        })
        .await?;
    }
    println!("1000 workers prepared: {:?}", began.elapsed());
    let began = Instant::now();
    let requests = create_all(&farm, workers, |number| format!("board=b{}", number % 50), 16).await?;
    for request in requests {
        until_running(&farm, request).await;
    }
    println!("1000 idle workers to 1000 requests behind 1000 unmatchable: {:?}", began.elapsed());
    farm.stop().await;
    Ok(())
}
