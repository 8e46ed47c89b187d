//! A farm to ask.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use grove_api::{App, Options, PluginList};
use grove_control::fakes::Fakes;
use grove_control::farm::Farm;
use grove_control::{Controller, Settings};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::{request, worker};
use grove_wire::plugin::{Plugin, PluginKind};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// A controller on fakes, and the API before it.
pub(crate) struct Kit {
    pub(crate) fakes: Fakes,
    pub(crate) controller: Controller,
    pub(crate) app: App,
    router: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

struct OnePlugin;

impl PluginList for OnePlugin {
    fn plugins(&self) -> Vec<Plugin> {
        vec![Plugin {
            name: "fake".to_owned(),
            kind: PluginKind::Driver,
            version: "1.0.0".to_owned(),
            world: "0.1.0".to_owned(),
            summary: "a driver for tests".to_owned(),
            digest: None,
            active: true,
            grants: Vec::new(),
            trouble: None,
            config_schema: None,
        }]
    }
}

/// The uuid of worker number `number`.
pub(crate) fn uuid(number: u8) -> Uuid {
    format!("00000000-0000-4000-8000-0000000000{number:02x}").parse().unwrap()
}

impl Kit {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), Options::default()).await
    }

    pub(crate) async fn with(settings: Settings, options: Options) -> Self {
        let fakes = Fakes::new();
        let controller = Controller::start(fakes.parts(settings)).await.unwrap();
        let check_key = Arc::new(|line: &str| match line.starts_with("ssh-") {
            true => Ok(line.trim().to_owned()),
            false => Err("this is not an OpenSSH public key".to_owned()),
        });
        let app = App::new(controller.clone(), options, Arc::new(OnePlugin), check_key);
        let router = app.router();
        Self { fakes, controller, app, router }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// One exchange; `call` is a method and a path.
    pub(crate) async fn ask(&self, call: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (method, path) = call.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &[], body.to_owned()).await
    }

    /// Registers worker `number` with these capabilities (JSON).
    pub(crate) async fn worker(&self, number: u8, capabilities: &str) {
        let call = format!("PUT /api/v2/workers/{}", uuid(number));
        let answer =
            self.ask(&call, &[], format!(r#"{{"driver":"fake","capabilities":{capabilities}}}"#)).await;
        assert!(answer.status.is_success(), "{}", answer.text());
    }

    /// The same, and brings it to idle.
    pub(crate) async fn idle_worker(&self, number: u8, capabilities: &str) {
        self.worker(number, capabilities).await;
        self.make_idle(number).await;
    }

    pub(crate) async fn make_idle(&self, number: u8) {
        let answer =
            self.post(&format!("/api/v2/workers/{}/state", uuid(number)), r#"{"state":"idle"}"#).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        // A waiting request may take it the moment it is.
        self.until(&format!("worker {number} ready"), |farm| {
            let ready = [worker::State::Idle, worker::State::Running];
            farm.worker(WorkerId(uuid(number))).is_some_and(|worker| ready.contains(&worker.state))
        })
        .await;
    }

    /// Waits, without letting time pass, until the farm is so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Farm) -> bool) {
        for _ in 0..100_000 {
            if holds(&self.controller.farm()) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("it never came to this: {what}; {:?}", self.controller.farm());
    }

    pub(crate) async fn until_worker(&self, number: u8, state: &str) {
        let wanted = worker::State::from_name(state).unwrap();
        self.until(&format!("worker {number} {state}"), |farm| {
            farm.worker(WorkerId(uuid(number))).is_some_and(|worker| worker.state == wanted)
        })
        .await;
    }

    pub(crate) async fn until_request(&self, id: u64, state: &str) {
        let wanted = request::State::from_name(state).unwrap();
        self.until(&format!("request {id} {state}"), |farm| {
            farm.request(RequestId(id)).is_some_and(|request| request.state == wanted)
        })
        .await;
    }

    /// Makes a request and waits until its job runs.
    pub(crate) async fn running_job(&self, body: &str) -> u64 {
        let answer = self.post("/api/v2/requests", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = answer.json()["id"].as_u64().unwrap();
        self.until_request(id, "in_progress").await;
        id
    }
}
