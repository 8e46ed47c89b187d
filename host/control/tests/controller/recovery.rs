//! Crashes: nothing is lost, nothing is done twice.

use std::time::Duration;

use grove_control::Want;
use grove_control::fakes::Behaviour;
use grove_domain::id::RequestId;
use grove_domain::request::State;
use grove_domain::task::{Phase, TaskKind};
use grove_domain::worker;

use crate::support::{Farm, id, wish};

/// A crash while a call hangs: afterwards the same work is begun again and comes to its end.
async fn crash_during(call: &str, arrange: impl AsyncFn(&Farm), wanted: worker::State) -> Farm {
    let mut farm = Farm::new().await;
    farm.idle(1, &[]).await;
    farm.behave(call, Behaviour::Hang);
    arrange(&farm).await;
    farm.settle().await;
    let (lost, kind) = farm.worker(1).task.expect("a task is live");
    assert_eq!(farm.calls(1).last(), Some(&call));
    farm.behave(call, Behaviour::Instant);
    farm.crash_and_restart().await;
    farm.check_invariants();
    let lost = farm.controller.task(lost).await.unwrap();
    assert_eq!((lost.status.phase, lost.spec.kind), (Phase::Failed, kind));
    assert_eq!(lost.status.error.as_deref(), Some("its instance died"));
    farm.worker_is(1, wanted).await;
    farm.settle().await;
    farm.check_settled();
    farm
}

