//! A farm to ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_api::{App, Attached, CheckKey, Front, Limits, Options, PluginRefused, Plugins, Services, Storage};
use grove_control::fakes::Fakes;
use grove_control::farm::Farm;
use grove_control::{Controller, Created, Settings};
use grove_domain::id::{RequestId, Uuid, WorkerId};
use grove_domain::moment::SignedDuration;
use grove_domain::{request, worker};
use grove_objects::{Artifacts, Backend, Keeping, Logs, Objects, Quotas};
use grove_wire::plugin::{Origin, Plugin, PluginKind, PluginState, PluginVersion, VersionChoice};
use grove_wire::service::{Service, ServiceState};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tower::ServiceExt;

/// A controller on fakes, and the API before it.
pub(crate) struct Kit {
    pub(crate) fakes: Fakes,
    pub(crate) controller: Controller,
    pub(crate) plugins: Arc<FakePlugins>,
    pub(crate) services: Arc<FakeServices>,
    pub(crate) storage: Storage,
    pub(crate) front: Front,
    /// The farm is served as long as it is there.
    pub(crate) attached: Mutex<Option<Attached>>,
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

/// Plugins that do nothing, and remember what they were asked to.
#[derive(Default)]
pub(crate) struct FakePlugins {
    pub(crate) calls: Mutex<Vec<String>>,
    /// The next change is refused so.
    pub(crate) refuse: Mutex<Option<PluginRefused>>,
}

pub(crate) fn digest(start: &str) -> String {
    format!("{start:0<64}")
}

pub(crate) fn plugin() -> Plugin {
    let version = |digest: String, version: &str, active: bool| PluginVersion {
        digest,
        version: version.to_owned(),
        world: "0.1.0".to_owned(),
        summary: "a driver for tests".to_owned(),
        origin: Origin::Installed,
        installed: "2026-01-01T00:00:00Z".parse().unwrap(),
        active,
        pinned_workers: 0,
        wants: Vec::new(),
        grants: Vec::new(),
        trouble: None,
        config_schema: None,
    };
    Plugin {
        name: "fake".to_owned(),
        kind: PluginKind::Driver,
        state: PluginState::Active,
        active: true,
        enabled: true,
        version: "1.0.0".to_owned(),
        digest: Some(digest("aaaaaaaaaaaa")),
        world: "0.1.0".to_owned(),
        summary: "a driver for tests".to_owned(),
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
        previous: None,
        probation: None,
        wants: Vec::new(),
        grants: Vec::new(),
        trouble: None,
        config_schema: None,
        versions: vec![
            version(digest("bbbbbbbbbbbb"), "1.1.0", false),
            version(digest("aaaaaaaaaaaa"), "1.0.0", true),
        ],
        revision: 3,
    }
}

impl FakePlugins {
    fn done<T: Send + 'static>(&self, call: String, it: T) -> BoxFuture<'static, Result<T, PluginRefused>> {
        self.calls.lock().push(call);
        let refused = self.refuse.lock().take();
        let done = refused.map_or(Ok(it), Err);
        // A client may go away meanwhile.
        async {
            tokio::task::yield_now().await;
            done
        }
        .boxed()
    }

    fn named(&self, name: &str, call: String) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        if name != "fake" {
            return std::future::ready(Err(PluginRefused::NotFound)).boxed();
        }
        self.done(call, plugin())
    }
}

impl Plugins for FakePlugins {
    fn list(&self) -> Vec<Plugin> {
        vec![plugin()]
    }

    fn install(
        &self,
        actor: &str,
        manifest: String,
        component: Bytes,
        activate: bool,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<(Plugin, Created), PluginRefused>> {
        let created = if manifest.contains("old") { Created::No } else { Created::Yes };
        let call = format!(
            "{actor} install {manifest:?} {} bytes activate={activate} {expected:?}",
            component.len()
        );
        self.done(call, (plugin(), created))
    }

    fn enable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        self.named(name, format!("{actor} enable {name} {expected:?}"))
    }

    fn disable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        self.named(name, format!("{actor} disable {name} {expected:?}"))
    }

    fn swap(
        &self,
        actor: &str,
        name: &str,
        to: VersionChoice,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        self.named(name, format!("{actor} swap {name} {to} {expected:?}"))
    }

    fn remove(
        &self,
        actor: &str,
        name: &str,
        version: Option<VersionChoice>,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Result<(), PluginRefused>> {
        let version = version.map(String::from).unwrap_or_default();
        let done = self.named(name, format!("{actor} remove {name} {version:?} {expected:?}"));
        async { done.await.map(drop) }.boxed()
    }
}

/// Services as a test says.
#[derive(Default)]
pub(crate) struct FakeServices(pub(crate) Mutex<Vec<Service>>);

pub(crate) fn service(name: &str, state: ServiceState) -> Service {
    Service {
        name: name.to_owned(),
        state,
        inputs: Vec::new(),
        waits_for: Vec::new(),
        starts: 1,
        restarts: 0,
        bounces: 0,
        last_error: None,
        last_start: None,
        next_start: None,
        detail: BTreeMap::new(),
    }
}

impl Services for FakeServices {
    fn report(&self) -> Vec<Service> {
        self.0.lock().clone()
    }

    fn dot(&self) -> String {
        "digraph services {}\n".to_owned()
    }
}

/// The uuid of worker number `number`.
pub(crate) fn uuid(number: u8) -> Uuid {
    format!("00000000-0000-4000-8000-0000000000{number:02x}").parse().unwrap()
}

pub(crate) fn check_key() -> CheckKey {
    Arc::new(|line: &str| match line.starts_with("ssh-") {
        true => Ok(line.trim().to_owned()),
        false => Err("this is not an OpenSSH public key".to_owned()),
    })
}

/// Files in memory.
pub(crate) async fn storage() -> Storage {
    let objects = Objects::open(Backend::Memory).unwrap();
    let quotas = Quotas {
        artifact: 4 << 20,
        group: 6 << 20,
        count: 100,
        unused: SignedDuration::from_hours(24),
        total: 1 << 30,
    };
    let artifacts = Artifacts::new(objects.clone(), quotas);
    artifacts.load().await.unwrap();
    Storage { artifacts, logs: Logs::new(objects, Keeping::default()) }
}

impl Kit {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), Options::default(), Limits::default()).await
    }

    pub(crate) async fn with(settings: Settings, options: Options, limits: Limits) -> Self {
        let fakes = Fakes::new();
        let controller = Controller::start(fakes.parts(settings)).await.unwrap();
        let plugins = Arc::new(FakePlugins::default());
        let services = Arc::new(FakeServices::default());
        let storage = storage().await;
        let front = Front::new(limits, services.clone());
        let app = App::new(controller.clone(), options, plugins.clone(), check_key(), storage.clone());
        let attached = Mutex::new(Some(front.attach(app)));
        let router = front.router();
        Self { fakes, controller, plugins, services, storage, front, attached, router }
    }

    /// Serves the same controller anew.
    pub(crate) fn attach(&self) {
        let plugins = self.plugins.clone();
        let storage = self.storage.clone();
        let app = App::new(self.controller.clone(), Options::default(), plugins, check_key(), storage);
        *self.attached.lock() = Some(self.front.attach(app));
    }

    /// The farm is not served any more.
    pub(crate) fn detach(&self) {
        *self.attached.lock() = None;
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
