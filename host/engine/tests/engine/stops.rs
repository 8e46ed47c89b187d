use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grove_engine::{Config, EngineState, Exit, Overdue, Scope, Service, State};
use tokio::time::Instant;

use crate::kit::{MS, after, config, install, puppet, start, state};

#[tokio::test(start_paused = true)]
async fn an_engine_without_services_ends_when_killed() {
    let (engine, _) = start(config());
    engine.kill();
    engine.wait().await.unwrap();
    engine.kill();
    engine.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_the_engine_kills_it_and_dropping_handles_does_not() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    let handle = engine.handle();
    drop(handle.clone());
    after(1000).await;
    assert_eq!(log.count("stopped"), 0);
    drop(engine);
    handle.wait().await.unwrap();
    assert!(log.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn many_may_wait() {
    let (engine, _) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    let waiters: Vec<_> = (0..20)
        .map(|_| {
            let handle = engine.handle();
            tokio::spawn(async move { handle.wait().await })
        })
        .collect();
    after(1000).await;
    engine.kill();
    engine.kill();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn dependents_stop_before_their_inputs() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]).with(|b| b.stop = 1000 * MS);
    let c = puppet("c", &["b"]).with(|c| c.stop = 1000 * MS);
    let d = puppet("d", &["a"]).with(|d| d.stop = 500 * MS);
    let e = puppet("e", &[]);
    install(&engine, &[&a, &b, &c, &d, &e]).await;
    after(1000).await;
    engine.kill();
    engine.wait().await.unwrap();
    let stopped = ["e", "d", "c", "b", "a"].map(|name| log.times(&format!("stopped {name}: done")));
    assert_eq!(stopped, [[1000], [1500], [2000], [3000], [3000]]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_keeps_the_order_through_what_has_ended() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    let c = puppet("c", &["b"]).with(|c| c.stop = 1000 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    b.fail();
    after(1).await;
    engine.kill();
    engine.wait().await.unwrap();
    assert_eq!(log.times("stopped a: done"), [2000]);
}

#[tokio::test(start_paused = true)]
async fn a_kill_cuts_starts_short_and_nothing_starts_again() {
    let (engine, log) = start(config());
    let slow = puppet("slow", &[]).with(|slow| slow.start = 5000 * MS);
    let failed = puppet("failed", &[]).with(|failed| failed.fail = Some(Exit::failed("no")));
    install(&engine, &[&slow, &failed, &puppet("waits", &["slow"])]).await;
    after(500).await;
    let begun = Instant::now();
    engine.kill();
    engine.wait().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(log.count("starting"), 3);
    assert_eq!(log.count("stopped slow: start cut short"), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_ignores_its_stop_is_aborted_and_named() {
    let (engine, log) = start(config());
    let deaf = puppet("deaf", &[]).with(|deaf| deaf.deaf = true);
    install(&engine, &[&deaf]).await;
    after(1000).await;
    engine.bounce("deaf").await.unwrap();
    after(9000).await;
    assert_eq!(state(&engine, "deaf").await, State::Stopping);
    after(1500).await;
    assert_eq!(log.count("overdue deaf after 10s"), 1);
    let report = engine.report().await;
    let error = report.service("deaf").unwrap().last_error.clone().unwrap();
    assert!(error.error::<Overdue>().is_some(), "{error}");
    assert_eq!(report.service("deaf").unwrap().recent_errors, 1);
    after(1000).await;
    assert_eq!(log.times("starting deaf"), [0, 12_000], "after the error delay");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_with_its_attempt() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    after(1000).await;
    engine.bounce("a").await.unwrap();
    after(60_000).await;
    assert_eq!((log.count("overdue"), log.count("stopped"), log.count("started")), (0, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_aborted() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]).with(|a| a.hang = true);
    install(&engine, &[&a]).await;
    after(1000).await;
    engine.bounce("a").await.unwrap();
    after(9999).await;
    a.now(|a| a.hang = false);
    after(5000).await;
    assert_eq!(log.count("stopped a: did not stop within 10s"), 1);
    assert_eq!(state(&engine, "a").await, State::Started);
}

#[tokio::test(start_paused = true)]
async fn a_kill_is_over_within_the_deadline() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 1000 * MS);
    let b = puppet("b", &["a"]).with(|b| b.deaf = true);
    let c = puppet("c", &["b"]).with(|c| c.hang = true);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    engine.kill();
    engine.wait().await.unwrap();
    // At half the deadline the order is given up, so that a need not be aborted because of b.
    assert_eq!(log.times("stopped a: done"), [7000]);
    assert_eq!(log.times("stopped b: did not stop within 10s"), [11_000]);
    assert_eq!(log.times("stopped c: did not stop within 10s"), [11_000]);
}

#[tokio::test(start_paused = true)]
async fn two_wishes_to_stop_are_one() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 500 * MS);
    install(&engine, &[&a]).await;
    after(1000).await;
    engine.bounce("a").await.unwrap();
    engine.bounce("a").await.unwrap();
    after(100).await;
    engine.bounce("a").await.unwrap();
    after(5000).await;
    assert_eq!((log.count("stopped a"), log.count("started a")), (1, 2));
    assert_eq!(engine.report().await.service("a").unwrap().bounces, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_waits_when_the_engine_is_killed_is_answered() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 500 * MS);
    install(&engine, &[&a, &puppet("b", &[]).with(|b| b.stop = 500 * MS)]).await;
    after(1000).await;
    let (uninstall, replace) = (engine.handle(), engine.handle());
    let uninstall = tokio::spawn(async move { uninstall.uninstall("b").await });
    let replace = tokio::spawn(async move { replace.replace(puppet("a", &[]).service()).await });
    after(100).await;
    engine.kill();
    assert_eq!(uninstall.await.unwrap(), Err(grove_engine::Refused::ShuttingDown));
    assert_eq!(replace.await.unwrap(), Err(grove_engine::Refused::ShuttingDown));
    engine.wait().await.unwrap();
}

#[test]
fn one_that_blocks_its_thread_cannot_hang_the_end() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let release = Arc::new(AtomicBool::new(false));
    let blocks = release.clone();
    let report = runtime.block_on(async {
        let (engine, _) = start(Config { kill_deadline: 20 * MS, ..config() });
        let service = Service::new("blocks", move |_: Scope| {
            let blocks = blocks.clone();
            async move {
                while !blocks.load(Ordering::SeqCst) {
                    std::thread::sleep(MS);
                }
                Ok(())
            }
        });
        engine.install(service).await.unwrap();
        engine.kill();
        engine.wait().await.unwrap();
        engine.report().await
    });
    release.store(true, Ordering::SeqCst);
    assert_eq!(report.state, EngineState::Stopped);
    let error = report.service("blocks").unwrap().last_error.clone().unwrap();
    assert!(error.error::<Overdue>().is_some(), "{error}");
}
