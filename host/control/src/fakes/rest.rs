//! Keys, tunnels, logs and a clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use grove_domain::id::{RequestId, TaskId};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::ports::{KeyPair, Keys, Said, TaskLog, TaskLogs, Tunnels};

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

    fn running(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Numbered keys.
#[derive(Clone, Default)]
pub struct FakeKeys {
    taken: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl FakeKeys {
    /// How many were taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// From now on there are none, for this reason; none = there are.
    pub fn break_with(&self, trouble: Option<&str>) {
        *self.trouble.lock() = trouble.map(str::to_owned);
    }
}

impl Keys for FakeKeys {
    fn take(&self) -> BoxFuture<'static, Result<KeyPair, String>> {
        if let Some(trouble) = self.trouble.lock().clone() {
            return ready(Err(trouble)).boxed();
        }
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
    life: u64,
}

#[derive(Default)]
struct Ports {
    life: u64,
    open: HashMap<RequestId, (u16, (String, u16))>,
    last: u16,
    taken: Vec<u16>,
    /// Ports that jobs had and could not get again.
    lost: HashMap<RequestId, u16>,
    carried: HashMap<RequestId, u64>,
    /// Nobody takes a connection.
    silent: bool,
    claimed: HashSet<RequestId>,
    /// Most tunnels that can be open at a time.
    most: Option<usize>,
    trouble: Option<String>,
}

impl FakeTunnels {
    /// Ports of open tunnels.
    pub fn open_now(&self) -> HashMap<RequestId, u16> {
        self.shared.lock().open.iter().map(|(job, (port, _))| (*job, *port)).collect()
    }

    /// Something else took this port.
    pub fn take_port(&self, port: u16) {
        self.shared.lock().taken.push(port);
    }

    /// Whoever took it lets it go.
    pub fn free_port(&self, port: u16) {
        self.shared.lock().taken.retain(|taken| *taken != port);
    }

    /// So many bytes more go through the tunnel of a job.
    pub fn carry(&self, job: RequestId, bytes: u64) {
        *self.shared.lock().carried.entry(job).or_default() += bytes;
    }

    /// From now on boards take connections, or do not.
    pub fn silence(&self, silent: bool) {
        self.shared.lock().silent = silent;
    }

    /// From now on none can be opened, for this reason; none = works again.
    pub fn break_with(&self, trouble: Option<&str>) {
        self.shared.lock().trouble = trouble.map(str::to_owned);
    }

    /// From now on no more than so many can be open at a time; none = any number.
    pub fn limit(&self, most: Option<usize>) {
        self.shared.lock().most = most;
    }

    /// The same ports for somebody who lives at the same time.
    pub(super) fn same_life(&self) -> Self {
        let life = self.shared.lock().life;
        Self { shared: self.shared.clone(), life }
    }

    /// The process died, and every tunnel with it; what is left of it moves nothing any more.
    pub(super) fn next_life(&self) -> Self {
        let mut ports = self.shared.lock();
        ports.open.clear();
        ports.claimed.clear();
        ports.lost.clear();
        ports.carried.clear();
        ports.last = 0;
        ports.life += 1;
        Self { shared: self.shared.clone(), life: ports.life }
    }
}

impl Tunnels for FakeTunnels {
    fn claim(&self, job: RequestId) -> BoxFuture<'static, Result<(), String>> {
        let claimed = self.shared.lock().claim(self.life, job);
        ready(claimed).boxed()
    }

    fn open(
        &self,
        job: RequestId,
        target: (String, u16),
        had: Option<u16>,
    ) -> BoxFuture<'static, Result<u16, String>> {
        let opened = self.shared.lock().open(self.life, job, target, had);
        ready(opened).boxed()
    }

    fn reach(&self, _target: (String, u16)) -> BoxFuture<'static, bool> {
        ready(!self.shared.lock().silent).boxed()
    }

    fn carried(&self, job: RequestId) -> u64 {
        self.shared.lock().carried.get(&job).copied().unwrap_or(0)
    }

    fn close(&self, job: RequestId) -> BoxFuture<'static, ()> {
        let mut ports = self.shared.lock();
        if ports.life == self.life {
            ports.open.remove(&job);
            ports.claimed.remove(&job);
            ports.lost.remove(&job);
            ports.carried.remove(&job);
        }
        ready(()).boxed()
    }
}

impl Ports {
    fn claim(&mut self, life: u64, job: RequestId) -> Result<(), String> {
        if life != self.life {
            return Err("this process is dead".to_owned());
        }
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        self.check_room(job)?;
        self.claimed.insert(job);
        Ok(())
    }

    fn check_room(&self, job: RequestId) -> Result<(), String> {
        let used = self.open.keys().chain(&self.claimed).filter(|other| **other != job).count();
        match self.most {
            Some(most) if used >= most => Err(format!("no free port among {most}")),
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        life: u64,
        job: RequestId,
        target: (String, u16),
        had: Option<u16>,
    ) -> Result<u16, String> {
        if life != self.life {
            return Err("this process is dead".to_owned());
        }
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        if !self.claimed.remove(&job) {
            self.check_room(job)?;
        }
        match self.open.get(&job) {
            Some((port, former)) if *former == target => return Ok(*port),
            Some(_) => return Err(format!("{job} has a tunnel to somewhere else")),
            None => {}
        }
        let port = match had {
            Some(port) if self.is_anybodys(port, job) => {
                self.lost.insert(job, port);
                return Err(format!("port {port} is taken"));
            }
            Some(port) => {
                self.lost.remove(&job);
                port
            }
            None => loop {
                self.last = if (20_000..60_000).contains(&self.last) { self.last + 1 } else { 20_000 };
                if !self.is_anybodys(self.last, job) && self.lost.get(&job) != Some(&self.last) {
                    break self.last;
                }
            },
        };
        self.open.insert(job, (port, target));
        Ok(port)
    }

    /// Whether somebody but this job has the port, or had it.
    fn is_anybodys(&self, port: u16, job: RequestId) -> bool {
        self.taken.contains(&port)
            || self.open.values().any(|(open, _)| *open == port)
            || self.lost.iter().any(|(other, lost)| *other != job && *lost == port)
    }
}

/// Logs in memory.
#[derive(Clone, Default)]
pub struct FakeLogs {
    said: Arc<Mutex<HashMap<TaskId, Vec<String>>>>,
}

impl FakeLogs {
    /// What was said in the log of a task; its last word is `closed` when it is.
    pub fn of(&self, task: TaskId) -> Vec<String> {
        self.said.lock().get(&task).cloned().unwrap_or_default()
    }
}

impl TaskLogs for FakeLogs {
    fn begin(&self, task: TaskId) -> Arc<dyn TaskLog> {
        Arc::new(FakeLog { task, said: self.said.clone() })
    }
}

struct FakeLog {
    task: TaskId,
    said: Arc<Mutex<HashMap<TaskId, Vec<String>>>>,
}

impl TaskLog for FakeLog {
    fn say(&self, _at: Timestamp, said: Said<'_>) {
        let line = match said {
            Said::Line { level, line } => format!("{level}: {line}"),
            Said::Step(name) => format!("step {name}"),
            Said::Progress { percent, note } => format!("{percent}% {note}"),
            Said::Failed(why) => format!("failed: {why}"),
            Said::Cancelled => "cancelled".to_owned(),
            Said::Done => "done".to_owned(),
        };
        self.said.lock().entry(self.task).or_default().push(line);
    }

    fn close(&self) {
        self.said.lock().entry(self.task).or_default().push("closed".to_owned());
    }
}
