//! The log of a task says what became of it, and is closed with it, however that ends.

use grove_control::fakes::Behaviour;
use grove_control::ports::TaskQuery;
use grove_domain::id::TaskId;
use grove_domain::task::TaskKind;
use grove_domain::worker::{FailureKind, State};

use crate::support::Farm;

/// The last task that prepared the board.
async fn last_task(farm: &Farm) -> TaskId {
    let query = TaskQuery { kind: Some(TaskKind::Prepare), limit: 1, ..TaskQuery::default() };
    farm.controller.tasks(query).await.unwrap().first().unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_done_says_so() {
    let farm = Farm::new().await;
    farm.idle_soon(1, &[]).await;
    farm.worker_is(1, State::Idle).await;
    let task = last_task(&farm).await;
    assert_eq!(farm.fakes.logs.of(task), ["step prepare", "done", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_says_why() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Fail(FailureKind::Device, "no power".to_owned()));
    farm.idle_soon(1, &[]).await;
    farm.worker_is(1, State::Failed).await;
    let task = last_task(&farm).await;
    assert_eq!(farm.fakes.logs.of(task), ["step prepare", "failed: no power", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_cancelled_says_so_when_it_has_cleaned_up() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Hang);
    farm.idle_soon(1, &[]).await;
    farm.settle().await;
    let (task, _) = farm.worker(1).task.unwrap();
    assert_eq!(farm.fakes.logs.of(task), ["step prepare"]);
    farm.want_maintenance(1).await;
    farm.worker_is(1, State::Maintenance).await;
    assert_eq!(farm.fakes.logs.of(task), ["step prepare", "step clean up", "cancelled", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_task_whose_driver_breaks_is_closed() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Panic);
    farm.idle_soon(1, &[]).await;
    farm.worker_is(1, State::Failed).await;
    let task = last_task(&farm).await;
    assert_eq!(farm.fakes.logs.of(task).last().unwrap(), "closed");
}
