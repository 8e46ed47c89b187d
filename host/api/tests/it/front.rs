//! A farm that comes and goes behind a server that stays.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use grove_api::{App, Front, Limits, Options};
use grove_wire::service::{Service, ServiceInput, ServiceState};
use http::Request;
use serde_json::json;
use tower::ServiceExt;

use crate::kit::{Kit, check_key, service, uuid};

/// The controller waits for a store that does not open.
fn broken_store() -> Vec<Service> {
    let input = ServiceInput { name: "store".to_owned(), state: Some(ServiceState::Waiting) };
    let controller = Service {
        inputs: vec![input],
        waits_for: vec!["store".to_owned()],
        ..service("controller", ServiceState::Waiting)
    };
    let store = Service {
        last_error: Some("disk I/O error".to_owned()),
        next_start: Some("2026-01-01T00:00:03Z".parse().unwrap()),
        ..service("store", ServiceState::Waiting)
    };
    vec![controller, service("http", ServiceState::Started), store]
}

#[tokio::test(start_paused = true)]
async fn without_a_farm_it_says_what_is_missing() {
    let kit = Kit::new().await;
    kit.detach();
    *kit.services.0.lock() = broken_store();
    assert_eq!(kit.get("/healthz").await.text(), "ok\n");
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.status, 503);
    insta::assert_snapshot!(ready.text(), @r"
    controller waits for store: disk I/O error
    store starts again at 2026-01-01T00:00:03Z: disk I/O error
    ");
    for (call, body) in [
        ("GET /api/v2/workers", ""),
        ("GET /api/v2/requests/1?wait=60s", ""),
        ("POST /api/v2/requests", "{}"),
        ("POST /api/v2/requests", "not JSON"),
        ("GET /api/v2/events", ""),
        ("GET /api/v2/plugins", ""),
        ("POST /api/v2/plugins", ""),
    ] {
        let refused = kit.ask(call, &[], body).await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")), "{call}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.text(), @r#"{"type":"/errors/unavailable","title":"The farm is not available now","status":503,"code":"unavailable","detail":"the farm is not being served: controller waits for store: disk I/O error","hint":"try again in a moment; GET /api/v2/services has everything that is missing"}"#);
        }
    }
    for call in
        ["GET /api/v1/version", "POST /api/v1/reqs/", "GET /api/v1/reqs/1", "POST /api/v1/workers/list"]
    {
        let refused = kit.ask(call, &[], "{}").await;
        assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, Some("1")), "{call}");
        assert_eq!(refused.header("content-type"), Some("application/json"));
        assert_eq!(
            refused.json(),
            json!({"message": "the farm is not being served: controller waits for store: disk I/O error"})
        );
    }
    // What needs no farm.
    for path in ["/", "/errors/unavailable", "/api/v2/services", "/api/v2/services/store"] {
        assert_eq!(kit.get(path).await.status, 200, "{path}");
    }
    assert_eq!(kit.get("/api/v2/nope").await.status, 404);
    assert_eq!(kit.get("/api/v1/nope").await.status, 404);
    let metrics = kit.get("/metrics").await.text();
    for line in [
        "grove_services{state=\"waiting\"} 2",
        "grove_services{state=\"started\"} 1",
        "grove_http_connections 0",
        "grove_http_requests_total{route=\"/api/v2/workers\",status=\"503\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("grove_workers"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_farm_that_is_served_is_ready_also_without_a_driver() {
    let kit = Kit::new().await;
    *kit.services.0.lock() = vec![service("controller", ServiceState::Started)];
    assert_eq!(kit.get("/readyz").await.text(), "ready\n");

    let broken = Service {
        last_error: Some("it traps\nin init".to_owned()),
        ..service("plugin/ssh@0123456789ab", ServiceState::Stopped)
    };
    kit.services.0.lock().push(broken);
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.status, 200, "what is there is served");
    assert_eq!(ready.text(), "ready\ndegraded: plugin/ssh@0123456789ab is stopped: it traps in init\n");
    kit.services.0.lock().push(service("policy", ServiceState::Starting));
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().starts_with("policy is starting\n"), "{}", ready.text());
    kit.services.0.lock().pop();
    kit.fakes.store.break_with(Some("the disk is full"));
    assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 503);
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.status, 503);
    insta::assert_snapshot!(ready.text(), @r"
    the disk is full
    degraded: plugin/ssh@0123456789ab is stopped: it traps in init
    ");

    // All is started, and yet there is nobody to ask.
    kit.detach();
    kit.services.0.lock().clear();
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.text(), "the farm is not being served: its controller is not there yet\n");
}

