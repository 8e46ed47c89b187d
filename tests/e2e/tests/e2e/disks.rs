//! Disks that are full, read-only or damaged, and a store of a newer version: everybody is told what to do, nothing that was
//! acknowledged is lost, and once the cause is gone the farm is back by itself.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::{Grove, Process, Setup, wait};
use serde_json::json;
use tokio::time::sleep;

use crate::kill9::settle;
use crate::killed::{Load, WORKERS};
use crate::ledger;

/// MiB of a disk: enough for compiled plugins and some history.
const MIB: u32 = 96;
/// How long users and boards write before and after something happens.
const WHILE: Duration = Duration::from_secs(2);
/// Bytes of a page of SQLite.
const PAGE: u64 = 4096;

fn on_a_disk() -> Setup {
    Setup { disk: Some(MIB), ..Setup::config("[checks]\nrecheck_first = \"1s\"\nrelapses = 1000000\n") }
}

async fn page(grove: &Grove, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", grove.base())).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Waits until it is not ready, and everybody who asks is told why.
async fn told(grove: &Grove, words: &[&str]) {
    let all = |said: &str| words.iter().all(|word| said.contains(word));
    let look = || page(grove, "/readyz");
    wait::until_is(&format!("/readyz to say {words:?}"), look, |(status, said)| *status == 503 && all(said))
        .await;
    let look = || page(grove, "/api/v2/services");
    wait::until_is(&format!("the services to say {words:?}"), look, |(status, said)| {
        *status == 200 && all(said)
    })
    .await;
    assert_eq!(page(grove, "/healthz").await.0, 200);
}

async fn ready(grove: &Grove) -> Farm {
    wait::until_is("the farm", || page(grove, "/readyz"), |(status, _)| *status == 200).await;
    grove.farm()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    const FULL: [&str; 2] = ["the store is full", "free space on its disk"];
    let mut grove = Grove::start(on_a_disk());
    let load = Load::start(grove.farm(), fastrand::u64(..));
    sleep(WHILE).await;
    grove.disk().fill();
    told(&grove, &FULL).await;
    let refused = grove.farm().create_request(&wish(&[]), None).await.unwrap_err();
    assert!(FULL.iter().all(|word| refused.to_string().contains(word)), "{refused}");
    assert!(refused.is_transient(), "{refused:?}");
    // What is there is read, and is what was acknowledged.
    load.pauses().await;
    load.ledger().check(&grove.farm()).await;
    ledger::invariants_hold(&grove.farm()).await;
    let full = load.ledger().figures();
    assert!(full.refused > 0, "nobody was refused: {full:?}");

    grove.disk().empty();
    let farm = ready(&grove).await;
    load.ledger().check(&farm).await;
    load.goes_on();
    sleep(WHILE).await;
    let after = load.ledger().figures();
    assert!(after.acknowledged > full.acknowledged + 20, "it does not write as before: {full:?} {after:?}");

    // It dies while the disk is full, and starts on it.
    grove.disk().fill();
    told(&grove, &FULL).await;
    load.pauses().await;
    grove.kill();
    grove.start_unready().await;
    told(&grove, &FULL).await;
    grove.disk().empty();
    let farm = ready(&grove).await;
    load.ledger().check(&farm).await;
    let ledger = load.stop().await;
    ledger.check(&farm).await;
    settle(&farm, WORKERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_takes_no_writes() {
    let mut grove = Grove::start(on_a_disk());
    let load = Load::start(grove.farm(), fastrand::u64(..));
    sleep(WHILE).await;
    load.pauses().await;
    // While it runs, the system refuses to take the disk from it.
    grove.kill();
    grove.disk().set_read_only(true);
    grove.start_unready().await;
    told(&grove, &["the store cannot be written", "make its folder and files writable"]).await;
    grove.disk().set_read_only(false);
    let farm = ready(&grove).await;
    load.ledger().check(&farm).await;
    load.goes_on();
    sleep(WHILE).await;
    let ledger = load.stop().await;
    ledger.check(&farm).await;
    settle(&farm, WORKERS).await;
}

/// A farm with a history of some size, and a backup of it.
async fn with_history() -> (Grove, u64, PathBuf) {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(2, json!({}), &[("board", "rpi4")]).await;
    let nothing = wish(&["board=none"]);
    let made = join_all((0..400).map(|_| farm.create_request(&nothing, None))).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let (running, _) = farm.get(&wish(&["board=rpi4"])).await;
    let status = tokio::task::block_in_place(|| grove.terminate());
    assert!(status.success(), "{status}: {}", grove.log());
    let backup = grove.state().join("backup");
    std::fs::copy(grove.state().join("grove.db"), &backup).unwrap();
    (grove, running, backup)
}

const DAMAGED: [&str; 2] = ["the store is damaged", "put the last backup in its place"];

/// Overwrites the pages of the store's file in the middle.
fn damage(grove: &Grove) {
    let file = grove.state().join("grove.db");
    let pages = std::fs::metadata(&file).unwrap().len() / PAGE;
    assert!(pages > 30, "there is too little to damage: {pages} pages");
    let nonsense = vec![0x55; usize::try_from(pages / 2 * PAGE).unwrap()];
    let file = OpenOptions::new().write(true).open(&file).unwrap();
    file.write_all_at(&nonsense, pages / 4 * PAGE).unwrap();
}

/// Puts the backup in the place of the store, and what is there then.
async fn restore(grove: &Grove, running: u64, backup: &Path) {
    for file in ["grove.db-wal", "grove.db-shm"] {
        let _ = std::fs::remove_file(grove.state().join(file));
    }
    std::fs::rename(backup, grove.state().join("grove.db")).unwrap();
    let farm = ready(grove).await;
    farm.until_request(running, RequestState::InProgress).await;
    assert_eq!(farm.all_requests().await.len(), 401);
    farm.close_request(running, None).await.unwrap();
    let (next, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(next, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_damaged_while_it_was_closed() {
    let (mut grove, running, backup) = with_history().await;
    damage(&grove);
    let damaged = std::fs::read(grove.state().join("grove.db")).unwrap();
    grove.start_unready().await;
    told(&grove, &DAMAGED).await;
    let refused = grove.farm().create_request(&wish(&[]), None).await.unwrap_err();
    assert!(refused.to_string().contains("damaged"), "{refused}");
    // It is neither begun anew nor written on.
    let now = std::fs::read(grove.state().join("grove.db")).unwrap();
    assert!(now.len() >= damaged.len(), "a new farm in the place of the old");
    let file = grove.state().join("grove.db");
    let gone = grove.state().join("grove.damaged");
    std::fs::rename(file, gone).unwrap();
    restore(&grove, running, &backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_damaged_while_it_is_open() {
    let (mut grove, running, backup) = with_history().await;
    grove.start_again();
    let farm = ready(&grove).await;
    farm.until_request(running, RequestState::InProgress).await;
    // The look through it that follows a start is over.
    sleep(WHILE).await;
    damage(&grove);
    // Whoever reads the history meets it.
    let look = || async { page(&grove, "/api/v2/events?after=0&limit=1000").await.0 };
    wait::until_is("somebody to meet the damage", look, |status| *status == 503).await;
    told(&grove, &DAMAGED).await;
    restore(&grove, running, &backup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_newer_version() {
    let (mut grove, running, _) = with_history().await;
    let version = |set: &dyn Fn(u32) -> u32| {
        // Where SQLite keeps `user_version`.
        const AT: usize = 60;
        let file = grove.state().join("grove.db");
        let mut bytes = std::fs::read(&file).unwrap();
        let number = u32::from_be_bytes(bytes[AT..AT + 4].try_into().unwrap());
        bytes[AT..AT + 4].copy_from_slice(&set(number).to_be_bytes());
        std::fs::write(&file, bytes).unwrap();
    };
    version(&|number| number + 1000);
    let before = std::fs::read(grove.state().join("grove.db")).unwrap();
    let mut process = Process::start(grove.serve_command().stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(process.wait().code(), Some(1), "{said}");
    assert!(
        said.contains("has schema") && said.contains("run the version that wrote it, or a newer one"),
        "{said}"
    );
    assert!(std::fs::read(grove.state().join("grove.db")).unwrap() == before, "it was written on");
    version(&|number| number - 1000);
    grove.start_again();
    let farm = grove.farm();
    farm.until_request(running, RequestState::InProgress).await;
    let worker = farm.request(running).await.unwrap().job.unwrap().worker;
    assert!([uuid(1), uuid(2)].contains(&worker));
}
