//! The controller is killed at the worst of times, and takes its farm up again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use grove_tests_kit::client::RequestsQuery;
use grove_tests_kit::client::wire::Span;
use grove_tests_kit::client::wire::request::{NewRequest, RequestState};
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Setup, Ssh, Sshd, history, wait};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

#[tokio::test]
async fn during_prepare() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    let slow = json!({ "prepare": { "delay_ms": 2000 } });
    farm.register(uuid(1), "simulated", slow, &[("board", "rpi4")]).await;
    farm.want_idle(uuid(1)).await;
    let look = || async { farm.worker(uuid(1)).await.unwrap() };
    let worker = wait::until_is("the task", look, |worker| worker.task.is_some()).await;
    assert_eq!(worker.state, WorkerState::Prepare);
    grove.kill();

    grove.start_again();
    let farm = grove.farm();
    farm.until_worker(uuid(1), WorkerState::Idle).await;
    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
    history::check_when_settled(&farm).await;
}

#[tokio::test]
async fn during_a_job() {
    let (mut grove, sshd) = (Grove::start(Setup::default()), Sshd::start());
    sshd.join(&grove, uuid(1), &[("board", "rpi4")]).await;
    let keys = tempfile::tempdir().unwrap();
    let request = grove.v1().ask(json!({ "board": "rpi4" })).await;
    let v1 = grove.v1();
    let before = wait::until("the worker", || v1.acquire(request)).await;
    before.save_key(&keys.path().join("key"));
    let user = Ssh::to_port(before.port, &before.user, &keys.path().join("key"));
    assert_eq!(user.must("echo before"), "before\n");
    for _ in 0..3 {
        grove.kill();
        grove.start_again();
        let v1 = grove.v1();
        let after = wait::until("the worker", || v1.acquire(request)).await;
        assert_eq!(after, before, "another way to the same board");
        assert_eq!(user.must("echo after"), "after\n");
    }
    grove.v1().close(request).await;
    grove.farm().until_worker(uuid(1), WorkerState::Idle).await;
    let direct = Ssh::to_port(sshd.port, &before.user, &keys.path().join("key"));
    assert!(!direct.is_let_in(), "the key of a closed job still opens the board");
    history::check_when_settled(&grove.farm()).await;
}

#[tokio::test]
async fn between_match_and_tunnel() {
    let mut grove = Grove::start(Setup::default());
    let slow = json!({ "authorize": { "delay_ms": 1500 } });
    grove.farm().simulated(1, slow, &[("board", "rpi4")]).await;
    let request = grove.farm().create_request(&wish(&["board=rpi4"]), None).await.unwrap().id;
    for _ in 0..3 {
        let farm = grove.farm();
        let look = || async { farm.request(request).await.unwrap() };
        wait::until_is("a match", look, |request| request.reserved.is_some()).await;
        assert_eq!(farm.request(request).await.unwrap().state, RequestState::Waiting, "its job runs already");
        grove.kill();
        grove.start_again();
    }
    let farm = grove.farm();
    let opened = farm.until_request(request, RequestState::InProgress).await;
    assert_eq!(opened.job.unwrap().worker, uuid(1));
    farm.close_request(request, None).await.unwrap();
    farm.until_worker(uuid(1), WorkerState::Idle).await;
    history::check_when_settled(&farm).await;
}

/// Clients that find the controller again after each of its starts.
#[derive(Clone)]
struct Clients {
    base: watch::Receiver<Farm>,
    ended: Arc<AtomicBool>,
}

impl Clients {
    fn farm(&self) -> Farm {
        self.base.borrow().clone()
    }

    fn go_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }
}

/// Makes requests until told to end; the numbers of those that were acknowledged.
async fn create(clients: Clients, wants: &'static str, length: u64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let length = Span::from_secs(length).unwrap();
    let wish = NewRequest { length: Some(length), ..wish(&[wants]) };
    while clients.go_on() {
        match clients.farm().create_request(&wish, None).await {
            Ok(request) => acknowledged.push(request.id),
            // It is being started again.
            Err(error) if error.is_transient() => sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

fn acknowledged_are_there(acknowledged: &[Vec<u64>], there: &BTreeSet<u64>) {
    let all: Vec<u64> = acknowledged.iter().flatten().copied().collect();
    let unique: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(unique.len(), all.len(), "a number was given twice");
    let lost: Vec<_> = unique.difference(there).collect();
    assert!(lost.is_empty(), "of {} acknowledged requests, these are lost: {lost:?}", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_requests_are_made() {
    let mut grove = Grove::start(Setup::default());
    let (say, base) = watch::channel(grove.farm());
    let clients = Clients { base, ended: Arc::default() };
    let makers: Vec<_> = (0..8).map(|_| tokio::spawn(create(clients.clone(), "board=none", 1))).collect();
    for _ in 0..4 {
        // As many as are acknowledged at this moment, and some that are not yet.
        let farm = clients.farm();
        let newest = RequestsQuery::default();
        let before = farm.requests(&newest).take(usize::MAX).await.unwrap().len();
        let look = || async { farm.all_requests().await.len() };
        wait::until_is("some more requests", look, |now| *now > before + 20).await;
        tokio::task::block_in_place(|| {
            grove.kill();
            grove.start_again();
        });
        say.send(grove.farm()).unwrap();
    }
    clients.ended.store(true, Ordering::Relaxed);
    let acknowledged: Vec<_> = join_all(makers).await.into_iter().map(Result::unwrap).collect();
    let there: BTreeSet<_> = grove.farm().all_requests().await.iter().map(|request| request.id).collect();
    acknowledged_are_there(&acknowledged, &there);
    // Not one of them is missing in between, either.
    assert!(there.iter().copied().eq(1..=there.len() as u64), "numbers have gaps");
    history::check_when_settled(&grove.farm()).await;
}

/// Ends every request, brings every worker back, and sees that all is well then.
pub(crate) async fn settle(farm: &Farm, workers: u64) {
    let live = || async {
        let requests = farm.all_requests().await;
        requests
            .into_iter()
            .filter(|request| !request.state.is_terminal())
            .map(|request| request.id)
            .collect()
    };
    let left: Vec<u64> = live().await;
    for request in left {
        // It may have ended meanwhile.
        let _ = farm.close_request(request, None).await;
    }
    wait::until_is("every request to end", live, Vec::is_empty).await;
    for number in 1..=workers {
        let look = || async {
            let worker = farm.worker(uuid(number)).await.unwrap();
            if matches!(worker.state, WorkerState::Maintenance | WorkerState::Failed) {
                farm.want_idle(uuid(number)).await;
            }
            worker
        };
        wait::until_is("a worker to be idle", look, |worker| worker.state == WorkerState::Idle).await;
    }
    history::check_when_settled(farm).await;
}
