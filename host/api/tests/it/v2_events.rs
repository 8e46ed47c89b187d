//! The farm's history, as pages and as a stream.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::Request;
use tower::ServiceExt;

use crate::kit::Kit;

/// A stream of events being read.
pub(crate) struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    pub(crate) async fn open(kit: &Kit, path: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = kit.front.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The id and the data of the next event.
    pub(crate) async fn next(&mut self) -> (u64, serde_json::Value) {
        loop {
            while let Some((piece, rest)) = self.text.split_once("\n\n") {
                let (piece, rest) = (piece.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(id) = piece.strip_prefix("id: ") {
                    let mut lines = id.lines();
                    let id = lines.next().unwrap().parse().unwrap();
                    let kind = lines.next().unwrap().strip_prefix("event: ").unwrap();
                    let data: serde_json::Value =
                        serde_json::from_str(lines.next().unwrap().strip_prefix("data: ").unwrap()).unwrap();
                    assert_eq!((data["seq"].as_u64(), data["kind"].as_str()), (Some(id), Some(kind)));
                    return (id, data);
                }
            }
            let bytes = self.body.next().await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

async fn make(kit: &Kit, count: usize) {
    for _ in 0..count {
        assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 201);
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_history() {
    let kit = Kit::new().await;
    make(&kit, 5).await;
    kit.post("/api/v2/requests/3/close", "").await;
    let page = kit.get("/api/v2/events?limit=4").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), page["next"].as_str()), (4, Some("4")));
    let page = kit.get("/api/v2/events?limit=4&cursor=4").await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), page["next"].as_str()), (2, None));
    let seqs = |page: &serde_json::Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    let page = kit.get("/api/v2/events?limit=2&order=desc").await.json();
    assert_eq!((seqs(&page), page["next"].as_str()), (vec![6, 5], Some("5")));
    let page = kit.get("/api/v2/events?limit=2&order=desc&cursor=5&after=3").await.json();
    assert_eq!((seqs(&page), page["next"].as_str()), (vec![4], None));
    let page = kit.get("/api/v2/events?subject=request/3&after=0").await.json();
    insta::assert_snapshot!(page);
    let page = kit.get("/api/v2/events?kind=request.state").await.json();
    assert_eq!(page["items"][0]["subject"], "request/3");
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_from_history_without_gap_or_double() {
    let kit = Arc::new(Kit::new().await);
    // More than one batch of the store.
    make(&kit, 700).await;
    let mut reader = Reader::open(&kit, "/api/v2/events?after=10", None).await;
    let writer = tokio::spawn({
        let kit = kit.clone();
        async move { make(&kit, 700).await }
    });
    for seq in 11..=1400 {
        assert_eq!(reader.next().await.0, seq);
    }
    writer.await.unwrap();
    // A client that was cut off goes on where it was.
    let mut reader = Reader::open(&kit, "/api/v2/events?after=3", Some("1390")).await;
    assert_eq!(reader.next().await.0, 1391);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_nothing() {
    let kit = Kit::new().await;
    let mut reader = Reader::open(&kit, "/api/v2/events", None).await;
    make(&kit, 1).await;
    assert_eq!(reader.next().await.0, 1);
    // More than the feed keeps for those who lag.
    make(&kit, 6000).await;
    for seq in 2..=6001 {
        assert_eq!(reader.next().await.0, seq);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_can_be_about_one_thing() {
    let kit = Kit::new().await;
    make(&kit, 2).await;
    let mut reader = Reader::open(&kit, "/api/v2/events?after=0&subject=request/2", None).await;
    assert_eq!(reader.next().await.0, 2);
    make(&kit, 3).await;
    kit.post("/api/v2/requests/1/close", "").await;
    kit.post("/api/v2/requests/2/close", "").await;
    let (seq, data) = reader.next().await;
    assert_eq!((seq, data["after"].as_str()), (7, Some("cancelled")));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_streams_are_open() {
    let limits = grove_api::Limits { streams: 1, ..Default::default() };
    let kit = Kit::with(Default::default(), Default::default(), limits).await;
    let first = Reader::open(&kit, "/api/v2/events", None).await;
    let accept = [("accept", "text/event-stream")];
    let refused = kit.ask("GET /api/v2/events", &accept, "").await;
    assert_eq!((refused.status.as_u16(), refused.json()["code"].as_str()), (503, Some("overloaded")));
    drop(first);
    Reader::open(&kit, "/api/v2/events", None).await;
}
