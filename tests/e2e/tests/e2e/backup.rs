//! A farm is copied while it works, and made of the copy elsewhere: whole, or with a clear word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use grove_tests_kit::client::wire::plugin::PluginState;
use grove_tests_kit::client::wire::request::RequestState;
use grove_tests_kit::client::wire::worker::WorkerState;
use grove_tests_kit::farm::{Farm, uuid, wish};
use grove_tests_kit::grove::grove_command;
use grove_tests_kit::{Grove, Process, Setup, built, tools, wait};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A plugin that did not come with the program, an artifact, a secret, workers, and a job that runs.
async fn farm() -> (Grove, u64) {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(3, json!({}), &[("board", "rpi4")]).await;
    install(&farm).await;
    let image = vec![7_u8; 100_000];
    let put = || farm.put_artifact("lab", "image", image.len() as u64, image.clone(), None);
    wait::until("artifacts to be taken", || async { put().await.ok() }).await;
    grove.add_secret("lab", "a key");
    let (running, _) = farm.get(&wish(&["board=rpi4"])).await;
    (grove, running)
}

/// An inspector that is in use and did not come with the program.
async fn install(farm: &Farm) {
    let (manifest, component) = built::plugin("inspector-usb-devices");
    let manifest = manifest.replace("name = \"usb-devices\"", "name = \"relay\"");
    farm.install_plugin(manifest, built::variant(&component, 1), true, None).await.unwrap();
}

fn backup(grove: &Grove, folder: &Path, flags: &[&str]) -> Output {
    let (folder, state) = (folder.display().to_string(), grove.state().display().to_string());
    let words = ["farm", "backup", &folder, "--state", &state];
    grove.cli(&[&words[..], flags].concat()).output().unwrap()
}

fn made(grove: &Grove, folder: &Path) {
    let Output { status, stdout, stderr } = backup(grove, folder, &["--artifacts"]);
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}");
}

/// `grove serve --restore`, with this home.
fn restoring(home: &Path, state: &Path, from: &Path) -> Command {
    let mut command = grove_command(home);
    command.args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(state).arg("--restore").arg(from);
    command
}

/// What it says when it refuses; nothing was begun then.
async fn refused(home: &Path, state: &Path, from: &Path) -> String {
    let mut command = restoring(home, state, from);
    let process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let Output { status, stdout, stderr } = process.output().await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(stdout.is_empty() && !state.join("grove.db").exists(), "{said}");
    said
}

fn restored(from: &Path) -> Grove {
    let flags = vec!["--restore".to_owned(), from.display().to_string()];
    Grove::start(Setup { flags, ..Setup::default() })
}

/// Files below a folder, with what they hold.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}

