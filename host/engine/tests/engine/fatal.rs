use std::sync::{Arc, Mutex};

use grove_engine::{Config, Error, Exit, Fatal};

use crate::kit::{MS, after, config, install, puppet, start};

fn fatal_on(text: &'static str) -> Config {
    Config { is_fatal: Arc::new(move |_, exit| exit.to_string().contains(text)), ..config() }
}

#[tokio::test(start_paused = true)]
async fn a_fatal_end_stops_all_and_is_what_all_wait_for() {
    let (engine, log) = start(fatal_on("fatal"));
    let (a, b) = (puppet("a", &[]), puppet("b", &["a"]));
    install(&engine, &[&a, &b]).await;
    after(1000).await;
    a.fail();
    after(5000).await;
    assert_eq!(log.count("started a"), 2, "any other error is not fatal");
    log.take();
    b.end(Exit::failed("fatal thing"));
    for _ in 0..2 {
        let error = engine.wait().await.unwrap_err();
        assert_eq!(error.to_string(), "service b: fatal thing");
    }
    assert_eq!(log.take(), ["stopped b: fatal thing", "fatal b: fatal thing", "stopped a: done"]);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_end_in_a_start_stops_all() {
    let (engine, log) = start(fatal_on("fatal"));
    let b = puppet("b", &[]).with(|b| b.fail = Some(Exit::failed("fatal start")));
    install(&engine, &[&puppet("a", &[]), &b]).await;
    assert_eq!(engine.wait().await.unwrap_err().to_string(), "service b: fatal start");
    assert!(log.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn even_a_clean_end_may_be_fatal() {
    let config =
        Config { is_fatal: Arc::new(|name, exit| name == "a" && matches!(exit, Exit::Clean)), ..config() };
    let (engine, _) = start(config);
    let a = puppet("a", &[]);
    install(&engine, &[&a]).await;
    after(10).await;
    a.end(Exit::Clean);
    assert_eq!(engine.wait().await.unwrap_err().to_string(), "service a: done");
}

#[tokio::test(start_paused = true)]
async fn the_worst_of_all_fatal_ends_wins() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    let worst = move |new: Fatal, old: Option<Fatal>| {
        let text = |fatal: &Fatal| fatal.exit.to_string();
        heard.lock().unwrap().push((text(&new), old.as_ref().map(text)));
        old.filter(|old| text(old) > text(&new)).unwrap_or(new)
    };
    let (engine, _) = start(Config { worst: Arc::new(worst), ..fatal_on("fatal") });
    let puppets = ["a", "b", "c"].map(|name| puppet(name, &[]).with(|puppet| puppet.deaf = true));
    install(&engine, &puppets.iter().collect::<Vec<_>>()).await;
    after(1000).await;
    for (puppet, text) in puppets.iter().zip(["fatal 1", "fatal 3", "fatal 2"]) {
        puppet.end(Exit::failed(text));
        after(100).await;
    }
    assert_eq!(engine.wait().await.unwrap_err().to_string(), "service b: fatal 3");
    let pair = |new: &str, old: Option<&str>| (new.to_owned(), old.map(str::to_owned));
    let expected =
        [pair("fatal 1", None), pair("fatal 3", Some("fatal 1")), pair("fatal 2", Some("fatal 3"))];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_first_is_the_worst_by_default() {
    let (engine, _) = start(fatal_on("fatal"));
    let a = puppet("a", &[]);
    let b = puppet("b", &[]).with(|b| b.deaf = true);
    install(&engine, &[&a, &b]).await;
    after(10).await;
    a.end(Exit::failed("fatal 1"));
    after(10).await;
    b.end(Exit::failed("fatal 2"));
    let Err(Error::Fatal(fatal)) = engine.wait().await else { panic!("no fatal end") };
    assert_eq!(fatal.service, "a");
}

#[tokio::test(start_paused = true)]
async fn the_filter_changes_what_is_told() {
    for (filter, told) in [
        (Arc::new(|_| None) as grove_engine::Filter, None),
        (
            Arc::new(|fatal| Some(Fatal { exit: Exit::failed("as agreed"), ..fatal })),
            Some("service a: as agreed"),
        ),
    ] {
        let (engine, _) = start(Config { filter, ..fatal_on("fatal") });
        install(&engine, &[&puppet("a", &[]).with(|a| a.fail = Some(Exit::failed("fatal")))]).await;
        let result = engine.wait().await.map_err(|error| error.to_string());
        assert_eq!(result.err().as_deref(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_the_end_may_be_the_fatal_one() {
    let (engine, _) = start(fatal_on("did not stop"));
    install(&engine, &[&puppet("a", &[]).with(|a| a.deaf = true)]).await;
    after(10).await;
    engine.kill();
    let error = engine.wait().await.unwrap_err();
    assert_eq!(error.to_string(), "service a: did not stop within 10s");
}

#[tokio::test(start_paused = true)]
async fn rules_that_panic_end_the_engine_with_its_services() {
    let (engine, _) = start(Config { is_fatal: Arc::new(|_, _| panic!("rule")), ..config() });
    let (a, b) = (puppet("a", &[]), puppet("b", &[]).with(|b| b.stop = 100 * MS));
    install(&engine, &[&a, &b]).await;
    after(10).await;
    a.fail();
    assert!(matches!(engine.wait().await, Err(Error::Internal(_))));
    after(1).await;
    assert_eq!(b.lives(), 0);
}
