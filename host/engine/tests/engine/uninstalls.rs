use grove_engine::{Cycle, Exit, Refused, State};
use tokio::time::Instant;

use crate::kit::{MS, after, config, install, puppet, start, state};

#[tokio::test(start_paused = true)]
async fn one_that_uninstalls_itself_is_gone_and_its_dependents_come_back_with_it() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(5000).await;
    a.end(Exit::Uninstall);
    after(5000).await;
    assert_eq!(log.count("starting a"), 1);
    assert!(engine.report().await.service("a").is_none());
    assert_eq!(log.count("stopped b: done"), 1);
    assert_eq!(state(&engine, "b").await, State::Waiting);
    install(&engine, &[&a]).await;
    after(5000).await;
    assert_eq!(log.count("started b"), 2);
}

#[tokio::test(start_paused = true)]
async fn one_may_uninstall_itself_instead_of_starting() {
    let (engine, log) = start(config());
    install(&engine, &[&puppet("a", &[]).with(|a| a.fail = Some(Exit::Uninstall))]).await;
    after(5000).await;
    assert!(engine.report().await.services.is_empty());
    assert_eq!(log.count("starting"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_admin_uninstalls_dependents_first_and_waits_for_the_end() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]).with(|b| b.stop = 700 * MS));
    install(&engine, &[&a, &b]).await;
    after(1000).await;
    let begun = Instant::now();
    engine.uninstall("a").await.unwrap();
    assert_eq!(begun.elapsed(), 700 * MS);
    assert!(log.place("stopped b") < log.place("stopped a"));
    assert!(log.count("stopped a") == 1 && a.lives() == 0);
    assert_eq!(engine.uninstall("a").await, Err(Refused::NotInstalled));
}

#[tokio::test(start_paused = true)]
async fn what_waits_or_has_stopped_is_uninstalled_at_once() {
    let (engine, log) = start(config());
    let a = puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("no")));
    install(&engine, &[&a, &puppet("b", &["nowhere"])]).await;
    after(500).await;
    engine.uninstall("a").await.unwrap();
    engine.uninstall("b").await.unwrap();
    install(&engine, &[&puppet("nowhere", &[])]).await;
    after(5000).await;
    assert_eq!((log.count("starting a"), log.count("starting b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_uninstall_during_a_bounce_is_not_lost() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]).with(|a| a.stop = 500 * MS), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(1000).await;
    engine.bounce("a").await.unwrap();
    after(100).await;
    assert_eq!(state(&engine, "a").await, State::Stopping);
    engine.uninstall("a").await.unwrap();
    after(5000).await;
    assert_eq!((log.count("starting a"), log.count("stopped a")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_uninstall_that_the_service_says_while_it_is_asked_to_stop_counts() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]).with(|a| a.deaf = true);
    install(&engine, &[&a]).await;
    after(1000).await;
    engine.bounce("a").await.unwrap();
    after(100).await;
    a.end(Exit::Uninstall);
    after(5000).await;
    assert!(engine.report().await.services.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_leaving_name_is_taken_until_it_is_gone() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 500 * MS);
    install(&engine, &[&a]).await;
    after(1000).await;
    let handle = engine.handle();
    let leaving = tokio::spawn(async move { handle.uninstall("a").await });
    after(100).await;
    assert_eq!(engine.install(a.service()).await, Err(Refused::AlreadyInstalled));
    assert_eq!(engine.bounce("a").await, Err(Refused::NotInstalled));
    assert_eq!(engine.replace(a.service()).await, Err(Refused::NotInstalled));
    engine.uninstall("a").await.unwrap();
    leaving.await.unwrap().unwrap();
    install(&engine, &[&a]).await;
    after(100).await;
    assert_eq!(state(&engine, "a").await, State::Started);
}

#[tokio::test(start_paused = true)]
async fn one_that_uninstalls_itself_waits_for_those_who_used_it() {
    let (engine, log) = start(config());
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    let c = puppet("c", &["b"]).with(|c| c.stop = 2000 * MS);
    install(&engine, &[&a, &b, &c]).await;
    after(1000).await;
    b.end(Exit::Uninstall);
    after(1).await;
    engine.bounce("a").await.unwrap();
    after(5000).await;
    assert_eq!(log.times("stopped a: done"), [3000], "c used a through b, even if b is gone");
    assert!(engine.report().await.service("b").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_replacement_takes_the_place_of_the_old_one() {
    let (engine, log) = start(config());
    let (a, x, b) = (puppet("a", &[]).with(|a| a.stop = 300 * MS), puppet("x", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &x, &b]).await;
    after(1000).await;
    let new = puppet("a", &["x"]);
    engine.replace(new.service()).await.unwrap();
    after(5000).await;
    assert_eq!((a.lives(), new.lives()), (0, 1));
    assert_eq!(log.count("started b"), 2);
    assert!(log.place("stopped b") < log.place("stopped a"));
    assert_eq!(engine.report().await.service("a").unwrap().attempts, 1, "counted anew");
    log.take();
    x.end(Exit::Bounce);
    after(5000).await;
    assert_eq!(log.count("started"), 3, "by its new input");
}

#[tokio::test(start_paused = true)]
async fn replacements_are_refused_where_installs_are() {
    let (engine, _) = start(config());
    let a = puppet("a", &[]).with(|a| a.stop = 300 * MS);
    install(&engine, &[&a, &puppet("b", &["a"])]).await;
    after(1000).await;
    assert_eq!(engine.replace(puppet("c", &[]).service()).await, Err(Refused::NotInstalled));
    let cycle = Cycle(["a", "b", "a"].map(str::to_owned).to_vec());
    assert_eq!(engine.replace(puppet("a", &["b"]).service()).await, Err(Refused::Cycle(cycle.clone())));

    // Only the later of two, and neither when the name leaves.
    let replace = |inputs: &'static [&'static str]| {
        let handle = engine.handle();
        tokio::spawn(async move { handle.replace(puppet("a", inputs).service()).await })
    };
    let first = replace(&[]);
    after(100).await;
    let second = replace(&["x"]);
    assert_eq!(first.await.unwrap(), Err(Refused::Superseded));
    assert_eq!(second.await.unwrap(), Ok(()));

    // A cycle that comes into being while the old one stops.
    engine.replace(a.service()).await.unwrap();
    after(1000).await;
    let third = replace(&["y"]);
    after(100).await;
    install(&engine, &[&puppet("y", &["b"])]).await;
    assert_eq!(third.await.unwrap().unwrap_err().to_string(), "a cycle: a needs y needs b needs a");
    after(1000).await;
    assert_eq!(state(&engine, "a").await, State::Started, "the old one goes on");
}
