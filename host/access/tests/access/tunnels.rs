use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use grove_access::tunnel::{OpenError, TunnelSettings, Tunnels};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{until, within};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn settings() -> TunnelSettings {
    // A range that no other test and no ephemeral port shares.
    TunnelSettings { bind: LOCAL, ports: 21_000..=21_999, ..TunnelSettings::default() }
}

async fn board() -> (TcpListener, (String, u16)) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, ("127.0.0.1".to_owned(), port))
}

/// Both ends of one connection through the tunnel.
async fn connect(port: u16, board: &TcpListener) -> (TcpStream, TcpStream) {
    let user = within(TcpStream::connect((LOCAL, port))).await.unwrap();
    let (board, _) = within(board.accept()).await.unwrap();
    (user, board)
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    within(stream.read_to_end(&mut all)).await.unwrap();
    all
}

/// Resolves when the connection is over, with an end or a reset.
async fn ended(stream: &mut TcpStream) {
    let mut rest = [0; 64];
    within(async { while let Ok(1..) = stream.read(&mut rest).await {} }).await;
}

#[tokio::test]
async fn the_end_of_one_way_leaves_the_other_open() {
    let tunnels = Tunnels::new(settings());
    let (listener, target) = board().await;
    let port = tunnels.open(1, target, None).await.unwrap();

    let (mut user, mut far) = connect(port, &listener).await;
    user.write_all(b"question").await.unwrap();
    user.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut far).await, b"question");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    assert_eq!(read_to_end(&mut user).await, b"answer");

    let (mut user, mut far) = connect(port, &listener).await;
    far.write_all(b"greeting").await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut user).await, b"greeting");
    user.write_all(b"thanks").await.unwrap();
    user.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut far).await, b"thanks");

    until("both connections are over", || tunnels.stats(1).unwrap().connections == 0).await;
    let stats = tunnels.stats(1).unwrap();
    assert_eq!((stats.port, stats.accepted, stats.refused), (port, 2, 0));
    assert_eq!((stats.bytes_in, stats.bytes_out), (8 + 6, 6 + 8));
}

#[tokio::test]
async fn closing_ends_everything_at_once() {
    let tunnels = Tunnels::new(settings());
    let (listener, target) = board().await;
    let port = tunnels.open(1, target.clone(), None).await.unwrap();
    let (mut user, mut far) = connect(port, &listener).await;
    // In the middle of something, with nobody reading.
    user.write_all(&[1; 64 * 1024]).await.unwrap();
    within(tunnels.close(1)).await;

    ended(&mut user).await;
    ended(&mut far).await;
    assert!(TcpStream::connect((LOCAL, port)).await.is_err(), "nobody listens any more");
    assert_eq!((tunnels.stats(1), tunnels.count()), (None, 0));
    within(tunnels.close(1)).await;
    // The same job again.
    let again = tunnels.open(1, target, Some(port)).await.unwrap();
    assert_eq!(again, port);
    within(tunnels.close_all()).await;
    assert!(matches!(tunnels.open(2, ("127.0.0.1".into(), 1), None).await, Err(OpenError::ShutDown)));
}

#[tokio::test]
async fn closing_does_not_wait_for_a_dial() {
    // A listener that accepts nobody, its queue full: dials to it hang.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((LOCAL, 0).into()).unwrap();
    let full = socket.listen(0).unwrap();
    let port = full.local_addr().unwrap().port();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect((LOCAL, port))).await
    {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue never fills up");
    }
    let slow = TunnelSettings { connect_timeout: Duration::from_secs(3600), ..settings() };
    let tunnels = Tunnels::new(slow);
    let opened = tunnels.open(1, ("127.0.0.1".into(), port), None).await.unwrap();
    let mut user = TcpStream::connect((LOCAL, opened)).await.unwrap();
    until("it dials", || tunnels.stats(1).unwrap().connections == 1).await;
    within(tunnels.close(1)).await;
    ended(&mut user).await;
}

