use std::sync::Arc;

use grove_engine::{Exit, Misuse, Output, Panicked, Scope, Service};

use crate::kit::{after, config, install, number, puppet, start};

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_of_the_service() {
    let (engine, log) = start(config());
    let sync = Service::new("sync", |scope: Scope| {
        assert_ne!(scope.name(), "sync", "before the first await");
        async { Ok(()) }
    });
    let early = Service::new("early", |_: Scope| async { panic!("in start") });
    let late = Service::new("late", |scope: Scope| async move {
        scope.started(Output::none());
        after(100).await;
        panic!("after {}", "start")
    });
    for service in [sync, early, late] {
        engine.install(service).await.unwrap();
    }
    install(&engine, &[&puppet("a", &[])]).await;
    after(3900).await;
    let report = engine.report().await;
    for name in ["sync", "early", "late"] {
        let service = report.service(name).unwrap();
        assert!(service.last_error.as_ref().unwrap().error::<Panicked>().is_some(), "{service:?}");
        assert!(service.recent_errors >= 3, "{service:?}");
    }
    assert_eq!(log.count("stopped late: panicked: after start"), 4);
    assert_eq!(log.count("stopped early: panicked: in start"), 4);
    assert_eq!(log.count("stopped a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_filter_hears_of_panics_and_may_panic_itself() {
    let (engine, log) = start(config());
    let panics = || Service::new("a", |_: Scope| async { panic!("in start") });
    engine.install(panics().filter(|_| Exit::Clean)).await.unwrap();
    after(10).await;
    assert_eq!(log.count("stopped a: done"), 1);
    engine.replace(panics().filter(|_| panic!("in filter"))).await.unwrap();
    after(10).await;
    assert_eq!(log.count("stopped a: panicked: in filter"), 1);
}

#[tokio::test(start_paused = true)]
async fn starting_twice_is_an_error() {
    let (engine, log) = start(config());
    let twice = Service::new("twice", |scope: Scope| async move {
        scope.started(Output::none());
        scope.started(Output::none());
        scope.stop().cancelled().await;
        Ok(())
    });
    engine.install(twice).await.unwrap();
    after(500).await;
    assert_eq!(log.count("started twice"), 1);
    assert_eq!(log.count("stopped twice: said twice that it has started"), 1);
    let report = engine.report().await;
    let error = report.service("twice").unwrap().last_error.clone().unwrap();
    assert!(matches!(error.error(), Some(Misuse::StartedTwice)));
    assert_eq!(report.service("twice").unwrap().recent_errors, 1, "an error, not a bounce");
}

#[tokio::test(start_paused = true)]
async fn an_output_goes_by_the_own_name() {
    let (engine, log) = start(config());
    let thief = Service::new("thief", |scope: Scope| async move {
        scope.started(Output::of(&number("other"), Arc::new(1)));
        scope.stop().cancelled().await;
        Ok(())
    });
    engine.install(thief).await.unwrap();
    after(500).await;
    assert_eq!(log.count("started"), 0);
    assert_eq!(log.count("stopped thief: gave an output of the name other"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_attempt_says_is_not_heard() {
    let (engine, log) = start(config());
    let service = Service::new("a", |scope: Scope| async move {
        if scope.attempt() == 1 {
            tokio::spawn(async move {
                after(1500).await;
                scope.started(Output::none());
            });
            return Err(Exit::failed("left a task behind"));
        }
        scope.stop().cancelled().await;
        Ok(())
    });
    engine.install(service).await.unwrap();
    after(5000).await;
    assert_eq!((log.count("starting a"), log.count("started a")), (2, 0));
}
