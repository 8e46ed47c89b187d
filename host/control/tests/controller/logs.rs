//! The log of a task says what became of it, and is closed with it, however that ends.

use grove_control::fakes::Behaviour;
use grove_domain::worker::{FailureKind, State};

use crate::support::Farm;

#[tokio::test(start_paused = true)]
async fn a_task_that_is_done_says_so() {
    let farm = Farm::new().await;
    farm.idle_soon(1, &[]).await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.worker_is(1, State::Idle).await;
    assert_eq!(farm.fakes.logs.of(task), ["step prepare", "done", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_says_why() {
    let farm = Farm::new().await;
    farm.behave("prepare", Behaviour::Fail(FailureKind::Device, "no power".to_owned()));
    farm.idle_soon(1, &[]).await;
    let (task, _) = farm.worker(1).task.unwrap();
    farm.worker_is(1, State::Failed).await;
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
    let (task, _) = farm.worker(1).task.unwrap();
    farm.worker_is(1, State::Failed).await;
    assert_eq!(farm.fakes.logs.of(task).last().unwrap(), "closed");
}
