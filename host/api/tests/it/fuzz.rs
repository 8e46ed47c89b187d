//! Whatever is sent, the server does not break.

use axum::body::Body;
use http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::kit::{Kit, uuid};

/// Calls of every route, some with ids that exist.
fn calls() -> Vec<String> {
    let worker = uuid(1);
    let mut calls: Vec<String> = Vec::new();
    for path in [
        "/api/v1/version",
        "/api/v1/reqs/",
        "/api/v1/reqs/1",
        "/api/v1/reqs/2/close",
        "/api/v1/reqs/1/acquire_worker",
        "/api/v1/reqs/1/prolong",
        "/api/v1/reqs/list",
        "/api/v1/workers/",
        "/api/v1/workers/list",
        "/api/v2/workers",
        "/api/v2/requests",
        "/api/v2/requests/1",
        "/api/v2/requests/1/why",
        "/api/v2/requests/2/close",
        "/api/v2/requests/1/prolong",
        "/api/v2/requests/1/heartbeat",
        "/api/v2/jobs",
        "/api/v2/jobs/1",
        "/api/v2/tasks",
        "/api/v2/plugins",
        "/api/v2/introspections",
        "/api/v2/introspections/data",
        "/api/v2/introspections/reapply",
        "/api/v2/rules",
        "/api/v2/rules/test",
        "/api/v2/artifacts",
        "/api/v2/artifacts/g/k",
        "/api/v2/artifacts/g/%00",
        "/api/v2/plugins/fake",
        "/api/v2/plugins/fake/enable",
        "/api/v2/plugins/fake/disable",
        "/api/v2/plugins/fake/swap",
        "/api/v2/services",
        "/api/v2/services/plugin/fake",
        "/api/v2/events",
        "/healthz",
        "/metrics",
        "/",
        "/errors/internal",
    ] {
        calls.push(path.to_owned());
    }
    for path in ["setstate", "setgroups", "deregister", ""] {
        calls.push(format!("/api/v1/workers/{worker}/{path}"));
    }
    for path in ["", "/state", "/failure"] {
        calls.push(format!("/api/v2/workers/{worker}{path}"));
    }
    for path in ["", "/abort", "/reapply", "/data", "/findings", "/diff"] {
        calls.push(format!("/api/v2/introspections/{worker}{path}"));
    }
    calls.push(format!("/api/v2/rules/{worker}"));
    calls
}

/// Bodies that are nearly right.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        "Priority",
        "priority",
        "Caps",
        "capabilities",
        "Deadline",
        "deadline",
        "Filter",
        "Sorter",
        "Paginator",
        "IDs",
        "Limit",
        "ID",
        "WorkerState",
        "state",
        "force",
        "driver",
        "driver_config",
        "groups",
        "wants",
        "for",
        "keys",
        "hints",
        "reason",
        "heartbeat",
        "valid_after",
        "host",
        "notes",
        "driver_version",
        "to",
        "Item",
        "Order",
        "Direction",
        "worker",
        "way",
        "rule",
        "id",
        "scope",
        "conditions",
        "actions",
        "action",
        "name",
        "value",
        "path",
        "op",
        "multiple",
        "invert",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (0..20_u8).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        prop::sample::select(vec![
            "IDLE",
            "idle",
            "fake",
            "1h",
            "uart=2..",
            "2026-02-01T00:00:00Z",
            "AhA=",
            "pull",
            "00000000-0000-4000-8000-000000000001",
            "/a/*",
            "ge",
            "matches",
            "add-trait",
            "{data[a]}"
        ])
        .prop_map(Into::into),
    ];
    let json = leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map(names.clone(), inner, 0..6).prop_map(|members| {
                serde_json::Value::Object(
                    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                )
            }),
        ]
    });
    prop_oneof![
        3 => json.prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

#[test]
fn no_body_breaks_any_route() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kit = runtime.block_on(async {
        let kit = Kit::new().await;
        kit.idle_worker(1, r#"{"board":"rpi4"}"#).await;
        kit.running_job("{}").await;
        kit.post("/api/v2/requests", r#"{"wants":["none"]}"#).await;
        kit
    });
    let input = (
        prop::sample::select(calls()),
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]),
        prop_oneof![
            Just(String::new()),
            "\\?(limit|wait|cursor|after|state|order|wants|x)=[a-z0-9%.&=+-]{0,12}"
        ],
        body(),
    );
    let mut runner = TestRunner::new(Config { cases: 3000, failure_persistence: None, ..Config::default() });
    runner
        .run(&input, |(path, method, query, body)| {
            // A long poll is not what this is about.
            let query = query.replace("wait", "limit");
            let Ok(request) =
                Request::builder().method(method).uri(format!("{path}{query}")).body(Body::from(body))
            else {
                return Ok(());
            };
            let answer = runtime.block_on(kit.send(request));
            prop_assert!(!answer.status.is_server_error(), "{}", answer.text());
            if answer.status.is_client_error() && method != "HEAD" {
                let kind = answer.header("content-type").unwrap_or_default();
                let wanted =
                    if path.starts_with("/api/v1") { "application/json" } else { "application/problem+json" };
                prop_assert_eq!(kind, wanted);
            }
            Ok(())
        })
        .unwrap();
}
