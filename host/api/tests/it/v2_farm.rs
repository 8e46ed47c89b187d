//! The farm leaves as a stream, and comes in as one.

use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use grove_api::{Feed, Limits, Options, Transfer, Write};
use grove_control::Settings;
use grove_wire::farm::FarmImport;
use grove_wire::{Code, Error};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tower::ServiceExt;

use crate::kit::Kit;

/// Writes three lines, and remembers what it is given.
#[derive(Default)]
struct FakeTransfer {
    at_work: bool,
    breaks: bool,
    taken: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Transfer for FakeTransfer {
    fn may_import(&self) -> Result<(), Error> {
        if self.at_work { Err(Error::new(Code::FarmAtWork, "users are served")) } else { Ok(()) }
    }

    fn export(&self, _: bool) -> BoxFuture<'static, Result<Write, Error>> {
        let breaks = self.breaks;
        let write: Write = Box::new(move |out: &mut dyn std::io::Write| {
            for line in ["one\n", "two\n", "three\n"] {
                out.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
            }
            if breaks { Err("the disk broke".to_owned()) } else { Ok(()) }
        });
        std::future::ready(Ok(write)).boxed()
    }

    fn import(&self, mut from: Feed, dry_run: bool) -> BoxFuture<'static, Result<FarmImport, Error>> {
        let taken = self.taken.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let read = from.read_to_end(&mut bytes);
            read.map_err(|error| Error::new(Code::Unavailable, error.to_string()))?;
            if bytes.starts_with(b"bad") {
                return Err(Error::new(Code::BadExport, "line 1: bad"));
            }
            *taken.lock() = Some(bytes);
            Ok(FarmImport {
                dry_run,
                created: "x".to_owned(),
                version: "0.1.0".to_owned(),
                schema: 2,
                components: 0,
                missing: Vec::new(),
                tables: Default::default(),
                ended: Default::default(),
                event: (!dry_run).then_some(7),
            })
        });
        async move { work.await.unwrap() }.boxed()
    }
}

async fn kit(transfer: FakeTransfer, limits: Limits) -> Kit {
    let kit = Kit::with(Settings::default(), Options::default(), limits).await;
    let _ = kit.front.clone().with_transfer(Arc::new(transfer));
    kit
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_stream_also_where_no_farm_is_served() {
    let kit = kit(FakeTransfer::default(), Limits::default()).await;
    for _ in 0..2 {
        let answer = kit.get("/api/v2/farm/export").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/jsonl"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.text(), "one\ntwo\nthree\n");
        kit.detach();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_breaks_the_connection() {
    let kit = kit(FakeTransfer { breaks: true, ..FakeTransfer::default() }, Limits::default()).await;
    let request = Request::get("/api/v2/farm/export").body(Body::empty()).unwrap();
    let response = kit.front.router().oneshot(request).await.unwrap();
    let error = response.into_body().collect().await.unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_read_whole_and_answered() {
    let transfer = FakeTransfer::default();
    let taken = transfer.taken.clone();
    let kit = kit(transfer, Limits::default()).await;
    // Larger than any other body.
    let sent = "x".repeat(3 << 20);
    let answer = kit.post("/api/v2/farm/import", &sent).await;
    assert_eq!((answer.status, answer.json()["event"].as_u64()), (StatusCode::OK, Some(7)));
    assert_eq!(taken.lock().take().map(|bytes| bytes.len()), Some(3 << 20));
    let answer = kit.post("/api/v2/farm/import?dry_run=true", "x").await;
    assert_eq!((answer.status, answer.json()["dry_run"].as_bool()), (StatusCode::OK, Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_refused_in_clear_words() {
    let transfer = FakeTransfer::default();
    let taken = transfer.taken.clone();
    let kit = kit(transfer, Limits { import: 1 << 20, ..Limits::default() }).await;
    let code = async |query: &str, body: &str| {
        let answer = kit.post(&format!("/api/v2/farm/import{query}"), body).await;
        (answer.status.as_u16(), answer.json()["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(code("", "bad").await, (422, "bad_export".to_owned()));
    let large = "x".repeat((1 << 20) + 1);
    assert_eq!(code("?dry_run=true", &large).await, (413, "body_too_large".to_owned()));
    assert_eq!(code("?dryrun=true", "x").await, (400, "invalid_query".to_owned()));

    // The client goes away in the middle.
    let pieces = [Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(stream::iter(pieces));
    let answer = kit.ask("POST /api/v2/farm/import", &[], body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    assert_eq!(*taken.lock(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_at_work_is_only_looked_at() {
    let kit = kit(FakeTransfer { at_work: true, ..FakeTransfer::default() }, Limits::default()).await;
    let answer = kit.post("/api/v2/farm/import", "x").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (StatusCode::CONFLICT, Some("farm_at_work")));
    let answer = kit.post("/api/v2/farm/import?dry_run=true", "x").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
}

#[tokio::test]
async fn a_farm_that_cannot_be_moved_says_so() {
    let kit = Kit::new().await;
    let answer = kit.get("/api/v2/farm/export").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}
