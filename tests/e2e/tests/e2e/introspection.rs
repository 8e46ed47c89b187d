//! Boards that describe themselves: a real machine, many at once, and a controller that is killed meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use futures_util::StreamExt;
use futures_util::stream;
use grove_tests_kit::client::wire::Uuid;
use grove_tests_kit::client::wire::introspection::{
    Introspection, IntrospectionState, InventoryKind, StartIntrospection, WantedWay,
};
use grove_tests_kit::client::wire::limit::LimitScope;
use grove_tests_kit::client::wire::task::TaskPhase;
use grove_tests_kit::client::wire::worker::{Worker, WorkerState};
use grove_tests_kit::client::{IntrospectionsQuery, TasksQuery};
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, Sshd, tools, wait};
use serde_json::json;
use tokio::time::Instant;

/// Boards that are introspected at once.
const BOARDS: u64 = 1000;
/// How many of them may be asked at the same time.
const AT_ONCE: u32 = 20;

#[tokio::test]
async fn a_real_machine_is_asked_for_what_nobody_typed() {
    let (grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
    let farm = grove.farm();
    sshd.know(&grove);
    let config = sshd.driver_config(json!({ "authorized_keys": sshd.key_file() }));
    farm.register(uuid(1), "ssh", config, &[]).await;

    let run = start(&farm, uuid(1)).await;
    let run = until_ended(&farm, run.id).await;
    assert_eq!((run.state, run.error.as_deref()), (IntrospectionState::Finished, None));
    let arch = said("uname", &["-m"]);
    let processors = said("getconf", &["_NPROCESSORS_ONLN"]);
    let memory: u64 = {
        let info = fs::read_to_string("/proc/meminfo").unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let raw = farm.inventory(run.id, InventoryKind::Raw).await.unwrap();
    assert_eq!(raw["kernel"]["release"], json!(said("uname", &["-r"])), "{raw:#}");
    let worker = farm.worker(uuid(1)).await.unwrap();
    assert_eq!(worker.state, WorkerState::Maintenance, "it stays in the admin's hands");
    let found = &worker.sources.introspected;
    assert_eq!(found.get("arch"), Some(&arch), "{found:?}");
    assert_eq!(found.get("cpu_count"), Some(&processors), "{found:?}");
    assert_eq!(found.get("memory_mib"), Some(&memory.to_string()), "{found:?}");

    farm.to_idle(uuid(1)).await;
    let wants =
        [format!("arch={arch}"), format!("cpu_count={processors}.."), format!("memory_mib>={}", memory / 2)];
    let (request, _) = farm.get(&wish(&wants.each_ref().map(String::as_str))).await;
    farm.close_request(request, None).await.unwrap();
    farm.until_worker(uuid(1), WorkerState::Idle).await;
}

#[tokio::test]
async fn a_thousand_boards_under_a_limit() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    register(&farm, json!({ "introspect": { "delay_ms": 20 } })).await;
    farm.set_limit(LimitScope::Driver, "simulated", Some(AT_ONCE), None).await.unwrap();
    let before = grove.resident_mb();

    let began = Instant::now();
    let runs: Vec<Introspection> =
        stream::iter(1..=BOARDS).map(|number| start(&farm, uuid(number))).buffered(16).collect().await;
    let running = TasksQuery { phase: Some(TaskPhase::Running), ..TasksQuery::default() };
    let (mut most, mut peak, mut ended_at) = (0, before, Vec::new());
    loop {
        most = most.max(farm.tasks(&running).take(usize::MAX).await.unwrap().len());
        peak = f64::max(peak, grove.resident_mb());
        let left = BOARDS - count(&farm, IntrospectionState::Finished).await;
        ended_at.push((began.elapsed().as_secs_f64(), BOARDS - left));
        if left == 0 {
            break;
        }
        assert_eq!(count(&farm, IntrospectionState::Error).await, 0, "none fails");
        assert!(began.elapsed() < wait::PATIENCE, "{left} introspections do not end");
    }
    assert!(most > 1 && most <= AT_ONCE as usize, "{most} tasks ran at once");
    // Half of the time brings about half of the boards: nothing piles up, and nothing is left for the end.
    let (took, _) = *ended_at.last().unwrap();
    let half = ended_at.iter().filter(|(at, _)| *at <= took / 2.0).map(|(_, count)| *count).max();
    let half = half.unwrap_or_default() as f64 / BOARDS as f64;
    assert!((0.2..=0.8).contains(&half), "half of the time brought {half} of the boards");
    assert!(peak < before + 120.0, "{before} MB became {peak} MB");
    println!("{BOARDS} boards in {took:.1} s, at most {most} at once; {before:.0} MB became {peak:.0} MB");

    // What is stored leads to the same again, without a board being asked.
    let promised = promises(&farm).await;
    assert!(promised.values().all(|worker| worker.capabilities.get("uart").is_some_and(|uart| uart == "4")));
    let again = farm.reapply_introspections().await.unwrap();
    assert_eq!(again.count, BOARDS);
    for run in &runs {
        let run = until_ended(&farm, run.id).await;
        assert_eq!((run.state, run.error), (IntrospectionState::Finished, None));
    }
    let after = promises(&farm).await;
    assert!(promised.iter().all(|(uuid, before)| after[uuid].capabilities == before.capabilities));
}

#[tokio::test]
async fn killed_in_the_middle_of_introspections() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    for number in 1..=60 {
        farm.register(uuid(number), "simulated", json!({ "introspect": { "delay_ms": 150 } }), &[]).await;
    }
    farm.set_limit(LimitScope::Farm, "", Some(10), None).await.unwrap();
    let mut runs = Vec::new();
    for number in 1..=60 {
        runs.push(start(&farm, uuid(number)).await);
    }
    for _ in 0..3 {
        let done = count(&grove.farm(), IntrospectionState::Finished).await;
        wait::until("some more to end", || async {
            (count(&grove.farm(), IntrospectionState::Finished).await > done.min(55)).then_some(())
        })
        .await;
        grove.kill();
        grove.start_again();
    }
    let farm = grove.farm();
    for run in runs {
        let run = until_ended(&farm, run.id).await;
        assert_eq!((run.state, run.error), (IntrospectionState::Finished, None), "{}", run.id);
    }
    for worker in farm.all_workers().await {
        assert_eq!((worker.state, worker.capabilities["uart"].as_str()), (WorkerState::Maintenance, "4"));
        assert!(worker.task.is_none());
    }
}

