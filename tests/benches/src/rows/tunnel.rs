//! Through the tunnel of a job, and straight over the loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::farm::{Farm, NO_KEYS, create_with_key, folder, register};
use crate::http::request;
use crate::stats::median;
use crate::table::{Goal, Line, Table};

const ROUNDS: usize = 7;
/// Moved in one round, over all streams.
const BYTES: usize = 1 << 30;
const CHUNK: usize = 128 << 10;
const PINGS: u32 = 10_000;
const PING: usize = 64;

/// Bulk in one and in eight streams, and round trips.
pub(super) fn tunnel(table: &mut Table) -> Result<()> {
    let state = folder()?;
    let farm = Farm::start(state.path(), NO_KEYS)?;
    let (sink, echo) = (listen(drain)?, listen(answer)?);
    let (to_sink, to_echo) = (through(&farm, 1, sink)?, through(&farm, 2, echo)?);
    let relayed = relay(sink)?;
    for (work, streams, peer) in [("tunnel, 1 stream", 1, "0.46x"), ("tunnel, 8 streams at once", 8, "0.39x")]
    {
        let (mut ours, mut twins, mut relays) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(throughput(to_sink, streams)?);
            twins.push(throughput(sink, streams)?);
            relays.push(throughput(relayed, streams)?);
        }
        let (ours, direct, relay) = (median(&ours), median(&twins), median(&relays));
        let line = |work, twin, goal, peer| Line { work, unit: "MB/s", ours, twin: Some(twin), goal, peer };
        table.line(line(work, direct, Goal::RatioAtLeast(0.7), peer));
        table.line(line("  ... beside a bare relay, which only copies", relay, Goal::RatioAtLeast(0.9), ""));
    }
    let (mut ours, mut twins) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(round_trip(to_echo)?);
        twins.push(round_trip(echo)?);
    }
    table.line(Line {
        work: "tunnel, round trip of 64 bytes",
        unit: "us",
        ours: median(&ours),
        twin: Some(median(&twins)),
        goal: Goal::AddedAtMost(40.0),
        peer: "110",
    });
    farm.stop()
}

/// A job on a board that is really `target`: the address of its tunnel.
fn through(farm: &Farm, number: u64, target: SocketAddr) -> Result<SocketAddr> {
    let config = format!(r#"{{"address":{{"host":"127.0.0.1","port":{}}}}}"#, target.port());
    farm.ask(&register(number, &config))?;
    farm.make_idle(number..number + 1)?;
    let events = farm.events("request.state")?;
    let id = farm.ask(&create_with_key(number, ""))?.get("id").and_then(serde_json::Value::as_u64);
    let id = id.context("a request has no number")?;
    events.until(|heard| heard.after == "in_progress")?;
    let shown = farm.ask(&request("GET", &format!("/api/v2/requests/{id}"), ""))?;
    let port = shown.pointer("/job/access/port").and_then(serde_json::Value::as_u64);
    Ok((Ipv4Addr::LOCALHOST, u16::try_from(port.context("a job has no port")?)?).into())
}

/// Serves every connection on a thread of its own.
fn listen(serve: fn(TcpStream)) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// The least that any way through another process costs: a thread for each way, blocking reads and writes.
fn relay(to: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for inward in listener.incoming().flatten() {
            let Ok(outward) = TcpStream::connect(to) else { continue };
            let (Ok(back), Ok(from)) = (inward.try_clone(), outward.try_clone()) else { continue };
            for (from, to) in [(inward, outward), (from, back)] {
                let _ = to.set_nodelay(true);
                std::thread::spawn(move || copy(from, to));
            }
        }
    });
    Ok(address)
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 512 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.get(..length).unwrap_or_default()).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Reads to the end and answers with how much it was.
fn drain(mut stream: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0_u64;
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        total += length as u64;
    }
    let _ = stream.write_all(&total.to_be_bytes());
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; PING];
    while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
}

/// MB/s.
fn throughput(to: SocketAddr, streams: usize) -> Result<f64> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            let mut stream = TcpStream::connect(to)?;
            let chunk = vec![7; CHUNK];
            let share = BYTES / streams;
            for _ in 0..share / CHUNK {
                stream.write_all(&chunk)?;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut total = [0; 8];
            stream.read_exact(&mut total)?;
            ensure!(u64::from_be_bytes(total) == share as u64, "bytes were lost");
            Ok(())
        };
        let threads: Vec<_> = (0..streams).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a stream broke"))??;
        }
        Result::<()>::Ok(())
    })?;
    Ok(BYTES as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

/// Microseconds, the mean of many.
fn round_trip(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut buffer = [7; PING];
    let begin = Instant::now();
    for _ in 0..PINGS {
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / f64::from(PINGS))
}
