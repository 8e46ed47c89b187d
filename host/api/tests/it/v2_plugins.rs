//! Plugins that are installed, used and removed while the farm runs.

use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use grove_api::PluginRefused;
use grove_domain::plugin::{Origin, PluginKind, PluginVersion};
use serde_json::json;

use crate::kit::{Answer, Kit, digest};

pub(crate) const FORM: &str = "multipart/form-data; boundary=XX";

/// A part of a form.
fn part(name: &str, value: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

pub(crate) fn form(parts: &[(&str, &str)]) -> String {
    parts.iter().map(|(name, value)| part(name, value)).collect::<String>() + "--XX--\r\n"
}

async fn install(kit: &Kit, kind: &str, body: impl Into<Body>) -> Answer {
    kit.ask("POST /api/v2/plugins", &[("content-type", kind)], body).await
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_told() {
    let kit = Kit::new().await;
    let one = kit.get("/api/v2/plugins/fake").await;
    assert_eq!(one.header("etag"), Some("\"3\""));
    insta::assert_snapshot!(one.text());
    assert_eq!(kit.get("/api/v2/plugins").await.json(), json!({"items": [one.json()], "next": null}));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_installed() {
    let kit = Kit::new().await;
    let sent = form(&[("manifest", "name = 1"), ("component", "\0asm\r\n--X")]);
    let new = install(&kit, FORM, sent).await;
    assert_eq!((new.status.as_u16(), new.header("location")), (201, Some("/api/v2/plugins/fake")));
    assert_eq!((new.header("etag"), &new.json()["name"]), (Some("\"3\""), &json!("fake")));
    let sent = form(&[("activate", "false"), ("component", "\0asm"), ("manifest", "old")]);
    assert_eq!(install(&kit, "Multipart/Form-Data; charset=utf-8; boundary=\"XX\"", sent).await.status, 200);
    insta::assert_snapshot!(kit.plugins.calls.lock().join("\n"), @r#"
    user:local install "name = 1" 9 bytes activate=true None
    user:local install "old" 4 bytes activate=false None
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_large_component_comes_in_pieces() {
    let kit = Kit::new().await;
    let head = part("manifest", "m") + "--XX\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\n";
    let send = |mib: usize| {
        let zeros = Bytes::from(vec![b'\r'; 1 << 20]);
        let pieces = [Bytes::from(head.clone())].into_iter().chain(std::iter::repeat_n(zeros, mib));
        let pieces = pieces.chain([Bytes::from("\r\n--XX--\r\n")]).map(Ok::<_, std::io::Error>);
        Body::from_stream(stream::iter(pieces))
    };
    assert_eq!(install(&kit, FORM, send(64)).await.status, 201);
    assert!(kit.plugins.calls.lock()[0].contains(" 67108864 bytes"));
    let refused = install(&kit, FORM, send(65)).await;
    assert_eq!((refused.status.as_u16(), refused.header("connection")), (413, Some("close")));
    assert_eq!(refused.json()["detail"], "the component is larger than 64 MiB");
    // One that says so beforehand is not read.
    let headers = [("content-type", FORM), ("content-length", "100000000")];
    assert_eq!(kit.ask("POST /api/v2/plugins", &headers, "").await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_its_time_but_not_stand_still() {
    let kit = Kit::new().await;
    let head = part("manifest", "m") + "--XX\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\n";
    let send = |pause: u64| {
        let pieces =
            vec![head.clone(), "x".repeat(1 << 20), "x".repeat(1 << 20), "\r\n--XX--\r\n".to_owned()];
        Body::from_stream(stream::unfold(pieces.into_iter(), move |mut pieces| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            pieces.next().map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
        }))
    };
    assert_eq!(install(&kit, FORM, send(14)).await.status, 201);
    let slow = install(&kit, FORM, send(31)).await;
    assert_eq!((slow.status.as_u16(), &slow.json()["code"]), (408, &json!("body_timeout")));
    let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(install(&kit, FORM, endless).await.status, 408);
    let gone = Body::from_stream(stream::iter([Ok(head), Err(std::io::Error::other("gone"))]));
    assert_eq!(install(&kit, FORM, gone).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_are_none() {
    let kit = Kit::new().await;
    let good = [("manifest", "m"), ("component", "c")];
    let long = "x".repeat((256 << 10) + 1);
    let nameless = "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--\r\n";
    let mut binary =
        b"--XX\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n\xff\xfe\r\n".to_vec();
    binary.extend(form(&[("component", "c")]).bytes());
    let endless = format!("--XX\r\nX: {}", "y".repeat(1 << 20));
    let mut out = String::new();
    for (what, kind, body) in [
        ("no type", "", form(&good).into_bytes()),
        ("JSON", "application/json", b"{}".to_vec()),
        ("no boundary", "multipart/form-data", form(&good).into_bytes()),
        ("another boundary", "multipart/form-data; boundary=YY", form(&good).into_bytes()),
        ("empty", FORM, Vec::new()),
        ("no parts", FORM, b"--XX--\r\n".to_vec()),
        ("broken off", FORM, part("manifest", "m").into_bytes()),
        ("broken off in a part", FORM, part("manifest", "m").trim_end().as_bytes().to_vec()),
        ("garbage", FORM, vec![b'-'; 2 << 20]),
        ("a head without end", FORM, endless.into_bytes()),
        ("an odd head", FORM, b"--XX\r\n\x00\x01\r\n\r\nx\r\n--XX--\r\n".to_vec()),
        ("no component", FORM, form(&good[..1]).into_bytes()),
        ("an empty component", FORM, form(&[good[0], ("component", "")]).into_bytes()),
        ("no manifest", FORM, form(&good[1..]).into_bytes()),
        ("twice", FORM, form(&[good[0], good[0], good[1]]).into_bytes()),
        ("unknown", FORM, form(&[("colour", "red"), good[0], good[1]]).into_bytes()),
        ("nameless", FORM, nameless.into()),
        ("a manifest that is none", FORM, binary),
        ("a long manifest", FORM, form(&[("manifest", &long), good[1]]).into_bytes()),
        ("perhaps", FORM, form(&[good[0], good[1], ("activate", "perhaps")]).into_bytes()),
    ] {
        let answer = install(&kit, kind, body).await;
        assert!(answer.status.is_client_error(), "{what}: {}", answer.text());
        let problem = answer.json();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        writeln!(out, "{what}\n  {} {}: {}", answer.status.as_u16(), text("code"), text("detail")).unwrap();
        writeln!(out, "  hint: {} | field: {}", text("hint"), text("field")).unwrap();
    }
    insta::assert_snapshot!(out);
    assert!(kit.plugins.calls.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_taken_in_at_once() {
    let kit = std::sync::Arc::new(Kit::new().await);
    let pending = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let kit = kit.clone();
            tokio::spawn(async move { install(&kit, FORM, pending()).await.status.as_u16() })
        })
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let refused = install(&kit, FORM, form(&[])).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (503, &json!("overloaded")));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 408);
    }
    assert_eq!(install(&kit, FORM, form(&[("manifest", "m"), ("component", "c")])).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_is_used_and_removed() {
    let kit = Kit::new().await;
    let path = "/api/v2/plugins/fake";
    let seen = [("if-match", "\"3\"")];
    for (call, headers, body, status) in [
        (format!("POST {path}/enable"), &seen[..], "", 200),
        (format!("POST {path}/disable"), &[], "{}", 200),
        (format!("POST {path}/swap"), &seen, r#"{"to":"1.1.0"}"#, 200),
        (format!("POST {path}/swap"), &[], r#"{"to":"bbbbbb"}"#, 200),
        (format!("DELETE {path}?version=1.1.0"), &[], "", 204),
        (format!("DELETE {path}"), &seen, "", 204),
    ] {
        let answer = kit.ask(&call, headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{call}: {}", answer.text());
        assert_eq!(answer.header("etag"), (status == 200).then_some("\"3\""), "{call}");
    }
    insta::assert_snapshot!(kit.plugins.calls.lock().join("\n"), @r#"
    user:local enable fake Some(3)
    user:local disable fake None
    user:local swap fake 1.1.0 Some(3)
    user:local swap fake bbbbbb None
    user:local remove fake "1.1.0" None
    user:local remove fake "" Some(3)
    "#);
}

#[tokio::test(start_paused = true)]
async fn changes_of_plugins_are_refused() {
    use PluginRefused as R;

    let kit = Kit::new().await;
    let text = |text: &str| text.to_owned();
    let swap = "POST /api/v2/plugins/fake/swap";
    let mut out = String::new();
    for (call, body, refuse) in [
        ("POST /api/v2/plugins/nope/enable", "", None),
        ("DELETE /api/v2/plugins/nope", "", None),
        (swap, "", None),
        (swap, r#"{"to":""}"#, None),
        (swap, r#"{"version":"1.0.0"}"#, None),
        ("POST /api/v2/plugins/fake/enable", r#"{"really":true}"#, None),
        ("DELETE /api/v2/plugins/fake?version=", "", None),
        ("DELETE /api/v2/plugins/fake?all", "", None),
        (swap, r#"{"to":"7.0.0"}"#, Some(R::VersionNotFound)),
        (swap, r#"{"to":"bbbbbb"}"#, Some(R::Ambiguous)),
        (
            swap,
            r#"{"to":"1.1.0"}"#,
            Some(R::CheckFailed(text("it imports grove:plugin/ssh, which is not granted"))),
        ),
        ("DELETE /api/v2/plugins/fake", "", Some(R::Conflict(text("2 workers use this driver")))),
        ("DELETE /api/v2/plugins/fake?version=7.0.0", "", Some(R::VersionNotFound)),
        ("POST /api/v2/plugins/fake/disable", "", Some(R::RevisionMismatch { current: 9 })),
        ("POST /api/v2/plugins/fake/enable", "", Some(R::Unavailable(text("the disk is full")))),
    ] {
        *kit.plugins.refuse.lock() = refuse;
        let answer = kit.ask(call, &[], body).await;
        assert!(!answer.status.is_success(), "{call}");
        let problem = answer.json();
        let text = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        writeln!(out, "{call} {body}").unwrap();
        writeln!(out, "  {} {}: {}", answer.status.as_u16(), text("code"), text("detail")).unwrap();
        writeln!(out, "  hint: {} | field: {}", text("hint"), text("field")).unwrap();
    }
    for refuse in [
        R::BadManifest(text("plugin.toml: plugin.kind: unknown variant `drive`")),
        R::Full(text("the farm is full: plugin versions 1000")),
    ] {
        *kit.plugins.refuse.lock() = Some(refuse);
        let answer = install(&kit, FORM, form(&[("manifest", "m"), ("component", "c")])).await;
        writeln!(out, "install\n  {}", answer.text()).unwrap();
    }
    insta::assert_snapshot!(out);
    let stale = kit.ask(swap, &[("if-match", "x")], r#"{"to":"1.1.0"}"#).await;
    assert_eq!(stale.status, 400);
}

#[tokio::test(start_paused = true)]
async fn a_change_goes_on_when_its_client_goes_away() {
    let kit = Kit::new().await;
    let asked = kit.ask("POST /api/v2/plugins/fake/enable", &[], "");
    assert!(futures_util::FutureExt::now_or_never(asked).is_none());
    assert_eq!(kit.plugins.calls.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_pinned_to_a_version_that_there_is() {
    let kit = Kit::new().await;
    let pinned = digest("0123456789ab");
    let version = PluginVersion {
        name: "fake".to_owned(),
        digest: pinned.parse().unwrap(),
        kind: PluginKind::Driver,
        version: "1.0.0".to_owned(),
        manifest: String::new(),
        origin: Origin::Installed,
        installed: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    kit.controller.install_plugin("user:local", version, true, None).await.unwrap();
    kit.worker(1, "{}").await;
    let path = format!("/api/v2/workers/{}", crate::kit::uuid(1));
    let call = format!("PATCH {path}");
    for (body, status, then) in [
        (json!({"driver_version": pinned}), 200, json!(pinned)),
        (json!({"notes": "x"}), 200, json!(pinned)),
        (json!({"driver_version": digest("ffffffffffff")}), 422, json!(pinned)),
        (json!({"driver_version": "0123456789ab"}), 422, json!(pinned)),
        (json!({"driver_version": digest("0123456789AB")}), 422, json!(pinned)),
        (json!({"driver_version": 7}), 422, json!(pinned)),
        (json!({"driver_version": null}), 200, json!(null)),
    ] {
        let answer = kit.ask(&call, &[], body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        if status == 422 {
            assert_eq!(answer.json()["field"], "driver_version", "{body}");
        }
        assert_eq!(kit.get(&path).await.json()["driver_version"], then, "{body}");
    }
    // Tasks say what they ran on.
    kit.make_idle(1).await;
    assert_eq!(kit.get("/api/v2/tasks").await.json()["items"][0]["driver_version"], json!(pinned));
    kit.controller.disable_plugin("user:local", "fake", None).await.unwrap();
    let refused = kit.ask(&format!("PUT {path}"), &[], r#"{"driver":"fake"}"#).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (422, &json!("unknown_driver")));
}
