//! A wish that is sent again makes nothing new, whatever became of the controller in between.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use grove_tests_kit::client::wire::request::NewRequest;
use grove_tests_kit::farm::wish;
use grove_tests_kit::{Grove, Setup};

#[tokio::test]
async fn a_key_outlives_the_controller() {
    let mut grove = Grove::start(Setup::default());
    let made = grove.farm().create_request(&wish(&["laser"]), Some("build-4711")).await.unwrap();
    grove.kill();
    grove.start_again();
    let farm = grove.farm();
    assert_eq!(farm.create_request(&wish(&["laser"]), Some("build-4711")).await.unwrap().id, made.id);
    let other = NewRequest { priority: 3, ..wish(&["laser"]) };
    let refused = farm.create_request(&other, Some("build-4711")).await.unwrap_err();
    assert_eq!((refused.code(), refused.is_invalid()), ("idempotency_mismatch", true), "{refused}");
    assert_eq!(farm.all_requests().await.len(), 1);
}

/// The controller is killed while many ask; each of them asks again until it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_again_after_a_kill_has_asked_once() {
    const CLIENTS: usize = 40;
    let mut grove = Grove::start(Setup::default());
    let mut answers = Vec::new();
    for round in 0..4_usize {
        let farm = grove.farm();
        let asking = (0..CLIENTS).map(|client| {
            let farm = farm.clone();
            async move { farm.create_request(&wish(&["laser"]), Some(&format!("{round}/{client}"))).await }
        });
        let asking = tokio::spawn(join_all(asking));
        tokio::time::sleep(Duration::from_millis([0, 3, 7, 15][round])).await;
        grove.kill();
        let first = asking.await.unwrap();
        grove.start_again();
        let farm = grove.farm();
        for (client, first) in first.into_iter().enumerate() {
            let key = format!("{round}/{client}");
            let again = farm.create_request(&wish(&["laser"]), Some(&key)).await.unwrap().id;
            match first {
                Ok(first) => assert_eq!(again, first.id, "{key} was answered before"),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            answers.push(again);
        }
    }
    let requests: BTreeSet<u64> =
        grove.farm().all_requests().await.iter().map(|request| request.id).collect();
    assert_eq!(requests.len(), 4 * CLIENTS);
    assert_eq!(answers.iter().copied().collect::<BTreeSet<_>>(), requests);
}
