//! Users of running jobs: whether they are heard of, what moves on their boards, and what they are told.

use std::time::Duration;

use grove_control::{Settings, Warning};
use grove_domain::id::RequestId;
use grove_domain::moment::{SignedDuration, after};
use grove_domain::request::{Create, Job, Refusal, State};
use grove_domain::worker;

use crate::support::{Farm, wish};

fn mins(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A wish of a client that promises a heartbeat every ten seconds, and wants its board kept for a while.
fn kept(away: SignedDuration) -> Create {
    let mut wish = wish(&[]);
    wish.spec.heartbeat = Some(SignedDuration::from_secs(10));
    wish.spec.away = Some(away);
    wish
}

impl Farm {
    async fn runs(&self, wish: Create) -> RequestId {
        self.idle(1, &[]).await;
        let id = self.create(wish).await.id;
        self.request_is(id, State::InProgress).await;
        id
    }

    fn job(&self, id: RequestId) -> Job {
        Job::clone(self.request(id).running_job().expect("its job runs"))
    }

    async fn beat(&self, id: RequestId) -> Vec<Warning> {
        self.controller.heartbeat(id, false).await.unwrap().1
    }

    /// So many minutes in which something moves every minute, or else a command runs.
    async fn works(&self, id: RequestId, minutes: u64, moves: bool) {
        for _ in 0..minutes {
            if moves {
                self.fakes.tunnels.carry(id, 3000);
            }
            for _ in 0..6 {
                self.pass(seconds(10)).await;
                self.controller.heartbeat(id, !moves).await.unwrap();
            }
        }
    }

    /// For so long, with a heartbeat every ten seconds.
    async fn beats(&self, id: RequestId, for_seconds: u64) {
        for _ in 0..for_seconds / 10 {
            self.pass(seconds(10)).await;
            self.beat(id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_board_is_kept_for_a_client_that_is_away() {
    let farm = Farm::new().await;
    let id = farm.runs(kept(mins(15))).await;
    farm.beats(id, 60).await;
    let heard = farm.now();
    farm.pass(seconds(31)).await;
    let away = farm.job(id).away.expect("three heartbeats were missed");
    assert!(away.duration_since(heard).abs() <= SignedDuration::from_secs(1), "{away} {heard}");
    let event = farm.events("job.away").pop().unwrap();
    assert!(event.note.as_ref().unwrap().contains("kept until"), "{event:?}");

    farm.pass(seconds(800)).await;
    farm.beat(id).await;
    assert_eq!(farm.job(id).away, None);
    assert_eq!(farm.events("job.back").len(), 1);

    // Whatever the wall clock does meanwhile.
    farm.pass(seconds(31)).await;
    farm.fakes.clock.jump(SignedDuration::from_hours(2));
    farm.pass(seconds(800)).await;
    farm.fakes.clock.jump(SignedDuration::from_hours(-2));
    assert_eq!(farm.request(id).state, State::InProgress);
    farm.pass(seconds(70)).await;
    let request = farm.request(id);
    assert_eq!((request.state, request.ended_by.as_deref()), (State::Done, Some("core")));
    assert!(request.reason.as_ref().unwrap().starts_with("nothing was heard of its client since "));
    assert!(request.job.as_ref().unwrap().away.is_some(), "that is how it ended");
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_board_is_kept_no_longer_than_the_farm_allows() {
    let farm = Farm::with(Settings { away_max: mins(5), ..Settings::default() }).await;
    let id = farm.runs(kept(mins(15))).await;
    farm.pass(seconds(295)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    farm.pass(seconds(10)).await;
    assert_eq!(farm.request(id).state, State::Done);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_wish_of_a_client_that_is_away_is_not_kept() {
    let farm = Farm::new().await;
    let id = farm.create(kept(mins(15))).await.id;
    farm.pass(seconds(31)).await;
    assert_eq!(farm.request(id).state, State::Cancelled);
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_ends_a_job_nor_keeps_one_for_ever() {
    let mut farm = Farm::new().await;
    let mut long = kept(mins(15));
    long.spec.length = Some(mins(240));
    let id = farm.runs(long.clone()).await;
    // Nobody could be heard while the controller was gone.
    farm.be_gone_for(seconds(3600)).await;
    farm.pass(seconds(20)).await;
    assert_eq!(farm.job(id).away, None);
    farm.beat(id).await;

    farm.pass(seconds(600)).await;
    assert!(farm.job(id).away.is_some());
    farm.crash_and_restart().await;
    assert!(farm.job(id).away.is_some());
    farm.pass(seconds(290)).await;
    assert_eq!(farm.request(id).state, State::InProgress);
    farm.pass(seconds(20)).await;
    assert_eq!(farm.request(id).state, State::Done, "ten minutes before count");

    // Its time was over while the controller was gone: it has the time to say that it is there.
    let id = farm.create(long).await.id;
    farm.request_is(id, State::InProgress).await;
    farm.pass(seconds(60)).await;
    farm.be_gone_for(seconds(1200)).await;
    farm.pass(seconds(25)).await;
    farm.beat(id).await;
    farm.beats(id, 60).await;
    assert_eq!(farm.job(id).away, None);
    farm.close(id).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_kept_outlives_its_client() {
    let mut farm = Farm::new().await;
    let id = farm.runs(kept(mins(1))).await;
    farm.pass(seconds(40)).await;
    farm.controller.keep_job("ann", id, None).await.unwrap();
    farm.controller.keep_job("ann", id, None).await.unwrap();
    assert_eq!(farm.events("job.kept").len(), 1);
    let job = farm.job(id);
    assert_eq!((job.kept, job.away), (true, None));
    farm.pass(seconds(600)).await;
    farm.crash_and_restart().await;
    farm.pass(seconds(600)).await;
    assert_eq!(farm.job(id).away, None);
    farm.pass(seconds(3600)).await;
    let request = farm.request(id);
    assert_eq!((request.state, request.reason.as_deref()), (State::Done, Some("the job's time is up")));
    let ended = farm.controller.keep_job("ann", id, None).await;
    assert_eq!(ended, Err(Refusal::NoJob.into()));
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn users_are_warned_of_the_end_twice_and_again_after_it_was_moved() {
    let mut farm = Farm::new().await;
    let id = farm.runs(kept(mins(60))).await;
    farm.beats(id, 3000 - 10).await;
    assert_eq!(farm.beat(id).await, []);
    farm.beats(id, 20).await;
    let warnings = farm.beat(id).await;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!((warning.code, warning.at), ("ending", farm.job(id).timeout));
    assert!(warning.text.starts_with("the time of job 1 is up in 9m "), "{warning:?}");
    assert_eq!(farm.events("job.ending").len(), 1);
    farm.crash_and_restart().await;
    farm.beats(id, 8 * 60).await;
    assert_eq!(farm.events("job.ending").len(), 2, "each once");
    // The wall clock says nothing about it.
    let later = farm.controller.prolong("ann", id, Some(mins(30)), false, None).await.unwrap();
    assert_eq!(later.running_job().unwrap().warned, 0);
    farm.fakes.clock.jump(SignedDuration::from_hours(2));
    farm.beats(id, 60).await;
    assert_eq!(farm.beat(id).await, []);
    farm.beats(id, 20 * 60).await;
    assert_eq!(farm.events("job.ending").len(), 3);
    farm.beats(id, 8 * 60).await;
    assert_eq!(farm.events("job.ending").len(), 4);
    farm.close(id).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_warned_of_what_is_short_anyway() {
    let farm = Farm::new().await;
    let mut short = kept(mins(60));
    short.spec.length = Some(mins(5));
    let id = farm.runs(short).await;
    farm.beats(id, 120).await;
    assert_eq!(farm.beat(id).await, []);
    farm.beats(id, 70).await;
    assert_eq!(farm.events("job.ending").len(), 1, "two minutes before");
    farm.close(id).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_made_shorter_by_an_explicit_word_only() {
    let farm = Farm::new().await;
    let id = farm.runs(wish(&[])).await;
    let before = farm.job(id).timeout;
    let one = Some(mins(1));
    let refused = farm.controller.prolong("ann", id, one, false, None).await;
    assert_eq!(refused, Err(Refusal::Shorter(before).into()));
    assert_eq!(farm.job(id).timeout, before);
    let shorter = farm.controller.prolong("ann", id, one, true, None).await.unwrap();
    assert_eq!(shorter.running_job().unwrap().timeout, after(farm.now(), mins(1)));
}

#[tokio::test(start_paused = true)]
async fn a_board_on_which_nothing_moves_goes_back_and_its_user_is_told_before() {
    let farm = Farm::new().await;
    let mut idle = kept(mins(60));
    (idle.spec.idle, idle.spec.length) = (Some(mins(20)), Some(mins(240)));
    let id = farm.runs(idle).await;
    for _ in 0..30 {
        // Something moves every minute.
        farm.beats(id, 60).await;
        farm.fakes.tunnels.carry(id, 3000);
    }
    farm.beats(id, 60).await;
    assert_eq!(farm.events("job.idle").len(), 0);
    for _ in 0..17 {
        // Keep-alives.
        farm.fakes.tunnels.carry(id, 2000);
        farm.beats(id, 60).await;
    }
    assert_eq!(farm.beat(id).await, []);
    farm.beats(id, 120).await;
    let warnings = farm.beat(id).await;
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!(warning.code, "idle");
    let left = warning.at.duration_since(farm.now());
    assert!(left > SignedDuration::ZERO && left <= mins(2), "{left}");
    assert_eq!(farm.events("job.idle").len(), 1);
    // It moves: all begins anew.
    farm.fakes.tunnels.carry(id, 3000);
    farm.beats(id, 60).await;
    assert_eq!(farm.beat(id).await, []);
    farm.pass(seconds(21 * 60)).await;
    let request = farm.request(id);
    assert_eq!((request.state, request.ended_by.as_deref()), (State::Done, Some("core")));
    assert_eq!(request.reason.as_deref(), Some("nothing moved on its board for 20m"));
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_used_goes_on_up_to_the_farms_limit() {
    let settings = Settings { job_length_max: SignedDuration::from_hours(3), ..Settings::default() };
    for moves in [true, false] {
        let farm = Farm::with(settings.clone()).await;
        let mut extended = kept(mins(60));
        (extended.spec.extend, extended.spec.length) = (true, Some(mins(30)));
        let id = farm.runs(extended).await;
        let opened = farm.job(id).opened;
        farm.works(id, 166, moves).await;
        assert!(farm.events("job.extended").len() > 5);
        assert_eq!(farm.events("job.ending").len(), 0, "nobody is warned of an end that does not come");
        let job = farm.job(id);
        assert_eq!((job.timeout, job.prolongs), (after(opened, settings.job_length_max), 0));
        farm.works(id, 13, moves).await;
        assert_eq!(farm.events("job.ending").len(), 2, "now it is true");
        farm.pass(seconds(240)).await;
        assert_eq!(farm.request(id).reason.as_deref(), Some("the job's time is up"));
    }
    // A client that was busy, and is gone from a job that is kept, does not use it.
    let farm = Farm::with(settings.clone()).await;
    let mut extended = kept(mins(60));
    (extended.spec.extend, extended.spec.length) = (true, Some(mins(30)));
    let id = farm.runs(extended).await;
    farm.works(id, 1, false).await;
    farm.controller.keep_job("ann", id, None).await.unwrap();
    farm.pass(seconds(1800)).await;
    assert_eq!(farm.request(id).state, State::Done);
    // One that is not used ends in time.
    let farm = Farm::with(settings).await;
    let mut extended = kept(mins(60));
    (extended.spec.extend, extended.spec.length) = (true, Some(mins(30)));
    let id = farm.runs(extended).await;
    farm.beats(id, 1780).await;
    farm.pass(seconds(30)).await;
    assert_eq!(farm.request(id).state, State::Done);
    farm.check_settled();
}
