use std::time::Duration;

use grove_engine::{Config, Exit, Refused};

use crate::kit::{MS, after, config, install, puppet, start, state};

#[tokio::test(start_paused = true)]
async fn a_chain_bounces_from_its_root() {
    let (engine, log) = start(config());
    let (a, b, c) = (puppet("a", &[]), puppet("b", &["a"]), puppet("c", &["b"]));
    install(&engine, &[&a, &b, &c]).await;
    after(5000).await;
    log.take();
    a.end(Exit::Bounce);
    after(5000).await;
    for name in ["a", "b", "c"] {
        assert_eq!(log.count(&format!("started {name}")), 1, "{name}");
    }
    assert!(log.place("stopped c") < log.place("stopped b"), "those who use it first");
    assert!(
        log.place("started a") < log.place("started b") && log.place("started b") < log.place("started c")
    );
}

#[tokio::test(start_paused = true)]
async fn an_admin_bounces_dependents_first() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]).with(|b| b.stop = 300 * MS);
    let c = puppet("c", &["b"]).with(|c| c.stop = 500 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(5000).await;
    log.take();
    engine.bounce("a").await.unwrap();
    after(5000).await;
    let stops = [log.times("stopped c: done"), log.times("stopped b: done"), log.times("stopped a: done")];
    assert_eq!(stops, [[5500], [5800], [5800]]);
    for name in ["a", "b", "c"] {
        assert_eq!(log.count(&format!("started {name}")), 1, "{name}");
    }
    assert_eq!(engine.report().await.service("a").unwrap().bounces, 1);
    assert_eq!(engine.bounce("nobody").await, Err(Refused::NotInstalled));
}

#[tokio::test(start_paused = true)]
async fn an_admin_starts_what_has_stopped_or_waits() {
    let (engine, log) = start(Config { error_delay: Duration::from_secs(1000), ..config() });
    let (a, b) = (puppet("a", &[]), puppet("b", &[]));
    install(&engine, &[&a, &b]).await;
    after(1).await;
    a.end(Exit::Clean);
    b.fail();
    after(1).await;
    engine.bounce("a").await.unwrap();
    engine.bounce("b").await.unwrap();
    after(1).await;
    assert_eq!((log.count("started a"), log.count("started b")), (2, 2));
    after(2_000_000).await;
    assert_eq!(log.count("starting"), 4, "the planned start of b is off");
}

