//! How fast a tunnel is: against a direct connection over the loopback, and against the naive twin
//! (`tokio::io::copy_bidirectional`). Run it with `--release`; rounds are interleaved, figures are medians.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use grove_access::tunnel::{TunnelSettings, Tunnels};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 7;
/// Moved in one round, over all streams.
const BYTES: u64 = 2 << 30;
const CHUNK: usize = 128 * 1024;
const PINGS: u32 = 20_000;
const PING: usize = 64;

#[tokio::main]
async fn main() -> Result<()> {
    let sink = listen(drain).await?;
    let echo = listen(answer).await?;
    let tunnels =
        Tunnels::new(TunnelSettings { bind: Ipv4Addr::LOCALHOST.into(), ..TunnelSettings::default() });
    let mut ways = Vec::new();
    for (id, target) in [(1, sink), (2, echo)] {
        let opened = tunnels.open(id, ("127.0.0.1".to_owned(), target.port()), None).await?;
        ways.push([target, SocketAddr::from((Ipv4Addr::LOCALHOST, opened)), naive(target).await?]);
    }
    let [bulk, ping] = <[_; 2]>::try_from(ways).map_err(|_| "two ways")?;
    for streams in [1, 8] {
        let mut figures = [vec![], vec![], vec![]];
        for _ in 0..ROUNDS {
            for (way, figures) in bulk.iter().zip(&mut figures) {
                figures.push(throughput(*way, streams).await?);
            }
        }
        let [direct, tunnel, naive] = figures.map(median);
        println!(
            "{streams} stream(s), MB/s: direct {direct:.0}, tunnel {tunnel:.0} ({:.2} of direct), naive {naive:.0} ({:.2})",
            tunnel / direct,
            naive / direct
        );
    }
    let mut figures = [vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        for (way, figures) in ping.iter().zip(&mut figures) {
            figures.push(round_trip(*way).await?);
        }
    }
    let [direct, tunnel, naive] = figures.map(median);
    println!("round trip of {PING} bytes, us: direct {direct:.1}, tunnel {tunnel:.1}, naive {naive:.1}");
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Serves every connection with `serve`.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    });
    Ok(addr)
}

/// The naive twin of a tunnel.
async fn naive(target: SocketAddr) -> Result<SocketAddr> {
    listen(move |mut user| async move {
        let Ok(mut board) = TcpStream::connect(target).await else { return };
        let _ = board.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut user, &mut board).await;
    })
    .await
}

/// Reads to the end and answers with how much it was.
async fn drain(mut stream: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0_u64;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        total += length as u64;
    }
    let _ = stream.write_u64(total).await;
}

async fn answer(mut stream: TcpStream) {
    let mut buffer = [0; PING];
    while stream.read_exact(&mut buffer).await.is_ok() && stream.write_all(&buffer).await.is_ok() {}
}

/// MB/s.
async fn throughput(to: SocketAddr, streams: u64) -> Result<f64> {
    let share = BYTES / streams;
    let begin = Instant::now();
    let mut work = JoinSet::new();
    for _ in 0..streams {
        work.spawn(async move {
            let mut stream = TcpStream::connect(to).await?;
            let chunk = vec![7; CHUNK];
            for _ in 0..share / CHUNK as u64 {
                stream.write_all(&chunk).await?;
            }
            stream.shutdown().await?;
            stream.read_u64().await
        });
    }
    while let Some(total) = work.join_next().await {
        if total?? != share {
            return Err("bytes were lost".into());
        }
    }
    Ok(BYTES as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

/// Microseconds, the mean of many.
async fn round_trip(to: SocketAddr) -> Result<f64> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut buffer = [7; PING];
    let begin = Instant::now();
    for _ in 0..PINGS {
        stream.write_all(&buffer).await?;
        stream.read_exact(&mut buffer).await?;
    }
    let took: Duration = begin.elapsed();
    Ok(took.as_secs_f64() * 1e6 / f64::from(PINGS))
}
