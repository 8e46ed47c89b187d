//! Health, metrics, pages of problems.

use grove_wire::Code;

use crate::kit::{Kit, uuid};

#[tokio::test(start_paused = true)]
async fn a_farm_that_is_well() {
    let kit = Kit::new().await;
    assert_eq!(kit.get("/healthz").await.text(), "ok\n");
    assert_eq!(kit.get("/readyz").await.text(), "ready\n");
    assert!(kit.get("/").await.text().contains("<h1>Grove</h1>"));
}

#[tokio::test(start_paused = true)]
async fn a_farm_that_is_not() {
    let kit = Kit::new().await;
    kit.fakes.store.break_with(Some("the disk is full"));
    assert_eq!(kit.post("/api/v2/requests", "{}").await.status, 503);
    let ready = kit.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("the disk is full"), "{}", ready.text());
    assert_eq!(kit.get("/healthz").await.status, 200);
    assert!(kit.get("/metrics").await.text().contains("grove_store_trouble 1\n"));
}

#[tokio::test(start_paused = true)]
async fn every_problem_has_a_page() {
    let kit = Kit::new().await;
    for code in Code::ALL {
        let page = kit.get(&format!("/errors/{}", code.name())).await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains(code.title()) && page.text().contains(code.remedy()), "{code:?}");
    }
    assert_eq!(kit.get("/errors/%3Cb%3E").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn metrics_count_what_is() {
    let kit = Kit::new().await;
    kit.idle_worker(1, "{}").await;
    kit.worker(2, "{}").await;
    kit.running_job("{}").await;
    kit.post("/api/v1/reqs/", r#"{"Priority":8,"Caps":{"a":"b"}}"#).await;
    kit.get("/api/v1/reqs/1").await;
    kit.get("/api/v1/reqs/99").await;
    kit.get(&format!("/api/v2/workers/{}", uuid(1))).await;
    kit.get("/nowhere").await;
    let text = kit.get("/metrics").await.text();
    for line in [
        "grove_workers{state=\"maintenance\"} 1",
        "grove_workers{state=\"running\"} 1",
        "grove_workers{state=\"idle\"} 0",
        "grove_requests{state=\"waiting\"} 1",
        "grove_requests{state=\"in_progress\"} 1",
        "grove_queue_length 1",
        "grove_tasks_running 0",
        "grove_services{state=\"started\"} 0",
        "grove_http_connections 0",
        "grove_store_trouble 0",
        "grove_http_requests_total{method=\"POST\",route=\"/api/v1/reqs/\",status=\"201\"} 1",
        "grove_http_requests_total{method=\"GET\",route=\"/api/v1/reqs/{id}\",status=\"200\"} 1",
        "grove_http_requests_total{method=\"GET\",route=\"/api/v1/reqs/{id}\",status=\"404\"} 1",
        "grove_http_requests_total{route=\"/api/v2/workers/{uuid}\",status=\"201\"} 2",
        "grove_http_requests_total{route=\"/api/v2/workers/{uuid}\",status=\"200\"} 1",
        "grove_http_requests_total{route=\"other\",status=\"404\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    // Every sample belongs to a metric that was introduced.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
    }
}
