//! Wall clocks that jump.

use std::time::Duration;

use grove_control::Settings;
use grove_control::fakes::Behaviour;
use grove_domain::moment::{Moment, SignedDuration, after};
use grove_domain::request::State;
use grove_domain::worker;

use crate::support::{Farm, failure, wish};

const BACK: SignedDuration = SignedDuration::from_hours(-2);
const SPIKE: SignedDuration = SignedDuration::from_hours(24 * 40);

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_lets_nobody_wait_who_asked_for_no_date() {
    for restart in [false, true] {
        let mut farm = Farm::new().await;
        let first = farm.running(1).await;
        let second = farm.ask(&[]).await;
        farm.fakes.clock.jump(BACK);
        if restart {
            farm.crash_and_restart().await;
        }
        let third = farm.ask(&[]).await;
        let why = farm.controller.why(second).await.unwrap();
        assert!(why.iter().all(|reason| reason.code != "not_yet_valid"), "{why:?}");
        farm.close(first).await;
        farm.request_is(second, State::InProgress).await;
        assert_eq!(farm.request(third).state, State::Waiting);
        // Also its owner may change what it did ask for.
        let deadline = Some(Moment::utc(after(farm.now(), SignedDuration::from_mins(1))));
        farm.controller.update_request("ann", third, None, None, deadline, None).await.unwrap();
        farm.pass(Duration::from_secs(61)).await;
        assert_eq!(farm.request(third).state, State::Timeout);
        farm.check_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn a_spike_ends_no_job_and_no_wait_and_forgets_nothing() {
    let farm = Farm::new().await;
    let mut hour = wish(&[]);
    hour.spec.length = Some(SignedDuration::from_hours(1));
    farm.idle(1, &[]).await;
    let ended = farm.ask(&[]).await;
    farm.request_is(ended, State::InProgress).await;
    farm.close(ended).await;
    farm.worker_is(1, worker::State::Idle).await;
    let running = farm.create(hour).await.id;
    farm.request_is(running, State::InProgress).await;
    let waiting = farm.ask(&["laser"]).await;
    let events = farm.fakes.store.all_events().len();
    farm.fakes.clock.jump(SPIKE);
    farm.pass(Duration::from_secs(300)).await;
    assert_eq!(farm.request(running).state, State::InProgress);
    assert_eq!(farm.request(waiting).state, State::Waiting, "nobody asked for its deadline");
    assert_eq!(farm.request(ended).state, State::Done, "it is still known");
    assert!(farm.fakes.store.all_events().len() >= events, "nothing is forgotten");
    farm.fakes.clock.jump(-SPIKE);
    farm.pass(Duration::from_secs(3200)).await;
    assert_eq!(farm.request(running).state, State::InProgress, "its hour is not over");
    farm.pass(Duration::from_secs(101)).await;
    assert_eq!(farm.request(running).state, State::Done);
    assert_eq!(farm.request(ended).state, State::Done);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn jobs_have_their_time_whatever_the_clock_was_set_to_while_they_ran() {
    for step in [BACK, SPIKE, -SPIKE] {
        let farm = Farm::new().await;
        let job = farm.running(1).await;
        farm.pass(Duration::from_secs(600)).await;
        farm.fakes.clock.jump(step);
        farm.pass(Duration::from_secs(2990)).await;
        assert_eq!(farm.request(job).state, State::InProgress, "{step:#}");
        farm.pass(Duration::from_secs(11)).await;
        assert_eq!(farm.request(job).state, State::Done, "{step:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_taken_up_under_a_clock_that_lost_its_time_ends_all_the_same() {
    let settings = Settings { job_length_max: SignedDuration::from_hours(3), ..Settings::default() };
    let mut farm = Farm::with(settings).await;
    let job = farm.running(1).await;
    farm.fakes.clock.jump(-SPIKE);
    farm.crash_and_restart().await;
    farm.pass(Duration::from_secs(3600 * 3 + 1)).await;
    assert_eq!(farm.request(job).state, State::Done);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stays_where_it_was_set_is_believed_after_a_while() {
    let farm = Farm::new().await;
    let ended = farm.running(1).await;
    farm.close(ended).await;
    let waiting = farm.ask(&["laser"]).await;
    farm.fakes.clock.jump(SPIKE);
    farm.pass(Duration::from_secs(3500)).await;
    assert!(farm.controller.farm().request(ended).is_some());
    farm.pass(Duration::from_secs(200)).await;
    assert!(farm.controller.farm().request(ended).is_none());
    assert_eq!(farm.request(waiting).state, State::Timeout);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn sixty_seconds_at_once_are_no_silence() {
    let farm = Farm::new().await;
    farm.idle(1, &[]).await;
    let mut beating = wish(&[]);
    beating.spec.heartbeat = Some(SignedDuration::from_secs(10));
    let id = farm.create(beating).await.id;
    farm.request_is(id, State::InProgress).await;
    farm.fakes.clock.jump(SignedDuration::from_secs(60));
    farm.pass(Duration::from_secs(9)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn boards_are_looked_at_under_any_clock() {
    for step in [BACK, -SPIKE, SPIKE] {
        let farm = Farm::new().await;
        farm.idle(1, &[]).await;
        farm.fakes.drivers.forget_calls();
        farm.fakes.clock.jump(step);
        farm.pass(Duration::from_secs(200)).await;
        assert_eq!(farm.calls(1), [] as [&str; 0], "{step:#}");
        farm.pass(Duration::from_secs(101)).await;
        assert_eq!(farm.calls(1), ["check"], "{step:#}");
        // A look that seems to be to come says nothing of the board now.
        farm.fakes.clock.jump(BACK);
        farm.fakes.drivers.forget_calls();
        let job = farm.ask(&[]).await;
        farm.request_is(job, State::InProgress).await;
        assert_eq!(farm.calls(1), ["check", "authorize"], "{step:#}");
        // Nor does a failed one rest for longer.
        farm.behave("check", failure("no answer"));
        farm.report_failure(1, "smoke").await;
        farm.fakes.clock.jump(step);
        farm.behave("check", Behaviour::Instant);
        farm.pass(Duration::from_secs(31)).await;
        assert_eq!(farm.worker(1).state, worker::State::Idle, "{step:#}");
    }
}
