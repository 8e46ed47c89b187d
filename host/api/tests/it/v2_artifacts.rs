//! Artifacts over HTTP.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use grove_api::{Limits, Options};
use grove_control::Settings;
use grove_domain::group::{Owner, OwnerGroups};

use crate::kit::{Answer, Kit};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn problem(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_artifact_is_brought_read_and_removed() {
    let kit = Kit::new().await;
    let path = "/api/v2/artifacts/rpi4/boot%2Fimage.img";
    let brought = kit.ask(&format!("PUT {path}"), &[], "hello").await;
    assert_eq!((brought.status.as_u16(), brought.header("location")), (201, Some(path)));
    let etag = format!("\"{HELLO}\"");
    assert_eq!(brought.header("etag"), Some(etag.as_str()));
    let json = brought.json();
    assert_eq!(
        (&json["group"], &json["key"], &json["size"]),
        (&"rpi4".into(), &"boot/image.img".into(), &5.into())
    );
    assert_eq!(kit.ask(&format!("PUT {path}"), &[], "hello").await.status, 200, "once more");

    let read = kit.get(path).await;
    assert_eq!((read.text().as_str(), read.header("content-length")), ("hello", Some("5")));
    assert_eq!(read.header("content-type"), Some("application/octet-stream"));
    assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
    let part = kit.ask(&format!("GET {path}"), &[("range", "bytes=1-3")], "").await;
    assert_eq!((part.status.as_u16(), part.text().as_str()), (206, "ell"));
    assert_eq!(part.header("content-range"), Some("bytes 1-3/5"));
    let none = kit.ask(&format!("GET {path}"), &[("range", "bytes=9-")], "").await;
    assert_eq!(problem(&none), (416, "range_not_satisfiable".to_owned()));
    assert_eq!(none.header("content-range"), Some("bytes */5"));
    let known = kit.ask(&format!("GET {path}"), &[("if-none-match", &etag)], "").await;
    assert_eq!(known.status, 304);
    let head = kit.ask(&format!("HEAD {path}"), &[], "").await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length"), head.text().as_str()),
        (200, Some("5"), "")
    );

    assert_eq!(kit.ask(&format!("DELETE {path}"), &[], "").await.status, 204);
    assert_eq!(problem(&kit.get(path).await), (404, "artifact_not_found".to_owned()));
    assert_eq!(kit.ask(&format!("DELETE {path}"), &[], "").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages() {
    let kit = Kit::new().await;
    for path in ["a/b-c", "a-b/c", "a/d"] {
        assert_eq!(kit.ask(&format!("PUT /api/v2/artifacts/{path}"), &[], "x").await.status, 201);
    }
    let names = |answer: &Answer| {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| format!("{} {}", item["group"], item["key"])).collect::<Vec<_>>().join(", ")
    };
    let first = kit.get("/api/v2/artifacts?limit=2").await;
    assert_eq!(names(&first), r#""a" "b-c", "a" "d""#);
    let cursor = first.json()["next"].as_str().unwrap().to_owned();
    let second = kit.get(&format!("/api/v2/artifacts?limit=2&cursor={cursor}")).await;
    assert_eq!((names(&second).as_str(), second.json()["next"].is_null()), (r#""a-b" "c""#, true));
    assert_eq!(names(&kit.get("/api/v2/artifacts?group=a-b").await), r#""a-b" "c""#);
    assert_eq!(problem(&kit.get("/api/v2/artifacts?cursor=x").await), (400, "invalid_query".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_groups_of_others_are_not_there() {
    let owner = Owner { name: "ann".to_owned(), groups: OwnerGroups::Some(vec!["mine".to_owned()]) };
    let options = Options { owner, ..Options::default() };
    let kit = Kit::with(Settings::default(), options, Limits::default()).await;
    assert_eq!(kit.ask("PUT /api/v2/artifacts/mine/k", &[], "x").await.status, 201);
    for call in ["PUT", "GET", "DELETE"] {
        let answer = kit.ask(&format!("{call} /api/v2/artifacts/theirs/k"), &[], "x").await;
        assert_eq!(problem(&answer), (403, "group_denied".to_owned()));
    }
    assert_eq!(kit.ask("HEAD /api/v2/artifacts/theirs/k", &[], "").await.status, 403);
    assert_eq!(problem(&kit.get("/api/v2/artifacts?group=theirs").await), (403, "group_denied".to_owned()));
    assert_eq!(kit.get("/api/v2/artifacts").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_or_damaged_is_refused() {
    let kit = Kit::new().await;
    let large = "x".repeat((4 << 20) + 1);
    let answer = kit.ask("PUT /api/v2/artifacts/g/large", &[], large).await;
    assert_eq!(problem(&answer), (413, "artifact_too_large".to_owned()));
    assert_eq!(kit.ask("PUT /api/v2/artifacts/g/one", &[], "x".repeat(4 << 20)).await.status, 201);
    let answer = kit.ask("PUT /api/v2/artifacts/g/two", &[], "x".repeat(4 << 20)).await;
    assert_eq!(problem(&answer), (429, "quota_reached".to_owned()));
    let good = [("content-digest", "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:")];
    assert_eq!(kit.ask("PUT /api/v2/artifacts/g/hello", &good, "hello").await.status, 201);
    let answer = kit.ask("PUT /api/v2/artifacts/g/other", &good, "hallo").await;
    assert_eq!(problem(&answer), (422, "artifact_digest".to_owned()));
    let answer = kit.ask("PUT /api/v2/artifacts/g/other", &[("content-digest", "md5=:x:")], "x").await;
    assert_eq!(problem(&answer), (400, "invalid_header".to_owned()));
    let answer = kit.ask("PUT /api/v2/artifacts/g/a%0Ab", &[], "x").await;
    assert_eq!(problem(&answer), (422, "invalid_field".to_owned()));
    let slow = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let answer = kit.ask("PUT /api/v2/artifacts/g/slow", &[], slow).await;
    assert_eq!(problem(&answer), (408, "body_timeout".to_owned()));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(kit.storage.artifacts.usage().0, 2);
}
