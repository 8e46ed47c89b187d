//! Introspections whose controller or store goes away in between.

use std::time::Duration;

use grove_control::Begin;
use grove_control::fakes::{Behaviour, Inspection};
use grove_domain::id::{IntrospectionId, Uuid};
use grove_domain::introspection::{Kind, State};
use grove_domain::task::Phase;

use crate::support::introspections::{found, map, send, states};
use crate::support::{Farm, id, token};

#[tokio::test(start_paused = true)]
async fn processing_goes_on_after_a_crash() {
    let mut farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.fakes.inspectors.behave(Inspection::Hang);
    let pulled = farm.pull(1).await;
    farm.run_is(pulled, State::Processing).await;
    farm.add(2, &[]).await;
    let pushed = farm.push(2, 'a').await;
    farm.run_is(pushed, State::Waiting).await;
    send(&farm, pushed, 'a', "{\"usb\":1}").await.unwrap();
    let enrolled =
        farm.controller.enrol("board", format!("{{\"uuid\":\"{}\"}}", Uuid::from_u128(3)).into()).await;
    farm.settle().await;
    farm.fakes.inspectors.behave(Inspection::Instant);
    farm.crash_and_restart().await;
    farm.run_is(pulled, State::Finished).await;
    farm.run_is(pushed, State::Finished).await;
    farm.run_is(enrolled.unwrap().id, State::Finished).await;
    farm.settle().await;
    assert_eq!(farm.calls(1), ["inventory"], "what was read is stored");
    assert_eq!((found(&farm, 1), found(&farm, 2)), (map(&[("cpus", "4")]), map(&[("usb", "1")])));
    let ended: Vec<_> =
        farm.fakes.store.ended_tasks().iter().map(|task| (task.spec.worker, task.status.phase)).collect();
    assert!(
        ended.contains(&(id(1), Phase::Succeeded)),
        "the task that waits for it was begun again: {ended:?}"
    );
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_rows_that_go_on() {
    let mut farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.add(2, &[]).await;
    farm.behave("inventory", Behaviour::Hang);
    let reading = farm.pull(1).await;
    farm.run_is(reading, State::Waiting).await;
    farm.fakes.inspectors.behave(Inspection::Hang);
    farm.fakes.drivers.behave(Some(id(2)), "inventory", Behaviour::Instant);
    let processing = farm.pull(2).await;
    farm.run_is(processing, State::Processing).await;
    farm.controller.stop().await;
    farm.check_invariants();
    assert_eq!(farm.fakes.inspectors.active(), 0);
    farm.behave("inventory", Behaviour::Instant);
    farm.fakes.inspectors.behave(Inspection::Instant);
    farm.crash_and_restart().await;
    farm.run_is(reading, State::Finished).await;
    farm.run_is(processing, State::Finished).await;
    farm.settle().await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_loses_no_inventory() {
    let farm = Farm::new().await;
    farm.add(1, &[]).await;
    farm.behave("inventory", Behaviour::After(Duration::from_secs(10)));
    let run = farm.pull(1).await;
    farm.run_is(run, State::Waiting).await;
    farm.fakes.store.break_with(Some("disk full"));
    farm.pass(Duration::from_secs(30)).await;
    farm.fakes.store.break_with(None);
    farm.run_is(run, State::Finished).await;
    farm.settle().await;
    assert_eq!(farm.calls(1), ["inventory"]);
    // Nor what came of it.
    farm.fakes.inspectors.behave(Inspection::After(Duration::from_secs(10)));
    farm.controller.reapply_introspection("admin", run, None).await.unwrap();
    farm.fakes.store.break_with(Some("disk full"));
    farm.pass(Duration::from_secs(30)).await;
    assert_eq!(farm.run(run).state, State::Reapplying);
    farm.fakes.store.break_with(None);
    farm.pass(Duration::from_secs(11)).await;
    farm.run_is(run, State::Finished).await;
    farm.settle().await;
    farm.check_settled();
}

/// Everything that says that a run has ended well is there at once, or nothing of it.
fn whole(farm: &Farm, run: IntrospectionId, number: u128) {
    farm.check_rows();
    let row = farm.run(run);
    let finished = row.state == State::Finished;
    let told = states(farm, run);
    assert_eq!(told.last().map(String::as_str), Some(row.state.name()), "{told:?}");
    assert_eq!(row.finished.is_some(), row.state.is_terminal());
    assert_eq!(row.error.is_some(), row.state == State::Error);
    assert_eq!(found(farm, number).contains_key("cpus"), finished, "{row:?}");
    assert_eq!(row.has_processed, finished);
    let stored = |kind| farm.fakes.store.inventory_of(run, kind).is_some();
    assert_eq!((stored(Kind::Raw), stored(Kind::Processed)), (row.has_raw, row.has_processed));
}

/// Dies after each commit in turn, with and without its answer, and goes on. How a run may end.
async fn die_after_every_commit(begin: Begin, abort: bool, ends: &[State]) {
    for lost in [false, true] {
        for commits in 1.. {
            let mut farm = Farm::new().await;
            farm.add(1, &[]).await;
            farm.fakes.store.stall_after(commits, lost);
            let controller = farm.controller.clone();
            tokio::spawn(async move {
                let begun = controller.start_introspection("admin", id(1), begin, None).await;
                let run = begun.unwrap().id;
                tokio::time::sleep(Duration::from_millis(5)).await;
                if begin != Begin::Pull {
                    let _ = controller.introspection_data(run, token('a'), "{\"cpus\":4}".into()).await;
                }
                if abort {
                    let _ = controller.abort_introspection("admin", run, None).await;
                }
            });
            if abort {
                farm.fakes.inspectors.behave(Inspection::After(Duration::from_secs(1)));
            }
            farm.pass(Duration::from_millis(500)).await;
            let died = farm.fakes.store.is_stalled();
            for run in farm.fakes.store.introspections() {
                whole_rows(&farm, run.id);
            }
            farm.crash_and_restart().await;
            farm.pass(Duration::from_secs(5)).await;
            for run in farm.fakes.store.introspections() {
                whole(&farm, run.id, 1);
                let waits = run.state == State::Waiting && begin != Begin::Pull;
                assert!(waits || ends.contains(&run.state), "after {commits}: {run:?}");
            }
            farm.check_settled();
            if !died {
                assert!(commits > 3, "it died nowhere");
                break;
            }
        }
    }
}

/// The same on rows alone: memory may be ahead of them.
fn whole_rows(farm: &Farm, run: IntrospectionId) {
    farm.check_rows();
    let row = farm.run(run);
    let told = states(farm, run);
    assert_eq!(told.last().map(String::as_str), Some(row.state.name()), "{told:?}");
    let worker = farm.fakes.store.workers().pop().unwrap();
    let found = worker.capabilities.introspected().contains_key("cpus");
    assert_eq!(found, row.state == State::Finished, "{row:?} {worker:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_whole_wherever_its_controller_dies_while_a_driver_reads() {
    die_after_every_commit(Begin::Pull, false, &[State::Finished]).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_whole_wherever_its_controller_dies_while_a_board_sends() {
    die_after_every_commit(Begin::Push(token('a')), false, &[State::Finished]).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_whole_wherever_its_controller_dies_while_it_is_aborted() {
    die_after_every_commit(Begin::Pull, true, &[State::Finished, State::Error]).await;
}
