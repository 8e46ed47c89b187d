//! Boards that stop answering during a job.

use std::time::Duration;

use grove_control::Settings;
use grove_control::settings::Probes;
use grove_domain::id::RequestId;
use grove_domain::request::State;
use grove_domain::worker;

use crate::support::Farm;

fn is_unreachable(farm: &Farm, request: RequestId) -> bool {
    farm.request(request).running_job().unwrap().unreachable.is_some()
}

async fn minutes(farm: &Farm, minutes: u64) {
    farm.pass(Duration::from_secs(60 * minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn a_board_that_stops_answering_is_told_and_waited_for() {
    let mut farm = Farm::new().await;
    let request = farm.running(1).await;
    minutes(&farm, 2).await;
    assert!(!is_unreachable(&farm, request));
    farm.fakes.tunnels.silence(true);
    farm.pass(Duration::from_secs(50)).await;
    assert!(!is_unreachable(&farm, request), "that may be a reboot");
    minutes(&farm, 2).await;
    assert!(is_unreachable(&farm, request));
    assert_eq!(farm.events("job.unreachable").len(), 1);
    let warned = farm.controller.heartbeat(request, false).await.unwrap().1;
    assert!(warned.iter().any(|warning| warning.code == "unreachable"), "{warned:?}");
    farm.crash_and_restart().await;
    minutes(&farm, 5).await;
    assert!(is_unreachable(&farm, request));
    farm.fakes.tunnels.silence(false);
    minutes(&farm, 1).await;
    assert!(!is_unreachable(&farm, request));
    assert_eq!((farm.events("job.unreachable").len(), farm.events("job.reachable").len()), (1, 1));
    farm.close(request).await;
    farm.worker_is(1, worker::State::Idle).await;
    farm.check_settled();
}

#[tokio::test(start_paused = true)]
async fn where_the_admin_wants_it_the_job_and_the_board_fail() {
    let probes = Probes { fail_after: Some(Duration::from_secs(600)), ..Probes::default() };
    let farm = Farm::with(Settings { probes, ..Settings::default() }).await;
    let request = farm.running(1).await;
    minutes(&farm, 1).await;
    farm.fakes.tunnels.silence(true);
    minutes(&farm, 9).await;
    assert!(is_unreachable(&farm, request));
    minutes(&farm, 3).await;
    let request = farm.request(request);
    assert_eq!((request.state, request.ended_by.as_deref()), (State::Failed, Some("core")));
    assert!(request.reason.as_ref().unwrap().contains("it has not answered since"), "{request:?}");
    farm.check_invariants();
}

#[tokio::test(start_paused = true)]
async fn one_that_never_answered_is_not_missed() {
    let farm = Farm::new().await;
    farm.fakes.tunnels.silence(true);
    let request = farm.running(1).await;
    minutes(&farm, 20).await;
    assert!(!is_unreachable(&farm, request));
    assert_eq!(farm.events("job.unreachable").len(), 0);
}
