//! Every way to be refused by v2, and what it says.

use std::fmt::Write;

use crate::kit::{Kit, uuid};

#[tokio::test(start_paused = true)]
async fn problems_say_what_is_wrong_and_what_to_do() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    kit.idle_worker(2, "{}").await;
    let running = kit.running_job("{}").await;
    assert_eq!(running, 1);
    let (w1, w2, none) = (uuid(1), uuid(2), uuid(0xff));
    let long = |n: usize| "x".repeat(n);
    let many = |n: usize| (0..n).map(|n| format!(r#""{n}":"""#)).collect::<Vec<_>>().join(",");
    let list = |n: usize| vec![r#""a""#; n].join(",");

    let mut out = String::new();
    for (call, body) in [
        ("GET /nope".to_owned(), String::new()),
        ("GET /api/v2".into(), String::new()),
        ("GET /api/v2/nope".into(), String::new()),
        ("DELETE /api/v2/requests".into(), String::new()),
        ("POST /healthz".into(), String::new()),
        // Bodies.
        ("POST /api/v2/requests".into(), String::new()),
        ("POST /api/v2/requests".into(), "{".into()),
        ("POST /api/v2/requests".into(), "{} {}".into()),
        ("POST /api/v2/requests".into(), "[]".into()),
        ("POST /api/v2/requests".into(), "7".into()),
        ("POST /api/v2/requests".into(), r#"{"color":"red"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"priority":"high"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"priority":300}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"priority":17}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"priority":8,"priority":8}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"for":"90"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"for":3600}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"for":"0s"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"for":"8d"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"deadline":"tomorrow"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"deadline":"2025-01-01T00:00:00Z"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"valid_after":"2027-01-01T00:00:00Z"}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"wants":["a","board~rpi4"]}"#.into()),
        ("POST /api/v2/requests".into(), r#"{"wants":["a",7]}"#.into()),
        ("POST /api/v2/requests".into(), format!(r#"{{"wants":["{}"]}}"#, long(1025))),
        ("POST /api/v2/requests".into(), format!(r#"{{"wants":[{}]}}"#, list(65))),
        ("POST /api/v2/requests".into(), r#"{"keys":["hello"]}"#.into()),
        ("POST /api/v2/requests".into(), format!(r#"{{"keys":[{}]}}"#, list(17))),
        ("POST /api/v2/requests".into(), format!(r#"{{"hints":{{{}}}}}"#, many(17))),
        ("POST /api/v2/requests".into(), format!(r#"{{"hints":{{"a":"{}"}}}}"#, long(257))),
        ("POST /api/v2/requests".into(), r#"{"heartbeat":"0s"}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), "{}".into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"other"}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"fake","driver_config":{"x":"bad"}}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"fake","driver_config":[]}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"fake","capabilities":{"a":{"b":1}}}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"fake","capabilities":{"":"x"}}"#.into()),
        (format!("PUT /api/v2/workers/{none}"), r#"{"driver":"fake","capabilities":{"UUID":"x"}}"#.into()),
        (
            format!("PUT /api/v2/workers/{none}"),
            format!(r#"{{"driver":"fake","capabilities":{{"{}":""}}}}"#, long(129)),
        ),
        (
            format!("PUT /api/v2/workers/{none}"),
            format!(r#"{{"driver":"fake","capabilities":{{"a":"{}"}}}}"#, long(1025)),
        ),
        (
            format!("PUT /api/v2/workers/{none}"),
            format!(r#"{{"driver":"fake","capabilities":{{{}}}}}"#, many(257)),
        ),
        (
            format!("PUT /api/v2/workers/{none}"),
            format!(r#"{{"driver":"fake","driver_config":{{"a":"{}"}}}}"#, long(65536)),
        ),
        (format!("PUT /api/v2/workers/{none}"), format!(r#"{{"driver":"fake","groups":[{}]}}"#, list(65))),
        (format!("PUT /api/v2/workers/{none}"), format!(r#"{{"driver":"fake","groups":["{}"]}}"#, long(65))),
        (format!("PATCH /api/v2/workers/{w1}"), r#"{"driver":"fake"}"#.into()),
        (format!("PATCH /api/v2/workers/{w1}"), r#"{"groups":[""]}"#.into()),
        (format!("PATCH /api/v2/workers/{w1}"), format!(r#"{{"notes":"{}"}}"#, long(4097))),
        (format!("POST /api/v2/workers/{w1}/state"), r#"{"state":"busy"}"#.into()),
        (format!("POST /api/v2/workers/{w1}/state"), "{}".into()),
        (format!("POST /api/v2/workers/{w1}/failure"), r#"{"reason":" "}"#.into()),
        // Ids.
        ("GET /api/v2/workers/7".into(), String::new()),
        ("GET /api/v2/requests/x".into(), String::new()),
        ("GET /api/v2/requests/+1".into(), String::new()),
        ("GET /api/v2/tasks/7".into(), String::new()),
        (format!("GET /api/v2/workers/{none}"), String::new()),
        ("GET /api/v2/requests/99".into(), String::new()),
        ("GET /api/v2/jobs/99".into(), String::new()),
        (format!("GET /api/v2/tasks/{none}"), String::new()),
        ("GET /api/v2/plugins/nope".into(), String::new()),
        ("GET /api/v2/plugins/%FF".into(), String::new()),
        ("GET /errors/%FF".into(), String::new()),
        ("GET /api/v2/".into(), String::new()),
        // Queries.
        ("GET /api/v2/workers?color=red".into(), String::new()),
        ("GET /api/v2/workers?state=asleep".into(), String::new()),
        ("GET /api/v2/workers?state=idle&state=busy".into(), String::new()),
        ("GET /api/v2/workers?wants=a~b".into(), String::new()),
        ("GET /api/v2/workers?cursor=x".into(), String::new()),
        ("GET /api/v2/requests?limit=0".into(), String::new()),
        ("GET /api/v2/requests?limit=many".into(), String::new()),
        ("GET /api/v2/requests?order=up".into(), String::new()),
        ("GET /api/v2/requests/1?wait=2h".into(), String::new()),
        ("GET /api/v2/requests/1?wait=30".into(), String::new()),
        ("GET /api/v2/events?subject=moon".into(), String::new()),
        (format!("DELETE /api/v2/workers/{w1}?force=perhaps"), String::new()),
        // States.
        (format!("POST /api/v2/workers/{w2}/state"), r#"{"state":"maintenance"}"#.into()),
        (format!("POST /api/v2/workers/{w2}/state"), r#"{"state":"idle"}"#.into()),
        (format!("DELETE /api/v2/workers/{w2}"), String::new()),
        (format!("POST /api/v2/workers/{w1}/failure"), r#"{"reason":"smoke"}"#.into()),
        ("POST /api/v2/requests/1/prolong".into(), r#"{"for":"8d"}"#.into()),
        ("PATCH /api/v2/requests/1".into(), r#"{"priority":3}"#.into()),
        ("POST /api/v2/requests/99/close".into(), String::new()),
        ("POST /api/v2/requests/1/close".into(), r#"{"because":"x"}"#.into()),
        ("POST /api/v2/requests/1/close".into(), String::new()),
        ("POST /api/v2/requests/1/close".into(), String::new()),
        ("POST /api/v2/requests/1/prolong".into(), String::new()),
        ("POST /api/v2/requests/1/heartbeat".into(), String::new()),
        (format!("POST /api/v2/tasks/{none}/cancel"), String::new()),
    ] {
        let shown: String = body.chars().take(80).collect();
        let answer = kit.ask(&call, &[], body).await;
        if answer.status.is_success() {
            // The one that sets the stage for those after it.
            assert_eq!(call, "POST /api/v2/requests/1/close", "{shown}: {}", answer.text());
            continue;
        }
        assert!(answer.status.is_client_error(), "{call} {shown}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{call} {shown}");
        if answer.status == 405 {
            assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{call}");
        }
        let problem = answer.json();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        assert_eq!(problem["status"], answer.status.as_u16());
        assert_eq!(text("type"), format!("/errors/{}", text("code")));
        writeln!(out, "{call} {shown}").unwrap();
        writeln!(out, "  {} {}: {}", answer.status.as_u16(), text("code"), text("detail")).unwrap();
        writeln!(out, "  hint: {} | field: {}", text("hint"), text("field")).unwrap();
    }
    insta::assert_snapshot!(out);
}

#[tokio::test(start_paused = true)]
async fn headers_that_cannot_be() {
    let kit = Kit::new().await;
    kit.worker(1, "{}").await;
    let patch = format!("PATCH /api/v2/workers/{}", uuid(1));
    for value in ["7", "\"x\"", "W/\"7\"", "\"1\", \"2\"", ""] {
        let answer = kit.ask(&patch, &[("if-match", value)], "{}").await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["code"].as_str()),
            (400, Some("invalid_header")),
            "{value}"
        );
    }
    let twice = kit.ask(&patch, &[("if-match", "\"1\""), ("if-match", "\"2\"")], "{}").await;
    assert_eq!(twice.status, 400);
    let long = "k".repeat(129);
    for value in ["", long.as_str()] {
        let answer = kit.ask("POST /api/v2/requests", &[("idempotency-key", value)], "{}").await;
        assert_eq!((answer.status.as_u16(), answer.json()["code"].as_str()), (400, Some("invalid_header")));
    }
    let headers = [("accept", "text/event-stream"), ("last-event-id", "x")];
    assert_eq!(kit.ask("GET /api/v2/events", &headers, "").await.status, 400);
}
