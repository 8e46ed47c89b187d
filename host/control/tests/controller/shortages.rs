//! What the farm is short of is not the boards' fault.

use std::time::Duration;

use grove_control::fakes::Behaviour;
use grove_domain::id::RequestId;
use grove_domain::request::State;
use grove_domain::worker::{self, FailureKind};

use crate::support::{Farm, id, wish};

impl Farm {
    async fn boards(&self, count: u128) {
        for number in 1..=count {
            self.idle(number, &[]).await;
        }
        self.fakes.drivers.forget_calls();
    }

    async fn shortage(&self, request: RequestId) -> String {
        let why = self.controller.why(request).await.unwrap();
        let shortage = why.iter().find(|reason| reason.code == "shortage");
        shortage.unwrap_or_else(|| panic!("{why:?}")).text.clone()
    }

    /// No board fell into FAILED, or was prepared anew.
    fn assert_boards_untouched(&self, count: u128) {
        for number in 1..=count {
            let worker = self.worker(number);
            assert!(matches!(worker.state, worker::State::Idle | worker::State::Running), "{worker:?}");
            assert_eq!(worker.recovery.relapses, 0);
        }
        let calls = self.fakes.drivers.calls();
        assert!(!calls.iter().any(|(_, call)| *call == "prepare"), "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_free_port_requests_wait_and_boards_stay_idle() {
    let farm = Farm::new().await;
    farm.fakes.tunnels.limit(Some(2));
    farm.behave("authorize", Behaviour::After(Duration::from_secs(2)));
    farm.boards(6).await;
    // All three are opened at the same time.
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(farm.ask(&[]).await);
    }
    farm.pass(Duration::from_secs(1000)).await;
    let running = |id: &RequestId| farm.request(*id).state == State::InProgress;
    assert_eq!(requests.iter().filter(|id| running(id)).count(), 2);
    farm.assert_boards_untouched(6);
    let waiting = requests.iter().copied().find(|id| !running(id)).unwrap();
    let why = farm.shortage(waiting).await;
    assert!(
        why.starts_with("the farm is short of tunnels: no free port among 2; it is tried again in "),
        "{why}"
    );
    assert_eq!(farm.request(waiting).reason.as_deref(), Some("no free port among 2"));
    assert_eq!(farm.events("farm.shortage").len(), 1);
    assert!(farm.events("request.reserved").len() < 40, "it is not tried all the time");
    let running = requests.iter().copied().find(running).unwrap();
    farm.close(running).await;
    farm.pass(Duration::from_secs(3)).await;
    assert_eq!(farm.request(waiting).state, State::InProgress, "there is a port again");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_goes_at_the_last_moment_costs_a_cleaning_and_no_more() {
    let farm = Farm::new().await;
    farm.boards(1).await;
    farm.behave("authorize", Behaviour::After(Duration::from_secs(2)));
    let request = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(1)).await;
    farm.fakes.tunnels.break_with(Some("too many open files"));
    farm.pass(Duration::from_secs(2)).await;
    assert_eq!(farm.request(request).state, State::Waiting);
    assert_eq!((farm.worker(1).state, farm.worker(1).recovery.relapses), (worker::State::Idle, 0));
    assert_eq!(farm.calls(1), ["authorize", "revoke", "prepare"]);
    farm.fakes.tunnels.break_with(None);
    farm.pass(Duration::from_secs(70)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn without_session_keys_only_those_wait_who_bring_none() {
    let farm = Farm::new().await;
    farm.boards(3).await;
    farm.fakes.keys.break_with(Some("no entropy"));
    let mut keyless = wish(&[]);
    keyless.spec.keys.clear();
    let first = farm.create(keyless.clone()).await.id;
    let second = farm.create(keyless).await.id;
    let own = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.request(own).state, State::InProgress);
    farm.pass(Duration::from_secs(500)).await;
    for waiting in [first, second] {
        assert_eq!(farm.request(waiting).state, State::Waiting);
        let why = farm.shortage(waiting).await;
        assert!(why.starts_with("the farm is short of session keys: no entropy; "), "{why}");
    }
    farm.assert_boards_untouched(3);
    assert_eq!(farm.events("farm.shortage").len(), 1);
    farm.fakes.keys.break_with(None);
    farm.pass(Duration::from_secs(61)).await;
    for served in [first, second] {
        assert_eq!(farm.request(served).state, State::InProgress);
    }
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn without_room_for_a_driver_its_boards_wait_in_whatever_they_do() {
    let farm = Farm::new().await;
    farm.boards(2).await;
    for number in 3..=4 {
        farm.add(number, &[]).await;
    }
    let short = || Behaviour::Fail(FailureKind::Shortage, "no free slot".to_owned());
    for call in ["prepare", "maintain", "check", "authorize"] {
        farm.behave(call, short());
    }
    farm.report_failure(2, "smoke").await;
    farm.want_idle(3).await;
    farm.want_idle(4).await;
    let request = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(1000)).await;
    let states = [1, 2, 3, 4].map(|number| farm.worker(number).state);
    use worker::State::{Failed, Idle, Prepare};
    assert_eq!(states, [Idle, Failed, Prepare, Prepare]);
    assert_eq!(farm.request(request).state, State::Waiting);
    let why = farm.shortage(request).await;
    assert!(why.starts_with("the farm is short of driver fake: no free slot; "), "{why}");
    assert_eq!(farm.events("farm.shortage").len(), 1);
    let ended = farm.events("task.ended");
    assert!(ended.is_empty(), "{ended:?}");
    let tries = farm.fakes.drivers.calls().len();
    assert!(tries < 60, "{tries}");
    for call in ["prepare", "maintain", "check", "authorize"] {
        farm.behave(call, Behaviour::Instant);
    }
    farm.pass(Duration::from_secs(120)).await;
    assert_eq!(farm.request(request).state, State::InProgress);
    for number in 2..=4 {
        let worker = farm.worker(number);
        assert!(matches!(worker.state, Idle | worker::State::Running), "{worker:?}");
    }
    assert_eq!(farm.worker(3).recovery.relapses, 0);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_shortage_survives_a_restart_as_what_it_is() {
    let mut farm = Farm::new().await;
    farm.boards(1).await;
    farm.fakes.tunnels.limit(Some(0));
    let request = farm.ask(&[]).await;
    farm.pass(Duration::from_secs(10)).await;
    farm.crash_and_restart().await;
    farm.pass(Duration::from_secs(10)).await;
    assert_eq!((farm.request(request).state, farm.worker(1).state), (State::Waiting, worker::State::Idle));
    farm.fakes.tunnels.limit(None);
    farm.pass(Duration::from_secs(61)).await;
    assert_eq!(farm.request(request).running_job().unwrap().worker, id(1));
    farm.check_settled();
}
