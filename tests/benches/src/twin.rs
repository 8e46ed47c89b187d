//! The physical part alone: a bare HTTP server, bare SQLite.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rusqlite::{Connection, params};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A bare server; it ends with its threads when it is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _threads: Runtime,
}

/// What it does before it answers.
#[derive(Clone)]
pub(crate) enum Work {
    /// Nothing.
    None,
    /// Waits until a row and its event are on disk.
    Store(Sender<oneshot::Sender<()>>),
}

impl Server {
    /// Answers every request with so many bytes, on as many threads as there are cores.
    pub(crate) fn start(size: usize, work: Work) -> Result<Self> {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = threads.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let body = Bytes::from(vec![b'x'; size]);
        threads.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (body, work) = (body.clone(), work.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (body, work) = (body.clone(), work.clone());
                    async move {
                        // A body that breaks off ends the connection anyway.
                        let _ = request.into_body().collect().await;
                        if let Work::Store(store) = work {
                            let (tell, told) = oneshot::channel();
                            let _ = store.send(tell);
                            let _ = told.await;
                        }
                        let mut response = Response::new(Full::new(body));
                        let json = hyper::header::HeaderValue::from_static("application/json");
                        response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, _threads: threads })
    }
}

/// A thread that stores a request's row and its event for everyone who asks: all that wait, with one fsync.
pub(crate) fn group_commit(folder: &Path) -> Result<Sender<oneshot::Sender<()>>> {
    let database = Database::open(folder)?;
    let (ask, asked) = channel();
    std::thread::spawn(move || {
        if let Err(error) = serve(&database, &asked) {
            eprintln!("benches: the twin's store: {error:#}");
        }
    });
    Ok(ask)
}

fn serve(database: &Database, asked: &Receiver<oneshot::Sender<()>>) -> Result<()> {
    let mut number = 0;
    while let Ok(first) = asked.recv() {
        let mut group = vec![first];
        group.extend(asked.try_iter().take(1023));
        database.commit(number + 1..=number + group.len() as u64)?;
        number += group.len() as u64;
        for asker in group {
            let _ = asker.send(());
        }
    }
    Ok(())
}

/// The store's tables and settings without the store.
pub(crate) struct Database(Connection);

impl Database {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        drop(grove_store::Store::open(folder, grove_store::Settings::default())?);
        let connection = Connection::open(folder.join("grove.db"))?;
        connection.execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = FAST;
             PRAGMA cache_size = -32000; PRAGMA wal_autocheckpoint = 4000;",
        )?;
        Ok(Self(connection))
    }

    /// Stores requests of these numbers, each with an event, with one fsync.
    pub(crate) fn commit(&self, numbers: std::ops::RangeInclusive<u64>) -> Result<()> {
        let at = "2023-11-14T22:13:20.000000000Z";
        let spec = r#"{"owner":"local","groups":null,"wants":{"exact":{"board":"none7"}},"length":null,"keys":[],"heartbeat":null,"hints":{}}"#;
        let none = None::<&str>;
        self.0.execute_batch("BEGIN IMMEDIATE")?;
        for number in numbers {
            let number = i64::try_from(number)?;
            let request =
                "INSERT INTO requests (state, since, priority, place, valid_after, valid_after_offset,
                deadline, deadline_offset, revision, id, created, spec)
                VALUES ('waiting', ?2, 8, ?1, ?2, 0, ?2, 0, 1, ?1, ?2, ?3)";
            self.0.prepare_cached(request)?.execute(params![number, at, spec])?;
            let event = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
            let subject = format!("request/{number}");
            self.0.prepare_cached(event)?.execute(params![
                number,
                at,
                "user:local",
                "request.created",
                subject,
                none,
                "waiting",
                none
            ])?;
        }
        self.0.execute_batch("COMMIT").context("the twin could not commit")
    }
}