#[tokio::test(start_paused = true)]
async fn during_prepare() {
    let arrange = async |farm: &Farm| {
        farm.want_maintenance(1).await;
        farm.worker_is(1, worker::State::Maintenance).await;
        farm.want_idle(1).await;
    };
    let farm = crash_during("prepare", arrange, worker::State::Idle).await;
    assert_eq!(farm.calls(1), ["prepare", "maintain", "prepare", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn during_maintain() {
    crash_during("maintain", async |farm| drop(farm.want_maintenance(1).await), worker::State::Maintenance)
        .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_job_is_opened() {
    let farm = crash_during(
        "authorize",
        async |farm| {
            farm.ask(&[]).await;
        },
        worker::State::Running,
    )
    .await;
    assert_eq!(farm.request(RequestId(1)).state, State::InProgress);
    assert_eq!(farm.fakes.tunnels.open_now().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn during_a_check() {
    let arrange = async |farm: &Farm| farm.pass(Duration::from_secs(301)).await;
    let farm = crash_during("check", arrange, worker::State::Idle).await;
    assert_eq!(farm.calls(1), ["prepare", "check", "check"], "it is still due");
}

#[tokio::test(start_paused = true)]
async fn during_a_recheck() {
    let arrange = async |farm: &Farm| {
        farm.report_failure(1, "smoke").await;
        farm.pass(Duration::from_secs(31)).await;
    };
    crash_during("check", arrange, worker::State::Idle).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_board_is_cleaned_after_a_job() {
    let arrange = async |farm: &Farm| {
        let request = farm.ask(&[]).await;
        farm.request_is(request, State::InProgress).await;
        farm.close(request).await;
    };
    let farm = crash_during("revoke", arrange, worker::State::Idle).await;
    let calls = farm.calls(1);
    assert_eq!(calls[calls.len() - 3..], ["revoke", "revoke", "prepare"], "the user is still shut out first");
}

#[tokio::test(start_paused = true)]
async fn a_running_job_goes_on_with_the_same_port_and_key() {
    let mut farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut keyless = wish(&[]);
    keyless.spec.keys.clear();
    let request = farm.create(keyless).await.id;
    farm.request_is(request, State::InProgress).await;
    let before = farm.request(request);
    let calls = farm.calls(1).len();
    farm.crash_and_restart().await;
    farm.settle().await;
    assert_eq!(farm.request(request), before);
    assert_eq!(farm.fakes.tunnels.open_now()[&request], before.job.as_ref().unwrap().access.port);
    assert_eq!(farm.calls(1).len(), calls, "nobody touches the board");
    // Its end is not forgotten either.
    farm.pass(Duration::from_secs(3600)).await;
    assert_eq!(farm.request(request).state, State::Done);
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_was_taken_meanwhile_is_another_and_an_event_says_so() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    let port = farm.fakes.tunnels.open_now()[&request];
    farm.fakes.tunnels.take_port(port);
    farm.crash_and_restart().await;
    let job = farm.request(request).running_job().unwrap().clone();
    assert_ne!(job.access.port, port);
    assert_eq!(farm.fakes.tunnels.open_now()[&request], job.access.port);
    assert_eq!(farm.events("job.moved").len(), 1);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn one_taken_port_moves_one_job_and_to_a_port_that_nobody_had() {
    let mut farm = Farm::new().await;
    for number in 1..=5 {
        farm.running(number).await;
    }
    let before = farm.fakes.tunnels.open_now();
    let second = *before.iter().min_by_key(|(_, port)| **port).unwrap().0;
    let taken = before[&second];
    farm.fakes.tunnels.take_port(taken);
    farm.crash_and_restart().await;
    let mut now = farm.fakes.tunnels.open_now();
    let moved = now.remove(&second).unwrap();
    assert!(before.values().all(|port| *port != moved), "{moved} was somebody's: {before:?}");
    assert!(now.iter().all(|(job, port)| before[job] == *port), "{before:?} became {now:?}");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_for_a_moment_is_waited_for() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    let port = farm.fakes.tunnels.open_now()[&request];
    farm.fakes.tunnels.take_port(port);
    let tunnels = farm.fakes.tunnels.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tunnels.free_port(port);
    });
    farm.crash_and_restart().await;
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.fakes.tunnels.open_now()[&request], port);
    assert_eq!(farm.events("job.moved").len(), 0);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_have_its_tunnel_back_is_ended() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    farm.fakes.tunnels.break_with(Some("no ports"));
    farm.fakes.drivers.forget_calls();
    farm.crash_and_restart().await;
    assert_eq!(farm.request(request).state, State::Done);
    assert_eq!(farm.events("job.unreachable").len(), 1);
    farm.worker_is(1, worker::State::Idle).await;
    assert_eq!(farm.calls(1), ["revoke", "prepare"]);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_keep_their_places_and_numbers_go_on() {
    let mut farm = Farm::new().await;
    for priority in [8, 3, 8] {
        let mut wish = wish(&["a"]);
        wish.priority = priority;
        farm.create(wish).await;
    }
    farm.close(RequestId(3)).await;
    farm.crash_and_restart().await;
    assert_eq!(farm.ask(&["a"]).await, RequestId(4));
    let position = |id| farm.controller.farm().position(&farm.request(RequestId(id)));
    assert_eq!([1, 2, 3, 4].map(position), [Some(2), Some(1), None, Some(3)]);
    farm.idle_soon(1, &[("a", "1")]).await;
    farm.request_is(RequestId(2), State::InProgress).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn what_became_due_while_nobody_was_there_is_done_at_once() {
    let mut farm = Farm::new().await;
    let running = farm.running(1).await;
    let mut later = wish(&[]);
    later.valid_after = Some(grove_domain::moment::Moment::utc(grove_domain::moment::after(
        farm.now(),
        grove_domain::moment::SignedDuration::from_secs(600),
    )));
    let later = farm.create(later).await.id;
    let mut short = wish(&["laser"]);
    short.deadline = farm.request(later).valid_after.into();
    let short = farm.create(short).await.id;
    farm.fakes.clock.jump(grove_domain::moment::SignedDuration::from_hours(2));
    farm.crash_and_restart().await;
    farm.settle().await;
    assert_eq!(farm.request(running).state, State::Done);
    assert_eq!(farm.request(short).state, State::Timeout);
    assert_eq!(farm.request(later).state, State::InProgress);
    farm.check_settled();
}

/// The life of one job with everything in it, while the disk stops answering after so many commits; then a crash.
#[tokio::test(start_paused = true)]
async fn at_every_commit_of_a_whole_life() {
    for loses_answer in [false, true] {
        let mut commits = 1;
        loop {
            let mut farm = Farm::new().await;
            farm.fakes.store.stall_after(commits, loses_answer);
            let life = live(&farm);
            let lived = tokio::time::timeout(Duration::from_secs(1), life).await.is_ok();
            assert_ne!(lived, farm.fakes.store.is_stalled());
            farm.crash_and_restart().await;
            farm.check_invariants();
            live(&farm).await;
            farm.settle().await;
            farm.check_settled();
            let requests = farm.fakes.store.requests();
            for (place, request) in requests.iter().enumerate() {
                assert_eq!(request.id.0, place as u64 + 1);
            }
            if lived {
                break;
            }
            commits += 1;
        }
        assert!(commits > 12, "{commits}");
    }
}

/// From wherever the farm is: a board is there, a job is opened, prolonged and closed, and the board is taken away.
async fn live(farm: &Farm) {
    farm.add(1, &[]).await;
    let want = Want::Maintenance { rerun: true, interrupt: true };
    farm.controller.move_worker("admin", id(1), want, None).await.unwrap();
    farm.worker_is(1, worker::State::Maintenance).await;
    for request in farm.fakes.store.requests().iter().filter(|request| !request.state.is_terminal()) {
        farm.close(request.id).await;
    }
    farm.want_idle(1).await;
    let request = farm.ask(&[]).await;
    farm.request_is(request, State::InProgress).await;
    farm.controller.prolong("ann", request, None, false, None).await.unwrap();
    farm.close(request).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.want_maintenance(1).await;
    farm.worker_is(1, worker::State::Maintenance).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_dead_life_end_with_their_steps() {
    let mut farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    farm.crash_and_restart().await;
    farm.crash_and_restart().await;
    farm.settle().await;
    let ended = farm.fakes.store.ended_tasks();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|task| task.status.phase == Phase::Failed && task.status.ended.is_some()));
    let live = farm.fakes.store.live_tasks();
    assert_eq!((live.len(), live[0].spec.kind), (1, TaskKind::Prepare));
    farm.check_settled();
}
