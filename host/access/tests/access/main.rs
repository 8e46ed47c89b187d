//! The room from outside: real sockets, a real sshd, a real ssh.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of a test fails like the test"
)]

mod board;
mod keypool;
mod keys;
mod ssh;
#[path = "../support/sshd.rs"]
mod sshd;
mod tunnels;

use std::future::Future;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

/// Long enough for a busy machine; only a hang takes longer.
const DEADLINE: Duration = Duration::from_secs(90);

/// The outcome of something that must not hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it hangs")
}

/// Waits for something to become true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("never so: {what}"));
}

fn open_dir(path: &std::path::Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap()
}