/// Everything of the first farm is there, and at rest.
async fn is_whole(grove: &Grove, running: u64) {
    let farm = grove.farm();
    let workers = farm.all_workers().await;
    assert_eq!(workers.len(), 3);
    let ended = farm.request(running).await.unwrap();
    assert_eq!((ended.state, ended.reason.as_deref()), (RequestState::Failed, Some("restored")));
    let held: Vec<_> = workers.iter().filter(|worker| worker.state != WorkerState::Idle).collect();
    assert!(held.iter().all(|worker| worker.reason.as_ref().unwrap().starts_with("restored: ")), "{held:#?}");
    assert!(grove.log().contains("is in maintenance: look at it"), "{}", grove.log());
    let refused = farm.create_request(&wish(&["board=rpi4"]), None).await.unwrap_err();
    assert!(refused.to_string().contains("maintenance"), "{refused}");
    farm.until_event("farm.restored", "farm").await;
    let look = || async { farm.plugin("relay").await.unwrap().state };
    wait::until_is("the plugin", look, |state| *state == PluginState::Active).await;
    let verified =
        wait::until("artifacts", || async { farm.verify_artifact("lab", "image").await.ok() }).await;
    assert_eq!((verified.damage, verified.size), (None, 100_000));
    let secret = grove.state().join("secrets/lab");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "a key");
    assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
    // And it works.
    farm.set_mode(&serde_json::from_value(json!({ "mode": "normal" })).unwrap(), None).await.unwrap();
    for worker in held {
        farm.to_idle(worker.uuid).await;
    }
    let (next, _) = farm.get(&wish(&["board=rpi4"])).await;
    assert!(next > running, "a number was given twice");
    farm.close_request(next, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_made_under_load_is_a_whole_farm() {
    let (grove, running) = farm().await;
    let client = grove.farm();
    let load = tokio::spawn(async move {
        let mut made = BTreeSet::new();
        // Until the controller is gone.
        while let Ok(request) = client.create_request(&wish(&["board=none"]), None).await {
            made.insert(request.id);
            let image = made.len().to_string();
            let put = client.put_artifact("lab", "changing", image.len() as u64, image, None);
            if client.close_request(request.id, None).await.is_err() || put.await.is_err() {
                break;
            }
        }
        made
    });
    let backups = tempfile::tempdir().unwrap();
    wait::until("some load", || async { (grove.farm().all_requests().await.len() > 20).then_some(()) }).await;
    let before: BTreeSet<u64> = grove.farm().all_requests().await.iter().map(|request| request.id).collect();
    let folder = backups.path().join("one");
    tokio::task::block_in_place(|| made(&grove, &folder));
    for file in files(&folder).into_keys() {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!load.is_finished(), "the load ended before the backup did");
    drop(grove);
    let all = load.await.unwrap();
    assert!(all.last() > before.last(), "nothing went on while the backup was made");

    let grove = restored(&folder);
    let after: BTreeSet<u64> = grove.farm().all_requests().await.iter().map(|request| request.id).collect();
    assert!(before.is_subset(&after), "{:?}", before.difference(&after));
    is_whole(&grove, running).await;
    // A pair of keys is never given twice.
    assert!(!folder.join("keys").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_file_that_is_missing_or_damaged_is_named_and_nothing_is_begun() {
    let (grove, running) = farm().await;
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().join("one");
    tokio::task::block_in_place(|| made(&grove, &folder));
    drop(grove);
    let all = files(&folder);
    assert_eq!(all.len(), 6, "store, component, secret, note and artifact, manifest: {:?}", all.keys());
    let state = backups.path().join("state");
    for (file, bytes) in &all {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        fs::remove_file(file).unwrap();
        let said = refused(backups.path(), &state, &folder).await;
        let told = if name == "backup.json" {
            "it has no backup.json".to_owned()
        } else {
            format!("{name} is missing")
        };
        assert!(said.contains(&told), "{name}: {said}");
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(file, &damaged).unwrap();
        let said = refused(backups.path(), &state, &folder).await;
        assert!(said.contains(&name) || name == "backup.json", "{name}: {said}");
        fs::write(file, bytes.get(..middle).unwrap()).unwrap();
        let said = refused(backups.path(), &state, &folder).await;
        assert!(said.contains(&name) && said.contains("damaged"), "{name}: {said}");
        fs::write(file, bytes).unwrap();
    }
    // All of them at once are told at once.
    for file in all.keys().filter(|file| !file.ends_with("backup.json")) {
        fs::remove_file(file).unwrap();
    }
    let said = refused(backups.path(), &state, &folder).await;
    assert_eq!(said.matches("is missing").count(), 5, "{said}");
    for (file, bytes) in &all {
        fs::write(file, bytes).unwrap();
    }
    is_whole(&restored(&folder), running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_leaves_no_farm_and_is_begun_anew() {
    let (grove, running) = farm().await;
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().join("one");
    tokio::task::block_in_place(|| made(&grove, &folder));
    drop(grove);
    let state = backups.path().join("state");
    let (mut broken_off, mut whole) = (0, 0);
    let mut delay = Duration::from_millis(1);
    while whole < 3 && delay < Duration::from_secs(5) {
        let mut command = restoring(backups.path(), &state, &folder);
        let mut process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        sleep(delay);
        process.kill();
        if state.join("grove.db").exists() {
            whole += 1;
            let all = ["plugins", "secrets", "objects"].iter().all(|name| state.join(name).is_dir());
            assert!(all && state.join("secrets/lab").exists(), "a half farm after {delay:?}");
            fs::remove_dir_all(&state).unwrap();
        } else if state.join("restore.part").exists() {
            broken_off += 1;
            let mut command = grove_command(backups.path());
            command.args(["serve", "--listen", "127.0.0.1:0", "--state"]).arg(&state);
            let process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
            let Output { status, stderr, .. } = process.output().await;
            let said = String::from_utf8_lossy(&stderr);
            assert!(status.code() == Some(1) && said.contains("--restore"), "{said}");
            assert!(!state.join("grove.db").exists(), "a new farm in the place of half of one");
        }
        delay = delay * 6 / 5 + Duration::from_millis(1);
    }
    assert!(
        whole > 0 && broken_off > 0,
        "{broken_off} broken off, {whole} whole: it was not killed in between"
    );
    is_whole(&restored(&folder), running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_is_restored_over_no_other_and_a_backup_made_over_none() {
    let (mut grove, _) = farm().await;
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().join("one");
    tokio::task::block_in_place(|| made(&grove, &folder));
    let again = backup(&grove, &folder, &[]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && said.contains("is not empty"), "{said}");
    // Also while nobody is at work on it, and nothing of SQLite is left behind.
    grove.terminate();
    let stopped = backups.path().join("two");
    made(&grove, &stopped);
    for log in ["grove.db-wal", "grove.db-shm"] {
        assert!(!grove.state().join(log).exists(), "{log}");
    }
    let output = restoring(backups.path(), &grove.state(), &folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && said.contains("holds grove.db already")
            && said.contains("leave out --restore"),
        "{said}"
    );
    // One that broke off says what it is.
    fs::remove_file(folder.join("backup.json")).unwrap();
    let said = refused(backups.path(), &backups.path().join("state"), &folder).await;
    assert!(said.contains("it was broken off"), "{said}");
    // Without secrets they may be there before.
    let without = backups.path().join("three");
    let output = backup(&grove, &without, &["--no-secrets"]);
    assert!(output.status.success());
    assert!(!without.join("secrets").exists() && !without.join("objects").exists());
    let nowhere = backups.path().join("nowhere").display().to_string();
    let output = grove.cli(&["farm", "backup", &nowhere, "--state", &nowhere]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no farm is kept in this folder"), "{said}");
    assert!(!Path::new(&nowhere).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_farm_has_lost_is_missed_at_the_backup_not_at_the_restore() {
    let (grove, _) = farm().await;
    let farm = grove.farm();
    let relay = farm.plugin("relay").await.unwrap();
    let file = format!("plugins/{}.wasm", relay.digest.unwrap());
    fs::remove_file(grove.state().join(&file)).unwrap();
    let artifact = files(&grove.state().join("objects/artifacts/lab"));
    let data = artifact.keys().find(|file| !file.ends_with("note")).unwrap();
    fs::write(data, "not that").unwrap();
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().join("one");
    let output = tokio::task::block_in_place(|| backup(&grove, &folder, &["--artifacts"]));
    let said = String::from_utf8_lossy(&output.stderr);
    let words = ["the component of relay", "the artifact lab image", "--incomplete"];
    assert!(!output.status.success() && words.iter().all(|word| said.contains(word)), "{said}");
    assert!(!folder.exists(), "half a backup was left");
    // So is an export.
    let exported = backups.path().join("farm.jsonl").display().to_string();
    let output = tokio::task::block_in_place(|| grove.cli(&["farm", "export", &exported]).output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("lost the components of relay"), "{said}");
    let mut export = grove.cli(&["farm", "export", &exported, "--incomplete"]);
    tokio::task::block_in_place(|| tools::run(&mut export));
    let output = tokio::task::block_in_place(|| backup(&grove, &folder, &["--artifacts", "--incomplete"]));
    assert!(output.status.success());
    drop(grove);
    let grove = restored(&folder);
    let farm = grove.farm();
    assert!(grove.log().contains("it lacks the component of relay"), "{}", grove.log());
    let look = || async { farm.plugin("relay").await.unwrap() };
    let relay = wait::until_is("a word", look, |relay| relay.state == PluginState::Failed).await;
    assert!(relay.trouble.unwrap().contains("install relay"), "nobody says what to do");
    farm.set_mode(&serde_json::from_value(json!({ "mode": "normal" })).unwrap(), None).await.unwrap();
    install(&farm).await;
    wait::until_is("it to be mended", look, |relay| relay.state == PluginState::Active).await;
}

/// As the documents of earlier versions said: a copy of the store's file, and the secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_store_and_the_secrets_has_all_that_came_with_the_program() {
    let (mut grove, _) = farm().await;
    grove.terminate();
    let store = fs::read(grove.state().join("grove.db")).unwrap();
    fs::remove_dir_all(grove.state()).unwrap();
    fs::create_dir(grove.state()).unwrap();
    fs::write(grove.state().join("grove.db"), store).unwrap();
    grove.start_again();
    plugins_are_back(&grove).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_come_back_when_only_their_folder_is_lost() {
    let (mut grove, _) = farm().await;
    grove.terminate();
    fs::remove_dir_all(grove.state().join("plugins")).unwrap();
    // Nor is the code that was compiled of them there.
    fs::remove_dir_all(grove.state().join("cache")).unwrap();
    grove.start_again();
    plugins_are_back(&grove).await;
    // While it runs, too.
    fs::remove_dir_all(grove.state().join("plugins")).unwrap();
    let farm = grove.farm();
    install(&farm).await;
    grove.terminate();
    grove.start_again();
    let farm = grove.farm();
    let look = || async { farm.plugin("relay").await.unwrap().state };
    wait::until_is("the plugin", look, |state| *state == PluginState::Active).await;
}

async fn plugins_are_back(grove: &Grove) {
    let farm = grove.farm();
    for name in ["simulated", "ssh", "least-capable", "linux-inventory", "usb-devices"] {
        let look = || async { farm.plugin(name).await.unwrap() };
        let state =
            |plugin: &grove_tests_kit::client::wire::plugin::Plugin| plugin.state == PluginState::Active;
        wait::until_is(name, look, state).await;
    }
    let look = || async { farm.plugin("relay").await.unwrap() };
    let relay = wait::until_is("a word about relay", look, |relay| relay.state == PluginState::Failed).await;
    assert!(relay.trouble.as_ref().unwrap().contains("is lost: install relay"), "{relay:#?}");
    assert!(grove.log().contains("the component of relay"), "{}", grove.log());
    install(&farm).await;
    wait::until_is("it to be mended", look, |relay| relay.state == PluginState::Active).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_was_away_is_found_again() {
    let grove = Grove::start(Setup::default());
    let farm = grove.farm();
    farm.simulated(1, json!({}), &[("board", "rpi4")]).await;
    let page = || async {
        let answer = reqwest::get(format!("{}/readyz", grove.base())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let away = TempDir::new_in(grove.state().parent().unwrap()).unwrap();
    let copy = |from: &Path, to: &Path| {
        for (file, bytes) in files(from) {
            let file = to.join(file.strip_prefix(from).unwrap());
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    };
    // As one moves between disks: what is there afterwards are other folders.
    copy(&grove.state(), away.path());
    fs::remove_dir_all(grove.state()).unwrap();
    wait::until_is("it to be missed", page, |(status, said)| *status == 503 && said.contains("put it back"))
        .await;
    sleep(Duration::from_secs(3));
    assert!(!grove.state().join("grove.db").exists(), "a new farm in the place of the old");
    assert!(!grove.state().exists(), "a folder was made where the old one is put back");
    copy(away.path(), &grove.state());
    wait::until_is("the farm", page, |(status, _)| *status == 200).await;
    install(&farm).await;
    assert_eq!(farm.plugin("relay").await.unwrap().state, PluginState::Active);
    let exported = away.path().join("farm.jsonl");
    let words = ["farm", "export", &exported.display().to_string()].map(str::to_owned);
    let mut export = grove.cli(&words.each_ref().map(String::as_str));
    tokio::task::block_in_place(|| tools::run(&mut export));
    let text = fs::read_to_string(&exported).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(last["components"].as_u64().unwrap() > 5 && last["missing"] == json!([]), "{last}");
    // Secrets and keys are those of the folder that is there now: boards are opened as before.
    let (request, _) = farm.get(&wish(&["board=rpi4"])).await;
    farm.close_request(request, None).await.unwrap();
    farm.until_worker(uuid(1), WorkerState::Idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_is_no_new_farm_unless_that_is_said_and_nothing_is_thrown_away() {
    for empty in [false, true] {
        let (mut grove, running) = farm().await;
        grove.kill();
        let (here, away) = (grove.state().join("grove.db"), grove.state().join("../grove.db"));
        fs::rename(&here, &away).unwrap();
        if empty {
            fs::write(&here, "").unwrap();
        }
        let before = files(&grove.state());
        let said = serve(&grove, &[]).await;
        let words = [
            "plugins/",
            "objects/",
            "grove.db-wal",
            "--restore",
            "--new",
            if empty { "empty" } else { "gone" },
        ];
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
        let mut after = files(&grove.state());
        after.retain(|file, _| !file.ends_with("grove.lock"));
        let same = before.iter().filter(|(file, _)| !file.ends_with("grove.lock"));
        assert!(same.eq(after.iter()), "something was changed");
        // Begun anew, it throws nothing away that the store which was lost may name.
        let log = grove.state().join("grove.db-wal");
        let lost = fs::read(&log).unwrap();
        let mut command = grove.serve_command();
        let (mut new, base) = grove_tests_kit::grove::ready(command.arg("--new"), String::new);
        let client = Farm::new(grove_tests_kit::client::Client::new(&base).unwrap());
        assert!(client.all_workers().await.is_empty());
        new.kill();
        let kept =
            |file: &PathBuf| !file.ends_with("grove.lock") && !file.to_string_lossy().contains("grove.db");
        for (file, bytes) in
            before.iter().filter(|(file, _)| kept(file) && !file.to_string_lossy().contains("/keys/"))
        {
            assert!(fs::read(file).is_ok_and(|now| now == *bytes), "{} was thrown away", file.display());
        }
        let said = serve(&grove, &["--new"]).await;
        assert!(said.contains("holds a farm already"), "{said}");
        // The old one comes back whole.
        for file in ["grove.db", "grove.db-wal", "grove.db-shm"] {
            let _ = fs::remove_file(grove.state().join(file));
        }
        assert_eq!(fs::read(grove.state().join("grove.db-wal.lost-1")).unwrap(), lost);
        fs::rename(grove.state().join("grove.db-wal.lost-1"), log).unwrap();
        fs::rename(&away, &here).unwrap();
        grove.start_again();
        let farm = grove.farm();
        farm.until_request(running, RequestState::InProgress).await;
        let look = || async { farm.plugin("relay").await.unwrap().state };
        wait::until_is("the plugin", look, |state| *state == PluginState::Active).await;
    }
}

/// What `grove serve` says when it refuses to serve.
async fn serve(grove: &Grove, flags: &[&str]) -> String {
    let mut command = grove.serve_command();
    let process = Process::start(command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let Output { status, stdout, stderr } = process.output().await;
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.code() == Some(1) && stdout.is_empty(), "{said}");
    said
}