#[tokio::test(start_paused = true)]
async fn a_farm_comes_back() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let path = format!("/api/v2/workers/{}", uuid(1));
    let made = kit.ask("POST /api/v2/requests", &[("idempotency-key", "a")], "{}").await;
    for _ in 0..3 {
        assert_eq!(kit.get(&path).await.status, 200);
        kit.detach();
        assert_eq!(kit.get(&path).await.status, 503);
        kit.attach();
    }
    // What was made under a key stays made.
    let again = kit.ask("POST /api/v2/requests", &[("idempotency-key", "a")], "{}").await;
    assert_eq!(
        (again.header("idempotency-replayed"), &again.json()["id"]),
        (Some("true"), &made.json()["id"])
    );
}

#[tokio::test(start_paused = true)]
async fn the_one_that_took_its_place_stays() {
    let kit = Kit::new().await;
    let first = kit.attached.lock().take();
    kit.attach();
    drop(first);
    assert_eq!(kit.get("/api/v2/workers").await.status, 200);
    kit.detach();
    assert_eq!(kit.get("/api/v2/workers").await.status, 503);
}

#[tokio::test(start_paused = true)]
async fn what_waits_ends_with_its_farm() {
    let kit = Arc::new(Kit::new().await);
    kit.worker(1, "{}").await;
    assert_eq!(kit.post("/api/v2/requests", r#"{"wants":["none"]}"#).await.status, 201);
    let poll = |path: String| {
        let kit = kit.clone();
        tokio::spawn(async move { kit.get(&path).await.status.as_u16() })
    };
    for replaced in [false, true] {
        let started = tokio::time::Instant::now();
        let request = poll("/api/v2/requests/1?wait=60s".to_owned());
        let worker = poll(format!("/api/v2/workers/{}?wait=60s", uuid(1)));
        let open = Request::get("/api/v2/events").header("accept", "text/event-stream");
        let open = kit.front.router().oneshot(open.body(Body::empty()).unwrap()).await.unwrap();
        let mut stream = open.into_body().into_data_stream();
        assert_eq!(stream.next().await.unwrap().unwrap(), "retry: 2000\n\n");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        if replaced {
            kit.attach();
        } else {
            kit.detach();
        }
        assert!(stream.next().await.is_none(), "the stream ends");
        assert_eq!((request.await.unwrap(), worker.await.unwrap()), (200, 200));
        assert!(started.elapsed() < Duration::from_secs(1));
        kit.attach();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_farm_that_comes_and_goes_under_requests_never_breaks_one() {
    let kit = Arc::new(Kit::new().await);
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let kit = kit.clone();
            tokio::spawn(async move {
                let mut seen = [0, 0];
                for _ in 0..500 {
                    match kit.get("/api/v2/workers").await.status.as_u16() {
                        200 => seen[0] += 1,
                        503 => seen[1] += 1,
                        other => panic!("{other}"),
                    }
                    tokio::task::yield_now().await;
                }
                seen
            })
        })
        .collect();
    for _ in 0..200 {
        kit.detach();
        tokio::task::yield_now().await;
        kit.attach();
        tokio::task::yield_now().await;
    }
    for asking in asking {
        let [served, refused] = asking.await.unwrap();
        assert_eq!(served + refused, 500);
    }
    assert_eq!(kit.get("/api/v2/workers").await.status, 200);
}

#[tokio::test]
async fn a_farm_that_comes_when_the_server_stops_ends_at_once() {
    let kit = Kit::new().await;
    let front = Front::new(Limits::default(), kit.services.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = tokio_util::sync::CancellationToken::new();
    shutdown.cancel();
    grove_api::serve(listener, front.clone(), shutdown).await.unwrap();
    let app = App::new(
        kit.controller.clone(),
        Options::default(),
        kit.plugins.clone(),
        check_key(),
        kit.storage.clone(),
    );
    let _attached = front.attach(app);
    let ready = Request::get("/readyz").body(Body::empty()).unwrap();
    assert_eq!(front.router().oneshot(ready).await.unwrap().status(), 503);
    kit.worker(1, "{}").await;
    let path = format!("/api/v2/workers/{}?wait=60s", uuid(1));
    let poll = front.router().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let polled =
        tokio::time::timeout(Duration::from_secs(30), poll).await.expect("it does not wait").unwrap();
    assert_eq!(polled.status(), 200);
}
