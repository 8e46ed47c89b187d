//! A farm that answers what a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Longest wait for something that must happen: only a hang takes this long.
const HANG: Duration = Duration::from_secs(60);

/// One call that came in.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// As sent.
    pub(crate) body: String,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    kind: &'static str,
    body: String,
}

#[derive(Default)]
struct State {
    /// By `METHOD /path`; each is given once, the last one for ever.
    answers: HashMap<String, Vec<Answer>>,
    calls: Vec<Call>,
}

/// The farm; ends when dropped.
pub(crate) struct Farm {
    /// Base address.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Farm {
    /// A farm that knows no answer yet.
    pub(crate) fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        let address = told.recv().unwrap();
        Self { url: format!("http://{address}"), state, stop: Some(stop), thread: Some(thread) }
    }

    /// Answers `METHOD /path` so; said again for the same path, the first is given once, then the next.
    pub(crate) fn on(&self, route: &str, status: u16, body: impl Into<Value>) -> &Self {
        let kind = if status < 400 { "application/json" } else { "application/problem+json" };
        self.on_text(route, status, kind, &body.into().to_string())
    }

    /// The same with any kind of body.
    pub(crate) fn on_text(&self, route: &str, status: u16, kind: &'static str, body: &str) -> &Self {
        let answer = Answer { status, kind, body: body.to_owned() };
        self.state.lock().unwrap().answers.entry(route.to_owned()).or_default().push(answer);
        self
    }

    /// Every call, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Those whose line begins so.
    pub(crate) fn calls_of(&self, start: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.line.starts_with(start)).collect()
    }

    /// Returns once so many calls with this start have come.
    pub(crate) fn wait_for(&self, start: &str, count: usize) {
        let mut waited = Duration::ZERO;
        while self.calls_of(start).len() < count {
            assert!(waited < HANG, "{start} was called {} times only", self.calls_of(start).len());
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server shows as calls without an answer.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(state.clone(), request));
            // A client may hang up at any time.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let route = format!("{} {}", request.method(), request.uri().path());
    let line = match request.uri().query() {
        Some(query) => format!("{route}?{query}"),
        None => route.clone(),
    };
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut state = state.lock().unwrap();
    state.calls.push(Call { line, headers, body });
    let answer = match state.answers.get_mut(&route) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => {
            Answer { status: 501, kind: "text/plain", body: format!("the test has no answer to {route}") }
        }
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    response.headers_mut().insert("content-type", answer.kind.parse().unwrap());
    Ok(response)
}
