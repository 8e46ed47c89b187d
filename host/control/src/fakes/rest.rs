//! Keys, tunnels and a clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use grove_domain::id::RequestId;
use grove_domain::moment::{SignedDuration, Timestamp, after};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::ports::{KeyPair, Keys, Tunnels};

/// Follows tokio's clock from 2026-01-01T00:00:00Z, and can be set back or forth.
#[derive(Clone)]
pub struct TokioClock {
    start: tokio::time::Instant,
    jumped: Arc<Mutex<SignedDuration>>,
}

impl TokioClock {
    pub(super) fn new() -> Self {
        Self { start: tokio::time::Instant::now(), jumped: Arc::default() }
    }

    /// The wall clock jumps.
    pub fn jump(&self, by: SignedDuration) {
        *self.jumped.lock() += by;
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let epoch = Timestamp::from_second(1_767_225_600).unwrap_or_default();
        let passed = SignedDuration::try_from(self.start.elapsed()).unwrap_or_default();
        after(epoch, passed + *self.jumped.lock())
    }
}

/// Numbered keys.
#[derive(Clone, Default)]
pub struct FakeKeys {
    taken: Arc<AtomicU64>,
}

impl Keys for FakeKeys {
    fn take(&self) -> BoxFuture<'static, Result<KeyPair, String>> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        ready(Ok(KeyPair {
            private_pem: format!(
                "-----BEGIN RSA PRIVATE KEY-----\n{number}\n-----END RSA PRIVATE KEY-----\n"
            ),
            public_line: format!("ssh-rsa AAAA{number} grove"),
        }))
        .boxed()
    }
}

/// Ports without sockets.
#[derive(Clone, Default)]
pub struct FakeTunnels {
    shared: Arc<Mutex<Ports>>,
}

#[derive(Default)]
struct Ports {
    open: HashMap<RequestId, u16>,
    last: u16,
    taken: Vec<u16>,
}

impl FakeTunnels {
    /// Open tunnels.
    pub fn open_now(&self) -> HashMap<RequestId, u16> {
        self.shared.lock().open.clone()
    }

    /// Something else took this port.
    pub fn take_port(&self, port: u16) {
        self.shared.lock().taken.push(port);
    }

    /// The process died, and every tunnel with it.
    pub fn die(&self) {
        self.shared.lock().open.clear();
    }
}

impl Tunnels for FakeTunnels {
    fn open(
        &self,
        job: RequestId,
        _target: (String, u16),
        want: Option<u16>,
    ) -> BoxFuture<'static, Result<u16, String>> {
        let mut ports = self.shared.lock();
        let port = match want.filter(|port| !ports.taken.contains(port)) {
            Some(port) => port,
            None => {
                ports.last = ports.last.max(20_000) + 1;
                ports.last
            }
        };
        ports.open.insert(job, port);
        ready(Ok(port)).boxed()
    }

    fn close(&self, job: RequestId) -> BoxFuture<'static, ()> {
        self.shared.lock().open.remove(&job);
        ready(()).boxed()
    }
}
