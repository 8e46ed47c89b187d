//! Clients that do not behave, on real sockets: a clear answer or a closed connection, never a hang.

use std::net::SocketAddr;
use std::time::Duration;

use grove_api::{App, Attached, Limits, Options, serve};
use grove_control::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::kit::Kit;

/// Only to catch hangs.
const FOREVER: Duration = Duration::from_secs(60);

struct Server {
    address: SocketAddr,
    kit: Kit,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn start(limits: Limits) -> Server {
    start_with(Kit::with(Settings::default(), Options::default(), limits).await).await
}

async fn start_with(kit: Kit) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(serve(listener, kit.front.clone(), shutdown.clone()));
    Server { address, kit, shutdown, running }
}

fn impatient() -> Limits {
    let short = Duration::from_millis(300);
    Limits { head: short, body: short, drain: Duration::from_secs(5), ..Limits::default() }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes, and reads until the server closes.
    async fn all(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a way to close, too.
    let _ = tokio::time::timeout(FOREVER, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer whose body has a known length.
async fn one(stream: &mut TcpStream) -> String {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return text;
                }
            }
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed after {text}");
        }
    };
    tokio::time::timeout(FOREVER, read).await.expect("the server answers")
}

#[tokio::test]
async fn garbage_is_refused() {
    let server = start(Limits::default()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST /api/v2/requests HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}",
    ] {
        let answer = server.all(bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn broken_chunks_are_refused() {
    let server = start(Limits::default()).await;
    for path in ["/api/v1/reqs/", "/api/v2/requests"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n");
        let answer = server.all(head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn garbage_after_a_good_request_closes() {
    let server = start(Limits::default()).await;
    let answer = server.all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nnonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = start(impatient()).await;
    let mut stream = server.connect().await;
    let mut bytes = Vec::new();
    for _ in 0..50 {
        let body = r#"{"Priority":8}"#;
        let request =
            format!("POST /api/v1/reqs/ HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        bytes.extend_from_slice(request.as_bytes());
    }
    stream.write_all(&bytes).await.unwrap();
    let answers = rest(&mut stream).await;
    let places: Vec<_> = (1..=50).map(|n| answers.find(&format!("{{\"ReqID\":{n}}}")).unwrap()).collect();
    assert!(places.is_sorted());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let server = start(Limits::default()).await;
    for path in ["/api/v1/reqs/", "/api/v2/requests"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n");
        let answer = server.all(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

        // Without telling its length.
        let mut bytes =
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..17 {
            bytes.extend_from_slice(b"10000\r\n");
            bytes.extend(std::iter::repeat_n(b' ', 0x10000));
            bytes.extend_from_slice(b"\r\n");
        }
        let answer = server.all(&bytes).await;
        // The answer may be lost when the client is still sending as the server closes.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    // One at the limit is taken.
    let body = format!("{{\"Priority\":8}}{}", " ".repeat((1 << 20) - 14));
    let request = format!(
        "POST /api/v1/reqs/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(server.all(request.as_bytes()).await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let server = start(impatient()).await;
    for bytes in [&b""[..], b"GET / HT", b"GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: "] {
        let answer = server.all(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = start(Limits::default()).await;
    let answer = server
        .all(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000)).as_bytes())
        .await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = "x: y\r\n".repeat(100);
    let answer = server.all(format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = start(impatient()).await;
    for path in ["/api/v1/reqs/", "/api/v2/requests"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{{\"Prio");
        let answer = server.all(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_halfway_is_let_go() {
    let server = start(Limits::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /api/v1/reqs/ HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_kept() {
    let server = start(impatient()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /api/v1/version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(one(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
    rest(&mut stream).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let server = start(Limits { connections: 2, ..Limits::default() }).await;
    let (first, _second) = (server.connect().await, server.connect().await);
    let mut third = server.connect().await;
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), third.read(&mut byte)).await;
    assert!(early.is_err(), "it was served beside two others");
    drop(first);
    assert!(rest(&mut third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn shutdown_ends_what_waits_and_lets_the_rest_finish() {
    let server = start(Limits::default()).await;
    assert_eq!(server.kit.post("/api/v2/requests", "{}").await.status, 201);
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(one(&mut idle).await.starts_with("HTTP/1.1 200"));
    let mut polling = server.connect().await;
    polling.write_all(b"GET /api/v2/requests/1?wait=60s HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut streaming = server.connect().await;
    streaming
        .write_all(b"GET /api/v2/events HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    let mut some = [0; 16];
    streaming.read_exact(&mut some).await.unwrap();

    server.shutdown.cancel();
    tokio::time::timeout(FOREVER, server.running).await.expect("the server ends").unwrap().unwrap();
    assert_eq!(rest(&mut idle).await, "");
    // It was taken up, or it was not: then the connection is closed without an answer.
    let polled = rest(&mut polling).await;
    assert!(polled.is_empty() || polled.starts_with("HTTP/1.1 200"), "{polled}");
    rest(&mut streaming).await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_handler_that_breaks_breaks_nothing_else() {
    let kit = Kit::new().await;
    let broken = std::sync::Arc::new(|_: &str| -> Result<String, String> {
        panic!("a handler that breaks, on purpose")
    });
    let app = App::new(
        kit.controller.clone(),
        Options::default(),
        kit.plugins.clone(),
        broken,
        kit.storage.clone(),
    );
    let _attached: Attached = kit.front.attach(app);
    let server = start_with(kit).await;
    let mut stream = server.connect().await;
    let request =
        b"POST /api/v2/requests HTTP/1.1\r\nhost: a\r\ncontent-length: 14\r\n\r\n{\"keys\":[\"a\"]}";
    stream.write_all(request).await.unwrap();
    let answer = one(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("\"code\":\"internal\""), "{answer}");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(one(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let server = start(Limits::default()).await;
    let mut bytes = b"HEAD /api/v1/version HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
    bytes.extend_from_slice(b"HEAD /api/v2/workers HTTP/1.1\r\nhost: a\r\n\r\n");
    bytes.extend_from_slice(b"POST /api/v1/reqs/1/close HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answers = server.all(&bytes).await;
    let mut heads = answers.split("\r\n\r\n");
    let (first, second, third) = (heads.next().unwrap(), heads.next().unwrap(), heads.next().unwrap());
    assert!(first.starts_with("HTTP/1.1 200") && first.contains("content-length: 57"), "{first}");
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    assert!(third.starts_with("HTTP/1.1 404"), "{third}");
    assert_eq!(heads.collect::<Vec<_>>(), [r#"{"message":"Request not found"}"#]);
}
