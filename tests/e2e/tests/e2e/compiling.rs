//! Plugins that take a compiler minutes and gigabytes: the farm goes on, an event names them, and they are not tried again.

use std::cell::Cell;
use std::time::Duration;

use grove_tests_kit::farm::wish;
use grove_tests_kit::{Farm, Grove, Setup, built, slow, wait};
use serde_json::json;

/// What the farm of a test gives a compiler.
const LITTLE: &str = "[plugins.compile]\nprocessor = \"3s\"\nmemory_mib = 512\n";
/// That much memory, and what a program takes beside its data.
const LITTLE_MB: f64 = 700.0;
/// Time of a machine that is looked at, between two looks.
const PAUSE: Duration = Duration::from_millis(20);

fn manifest(name: &str) -> String {
    format!(
        "[plugin]\nname = \"{name}\"\nkind = \"driver\"\nversion = \"0.1.0\"\nworld = \"0.1.0\"\ncomponent = \"slow.wasm\"\n"
    )
}

/// Installs one; the refusal.
async fn refused(farm: &Farm, name: &str, number: u8) -> String {
    let installed = farm.install_plugin(manifest(name), slow::to_compile(number), true, None).await;
    installed.unwrap_err().to_string()
}

async fn serves_a_job(farm: &Farm) {
    let (request, _) = farm.get(&wish(&["board=good"])).await;
    farm.close_request(request, None).await.unwrap();
}

#[tokio::test]
async fn an_upload_is_ended_at_its_limit_and_not_tried_again() {
    let grove = Grove::start(Setup::config(LITTLE));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "good")]).await;
    let (why, ()) = tokio::join!(refused(&farm, "slow", 1), serves_a_job(&farm));
    assert!(why.contains("slow.wasm was not compiled: compiling it takes more than"), "{why}");
    assert!(why.contains("raise plugins.compile."), "{why}");
    farm.until_event("plugin.refused", "plugin/slow").await;
    let before = grove.seconds_of_children();
    assert!(before > 0.5, "it was compiled for {before} s");
    assert_eq!(refused(&farm, "other", 1).await.replace("`other`", "`slow`"), why, "the same component");
    assert_eq!(grove.seconds_of_children(), before, "it was tried again");
    serves_a_job(&farm).await;
}

#[tokio::test]
async fn memory_is_limited() {
    let little = "[plugins.compile]\nmemory_mib = 80\n[plugins.grants.simulated]\nstorage = [\"demo\"]\n";
    let grove = Grove::start(Setup::config(little));
    let why = refused(&grove.farm(), "slow", 1).await;
    assert!(why.contains("compiling it takes more than 80 MiB of memory"), "{why}");
    // What is small enough is compiled.
    let (manifest, component) = built::plugin("driver-simulated");
    let other = built::variant(&component, 3);
    grove
        .farm()
        .install_plugin(manifest.replace("0.1.0\"\nworld", "0.1.1\"\nworld"), other, true, None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_compiler_along() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    let upload = tokio::spawn({
        let farm = grove.farm();
        async move { refused(&farm, "slow", 1).await }
    });
    let children = || async { grove.children() };
    wait::until_is("a compiler", children, |children| !children.is_empty()).await;
    upload.abort();
    wait::until_is("no compiler", children, Vec::is_empty).await;
    assert!(farm.all_events().await.iter().all(|event| event.kind != "plugin.refused"));
}

#[tokio::test]
async fn the_folder_is_not_waited_for_and_not_tried_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("slow");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("plugin.toml"), manifest("slow")).unwrap();
    std::fs::write(own.join("slow.wasm"), slow::to_compile(1)).unwrap();
    let mut grove = Grove::start(Setup::config(LITTLE).plugins(folder.path()));
    assert!(grove.farm().all_requests().await.is_empty(), "the API answers");
    assert!(
        grove.farm().all_events().await.iter().all(|event| event.kind != "plugin.refused"),
        "before it is refused"
    );
    grove.farm().until_event("plugin.refused", "plugin/slow").await;

    grove.kill();
    grove.start_again();
    let farm = grove.farm();
    let trouble = || async { farm.plugin("slow").await.ok().and_then(|plugin| plugin.trouble) };
    let trouble = wait::until("its refusal", trouble).await;
    assert!(trouble.contains("was not compiled"), "{trouble}");
    assert!(grove.seconds_of_children() < 0.5, "it was tried again");

    // Another one is tried, and named.
    std::fs::write(own.join("slow.wasm"), slow::to_compile(2)).unwrap();
    let seconds = || async { grove.seconds_of_children() };
    wait::until_is("another try", seconds, |seconds| *seconds > 0.5).await;
}

#[tokio::test]
async fn a_controller_that_is_killed_takes_its_compilers_along() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    let upload =
        tokio::spawn(
            async move { farm.install_plugin(manifest("slow"), slow::to_compile(1), true, None).await },
        );
    let children = || async { grove.children() };
    let children = wait::until_is("a compiler", children, |children| !children.is_empty()).await;
    grove.kill();
    assert!(upload.await.unwrap().is_err());
    let left = || async {
        let alive = |(number, _): &(u32, f64)| {
            std::fs::read_to_string(format!("/proc/{number}/cmdline"))
                .is_ok_and(|line| line.contains("compile-component"))
        };
        children.iter().filter(|child| alive(child)).count()
    };
    wait::until_is("no compiler", left, |left| *left == 0).await;
}

#[tokio::test]
async fn ten_at_once_share_what_two_may_take() {
    let grove = Grove::start(Setup::config(LITTLE));
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "good")]).await;
    let names: Vec<_> = (0..10).map(|number| format!("slow-{number}")).collect();
    let over = Cell::new(false);
    let uploads = async {
        let uploads = names.iter().zip(0..).map(|(name, number)| {
            let farm = &farm;
            async move {
                loop {
                    let why = refused(farm, name, number).await;
                    if why.contains("was not compiled") {
                        return;
                    }
                    // Two are taken at a time, so that no more than their bytes are held; the others come again.
                    assert!(why.contains("as many plugins are being taken in"), "{why}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        futures_util::future::join_all(uploads).await;
        over.set(true);
    };
    let (mut most, mut memory) = (0, 0.0);
    let look = async {
        while !over.get() {
            let children = grove.children();
            most = most.max(children.len());
            memory = children.iter().fold(memory, |most: f64, (_, resident)| most.max(*resident));
            tokio::time::sleep(PAUSE).await;
        }
    };
    let serve = async {
        while !over.get() {
            serves_a_job(&farm).await;
            farm.health().await.unwrap();
        }
    };
    tokio::join!(uploads, look, serve);
    assert!((1..=2).contains(&most), "{most} compilers at once");
    assert!(memory < LITTLE_MB, "a compiler took {memory} MB");
    for name in &names {
        farm.until_event("plugin.refused", &format!("plugin/{name}")).await;
    }
}
