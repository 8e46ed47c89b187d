use std::future::pending;
use std::time::{Duration, SystemTime};

use grove_engine::{Config, Detail, EngineState, Exit, InputReport, Output, Scope, Service, State};
use tokio::time::Instant;

use crate::kit::{MS, after, config, install, puppet, start};

#[tokio::test(start_paused = true)]
async fn tells_what_each_is_doing() {
    let (engine, _) = start(config());
    let slow = puppet("slow", &[]).with(|slow| slow.start = 5000 * MS);
    let stopping = puppet("stopping", &[]).with(|stopping| stopping.stop = 5000 * MS);
    let failed = puppet("failed", &["running"]).with(|failed| failed.fail = Some(Exit::failed("no luck")));
    let done = puppet("done", &[]);
    let waits = puppet("waits", &["running", "slow", "nowhere"]);
    install(&engine, &[&puppet("running", &[]), &slow, &stopping, &failed, &done, &waits]).await;
    after(500).await;
    done.end(Exit::Clean);
    engine.bounce("stopping").await.unwrap();
    after(1).await;

    let report = engine.report().await;
    assert_eq!(report.state, EngineState::Started);
    let states: Vec<_> = report.services.iter().map(|service| (&*service.name, service.state)).collect();
    assert_eq!(
        states,
        [
            ("done", State::Stopped),
            ("failed", State::Waiting),
            ("running", State::Started),
            ("slow", State::Starting),
            ("stopping", State::Stopping),
            ("waits", State::Waiting),
        ]
    );
    let waits = report.service("waits").unwrap();
    let input = |name: &str, state| InputReport { name: name.to_owned(), state };
    assert_eq!(
        waits.inputs,
        [
            input("running", Some(State::Started)),
            input("slow", Some(State::Starting)),
            input("nowhere", None)
        ]
    );
    assert_eq!(waits.waits_for, ["slow", "nowhere"]);
    let failed = report.service("failed").unwrap();
    assert_eq!(failed.last_error.as_ref().unwrap().to_string(), "no luck");
    assert_eq!((failed.starts, failed.last_start), (0, None));
    assert!(failed.attempts >= 1 && failed.waits_for.is_empty());
    assert!(failed.next_start.unwrap() > SystemTime::UNIX_EPOCH);
    let running = report.service("running").unwrap();
    assert_eq!((running.starts, running.attempts, running.bounces), (1, 1, 0));
    assert_eq!(running.last_start, Some(SystemTime::UNIX_EPOCH));
}

fn telling(name: &str, detail: impl Fn() -> Option<Detail> + Clone + Send + Sync + 'static) -> Service {
    Service::new(name, move |scope: Scope| {
        let detail = detail.clone();
        async move {
            scope.report(move || {
                let detail = detail();
                async move {
                    match detail {
                        Some(detail) => detail,
                        None => pending().await,
                    }
                }
            });
            scope.started(Output::none());
            scope.stop().cancelled().await;
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn services_tell_details_and_slow_ones_hold_up_nobody() {
    let (engine, log) = start(Config { report_timeout: 500 * MS, ..config() });
    engine.install(telling("text", || Some("fine".into()))).await.unwrap();
    engine.install(telling("pairs", || Some(vec![("load", "1")].into()))).await.unwrap();
    engine.install(telling("slow", || None)).await.unwrap();
    engine.install(telling("broken", || panic!("no idea"))).await.unwrap();
    install(&engine, &[&puppet("plain", &[])]).await;
    after(10).await;

    let begun = Instant::now();
    let handle = engine.handle();
    let report = tokio::spawn(async move { handle.report().await });
    after(1).await;
    install(&engine, &[&puppet("later", &[])]).await;
    assert_eq!(begun.elapsed(), MS, "the loop goes on");
    let report = report.await.unwrap();
    assert_eq!(begun.elapsed(), 500 * MS);
    let detail = |name| report.service(name).unwrap().detail.clone();
    assert_eq!(detail("text"), Some(Detail::Text("fine".to_owned())));
    assert_eq!(detail("pairs"), Some(Detail::Pairs(vec![("load".to_owned(), "1".to_owned())])));
    assert_eq!(detail("slow"), Some(Detail::Failed("took longer than 500ms".to_owned())));
    assert_eq!(detail("broken"), Some(Detail::Failed("panicked: no idea".to_owned())));
    assert_eq!(detail("plain"), None);
    assert_eq!(log.count("stopped"), 0, "a reporter that panics disturbs no service");
}

#[tokio::test(start_paused = true)]
async fn works_while_dying_and_after() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 1000 * MS);
    let b = puppet("b", &[]).with(|b| b.fail = Some(Exit::failed("no luck")));
    install(&engine, &[&a, &b]).await;
    after(100).await;
    engine.kill();
    after(100).await;
    let report = engine.report().await;
    assert_eq!(report.state, EngineState::Stopping);
    assert_eq!(report.service("a").unwrap().state, State::Stopping);
    engine.wait().await.unwrap();
    let report = engine.report().await;
    assert_eq!(report.state, EngineState::Stopped);
    assert_eq!(report.services.len(), 2);
    assert!(report.services.iter().all(|service| service.state == State::Stopped));
    assert_eq!(report.service("b").unwrap().last_error.as_ref().unwrap().to_string(), "no luck");
}

#[tokio::test(start_paused = true)]
async fn those_who_watch_see_the_newest_but_not_each() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]);
    install(&engine, &[&a]).await;
    after(1000).await;
    let mut reports = engine.watch_report();
    reports.changed().await.unwrap();
    let state = |report: &grove_engine::Report| report.service("a").map(|service| service.state);
    assert_eq!(state(&reports.borrow_and_update()), Some(State::Started));
    let watcher = tokio::spawn(async move {
        let mut seen = 0;
        while reports.borrow_and_update().state != EngineState::Stopped {
            reports.changed().await.unwrap();
            seen += 1;
        }
        (seen, reports.borrow().services.len())
    });
    for _ in 0..1000 {
        a.end(Exit::Bounce);
        after(1).await;
    }
    engine.kill();
    let (seen, services) = watcher.await.unwrap();
    assert!((5..=13).contains(&seen), "{seen} reports in a second");
    assert_eq!(services, 1);
    assert_eq!(engine.watch_report().borrow().state, EngineState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_last_change_is_seen_without_another() {
    let (engine, _) = start(Config { error_delay: Duration::from_secs(1000), ..config() });
    let a = puppet("a", &[]);
    install(&engine, &[&a]).await;
    let reports = engine.watch_report();
    after(10).await;
    a.fail();
    after(200).await;
    assert_eq!(reports.borrow().service("a").unwrap().state, State::Waiting);
}

#[tokio::test(start_paused = true)]
async fn draws_the_graph() {
    let (engine, _) = start(config());
    install(&engine, &[&puppet("a", &[]), &puppet("b \"quoted\"", &["a", "nowhere"])]).await;
    after(10).await;
    let dot = engine.report().await.to_dot();
    let expected = r#"digraph services {
  "a" [label="a\nstarted"];
  "b \"quoted\"" [label="b \"quoted\"\nwaiting"];
  "b \"quoted\"" -> "a";
  "b \"quoted\"" -> "nowhere";
}
"#;
    assert_eq!(dot, expected);
}
