use std::sync::Arc;
use std::time::Duration;

use grove_engine::{Config, Key, Output, Scope, Service};
use tokio_util::sync::CancellationToken;

use crate::kit::{after, config, install, puppet, start};

#[tokio::test(start_paused = true)]
async fn ten_thousand_restarts_leave_nothing_behind() {
    let zero = Duration::ZERO;
    let (engine, log) =
        start(Config { error_delay: zero, bounce_delay: zero, settle: zero, max_delay: zero, ..config() });
    // One for each attempt, its token, and its output, for as long as they live.
    let sentinel = Arc::new(());
    let (held, key) = (sentinel.clone(), Key::<Arc<()>>::new("a"));
    let root = CancellationToken::new();
    let parent = root.clone();
    let a = Service::new("a", move |scope: Scope| {
        let (held, key, parent) = (held.clone(), key.clone(), parent.clone());
        async move {
            let reported = held.clone();
            scope.report(move || {
                let reported = reported.clone();
                async move { format!("{}", Arc::strong_count(&reported)) }
            });
            scope.started(Output::of(&key, Arc::new(held.clone())));
            let _child = scope.stop().child_token();
            let _ours = parent.child_token();
            tokio::select! {
                () = scope.stop().cancelled() => Ok(()),
                () = async {
                    for _ in 0..2 {
                        tokio::task::yield_now().await;
                    }
                } => Err(grove_engine::Exit::failed("again")),
            }
        }
    });
    engine.install(a).await.unwrap();
    let b = puppet("b", &["a"]);
    install(&engine, &[&b]).await;
    while log.count("stopped a") < 10_000 {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    assert!(metrics.num_alive_tasks() <= 3, "{} tasks", metrics.num_alive_tasks());
    let live = Arc::strong_count(&sentinel);
    assert!(live <= 2 + 6, "{live} are alive");
    engine.uninstall("a").await.unwrap();
    after(1).await;
    assert_eq!(Arc::strong_count(&sentinel), 1, "ours");
    engine.kill();
    engine.wait().await.unwrap();
    assert!(log.is_quiet());
    after(100).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    drop(root);
}
