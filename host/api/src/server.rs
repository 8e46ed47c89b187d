//! Connections: how many, how long, how slow.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::HeaderValue;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::front::Front;

/// Bytes that a connection holds in each direction.
const BUFFER: usize = 64 << 10;
/// Bytes of the head of a request.
const HEAD: usize = 32 << 10;
/// Headers of one request.
const HEADERS: usize = 64;
/// Of so many places one is for those who ask once: there, a connection ends with its answer.
const KEPT_FREE: usize = 4;
/// Pause after the machine could not give another connection.
const RECOVER: Duration = Duration::from_millis(100);
/// Seconds of silence after which a peer is asked whether it is still there, and between askings.
const PROBE: (u32, u32) = (60, 15);

/// Serves `front` on `listener` until `shutdown` fires, then lets running requests end for as long as the limits say.
///
/// # Errors
/// When the listener breaks for good.
pub async fn serve(listener: TcpListener, front: Front, shutdown: CancellationToken) -> io::Result<()> {
    front.begin();
    let limits = front.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let router = front.router();
    let abandon = CancellationToken::new();
    // Whatever ends this future, no connection outlives it.
    let _guard = abandon.clone().drop_guard();
    loop {
        // A place first: while there is none, the next ones wait in the listener's backlog.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.map_err(io::Error::other)?,
            () = shutdown.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(RECOVER).await;
                continue;
            }
        };
        if let Err(error) = prepare(&stream, limits.stalled) {
            tracing::debug!(%error, "failed to set up a connection");
            continue;
        }
        let (front, router, shutdown, abandon) =
            (front.clone(), router.clone(), shutdown.clone(), abandon.clone());
        let free = places.clone();
        tokio::spawn(async move {
            front.metrics.connected();
            connection(stream, &front, router, &free, shutdown, abandon).await;
            front.metrics.disconnected();
            drop(place);
        });
    }
    drop(listener);
    front.stop();
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // Every place back means that every connection has ended.
    let drained = tokio::time::timeout(limits.drain, places.acquire_many(all)).await;
    if drained.is_err() {
        tracing::warn!("closing connections that did not end in time");
    }
    Ok(())
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn prepare(stream: &TcpStream, stalled: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(PROBE.0.into()))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(PROBE.1.into()))?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, u32::try_from(stalled.as_millis()).unwrap_or(u32::MAX))?;
    #[cfg(not(target_os = "linux"))]
    let _ = stalled;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    front: &Front,
    router: Router,
    places: &Semaphore,
    shutdown: CancellationToken,
    abandon: CancellationToken,
) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut response = front.answer(router, request.map(Body::new)).await;
            // Nobody keeps one of the last places without using it.
            if places.available_permits() < front.limits.connections / KEPT_FREE {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(front.limits.head)
        .max_buf_size(BUFFER)
        .max_header_size(HEAD)
        .max_headers(HEADERS);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = abandon.cancelled() => return,
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = serving => ended,
                () = abandon.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}
