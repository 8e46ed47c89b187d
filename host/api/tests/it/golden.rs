//! Golden exchanges of v1: every route and every message, to the byte.
//!
//! A file of `golden/` is one farm's life at 2026-01-01T00:00:00Z, when nothing else is said. It is made of:
//!
//! ```text
//! # a comment
//! farm: worker 1 {"board":"rpi4"}     what happens to the farm, see `Scene::happen`
//! > GET /api/v1/version               a request: its head …
//! > Origin: http://example.org        … its headers
//! {"Priority":8}                      … and its body
//! < 200                               the answer: its status
//! < vary: Origin                      … all of its headers, by name
//! {"Server":"…"}                      … and its body
//! ```
//!
//! With `UPDATE_GOLDEN=1` the answers are written anew; what they became is then to be read with the specification
//! beside it.

use std::path::Path;
use std::time::Duration;

use grove_control::fakes::Behaviour;
use grove_domain::moment::SignedDuration;
use grove_domain::worker::FailureKind;

use crate::kit::{Answer, Kit, uuid};

struct Exchange {
    /// `farm:` lines and comments before it.
    before: Vec<String>,
    head: String,
    headers: Vec<(String, String)>,
    body: String,
    answer: Vec<String>,
}

fn read(text: &str) -> (Vec<Exchange>, Vec<String>) {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut before = Vec::new();
    let mut answering = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("> ") {
            match rest.split_once(": ") {
                Some((name, value))
                    if !answering
                        && exchanges.last().is_some_and(|e| e.body.is_empty())
                        && before.is_empty() =>
                {
                    exchanges.last_mut().unwrap().headers.push((name.to_owned(), value.to_owned()));
                }
                _ => {
                    answering = false;
                    let before = std::mem::take(&mut before);
                    let head = rest.to_owned();
                    exchanges.push(Exchange {
                        before,
                        head,
                        headers: vec![],
                        body: String::new(),
                        answer: vec![],
                    });
                }
            }
        } else if line.starts_with('#') || line.starts_with("farm: ") || line.is_empty() {
            before.push(line.to_owned());
        } else if let Some(exchange) = exchanges.last_mut() {
            if line.starts_with("< ") || answering {
                answering = true;
                exchange.answer.push(line.to_owned());
            } else {
                exchange.body.push_str(line);
            }
        }
    }
    (exchanges, before)
}

