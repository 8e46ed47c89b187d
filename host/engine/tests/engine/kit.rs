//! Puppets: services that do what a test says, and a log of what happened to them.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use grove_engine::{
    Config, Engine, Environment, Exit, Key, Missing, Observer, Output, Refused, Scope, Service, State, Why,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// Delays that tests can tell apart: error 1 s, bounce 10 ms, settle 1 ms, kill 10 s.
pub(crate) fn config() -> Config {
    Config {
        error_delay: Duration::from_secs(1),
        bounce_delay: 10 * MS,
        backoff_factor: 0.0,
        max_delay: Duration::ZERO,
        reset_after: Duration::from_secs(60),
        settle: MS,
        kill_deadline: Duration::from_secs(10),
        ..Config::default()
    }
}

pub(crate) fn start(config: Config) -> (Engine, Log) {
    let log = Log::default();
    let environment = Environment::new(|| SystemTime::UNIX_EPOCH, || 0.5).observer(log.clone());
    (Engine::start(config, environment).unwrap(), log)
}

/// Lets all happen that happens within that time.
pub(crate) async fn after(millis: u32) {
    sleep(millis * MS).await;
}

/// What the engine's observer heard, as text, each with the time since the log began.
#[derive(Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<(Duration, String)>>>,
    running: Arc<Mutex<BTreeMap<String, u64>>>,
    /// What must never happen, but did. A panic within the engine's loop would be lost.
    wrong: Arc<Mutex<Vec<String>>>,
    begun: Instant,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: Arc::default(), running: Arc::default(), wrong: Arc::default(), begun: Instant::now() }
    }
}

impl Log {
    fn put(&self, line: String) {
        self.lines.lock().unwrap().push((self.begun.elapsed(), line));
    }

    fn must(&self, holds: bool, what: &str, service: &str) {
        if !holds {
            self.wrong.lock().unwrap().push(format!("{service}: {what}"));
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<(Duration, String)>> {
        assert_eq!(*self.wrong.lock().unwrap(), Vec::<String>::new());
        self.lines.lock().unwrap()
    }

    /// The lines since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines()).into_iter().map(|(_, line)| line).collect()
    }

    /// The lines so far that begin like this.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.lines().iter().filter(|(_, line)| line.starts_with(start)).count()
    }

    /// When lines were put that begin like this, in ms since the log began.
    pub(crate) fn times(&self, start: &str) -> Vec<u128> {
        let lines = self.lines();
        lines.iter().filter(|(_, line)| line.starts_with(start)).map(|(at, _)| at.as_millis()).collect()
    }

    /// Where the first line is that begins like this.
    pub(crate) fn place(&self, start: &str) -> usize {
        let lines = self.lines();
        let place = lines.iter().position(|(_, line)| line.starts_with(start));
        place.unwrap_or_else(|| panic!("no line {start} in {lines:?}"))
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.running.lock().unwrap().is_empty()
    }
}

impl Observer for Log {
    fn starting(&self, service: &str, attempt: u64) {
        let twice = self.running.lock().unwrap().insert(service.to_owned(), attempt);
        self.must(twice.is_none(), "runs twice", service);
        self.put(format!("starting {service}"));
    }

    fn started(&self, service: &str, attempt: u64) {
        let runs = self.running.lock().unwrap().get(service) == Some(&attempt);
        self.must(runs, "starts but does not run", service);
        self.put(format!("started {service}"));
    }

    fn stopped(&self, service: &str, attempt: u64, exit: &Exit) {
        let ran = self.running.lock().unwrap().remove(service);
        self.must(ran == Some(attempt), "stops but does not run", service);
        self.must(!exit.to_string().contains("while used"), "was still used", service);
        self.put(format!("stopped {service}: {exit}"));
    }

    fn restarting(&self, service: &str, delay: Duration) {
        self.put(format!("restarting {service} in {delay:?}"));
    }

    fn overdue(&self, service: &str, after: Duration) {
        self.put(format!("overdue {service} after {after:?}"));
    }

    fn refused(&self, service: &str, reason: &Refused) {
        self.put(format!("refused {service}: {reason}"));
    }

    fn fatal(&self, service: &str, exit: &Exit) {
        self.put(format!("fatal {service}: {exit}"));
    }
}