/// What a program of this machine says.
fn said(program: &str, args: &[&str]) -> String {
    tools::run(Command::new(program).args(args)).trim().to_owned()
}

async fn register(farm: &Farm, config: serde_json::Value) {
    stream::iter(1..=BOARDS)
        .for_each_concurrent(16, |number| farm.register(uuid(number), "simulated", config.clone(), &[]))
        .await;
}

async fn start(farm: &Farm, worker: Uuid) -> Introspection {
    let body = StartIntrospection { worker, way: WantedWay::Pull };
    farm.start_introspection(&body, None).await.unwrap()
}

async fn until_ended(farm: &Farm, id: Uuid) -> Introspection {
    let look = || async { farm.introspection(id).await.unwrap() };
    wait::until_is(&format!("introspection {id} to end"), look, |run| run.state.is_terminal()).await
}

async fn count(farm: &Farm, state: IntrospectionState) -> u64 {
    let query = IntrospectionsQuery { state: Some(state), ..IntrospectionsQuery::default() };
    farm.introspections(&query).take(usize::MAX).await.unwrap().len() as u64
}

async fn promises(farm: &Farm) -> BTreeMap<Uuid, Worker> {
    farm.all_workers().await.into_iter().map(|worker| (worker.uuid, worker)).collect()
}
