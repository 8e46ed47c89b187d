use grove_engine::{Config, Cycle, Refused, Service, State};

use crate::kit::{MS, after, config, install, puppet, start, state};

#[tokio::test(start_paused = true)]
async fn each_of_a_set_starts_once() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &[]));
    install(&engine, &[&a, &b]).await;
    after(5000).await;
    assert!(["starting a", "starting b", "started a", "started b"].iter().all(|line| log.count(line) == 1));
    assert_eq!(log.take().len(), 4);
    install(&engine, &[&puppet("c", &[])]).await;
    after(5000).await;
    assert_eq!(log.take(), ["starting c", "started c"], "an independent one disturbs nobody");
}

#[tokio::test(start_paused = true)]
async fn waits_for_what_is_not_installed_yet() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("b", &["a"])]).await;
    after(5000).await;
    assert_eq!(log.take(), ["starting b", "stopped b: input a is not running"]);
    assert_eq!(state(&engine, "b").await, State::Waiting);
    install(&engine, &[&puppet("a", &[])]).await;
    after(5000).await;
    assert_eq!(log.take(), ["starting a", "started a", "starting b", "started b"]);
}

#[tokio::test(start_paused = true)]
async fn what_only_waited_starts_as_soon_as_all_is_there() {
    let (engine, log) = start(Config { bounce_delay: 1000 * MS, settle: 1000 * MS, ..config() });
    let others = [puppet("d", &["c", "a"]), puppet("c", &["b"]), puppet("b", &["a"])];
    install(&engine, &others.each_ref()).await;
    after(5000).await;
    assert_eq!(log.count("started"), 0);
    let a = puppet("a", &[]);
    install(&engine, &[&a]).await;
    after(1).await;
    assert_eq!(log.count("started"), 4);
    // One that was bounced calms down first.
    a.fail();
    after(1500).await;
    assert_eq!(log.count("started"), 5);
    after(20_000).await;
    assert_eq!(log.count("started"), 8);
}

#[tokio::test(start_paused = true)]
async fn any_order_ends_with_all_started() {
    let names = ["a", "b", "c", "d"];
    let inputs: [&[&str]; 4] = [&[], &["a"], &["a", "b"], &["c"]];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let (engine, log) = start(config());
        for at in order {
            install(&engine, &[&puppet(names[at], inputs[at])]).await;
        }
        after(5000).await;
        assert_eq!(log.count("started"), 4, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_taken_once() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    assert_eq!(engine.install(puppet("a", &[]).service()).await, Err(Refused::AlreadyInstalled));
    after(5000).await;
    assert_eq!((log.count("starting a"), log.count("refused a: already installed")), (1, 1));
    assert_eq!((log.count("started a"), log.count("stopped a")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cycle_is_named_and_changes_nothing() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &["c"]), &puppet("b", &["a"])]).await;
    after(5000).await;
    log.take();
    let refused = engine.install(puppet("c", &["x", "b"]).service()).await;
    let path = ["c", "b", "a", "c"].map(str::to_owned).to_vec();
    assert_eq!(refused, Err(Refused::Cycle(Cycle(path))));
    assert_eq!(
        engine.install(puppet("d", &["d"]).service()).await.unwrap_err().to_string(),
        "a cycle: d needs d"
    );
    // Of the refused one nothing stays: another of its name starts those that wait for it.
    install(&engine, &[&puppet("c", &[])]).await;
    after(5000).await;
    assert_eq!(log.count("started"), 3);
}

#[tokio::test(start_paused = true)]
async fn too_many_are_refused() {
    let (engine, _) = start(Config { max_services: 2, ..config() });
    install(&engine, &[&puppet("a", &[]), &puppet("b", &[])]).await;
    assert_eq!(engine.install(puppet("c", &[]).service()).await, Err(Refused::Full(2)));
    engine.uninstall("a").await.unwrap();
    install(&engine, &[&puppet("c", &[])]).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_installed_after_a_kill() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[])]).await;
    engine.kill();
    assert_eq!(engine.install(puppet("b", &[]).service()).await, Err(Refused::ShuttingDown));
    engine.wait().await.unwrap();
    assert_eq!(engine.install(puppet("b", &[]).service()).await, Err(Refused::ShuttingDown));
    assert_eq!(log.count("starting b"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_installs_while_dying() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 1000 * MS);
    install(&engine, &[&a]).await;
    after(1).await;
    let storm: Vec<_> = (0..500)
        .map(|number| {
            let handle = engine.handle();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                handle.install(puppet(&format!("s{number}"), &["a"]).service()).await
            })
        })
        .collect();
    engine.kill();
    for one in storm {
        assert_eq!(one.await.unwrap(), Err(Refused::ShuttingDown));
    }
    engine.wait().await.unwrap();
    assert!(log.is_quiet());
    assert_eq!(log.count("starting s"), 0);
}

#[tokio::test(start_paused = true)]
async fn inputs_declared_twice_count_once() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]);
    install(&engine, &[&a, &puppet("b", &["a", "a", "a"])]).await;
    after(5000).await;
    assert_eq!(engine.report().await.service("b").unwrap().inputs.len(), 1);
    log.take();
    a.fail();
    after(5000).await;
    assert_eq!(log.count("started"), 2);
    assert_eq!(log.count("stopped b: done"), 1);
}

#[tokio::test(start_paused = true)]
async fn services_may_install_services() {
    let (engine, log) = start(config());
    let handle = engine.handle();
    let installer = Service::new("installer", move |scope| {
        let handle = handle.clone();
        async move {
            for number in 0..50 {
                handle.install(puppet(&format!("child{number}"), &["installer"]).service()).await?;
            }
            scope.started(grove_engine::Output::none());
            scope.stop().cancelled().await;
            Ok(())
        }
    });
    engine.install(installer).await.unwrap();
    after(5000).await;
    assert_eq!(log.count("started child"), 50);
    engine.kill();
    engine.wait().await.unwrap();
    assert!(log.is_quiet());
}
