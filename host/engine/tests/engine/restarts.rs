use std::time::Duration;

use grove_engine::{Config, Exit, State, Why};

use crate::kit::{after, config, install, missing, puppet, start, state};

#[tokio::test(start_paused = true)]
async fn an_error_restarts_it_and_its_dependent_once() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(5000).await;
    log.take();
    a.fail();
    after(5000).await;
    assert_eq!(
        log.take(),
        [
            "stopped a: broken",
            "restarting a in 1s",
            "stopped b: done",
            "restarting b in 11ms",
            "starting b",
            "stopped b: input a is not running",
            "starting a",
            "started a",
            "starting b",
            "started b",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_dependent_leaves_its_input_alone() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(5000).await;
    log.take();
    b.fail();
    after(5000).await;
    assert_eq!(log.take(), ["stopped b: broken", "restarting b in 1s", "starting b", "started b"]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_stays_until_an_input_changes() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(5000).await;
    b.end(Exit::Clean);
    after(100_000).await;
    assert_eq!(log.count("started b"), 1);
    assert_eq!(state(&engine, "b").await, State::Stopped);
    a.end(Exit::Bounce);
    after(5000).await;
    assert_eq!(log.count("started b"), 2);
}

#[tokio::test(start_paused = true)]
async fn missing_waits_for_a_change() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    let b = puppet("b", &["a"]).with(|b| b.fail = Some(missing("elsewhere", Why::NotRunning).into()));
    install(&engine, &[&a, &b]).await;
    after(100_000).await;
    let tried = log.count("starting b");
    assert!(tried <= 2, "{tried}");
    a.end(Exit::Bounce);
    after(100_000).await;
    let again = log.count("starting b") - tried;
    assert!((1..=2).contains(&again), "{again}");
    engine.uninstall("a").await.unwrap();
    after(100_000).await;
    assert_eq!(log.count("starting b"), tried + again + 1, "the end of its input is a change, too");
}

#[tokio::test(start_paused = true)]
async fn errors_back_off_up_to_the_limit() {
    let config = Config {
        backoff_factor: 2.0,
        max_delay: Duration::from_secs(3),
        reset_after: Duration::from_secs(10),
        ..config()
    };
    let (engine, log) = start(config);
    let a = puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("no")));
    install(&engine, &[&a]).await;
    after(10_000).await;
    assert_eq!(log.times("starting a"), [0, 1000, 3000, 6000, 9000]);
    assert_eq!(engine.report().await.service("a").unwrap().recent_errors, 5);

    // A run shorter than the reset time is no better; the wait is counted from its end.
    a.now(|a| a.fail = None);
    after(7000).await;
    assert_eq!(log.times("started a"), [12_000]);
    a.fail();
    after(4000).await;
    assert_eq!(log.times("started a"), [12_000, 20_000]);

    // After a longer one all is forgotten.
    after(20_000).await;
    a.fail();
    after(1500).await;
    assert_eq!(log.times("started a"), [12_000, 20_000, 42_000]);
    assert_eq!(engine.report().await.service("a").unwrap().recent_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_have_a_limit_of_its_own() {
    let config = Config { backoff_factor: 2.0, max_delay: Duration::from_secs(60), ..config() };
    let (engine, log) = start(config);
    let fails = |name| puppet(name, &[]).with(|puppet| puppet.fail = Some(Exit::failed("no")));
    let (a, b) = (fails("a"), fails("b"));
    engine.install(a.service().max_delay(Duration::from_secs(3))).await.unwrap();
    engine.install(b.service().max_delay(Duration::from_secs(1000))).await.unwrap();
    after(200_000).await;
    assert_eq!(log.times("starting a")[..5], [0, 1000, 3000, 6000, 9000]);
    assert_eq!(log.times("starting b"), [0, 1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000]);
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_forgets_errors() {
    let (engine, _) = start(Config { backoff_factor: 2.0, ..config() });
    let a = puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("no")));
    install(&engine, &[&a]).await;
    after(2000).await;
    assert_eq!(engine.report().await.service("a").unwrap().recent_errors, 2);
    a.now(|a| a.fail = None);
    after(2000).await;
    a.end(Exit::Clean);
    after(1).await;
    assert_eq!(engine.report().await.service("a").unwrap().recent_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_failures_do_not_overflow() {
    let (engine, log) =
        start(Config { backoff_factor: 10.0, max_delay: Duration::from_secs(60), ..config() });
    install(&engine, &[&puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("no")))]).await;
    after(400 * 60_000).await;
    let tried = log.times("starting a");
    assert!(tried.len() > 400);
    assert!(tried.windows(2).skip(2).all(|pair| pair[1] - pair[0] == 60_000));
}

#[tokio::test(start_paused = true)]
async fn zero_delays_restart_at_once() {
    let zero = Duration::ZERO;
    let (engine, log) = start(Config { error_delay: zero, bounce_delay: zero, settle: zero, ..config() });
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(1).await;
    for _ in 0..100 {
        a.fail();
        after(1).await;
    }
    assert_eq!((log.count("started a"), log.count("started b")), (101, 101));
    assert!(log.times("started b").iter().all(|at| *at <= 101));
}

#[tokio::test(start_paused = true)]
async fn an_unasked_abort_counts_as_one_error() {
    let (engine, _) = start(Config { backoff_factor: 2.0, ..config() });
    let a = puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("no")));
    install(&engine, &[&a]).await;
    after(2000).await;
    a.now(|a| a.fail = Some(Exit::Aborted));
    after(1100).await;
    assert_eq!(engine.report().await.service("a").unwrap().recent_errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_filter_decides_what_an_end_means() {
    let (engine, log) = start(config());
    let calm = |exit: Exit| match exit {
        Exit::Failed(_) => Exit::Clean,
        Exit::Clean => Exit::failed("should not end"),
        other => other,
    };
    let (a, b) = (puppet("a", &[]), puppet("b", &[]).with(|b| b.fail = Some(Exit::failed("in start"))));
    engine.install(a.service().filter(calm)).await.unwrap();
    engine.install(b.service().filter(calm)).await.unwrap();
    after(5000).await;
    assert_eq!(log.count("starting b"), 1);
    a.end(Exit::Clean);
    after(1).await;
    assert_eq!(log.count("stopped a: should not end"), 1);
    after(5000).await;
    assert_eq!(log.count("started a"), 2);
    a.fail();
    after(5000).await;
    assert_eq!(log.count("started a"), 2);
}