/// How a puppet behaves from its next attempt on.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    /// How long its start takes.
    pub(crate) start: Duration,
    /// The start never ends, and hears of nothing.
    pub(crate) hang: bool,
    /// How long it takes to stop.
    pub(crate) stop: Duration,
    /// It never stops when asked.
    pub(crate) deaf: bool,
    /// Fails instead of starting.
    pub(crate) fail: Option<Exit>,
    /// Runs without inputs, too.
    pub(crate) modest: bool,
    /// Panics when it is stopped, or started again, while somebody holds what it gave.
    pub(crate) strict: bool,
    /// Instead of its number, gives nothing.
    pub(crate) silent: bool,
}

/// A service under control of the test. What it gives is its attempt's number.
#[derive(Clone)]
pub(crate) struct Puppet {
    pub(crate) name: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) manners: Arc<Mutex<Manners>>,
    /// Tells the running attempt how to end.
    ends: Arc<Mutex<Option<mpsc::UnboundedSender<Exit>>>>,
    /// What it gave last.
    gave: Arc<Mutex<Weak<u64>>>,
    /// How many lives there are at this moment.
    lives: Arc<AtomicI64>,
}

pub(crate) fn puppet(name: &str, inputs: &[&str]) -> Puppet {
    Puppet {
        name: name.to_owned(),
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        manners: Arc::default(),
        ends: Arc::default(),
        gave: Arc::default(),
        lives: Arc::default(),
    }
}

/// Counts its existence.
struct Life(Arc<AtomicI64>);

impl Life {
    fn new(lives: &Arc<AtomicI64>) -> Self {
        assert_eq!(lives.fetch_add(1, Ordering::SeqCst), 0, "two lives at the same time");
        Self(lives.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Puppet {
    pub(crate) fn with(self, change: impl FnOnce(&mut Manners)) -> Self {
        self.now(change);
        self
    }

    pub(crate) fn now(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    /// Ends the running attempt.
    pub(crate) fn end(&self, exit: Exit) {
        if let Some(ends) = &*self.ends.lock().unwrap() {
            ends.send(exit).ok();
        }
    }

    pub(crate) fn fail(&self) {
        self.end(Exit::failed("broken"));
    }

    pub(crate) fn lives(&self) -> i64 {
        self.lives.load(Ordering::SeqCst)
    }

    pub(crate) fn service(&self) -> Service {
        let puppet = self.clone();
        let service = Service::new(&self.name, move |scope| puppet.clone().run(scope));
        self.inputs.iter().fold(service, Service::needs_named)
    }

    async fn run(self, scope: Scope) -> Result<(), Exit> {
        let _life = Life::new(&self.lives);
        let manners = self.manners.lock().unwrap().clone();
        let unused = self.gave.lock().unwrap().strong_count() == 0;
        assert!(unused || !manners.strict, "started again while used");
        let _held: Vec<_> = self.inputs.iter().filter_map(|input| scope.get(&number(input)).ok()).collect();
        for input in self.inputs.iter().filter(|_| !manners.modest) {
            scope.exists(input)?;
        }
        if manners.hang {
            pending::<()>().await;
        }
        tokio::select! {
            () = sleep(manners.start), if !manners.start.is_zero() => {}
            () = scope.stop().cancelled(), if !manners.start.is_zero() => return Err(Exit::Aborted),
            () = async {}, if manners.start.is_zero() => {}
        }
        if let Some(exit) = manners.fail {
            return Err(exit);
        }
        let (ends, mut ended) = mpsc::unbounded_channel();
        *self.ends.lock().unwrap() = Some(ends);
        let gives = Arc::new(scope.attempt());
        *self.gave.lock().unwrap() = Arc::downgrade(&gives);
        scope.started(match manners.silent {
            true => Output::none(),
            false => Output::of(&number(&self.name), gives.clone()),
        });
        tokio::select! {
            () = scope.stop().cancelled(), if !manners.deaf => {
                // Ours, and that of the engine.
                let strict = self.manners.lock().unwrap().strict;
                assert!(Arc::strong_count(&gives) <= 2 || !strict, "stopped while used");
                if !manners.stop.is_zero() {
                    sleep(manners.stop).await;
                }
                Ok(())
            }
            exit = ended.recv() => match exit {
                None | Some(Exit::Clean) => Ok(()),
                Some(exit) => Err(exit),
            },
        }
    }
}

/// The key of a puppet.
pub(crate) fn number(name: &str) -> Key<u64> {
    Key::named(name)
}

pub(crate) fn missing(input: &str, why: Why) -> Missing {
    Missing { input: input.to_owned(), why }
}

pub(crate) async fn install(engine: &Engine, puppets: &[&Puppet]) {
    for puppet in puppets {
        engine.install(puppet.service()).await.unwrap();
    }
}

pub(crate) async fn state(engine: &Engine, name: &str) -> State {
    engine.report().await.service(name).unwrap().state
}