#[tokio::test(start_paused = true)]
async fn what_failed_comes_back_only_after_its_dependents_have_ended() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]);
    let c = puppet("c", &["b"]).with(|c| c.stop = 5000 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    a.fail();
    after(10_000).await;
    assert_eq!(log.times("stopped c: done"), [6000]);
    assert_eq!(log.times("stopped b: done"), [6000]);
    assert_eq!(log.times("starting a"), [0, 6000], "due at 2,000, but c still used it through b");
    assert_eq!(log.count("started"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_dependent_of_a_dependent_that_is_gone_counts() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    let c = puppet("c", &["b"]).with(|c| c.stop = 5000 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    // b ends at once; c, that used a through it, takes its time.
    b.fail();
    after(1).await;
    engine.bounce("a").await.unwrap();
    after(10_000).await;
    assert_eq!(log.times("stopped a: done"), [6000]);
    assert!(log.times("starting b").iter().all(|at| *at < 1000 || *at >= 6000));
    assert_eq!((log.count("started a"), log.count("started b"), log.count("started c")), (2, 2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_change_cuts_a_start_short() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]).with(|b| b.start = 1000 * MS);
    install(&engine, &[&a, &b]).await;
    after(100).await;
    a.end(Exit::Bounce);
    after(5000).await;
    assert_eq!(log.count("stopped b: start cut short"), 1);
    assert_eq!(log.count("started b"), 1);
    // One bounce delay and the time to settle after the change; then its own second.
    assert_eq!(log.times("started b"), [1111]);
}

#[tokio::test(start_paused = true)]
async fn changes_within_the_settle_time_are_one() {
    let (engine, log) = start(Config { settle: 50 * MS, ..config() });
    let names: Vec<String> = (0..10).map(|number| format!("i{number}")).collect();
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let b = puppet("b", &inputs).with(|b| b.modest = true);
    install(&engine, &[&b]).await;
    after(1000).await;
    for name in &inputs {
        install(&engine, &[&puppet(name, &[])]).await;
        after(4).await;
    }
    after(5000).await;
    assert_eq!(log.count("started b"), 2);
    assert_eq!(engine.report().await.service("b").unwrap().bounces, 1);
}

#[tokio::test(start_paused = true)]
async fn bounce_storms_back_off() {
    let config = Config { backoff_factor: 2.0, max_delay: Duration::from_secs(2), ..config() };
    let (engine, log) = start(config);
    let a = puppet("a", &[]);
    install(&engine, &[&a]).await;
    for _ in 0..60_000 {
        a.end(Exit::Bounce);
        after(1).await;
    }
    let times = log.times("starting a");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() < 60, "{gaps:?}");
    assert!(gaps.is_sorted() && *gaps.last().unwrap() >= 2000, "{gaps:?}");
    let report = engine.report().await;
    assert_eq!(report.service("a").unwrap().bounces as usize, log.count("stopped a"));
}

#[tokio::test(start_paused = true)]
async fn dependents_of_a_flapping_input_back_off() {
    let config = Config { backoff_factor: 2.0, max_delay: Duration::from_secs(5), ..config() };
    let (engine, log) = start(config);
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    for _ in 0..600 {
        after(100).await;
        a.fail();
    }
    let started = log.count("started b");
    assert!((3..25).contains(&started), "{started}");
    after(20_000).await;
    assert_eq!(state(&engine, "b").await, grove_engine::State::Started);
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_one_ends_for_want_of_it_is_not_missed() {
    // b looks, finds nothing, and takes its time to say so; meanwhile a starts.
    let (engine, log) = start(Config { settle: 1000 * MS, ..config() });
    let b = grove_engine::Service::new("b", |scope: grove_engine::Scope| async move {
        let found = scope.exists("a");
        after(100).await;
        found?;
        scope.started(grove_engine::Output::none());
        scope.stop().cancelled().await;
        Ok(())
    });
    engine.install(b.needs_named("a")).await.unwrap();
    after(50).await;
    install(&engine, &[&puppet("a", &[])]).await;
    after(10_000).await;
    assert_eq!(log.count("started b"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_comes_too_late_is_none() {
    let (engine, log) = start(config());
    let a = grove_engine::Service::new("a", |scope: grove_engine::Scope| async move {
        scope.stop().cancelled().await;
        scope.started(grove_engine::Output::none());
        after(100).await;
        Ok(())
    });
    engine.install(a).await.unwrap();
    install(&engine, &[&puppet("b", &["a"])]).await;
    engine.bounce("a").await.unwrap();
    after(50).await;
    assert_eq!(log.count("started"), 0);
    assert_eq!(engine.report().await.service("a").unwrap().starts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_short_life_is_still_a_start() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("b", &["a"]).with(|b| b.modest = true)]).await;
    after(1).await;
    // Whichever of both the loop hears of first.
    for round in 1..=20 {
        let a = grove_engine::Service::new("a", |scope: grove_engine::Scope| async move {
            scope.started(grove_engine::Output::none());
            Err(Exit::Uninstall)
        });
        engine.install(a).await.unwrap();
        after(1000).await;
        assert_eq!(log.count("started a"), round);
        assert_eq!(log.count("started b"), 1 + round, "it is told of an input that came and went");
    }
}

#[tokio::test(start_paused = true)]
async fn none_begins_while_an_input_is_about_to_stop() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]).with(|b| b.modest = true);
    let c = puppet("c", &["a"]).with(|c| c.stop = 500 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    log.take();
    engine.bounce("a").await.unwrap();
    after(100).await;
    assert_eq!((log.count("stopped b"), log.count("stopped a")), (1, 0));
    install(&engine, &[&puppet("d", &["a"]).with(|d| d.modest = true)]).await;
    after(5000).await;
    for name in ["b", "d"] {
        let begun = log.times(&format!("starting {name}"));
        assert!(begun.len() == 1 && begun[0] > 1500, "{name}: {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_among_stopping_dependents_counts_with_its_inputs() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    let c = puppet("c", &["b"]).with(|c| c.stop = 5000 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    engine.bounce("c").await.unwrap();
    after(100).await;
    b.fail();
    after(100).await;
    engine.bounce("a").await.unwrap();
    after(10_000).await;
    assert_eq!(log.times("stopped a: done"), [6000]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_an_own_end_has_overtaken_bounces_nobody() {
    let (engine, log) = start(Config { settle: 3000 * MS, ..config() });
    let b = puppet("b", &["a"]).with(|b| b.modest = true);
    install(&engine, &[&b]).await;
    after(100).await;
    install(&engine, &[&puppet("a", &[])]).await;
    after(100).await;
    b.fail();
    after(20_000).await;
    assert_eq!(log.times("started b"), [0, 1200]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_input_does_not_hasten_a_retry() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]).with(|b| b.modest = true));
    install(&engine, &[&a, &b]).await;
    after(1000).await;
    b.fail();
    after(500).await;
    log.take();
    a.end(Exit::Uninstall);
    after(5000).await;
    assert_eq!(log.times("starting b"), [2000]);
}