#[tokio::test]
async fn a_job_gets_its_port_back_after_a_restart() {
    let (listener, target) = board().await;
    let first = Tunnels::new(settings());
    let port = first.open(1, target.clone(), None).await.unwrap();
    let (mut user, far) = connect(port, &listener).await;
    drop(first);
    ended(&mut user).await;

    let second = Tunnels::new(settings());
    // The kernel may need a moment to let the old listener go.
    within(async {
        loop {
            match second.open(1, target.clone(), Some(port)).await {
                Ok(opened) => break assert_eq!(opened, port),
                Err(error) => assert!(matches!(error, OpenError::Taken { .. }), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    drop(far);
    connect(port, &listener).await;
}

#[tokio::test]
async fn a_port_that_was_lost_is_nobody_elses() {
    let (_listener, target) = board().await;
    let mut foreign = None;
    for port in 22_020..=22_039 {
        foreign = foreign.or(TcpListener::bind((LOCAL, port)).await.ok());
    }
    let foreign = foreign.expect("a free port");
    let taken = foreign.local_addr().unwrap().port();
    let tunnels = Tunnels::new(TunnelSettings { ports: taken..=taken + 2, ..settings() });
    let wants = async |id, port| tunnels.open(id, target.clone(), Some(port)).await;
    let refused = async |id, port| matches!(wants(id, port).await, Err(OpenError::Taken { .. }));
    assert!(refused(1, taken).await, "somebody else has it");
    assert_eq!(wants(2, taken + 1).await.unwrap(), taken + 1, "who can stay stays");
    assert!(refused(3, taken + 1).await && refused(3, 80).await, "neither another's nor one of no tunnel");
    // It comes free, and is still nobody's but the first one's.
    drop(foreign);
    assert!(refused(3, taken).await);
    assert_eq!(tunnels.open(3, target.clone(), None).await.unwrap(), taken + 2);
    assert!(tunnels.open(4, target.clone(), None).await.is_err());
    assert_eq!(wants(1, taken).await.unwrap(), taken);
    // Opening twice is one tunnel; elsewhere it is a mistake.
    assert_eq!(tunnels.open(1, target.clone(), None).await.unwrap(), taken);
    let elsewhere = tunnels.open(1, ("127.0.0.1".into(), 1), None).await;
    assert!(matches!(elsewhere, Err(OpenError::Elsewhere { id: 1, .. })), "{elsewhere:?}");
    // Once its job is over, others may have it.
    tunnels.close(1).await;
    assert_eq!(tunnels.open(4, target.clone(), None).await.unwrap(), taken);
}

#[tokio::test]
async fn a_full_range_is_said() {
    let tunnels = Tunnels::new(TunnelSettings { ports: 22_000..=22_001, ..settings() });
    let mut refused = None;
    for id in 0..3 {
        refused = refused.or(tunnels.open(id, ("127.0.0.1".into(), 1), None).await.err());
    }
    let text = refused.expect("three tunnels on two ports").to_string();
    assert_eq!(text, "no free port in 22000-22001: widen the range of tunnel ports");
}

#[tokio::test]
async fn a_claimed_port_is_the_tunnels_until_it_is_closed() {
    let (board, target) = board().await;
    let tunnels = Tunnels::new(TunnelSettings { ports: 22_010..=22_011, ..settings() });
    tunnels.claim(1).unwrap();
    tunnels.claim(1).unwrap();
    tunnels.open(2, target.clone(), None).await.unwrap();
    let text = tunnels.claim(3).unwrap_err().to_string();
    assert_eq!(text, "no free port in 22010-22011: widen the range of tunnel ports");
    let opened = tunnels.open(1, target.clone(), None).await.unwrap();
    connect(opened, &board).await;
    tunnels.close(1).await;
    tunnels.claim(3).unwrap();
    // It is given back without having been opened.
    tunnels.close(3).await;
    tunnels.open(4, target, None).await.unwrap();
}

#[tokio::test]
async fn connections_have_a_limit_and_room_returns() {
    let tunnels = Tunnels::new(TunnelSettings { max_connections_per_job: 2, ..settings() });
    let (listener, target) = board().await;
    let port = tunnels.open(1, target, None).await.unwrap();
    let first = connect(port, &listener).await;
    let _second = connect(port, &listener).await;
    let mut third = TcpStream::connect((LOCAL, port)).await.unwrap();
    ended(&mut third).await;
    assert_eq!(tunnels.stats(1).unwrap().refused, 1);
    drop(first);
    until("there is room", || tunnels.stats(1).unwrap().connections == 1).await;
    connect(port, &listener).await;
}

#[tokio::test]
async fn all_tunnels_share_a_limit() {
    let tunnels = Tunnels::new(TunnelSettings { max_connections_total: 1, ..settings() });
    let (listener, target) = board().await;
    let one = tunnels.open(1, target.clone(), None).await.unwrap();
    let two = tunnels.open(2, target, None).await.unwrap();
    let _first = connect(one, &listener).await;
    ended(&mut TcpStream::connect((LOCAL, two)).await.unwrap()).await;
    assert_eq!(tunnels.stats(2).unwrap().refused, 1);
}

#[tokio::test]
async fn a_dead_board_ends_the_users_connection() {
    let tunnels = Tunnels::new(settings());
    let (listener, target) = board().await;
    drop(listener);
    let port = tunnels.open(1, target, None).await.unwrap();
    ended(&mut TcpStream::connect((LOCAL, port)).await.unwrap()).await;
    until("nothing is left", || tunnels.stats(1).unwrap().connections == 0).await;
}

#[tokio::test]
async fn a_side_that_breaks_takes_the_other_along() {
    let tunnels = Tunnels::new(settings());
    let (listener, target) = board().await;
    let port = tunnels.open(1, target, None).await.unwrap();
    // The user floods a board that does not read; then the user's machine resets.
    let (mut user, far) = connect(port, &listener).await;
    let flood = async { while user.write_all(&[0; 64 * 1024]).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_secs(1), flood).await.is_err(), "it never got full");
    user.set_zero_linger().unwrap();
    drop(user);
    until("the connection is over", || tunnels.stats(1).unwrap().connections == 0).await;
    drop(far);
}

#[tokio::test]
async fn silence_ends_a_connection_but_talk_does_not() {
    let idle = Some(Duration::from_millis(400));
    let tunnels = Tunnels::new(TunnelSettings { idle, ..settings() });
    let (listener, target) = board().await;
    let port = tunnels.open(1, target, None).await.unwrap();
    let (mut silent, _far) = connect(port, &listener).await;
    ended(&mut silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_data_both_ways_arrives_whole() {
    const TOTAL: usize = 32 * 1024 * 1024;
    let tunnels = Tunnels::new(settings());
    let (listener, target) = board().await;
    let port = tunnels.open(1, target, None).await.unwrap();
    let (user, far) = connect(port, &listener).await;
    let mut work = tokio::task::JoinSet::new();
    for (stream, seed) in [(user, 1_u8), (far, 2)] {
        let (mut read, mut write) = stream.into_split();
        work.spawn(async move {
            // Pieces of all sizes, below and above what a call moves.
            let mut sent = 0;
            while sent < TOTAL {
                let length = [100, 70_000, 5, 900_000, 3_000][sent % 5].min(TOTAL - sent);
                let piece: Vec<u8> = (sent..sent + length).map(|at| pattern(at, seed)).collect();
                write.write_all(&piece).await.unwrap();
                sent += length;
            }
            write.shutdown().await.unwrap();
        });
        work.spawn(async move {
            let (mut seen, mut buffer) = (0, vec![0; 300_000]);
            loop {
                let length = read.read(&mut buffer).await.unwrap();
                if length == 0 {
                    break;
                }
                let wrong =
                    buffer[..length].iter().zip(seen..).find(|(byte, at)| **byte != pattern(*at, 3 - seed));
                assert!(wrong.is_none(), "{wrong:?}");
                seen += length;
            }
            assert_eq!(seen, TOTAL);
        });
    }
    while let Some(done) = within(work.join_next()).await {
        done.unwrap();
    }
    let stats = tunnels.stats(1).unwrap();
    assert_eq!((stats.bytes_in, stats.bytes_out), (TOTAL as u64, TOTAL as u64));
}

fn pattern(at: usize, seed: u8) -> u8 {
    (at.wrapping_mul(31) >> 7) as u8 ^ seed
}

/// Counts descriptors, so it has a process to itself.
#[test]
fn a_thousand_connections_leak_no_descriptor() {
    const ALONE: &str = "GROVE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let me = std::env::current_exe().unwrap();
        let name = "tunnels::a_thousand_connections_leak_no_descriptor";
        let output = std::process::Command::new(me).args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tunnels = Tunnels::new(TunnelSettings { ports: 22_100..=22_199, ..settings() });
        let (listener, target) = board().await;
        let port = tunnels.open(1, target, None).await.unwrap();
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = descriptors();
        for round in 0..1000 {
            let (mut user, mut far) = connect(port, &listener).await;
            match round % 4 {
                0 => drop(user),
                1 => drop(far),
                2 => {
                    // Bulky.
                    let send = async {
                        user.write_all(&[1; 400_000]).await.unwrap();
                        user.shutdown().await.unwrap();
                    };
                    let (received, ()) = tokio::join!(read_to_end(&mut far), send);
                    assert_eq!(received.len(), 400_000);
                }
                _ => {
                    far.set_zero_linger().unwrap();
                    drop(far);
                    ended(&mut user).await;
                }
            }
        }
        until("no descriptor is left", || descriptors() <= before).await;
        assert_eq!(tunnels.stats(1).unwrap().accepted, 1000);
    });
}