fn written(answer: &Answer) -> Vec<String> {
    let mut lines = vec![format!("< {}", answer.status.as_u16())];
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        // Every server adds it; that it is right is checked below.
        .filter(|(name, _)| *name != http::header::CONTENT_LENGTH)
        .map(|(name, value)| format!("< {name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    lines.extend(headers);
    let body = answer.text();
    if let Some(length) = answer.header("content-length").filter(|_| !body.is_empty()) {
        assert_eq!(length, answer.body.len().to_string());
    }
    assert!(!body.contains(['\n', '\r']), "bodies are one line: {body:?}");
    if !body.is_empty() {
        lines.push(body);
    }
    lines
}

/// Happens to the farm.
async fn happen(kit: &Kit, line: &str) {
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    let number = |at: usize| words[at].parse::<u8>().unwrap();
    match words[0] {
        // worker NUMBER CAPABILITIES: it registers
        "worker" => kit.worker(number(1), words[2]).await,
        // idle NUMBER: it is brought to idle
        "idle" => kit.make_idle(number(1)).await,
        // wait worker NUMBER STATE, wait request NUMBER STATE: until it is so
        "wait" => {
            let (id, state) = words[2].split_once(' ').unwrap();
            match words[1] {
                "worker" => kit.until_worker(id.parse().unwrap(), state).await,
                "request" => kit.until_request(id.parse().unwrap(), state).await,
                other => panic!("cannot wait for {other}"),
            }
        }
        // driver CALL hang|fail|well: from now on the call does so
        "driver" => {
            let behaviour = match words[2] {
                "hang" => Behaviour::Hang,
                "fail" => Behaviour::Fail(FailureKind::Config, "told to".to_owned()),
                "well" => Behaviour::Instant,
                other => panic!("a driver does not {other}"),
            };
            kit.fakes.drivers.behave(None, words[1], behaviour);
        }
        // broken NUMBER: somebody reports it
        "broken" => {
            let path = format!("/api/v2/workers/{}/failure", uuid(number(1)));
            assert_eq!(kit.post(&path, r#"{"reason":"smoke"}"#).await.status, 200);
        }
        // request BODY: a request of v2
        "request" => {
            let answer = kit.post("/api/v2/requests", &line["request ".len()..]).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        // later SECONDS: time passes
        "later" => {
            let seconds = words[1].parse().unwrap();
            kit.fakes.clock.jump(SignedDuration::from_secs(seconds));
            tokio::time::sleep(Duration::from_secs(61)).await;
            kit.fakes.clock.jump(SignedDuration::from_secs(-61));
        }
        // store TEXT: it refuses from now on; store well: no more
        "store" => {
            let error = line.strip_prefix("store ").filter(|error| *error != "well");
            kit.fakes.store.break_with(error);
        }
        other => panic!("nobody knows how to {other}"),
    }
}

async fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (exchanges, after) = read(&text);
    assert!(!exchanges.is_empty(), "{} holds no exchange", path.display());
    let kit = Kit::new().await;
    let mut anew = Vec::new();
    for exchange in exchanges {
        for line in &exchange.before {
            if let Some(line) = line.strip_prefix("farm: ") {
                happen(&kit, line).await;
            }
        }
        let headers: Vec<(&str, &str)> =
            exchange.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = written(&kit.ask(&exchange.head, &headers, exchange.body.clone()).await);
        if !update {
            let place = format!("{}: {} {}", path.display(), exchange.head, exchange.body);
            assert_eq!(answer.join("\n"), exchange.answer.join("\n"), "{place}");
        }
        anew.extend(exchange.before);
        anew.push(format!("> {}", exchange.head));
        anew.extend(exchange.headers.iter().map(|(name, value)| format!("> {name}: {value}")));
        anew.extend((!exchange.body.is_empty()).then_some(exchange.body));
        anew.extend(answer);
    }
    if update {
        anew.extend(after);
        std::fs::write(path, anew.join("\n") + "\n").unwrap();
    }
}

macro_rules! golden {
    ($($name:ident)+) => {
        const FILES: &[&str] = &[$(stringify!($name)),+];
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/", stringify!($name), ".txt");
                play(Path::new(file)).await;
            }
        )+
    };
}

golden! {
    version
    paths
    cors
    reqs_create
    reqs_decoding
    reqs_get
    reqs_update
    reqs_close
    reqs_acquire_worker
    reqs_prolong
    reqs_list
    workers_get
    workers_list
    workers_setstate
    workers_setgroups
    workers_deregister
    store_trouble
}

#[test]
fn every_file_is_played() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden"));
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.strip_suffix(".txt").is_some_and(|name| FILES.contains(&name));
        assert!(known, "{name} is in golden/ but is not played");
    }
}

/// Every message of the specification is in some file.
#[test]
fn every_message_is_there() {
    let all: String = FILES
        .iter()
        .map(|name| {
            let path = format!("{}/tests/it/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        })
        .collect();
    for message in [
        "\"invalid request: requested priority out of bounds\"",
        "\"invalid request: deadline in the past\"",
        "\"invalid request: requested time range illegal - ValidAfter must be before Deadline\"",
        "\"invalid request: ID provided in URL isn't valid\"",
        "\"invalid request: ID provided in URL isn't valid UUID\"",
        "\"invalid request: request ID set in JSON doesn't match ID from URL\"",
        "\"invalid request: worker not assigned\"",
        "\"invalid request: action cannot be executed in current state\"",
        "\"invalid request: Only state changes to IDLE and MAINTENANCE are allowed\"",
        "\"invalid request: Invalid state transition was requested\"",
        "\"invalid request: Worker is not in FAIL or MAINTENANCE state\"",
        "\"invalid request: unknown name of item by which list should be sorted\"",
        "\"invalid request: unknown sort order (valid: ascending or descending)\"",
        "\"invalid request: unknown direction (valid: forward or backward)\"",
        "\"no body provided in HTTP request\"",
        "\"Request not found\"",
        "\"Worker not found\"",
        "\"request not found\"",
        "\"worker not found\"",
        "\"/api/v1/nope not found\"",
    ] {
        assert!(all.contains(&format!("{{\"message\":{message}}}")), "no exchange shows {message}");
    }
}
