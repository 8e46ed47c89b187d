//! How much the server answers: its own load, over loopback, against a farm in memory.
//!
//! `cargo run --release -p grove-api --example load [connections] [seconds]`

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_api::{App, Front, Limits, Options, PluginRefused, Plugins, Services, Storage, serve};
use grove_control::fakes::Fakes;
use grove_control::{Controller, Created, Settings};
use grove_domain::moment::SignedDuration;
use grove_objects::{Artifacts, Backend, Keeping, Logs, Objects, Quotas};
use grove_wire::plugin::{Plugin, VersionChoice};
use grove_wire::service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct NoPlugins;

fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T, PluginRefused>> {
    std::future::ready(Err(PluginRefused::NotFound)).boxed()
}

impl Plugins for NoPlugins {
    fn list(&self) -> Vec<Plugin> {
        Vec::new()
    }

    fn install(
        &self,
        _: &str,
        _: String,
        _: Bytes,
        _: bool,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<(Plugin, Created), PluginRefused>> {
        none()
    }

    fn enable(&self, _: &str, _: &str, _: Option<u64>) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        none()
    }

    fn disable(&self, _: &str, _: &str, _: Option<u64>) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        none()
    }

    fn swap(
        &self,
        _: &str,
        _: &str,
        _: VersionChoice,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<Plugin, PluginRefused>> {
        none()
    }

    fn remove(
        &self,
        _: &str,
        _: &str,
        _: Option<VersionChoice>,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<(), PluginRefused>> {
        none()
    }
}

struct NoServices;

impl Services for NoServices {
    fn report(&self) -> Vec<Service> {
        Vec::new()
    }

    fn dot(&self) -> String {
        String::new()
    }
}

fn storage() -> Outcome<Storage> {
    let objects = Objects::open(Backend::Memory)?;
    let unused = SignedDuration::from_hours(1);
    let quotas = Quotas { artifact: 0, group: 0, count: 0, unused, total: 0 };
    Ok(Storage {
        artifacts: Artifacts::new(objects.clone(), quotas),
        logs: Logs::new(objects, Keeping::default()),
    })
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let connections: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let controller = Controller::start(Fakes::new().parts(Settings::default())).await?;
    let app = App::new(
        controller,
        Options::default(),
        Arc::new(NoPlugins),
        Arc::new(|line: &str| Ok(line.to_owned())),
        storage()?,
    );
    let front = Front::new(Limits::default(), Arc::new(NoServices));
    let _attached = front.attach(app);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, front, shutdown.clone()));

    let create = r#"{"Priority":8,"Caps":{"board":"rpi4","camera":"yes"},"ValidAfter":"2030-01-01T00:00:00Z","Deadline":"2031-01-01T00:00:00Z"}"#;
    let create2 = r#"{"wants":["board=rpi4","camera"],"valid_after":"2030-01-01T00:00:00Z","deadline":"2031-01-01T00:00:00Z"}"#;
    let page = |anchor: u64| format!(r#"{{"Paginator":{{"ID":{anchor},"Limit":100}}}}"#);
    let sorted = r#"{"Sorter":{"Item":"deadline","Order":"descending"},"Paginator":{"Limit":100}}"#;
    let run = async |name: &str, call: &str, body: &str| {
        let before = cpu_micros();
        let count = load(address, connections, Duration::from_secs(seconds), call, body).await?;
        let each = (cpu_micros() - before) as f64 / count as f64;
        println!("{name:<40} {:>9}/s {each:>9.1} us of processor each", count / seconds);
        Outcome::Ok(())
    };
    run("v1 create", "POST /api/v1/reqs/", create).await?;
    // The lists below are out of this many at least.
    fill(address, 100_000, create).await?;
    run("v1 get one", "GET /api/v1/reqs/4711", "").await?;
    run("v1 page of 100 by id", "POST /api/v1/reqs/list", &page(50_000)).await?;
    run("v1 page of 100 by deadline", "POST /api/v1/reqs/list", sorted).await?;
    run("v2 create", "POST /api/v2/requests", create2).await?;
    run("v2 get one", "GET /api/v2/requests/4711", "").await?;
    run("v2 page of 100", "GET /api/v2/requests?cursor=50000", "").await?;
    run("version", "GET /api/v1/version", "").await?;
    run("healthz", "GET /healthz", "").await?;
    shutdown.cancel();
    server.await??;
    Ok(())
}

/// Processor time of this process so far, server and load together: tells more than the rate on a busy machine. Zero
/// where there is no /proc.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 10_000
}

fn request(call: &str, body: &str) -> String {
    format!("{call} HTTP/1.1\r\nhost: load\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn fill(address: SocketAddr, count: u64, body: &str) -> Outcome<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut buffer = Vec::new();
    let bytes = request("POST /api/v1/reqs/", body).repeat(50);
    for _ in 0..count / 50 {
        stream.write_all(bytes.as_bytes()).await?;
        for _ in 0..50 {
            answer(&mut stream, &mut buffer).await?;
        }
    }
    Ok(())
}

async fn load(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    call: &str,
    body: &str,
) -> Outcome<u64> {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + time;
    let bytes = request(call, body);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (done, bytes) = (done.clone(), bytes.clone());
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        clients.push(tokio::spawn(async move {
            let mut buffer = Vec::new();
            while Instant::now() < until {
                stream.write_all(bytes.as_bytes()).await?;
                answer(&mut stream, &mut buffer).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(())
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(done.load(Ordering::Relaxed))
}

/// Reads one answer; what comes after it stays in `buffer`.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?;
            if !head.starts_with("HTTP/1.1 2") {
                return Err(head.to_owned().into());
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = end + 4 + length.map_or(Ok(0), str::parse::<usize>)?;
            while buffer.len() < whole {
                if stream.read_buf(buffer).await? == 0 {
                    return Err("closed".into());
                }
            }
            buffer.drain(..whole);
            return Ok(());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err("closed".into());
        }
    }
}
