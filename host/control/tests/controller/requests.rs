//! Requests: from the wish to the end, and the queue between.

use std::time::Duration;

use grove_control::refusal::Refused;
use grove_control::settings::{Caps, Retention};
use grove_control::{Created, Settings};
use grove_domain::id::RequestId;
use grove_domain::mode::{Mode, RunningJobs};
use grove_domain::moment::{Moment, SignedDuration, after};
use grove_domain::request::{Create, Idempotency, Refusal, State};
use grove_domain::worker;
use proptest::prelude::*;

use crate::support::{Farm, digest, kinds_of, wish};

fn in_seconds(farm: &Farm, seconds: i64) -> Option<Moment> {
    Some(Moment::utc(after(farm.now(), SignedDuration::from_secs(seconds))))
}

#[tokio::test(start_paused = true)]
async fn a_wish_becomes_a_waiting_request() {
    let farm = Farm::new().await;
    let request = farm.create(wish(&["camera"])).await;
    assert_eq!((request.id, request.state, request.revision), (RequestId(1), State::Waiting, 1));
    assert_eq!(request.created, farm.now());
    assert_eq!(request.valid_after.at, farm.now());
    assert_eq!(request.deadline.at.to_string(), "2026-02-01T00:00:00Z");
    assert_eq!(farm.controller.farm().position(&request), Some(1));
    assert_eq!(kinds_of(&farm, "request/1"), ["request.created"]);
    assert_eq!(farm.ask(&[]).await, RequestId(2));
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_checked_deadline_first_then_range_then_priority() {
    let farm = Farm::new().await;
    let refused = async |deadline, valid_after, priority| {
        let mut wish = wish(&[]);
        (wish.deadline, wish.valid_after, wish.priority) = (deadline, valid_after, priority);
        match farm.controller.create_request("ann", wish).await {
            Err(Refused::Request(refusal)) => Some(refusal),
            Ok(_) => None,
            other => panic!("{other:?}"),
        }
    };
    let (past, soon, later) = (in_seconds(&farm, -1), in_seconds(&farm, 10), in_seconds(&farm, 20));
    assert_eq!(refused(past, later, 0).await, Some(Refusal::DeadlinePast));
    assert_eq!(refused(soon, later, 0).await, Some(Refusal::EmptyRange));
    assert_eq!(refused(later, soon, 0).await, Some(Refusal::Priority));
    assert_eq!(refused(None, None, 17).await, Some(Refusal::Priority));
    assert_eq!(refused(None, in_seconds(&farm, 3_000_000), 1).await, Some(Refusal::EmptyRange));
    assert_eq!(refused(later, soon, 16).await, None);
    assert_eq!(farm.fakes.store.requests().len(), 1, "what is refused takes no number");
    assert_eq!(farm.ask(&[]).await, RequestId(2));
}

#[tokio::test(start_paused = true)]
async fn a_job_longer_than_the_farm_allows_is_refused() {
    let farm = Farm::new().await;
    let max = farm.settings.job_length_max;
    let mut long = wish(&[]);
    long.spec.length = Some(max + SignedDuration::from_secs(1));
    assert_eq!(farm.controller.create_request("ann", long).await, Err(Refused::TooLong { max }));
}

#[tokio::test(start_paused = true)]
async fn closing_in_every_state() {
    let farm = Farm::new().await;
    let waiting = farm.ask(&["laser"]).await;
    assert_eq!(farm.close(waiting).await.state, State::Cancelled);
    let again = farm.controller.close_request("ann", waiting, None, None).await;
    assert_eq!(again, Err(Refused::Request(Refusal::WrongState)));
    let running = farm.running(1).await;
    let why = Some("enough".to_owned());
    let done = farm.controller.close_request("ann", running, why.clone(), None).await.unwrap();
    assert_eq!((done.state, &done.reason), (State::Done, &why));
    let again = farm.controller.close_request("ann", running, None, None).await;
    assert_eq!(again, Err(Refused::Request(Refusal::WrongState)));
    let unknown = farm.controller.close_request("ann", RequestId(99), None, None).await;
    assert_eq!(unknown, Err(Refused::NoSuchRequest));
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn whoever_saw_an_older_revision_is_refused() {
    let farm = Farm::new().await;
    let id = farm.ask(&["laser"]).await;
    let refused = Refused::Revision { current: 1 };
    let closed = farm.controller.close_request("ann", id, None, Some(7)).await;
    assert_eq!(closed, Err(refused.clone()));
    let updated = farm.controller.update_request("ann", id, Some(1), None, None, Some(7)).await;
    assert_eq!(updated, Err(refused.clone()));
    assert_eq!(farm.controller.prolong("ann", id, None, false, Some(7)).await, Err(refused));
    assert!(farm.controller.close_request("ann", id, None, Some(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_long_enough_times_out() {
    let farm = Farm::new().await;
    let mut short = wish(&["laser"]);
    short.deadline = in_seconds(&farm, 10);
    let id = farm.create(short).await.id;
    farm.pass(Duration::from_secs(9)).await;
    assert_eq!(farm.request(id).state, State::Waiting);
    farm.pass(Duration::from_secs(1)).await;
    let request = farm.request(id);
    assert_eq!(request.state, State::Timeout);
    assert!(request.since >= request.deadline.at);
    // A worker that comes too late is not for it.
    farm.idle(1, &[("laser", "1")]).await;
    farm.settle().await;
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_request_for_later_starts_at_its_time() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut later = wish(&[]);
    later.valid_after = in_seconds(&farm, 600);
    let id = farm.create(later).await.id;
    assert_eq!(farm.controller.why(id).await.unwrap()[0].code, "not_yet_valid");
    farm.pass(Duration::from_secs(599)).await;
    assert_eq!(farm.request(id).state, State::Waiting);
    farm.pass(Duration::from_secs(1)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    let opened = farm.request(id).job.as_ref().unwrap().opened;
    assert!(opened >= farm.request(id).valid_after.at);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn an_update_moves_the_start_either_way() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut later = wish(&[]);
    later.valid_after = in_seconds(&farm, 600);
    let id = farm.create(later).await.id;
    let farther = in_seconds(&farm, 1000);
    farm.controller.update_request("ann", id, None, farther, None, None).await.unwrap();
    farm.pass(Duration::from_secs(700)).await;
    assert_eq!(farm.request(id).state, State::Waiting);
    let nearer = in_seconds(&farm, 5);
    farm.controller.update_request("ann", id, None, nearer, None, None).await.unwrap();
    farm.pass(Duration::from_secs(5)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    let late = farm.controller.update_request("ann", id, Some(1), None, None, None).await;
    assert_eq!(late, Err(Refused::Request(Refusal::WrongState)));
    // One that could be matched at once is put off.
    let waiting = farm.ask(&[]).await;
    let farther = in_seconds(&farm, 3000);
    farm.controller.update_request("ann", waiting, None, farther, None, None).await.unwrap();
    farm.close(id).await;
    farm.settle().await;
    assert_eq!(farm.request(waiting).state, State::Waiting);
    assert_eq!(farm.worker(1).state, worker::State::Idle);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn an_update_moves_the_deadline_and_is_checked() {
    let farm = Farm::new().await;
    let id = farm.ask(&["laser"]).await;
    let update = async |priority, valid_after, deadline| {
        farm.controller.update_request("ann", id, priority, valid_after, deadline, None).await
    };
    assert_eq!(update(None, None, None).await.unwrap().revision, 1);
    assert_eq!(update(Some(8), None, None).await.unwrap().revision, 1, "the same is no change");
    assert_eq!(update(Some(99), None, None).await, Err(Refusal::Priority.into()));
    assert_eq!(update(None, None, in_seconds(&farm, -1)).await, Err(Refusal::DeadlinePast.into()));
    let range = update(None, in_seconds(&farm, 9), in_seconds(&farm, 8)).await;
    assert_eq!(range, Err(Refusal::EmptyRange.into()));
    assert_eq!(update(None, None, in_seconds(&farm, 5)).await.unwrap().revision, 2);
    farm.pass(Duration::from_secs(5)).await;
    assert_eq!(farm.request(id).state, State::Timeout);
}

#[tokio::test(start_paused = true)]
async fn the_queue_goes_by_priority_then_age_and_a_new_priority_is_a_new_place() {
    let farm = Farm::new().await;
    let mut ids = Vec::new();
    for priority in [8, 8, 3, 16, 8] {
        let mut wish = wish(&[]);
        wish.priority = priority;
        ids.push(farm.create(wish).await.id);
    }
    let position = |number: usize| farm.controller.farm().position(&farm.request(ids[number]));
    assert_eq!([0, 1, 2, 3, 4].map(position), [Some(2), Some(3), Some(1), Some(5), Some(4)]);
    farm.check_positions();
    // To another priority: at its tail.
    farm.controller.update_request("ann", ids[2], Some(8), None, None, None).await.unwrap();
    assert_eq!([0, 1, 2, 3, 4].map(position), [Some(1), Some(2), Some(4), Some(5), Some(3)]);
    let served = serve_all(&farm, &ids).await;
    assert_eq!(served, [ids[0], ids[1], ids[4], ids[2], ids[3]]);
    farm.check_settled();
}

/// One worker serves them all, one after the other; in which order.
async fn serve_all(farm: &Farm, ids: &[RequestId]) -> Vec<RequestId> {
    farm.idle_soon(1, &[]).await;
    let mut served = Vec::new();
    while served.len() < ids.len() {
        farm.settle().await;
        let running = ids.iter().copied().find(|id| farm.request(*id).state == State::InProgress);
        let running = running.expect("one of them runs");
        served.push(running);
        farm.close(running).await;
    }
    served
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_loses_its_request() {
    let farm = Farm::new().await;
    let mut promised = wish(&["laser"]);
    promised.spec.heartbeat = Some(SignedDuration::from_secs(10));
    let id = farm.create(promised).await.id;
    for _ in 0..5 {
        farm.pass(Duration::from_secs(25)).await;
        farm.controller.heartbeat(id, false).await.unwrap();
    }
    farm.pass(Duration::from_secs(29)).await;
    assert_eq!(farm.request(id).state, State::Waiting);
    farm.pass(Duration::from_secs(1)).await;
    let request = farm.request(id);
    assert_eq!(request.state, State::Cancelled);
    assert_eq!(request.reason.as_deref(), Some("its client stopped sending heartbeats"));
    let late = farm.controller.heartbeat(id, false).await;
    assert_eq!(late, Err(Refused::Request(Refusal::WrongState)));
    assert_eq!(farm.controller.heartbeat(RequestId(9), false).await, Err(Refused::NoSuchRequest));
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_as_a_sign_of_life() {
    let mut farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut promised = wish(&[]);
    promised.spec.heartbeat = Some(SignedDuration::from_secs(10));
    let id = farm.create(promised).await.id;
    farm.pass(Duration::from_secs(25)).await;
    farm.crash_and_restart().await;
    farm.pass(Duration::from_secs(25)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    farm.pass(Duration::from_secs(6)).await;
    assert_eq!(farm.request(id).state, State::Done);
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_full_farm_says_so() {
    let caps = Caps { live_requests: 3, ..Caps::default() };
    let farm = Farm::with(Settings { caps, ..Settings::default() }).await;
    for _ in 0..3 {
        farm.ask(&["laser"]).await;
    }
    let full = Refused::Full { what: "waiting and running requests", limit: 3 };
    assert_eq!(farm.controller.create_request("ann", wish(&[])).await, Err(full));
    farm.close(RequestId(2)).await;
    assert_eq!(farm.ask(&[]).await, RequestId(4));
}

#[tokio::test(start_paused = true)]
async fn what_no_worker_could_ever_serve_is_invalid_when_the_admin_wants_it() {
    let farm = Farm::with(Settings { refuse_unsatisfiable: true, ..Settings::default() }).await;
    farm.add(1, &[("camera", "1")]).await;
    let invalid = farm.create(wish(&["laser"])).await;
    assert_eq!(invalid.state, State::Invalid);
    assert_eq!(kinds_of(&farm, "request/1"), ["request.created", "request.state"]);
    assert_eq!(farm.controller.why(invalid.id).await.unwrap()[0].code, "ended");
    // A worker in MAINTENANCE may come back.
    assert_eq!(farm.create(wish(&["camera"])).await.state, State::Waiting);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn ended_requests_are_kept_for_a_time_and_up_to_a_number() {
    let retention =
        Retention { requests_max: 5, requests: SignedDuration::from_hours(1), ..Retention::default() };
    let farm = Farm::with(Settings { retention, ..Settings::default() }).await;
    let waiting = farm.ask(&["laser"]).await;
    for _ in 0..20 {
        let id = farm.ask(&["laser"]).await;
        farm.close(id).await;
    }
    farm.settle().await;
    let kept: Vec<_> = farm.fakes.store.requests().iter().map(|request| request.id.0).collect();
    assert_eq!(kept, [1, 17, 18, 19, 20, 21]);
    assert_eq!(farm.controller.why(RequestId(2)).await, Err(Refused::NoSuchRequest));
    farm.check_settled();
    farm.pass(Duration::from_secs(3700)).await;
    let kept: Vec<_> = farm.fakes.store.requests().iter().map(|request| request.id).collect();
    assert_eq!(kept, [waiting]);
    assert_eq!(farm.ask(&["laser"]).await, RequestId(22), "numbers are never given again");
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_delays_dates_and_nothing_else() {
    let farm = Farm::new().await;
    let id = farm.ask(&[]).await;
    let mut short = wish(&["laser"]);
    short.deadline = in_seconds(&farm, 10);
    let short = farm.create(short).await.id;
    farm.fakes.clock.jump(SignedDuration::from_secs(-300));
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    assert_eq!(farm.request(id).state, State::InProgress, "it asked for no date");
    farm.pass(Duration::from_secs(300)).await;
    assert_eq!(farm.request(short).state, State::Waiting, "its date has not come");
    farm.pass(Duration::from_secs(20)).await;
    assert_eq!(farm.request(short).state, State::Timeout);
    farm.check_settled();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn places_are_those_of_a_sorted_list(does in prop::collection::vec((0u8..4, 1u8..=16, 0usize..40), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let farm = Farm::new().await;
            let mut ids = Vec::new();
            for (what, priority, which) in does {
                let some = ids.get(which % ids.len().max(1)).copied();
                match (what, some) {
                    (0, Some(id)) => drop(farm.controller.close_request("ann", id, None, None).await),
                    (1, Some(id)) => {
                        drop(farm.controller.update_request("ann", id, Some(priority), None, None, None).await);
                    }
                    _ => {
                        let mut wish = wish(&["laser"]);
                        wish.priority = priority;
                        ids.push(farm.create(wish).await.id);
                    }
                }
            }
            farm.check_settled();
        });
    }
}

fn once(key: &str, body: char) -> Create {
    let mut wish = wish(&["laser"]);
    wish.spec.idempotency = Some(Idempotency { key: key.to_owned(), body: digest(body) });
    wish
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_sent_again_is_the_same_request_also_after_a_crash() {
    let mut farm = Farm::new().await;
    let ask = async |farm: &Farm, wish: Create| farm.controller.create_request_once("ann", wish).await;
    // At the same time, too: both are answered once it is stored.
    let (one, other) = tokio::join!(ask(&farm, once("a", 'A')), ask(&farm, once("a", 'A')));
    let ((one, new), (other, again)) = (one.unwrap(), other.unwrap());
    assert_eq!((one.id, new, again), (other.id, Created::Yes, Created::No));
    assert_eq!(ask(&farm, once("a", 'B')).await, Err(Refused::KeyReused));
    let mut stranger = once("a", 'B');
    stranger.spec.owner.name = "bob".to_owned();
    assert_eq!(ask(&farm, stranger).await.unwrap().1, Created::Yes, "a key is its owner's");

    farm.crash_and_restart().await;
    let (same, made) = ask(&farm, once("a", 'A')).await.unwrap();
    assert_eq!((same.id, made), (one.id, Created::No));
    assert_eq!(ask(&farm, once("a", 'B')).await, Err(Refused::KeyReused));
    // What was made stays made, whatever became of it, and whatever the farm takes now.
    farm.close(one.id).await;
    let mode = Mode::Maintenance { reason: "new rack".to_owned(), until: None };
    farm.controller.set_mode("admin", mode, RunningJobs::Drain, None).await.unwrap();
    assert_eq!(ask(&farm, once("a", 'A')).await.unwrap().0.state, State::Cancelled);
    assert!(matches!(ask(&farm, once("b", 'A')).await, Err(Refused::FarmMaintenance { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_kept_as_long_as_its_request() {
    let retention = Retention { requests: SignedDuration::from_mins(5), ..Retention::default() };
    let farm = Farm::with(Settings { retention, ..Settings::default() }).await;
    let ask = async |body| farm.controller.create_request_once("ann", once("a", body)).await;
    let (first, _) = ask('A').await.unwrap();
    farm.close(first.id).await;
    farm.pass(Duration::from_secs(299)).await;
    assert_eq!(ask('A').await.unwrap(), (farm.request(first.id), Created::No));
    farm.pass(Duration::from_secs(120)).await;
    let (second, made) = ask('B').await.unwrap();
    assert_eq!((second.id == first.id, made), (false, Created::Yes));
}
