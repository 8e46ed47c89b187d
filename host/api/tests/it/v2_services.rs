//! Services, as they are told.

use grove_wire::service::{Service, ServiceInput, ServiceState};
use serde_json::json;

use crate::kit::{Kit, service};

async fn kit() -> Kit {
    let kit = Kit::new().await;
    let plugin = Service {
        inputs: vec![
            ServiceInput { name: "runtime".to_owned(), state: Some(ServiceState::Started) },
            ServiceInput { name: "gone".to_owned(), state: None },
        ],
        waits_for: vec!["gone".to_owned()],
        detail: [("grants".to_owned(), "ssh".to_owned())].into(),
        ..service("plugin/ssh@0123456789ab", ServiceState::Waiting)
    };
    *kit.services.0.lock() = vec![plugin, service("runtime", ServiceState::Started)];
    kit
}

#[tokio::test(start_paused = true)]
async fn all_and_one() {
    let kit = kit().await;
    let all = kit.get("/api/v2/services").await;
    insta::assert_snapshot!(all.text());
    assert_eq!(all.json()["next"], json!(null));
    // Also as a client writes a name that must be one segment.
    for path in ["plugin/ssh@0123456789ab", "plugin%2Fssh%400123456789ab"] {
        let one = kit.get(&format!("/api/v2/services/{path}")).await;
        assert_eq!(one.json(), all.json()["items"][0], "{path}");
    }
    let none = kit.get("/api/v2/services/plugin/ssh").await;
    assert_eq!((none.status.as_u16(), &none.json()["code"]), (404, &json!("service_not_found")));
    assert_eq!(kit.ask("POST /api/v2/services", &[], "").await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn the_picture() {
    let kit = kit().await;
    let graphviz = [("accept", "text/vnd.graphviz")];
    let json = [("accept", "application/json, text/plain")];
    for (path, headers, kind) in [
        ("/api/v2/services", &graphviz[..], "text/vnd.graphviz; charset=utf-8"),
        ("/api/v2/services?format=dot", &[], "text/vnd.graphviz; charset=utf-8"),
        ("/api/v2/services?format=json", &graphviz, "application/json"),
        ("/api/v2/services", &json, "application/json"),
    ] {
        let answer = kit.ask(&format!("GET {path}"), headers, "").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(kind)), "{path}");
    }
    assert_eq!(kit.get("/api/v2/services?format=dot").await.text(), "digraph services {}\n");
    assert_eq!(kit.get("/api/v2/services?format=png").await.status, 400);
}
