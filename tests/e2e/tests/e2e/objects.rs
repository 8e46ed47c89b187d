//! Files: what tasks say, and what users bring.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use grove_tests_kit::client::wire::task::{Task, TaskKind};
use grove_tests_kit::client::{ArtifactsQuery, Body, Client, TasksQuery};
use grove_tests_kit::farm::uuid;
use grove_tests_kit::{Grove, Setup, tools, wait};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What is in the log of a task, to its end.
async fn said(farm: &Client, task: &Task) -> Vec<String> {
    let mut log = farm.task_log(task.id, 0, true).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = log.next().await.unwrap() {
        lines.push(line.text);
    }
    lines
}

/// Whether a file below says this.
fn holds(folder: &Path, words: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().map(|entry| entry.path()).any(|path| match path.is_dir() {
        true => holds(&path, words),
        false => {
            path.to_string_lossy().contains(words)
                || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(words))
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_is_brought_flashed_and_survives_a_kill_and_so_does_what_was_said() {
    let mut grove = Grove::start(Setup::default());
    let farm = grove.farm();
    let image = vec![7; (3 << 20) + 1];
    let put = || farm.put_artifact("demo", "a/b.img", image.len() as u64, image.clone(), None);
    // It may not have looked through what is kept yet.
    let artifact = wait::until("artifacts to be taken", || async { put().await.ok() }).await;
    farm.register(uuid(1), "simulated", json!({ "artifact": "a/b.img" }), &[]).await;
    farm.to_idle(uuid(1)).await;
    let query = TasksQuery { kind: Some(TaskKind::Prepare), ..TasksQuery::default() };
    let task = farm.tasks(&query).next().await.unwrap().unwrap();
    let flashed = format!("flashed {} bytes, sha256 {}", artifact.size, artifact.sha256);
    let before = said(&farm, &task).await;
    assert!(before.contains(&flashed) && before.last().is_some_and(|last| last == "done"), "{before:?}");
    let shown = tools::run(&mut grove.cli(&["task", "logs", "-f", &task.id.to_string()]));
    assert!(shown.contains(&flashed), "{shown}");

    // Killed while another one is on its way, when the log is on disk.
    let logs = grove.state().join("objects/logs");
    let on_disk = || async { holds(&logs, &task.id.to_string()).then_some(()) };
    wait::until("the log on disk", on_disk).await;
    let bringing = tokio::spawn({
        let client = grove.client();
        let some = stream::once(async { Ok::<_, std::io::Error>(vec![1; 6 << 20]) });
        let body = Body::wrap_stream(some.chain(stream::pending()));
        async move { client.put_artifact("demo", "half", 9 << 20, body, None).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    grove.kill();
    bringing.await.unwrap().unwrap_err();
    grove.start_again();

    let farm = grove.farm();
    let get = || farm.get_artifact("demo", "a/b.img");
    let found = wait::until("artifacts to be there", || async { get().await.ok() }).await;
    assert_eq!(found.sha256(), Some(artifact.sha256.as_str()));
    assert_eq!(said(&farm, &task).await, before);
    farm.get_artifact("demo", "half").await.unwrap_err();
    farm.remove_artifact("demo", "a/b.img", None).await.unwrap();
    assert!(!grove.state().join("objects/artifacts/demo").exists(), "something half done was left behind");
}

/// Changes a file behind the controller's back.
type Damaging = fn(&Path);

/// The one file below that holds this.
fn file_of(folder: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.flatten().map(|entry| entry.path()).find_map(|path| match path.is_dir() {
        true => file_of(&path, bytes),
        false => std::fs::read(&path).is_ok_and(|found| found == bytes).then_some(path),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_on_disk_is_not_served_and_is_mended_by_bringing_it_again() {
    let mut grove = Grove::start(Setup::default());
    let image = vec![7; 100_000];
    let put = async |grove: &Grove| {
        let farm = grove.farm();
        let put = || farm.put_artifact("demo", "image", image.len() as u64, image.clone(), None);
        wait::until("artifacts to be taken", || async { put().await.ok() }).await
    };
    let url = |grove: &Grove| format!("{}/api/v2/artifacts/demo/image", grove.base());
    let ask = async |grove: &Grove, method: reqwest::Method| {
        let known = format!("\"{}\"", digest_of(&image));
        let request = reqwest::Client::new().request(method, url(grove)).header("if-none-match", known);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let damages: [(&str, Damaging); 3] = [
        ("something else", |file| {
            let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"owned", 500).unwrap();
        }),
        ("another size", |file| {
            std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(500).unwrap();
        }),
        ("is not there", |file| std::fs::remove_file(file).unwrap()),
    ];
    for (said, damage) in damages {
        for restarted in [false, true] {
            put(&grove).await;
            assert_eq!(ask(&grove, reqwest::Method::HEAD).await.0, 200);
            damage(&file_of(&grove.state().join("objects/artifacts"), &image).unwrap());
            if restarted {
                tokio::task::block_in_place(|| grove.terminate());
                grove.start_again();
                let farm = grove.farm();
                let there = || async { farm.artifacts(&ArtifactsQuery::default()).all().await.ok() };
                assert_eq!(wait::until("artifacts", there).await.len(), 1);
            }
            let answer = reqwest::get(url(&grove)).await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(status == 409 && text.contains("artifact_damaged") && text.contains(said), "{text}");
            // Nor does one that has it hear that it is unchanged.
            for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
                assert_eq!(ask(&grove, method).await.0, 409, "{said}");
            }
            let output = grove.cli(&["artifact", "verify"]).output().unwrap();
            let (out, error) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(out.contains(said) && error.contains("grove artifact put"), "{out}{error}");
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert_eq!(put(&grove).await.damage, None);
            let out = tools::run(&mut grove.cli(&["artifact", "verify", "demo", "image"]));
            assert!(out.contains("whole"), "{out}");
            let got = reqwest::get(url(&grove)).await.unwrap().bytes().await.unwrap();
            assert!(got == image, "it was not mended");
            assert_eq!(ask(&grove, reqwest::Method::GET).await.0, 304);
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
