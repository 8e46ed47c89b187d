//! A driver that does what the test says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_domain::id::WorkerId;
use grove_domain::plugin::Digest;
use grove_domain::worker::{Access, Failure, FailureKind};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::ports::{Abilities, Call, CallError, Driver, Drivers, HealthReport, Reply, Target, Watch};

/// What a call does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Behaviour {
    /// At once, well.
    #[default]
    Instant,
    /// Well, after this long.
    After(Duration),
    /// Fails.
    Fail(FailureKind, String),
    /// The plugin dies.
    Die(String),
    /// Until it is cancelled or its deadline passes.
    Hang,
    /// A check finds the board unwell, and says this.
    Unwell(String),
    /// Well, but it answers a cancel only after this long.
    Stubborn(Duration),
    /// Well; it says a lot, and goes on saying it when it has answered already.
    Talkative,
    /// What adapts the driver panics.
    Panic,
}

/// Drivers named `fake`. Behaviour is by call name (`prepare`, `check`, `authorize`, `revoke`, `maintain`, `cleanup`,
/// `inventory`, `power`), for one worker or for all.
#[derive(Clone, Default)]
pub struct FakeDrivers {
    shared: Arc<Mutex<Shared>>,
    life: CancellationToken,
}

#[derive(Default)]
struct Shared {
    behaviours: HashMap<(Option<WorkerId>, String), Behaviour>,
    of_versions: HashMap<(Digest, String), Behaviour>,
    calls: Vec<(WorkerId, &'static str, Option<Digest>)>,
    keep_no_calls: bool,
    active: HashMap<WorkerId, usize>,
    most_active: usize,
    abilities: Option<Abilities>,
    inventories: HashMap<WorkerId, Arc<str>>,
    alive: CancellationToken,
}

impl FakeDrivers {
    /// From now on `call` behaves so, on this worker or on all.
    pub fn behave(&self, worker: Option<WorkerId>, call: &str, behaviour: Behaviour) {
        self.shared.lock().behaviours.insert((worker, call.to_owned()), behaviour);
    }

    /// From now on `call` behaves so on this version, whatever is said of workers.
    pub fn behave_on(&self, version: Digest, call: &str, behaviour: Behaviour) {
        self.shared.lock().of_versions.insert((version, call.to_owned()), behaviour);
    }

    /// From now on drivers can do this. They can do everything until then.
    pub fn can(&self, abilities: Abilities) {
        self.shared.lock().abilities = Some(abilities);
    }

    /// From now on this is what a worker is made of.
    pub fn inventory(&self, worker: WorkerId, inventory: &str) {
        self.shared.lock().inventories.insert(worker, inventory.into());
    }

    /// The same drivers for the next life; calls of the life before it never return.
    pub(super) fn next_life(&self) -> Self {
        let mut shared = self.shared.lock();
        shared.alive.cancel();
        shared.active.clear();
        shared.alive = CancellationToken::new();
        Self { shared: self.shared.clone(), life: shared.alive.clone() }
    }

    /// The same drivers for somebody who lives at the same time.
    pub(super) fn same_life(&self) -> Self {
        let life = self.shared.lock().alive.clone();
        Self { shared: self.shared.clone(), life }
    }

    /// Calls so far, in the order they began.
    pub fn calls(&self) -> Vec<(WorkerId, &'static str)> {
        self.calls_on_versions().into_iter().map(|(worker, call, _)| (worker, call)).collect()
    }

    /// The same, each with the version that it ran on.
    pub fn calls_on_versions(&self) -> Vec<(WorkerId, &'static str, Option<Digest>)> {
        self.shared.lock().calls.clone()
    }

    /// The most calls that were ever active at the same time on one worker: must be 1.
    pub fn most_active(&self) -> usize {
        self.shared.lock().most_active
    }

    /// From now on calls are not remembered: for measurements.
    pub fn keep_no_calls(&self) {
        self.shared.lock().keep_no_calls = true;
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.shared.lock().calls.clear();
    }
}

impl Drivers for FakeDrivers {
    fn names(&self) -> Vec<String> {
        vec!["fake".to_owned()]
    }

    fn validate(
        &self,
        _driver: &str,
        _version: Option<&Digest>,
        config: &str,
    ) -> BoxFuture<'static, Result<(), String>> {
        let verdict =
            if config.contains("\"bad\"") { Err("field bad: not wanted".to_owned()) } else { Ok(()) };
        std::future::ready(verdict).boxed()
    }

    fn abilities(&self, driver: &str, _version: Option<&Digest>) -> Option<Abilities> {
        let all = Abilities { power: true, introspect: true };
        (driver == "fake").then(|| self.shared.lock().abilities.unwrap_or(all))
    }

    fn start(
        &self,
        driver: &str,
        version: Option<&Digest>,
        target: Target,
        watch: Arc<dyn Watch>,
    ) -> Result<Box<dyn Driver>, Failure> {
        if driver != "fake" {
            let reason = format!("no driver {driver}");
            return Err(Failure { kind: FailureKind::Config, reason });
        }
        Ok(Box::new(FakeDriver {
            worker: target.worker,
            version: version.copied(),
            shared: self.shared.clone(),
            life: self.life.clone(),
            watch,
        }))
    }
}

struct FakeDriver {
    worker: WorkerId,
    version: Option<Digest>,
    shared: Arc<Mutex<Shared>>,
    life: CancellationToken,
    watch: Arc<dyn Watch>,
}

impl Driver for FakeDriver {
    fn call<'a>(
        &'a mut self,
        call: Call,
        deadline: Duration,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Reply, CallError>> {
        let name = name_of(&call);
        let life = self.life.clone();
        if life.is_cancelled() {
            return std::future::pending().boxed();
        }
        let behaviour = {
            let mut shared = self.shared.lock();
            if !shared.keep_no_calls {
                shared.calls.push((self.worker, name, self.version));
            }
            let active = shared.active.entry(self.worker).or_default();
            *active += 1;
            let active = *active;
            shared.most_active = shared.most_active.max(active);
            let of_version =
                self.version.and_then(|version| shared.of_versions.get(&(version, name.to_owned())));
            let own = shared.behaviours.get(&(Some(self.worker), name.to_owned()));
            of_version
                .or(own)
                .or_else(|| shared.behaviours.get(&(None, name.to_owned())))
                .cloned()
                .unwrap_or_default()
        };
        let active = Active { shared: self.shared.clone(), life: life.clone(), worker: self.worker };
        let inventory = self.shared.lock().inventories.get(&self.worker).cloned();
        let watch = self.watch.clone();
        async move {
            let _active = active;
            if behaviour == Behaviour::Talkative {
                talk(&watch);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    talk(&watch);
                });
            }
            let slow = if let Behaviour::Stubborn(slow) = behaviour { slow } else { Duration::ZERO };
            let result = tokio::select! {
                biased;
                () = life.cancelled() => std::future::pending().await,
                () = async {
                    cancel.cancelled().await;
                    tokio::time::sleep(slow).await;
                } => Err(CallError::Cancelled),
                result = act(behaviour, &call) => match (result, inventory) {
                    (Ok(Reply::Inventory(_)), Some(inventory)) => Ok(Reply::Inventory(inventory)),
                    (result, _) => result,
                },
                () = tokio::time::sleep(deadline) => Err(CallError::Failed {
                    failure: Failure { kind: FailureKind::Plugin, reason: "deadline passed".to_owned() },
                    plugin_died: true,
                }),
            };
            result
        }
        .boxed()
    }
}

fn talk(watch: &Arc<dyn Watch>) {
    watch.step("talk");
    watch.progress(50, "half way");
    watch.log("info", "a driver has something to say");
}

/// A call under way.
struct Active {
    shared: Arc<Mutex<Shared>>,
    life: CancellationToken,
    worker: WorkerId,
}

impl Drop for Active {
    fn drop(&mut self) {
        // The next life counts anew.
        if !self.life.is_cancelled()
            && let Some(active) = self.shared.lock().active.get_mut(&self.worker)
        {
            *active = active.saturating_sub(1);
        }
    }
}

async fn act(behaviour: Behaviour, call: &Call) -> Result<Reply, CallError> {
    match behaviour {
        Behaviour::Instant | Behaviour::Talkative => Ok(reply_to(call)),
        Behaviour::After(wait) | Behaviour::Stubborn(wait) => {
            tokio::time::sleep(wait).await;
            Ok(reply_to(call))
        }
        Behaviour::Fail(kind, reason) => {
            Err(CallError::Failed { failure: Failure { kind, reason }, plugin_died: false })
        }
        Behaviour::Die(reason) => Err(CallError::Failed {
            failure: Failure { kind: FailureKind::Plugin, reason },
            plugin_died: true,
        }),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Unwell(note) => {
            Ok(Reply::Health(HealthReport { ok: false, note, readings: Default::default() }))
        }
        #[expect(clippy::panic, reason = "it was told to")]
        Behaviour::Panic => panic!("a driver's adapter that panics"),
    }
}

fn reply_to(call: &Call) -> Reply {
    match call {
        Call::Check => {
            Reply::Health(HealthReport { ok: true, note: String::new(), readings: Default::default() })
        }
        Call::Prepare | Call::Authorize { .. } => Reply::Access(Access {
            host: "127.0.0.1".to_owned(),
            port: 22,
            user: "boruta-user".to_owned(),
            host_keys: Vec::new(),
        }),
        Call::Inventory => Reply::Inventory("{\"cpus\":4}".into()),
        Call::Revoke | Call::Maintain { .. } | Call::Cleanup | Call::Power(_) => Reply::Done,
    }
}

fn name_of(call: &Call) -> &'static str {
    match call {
        Call::Check => "check",
        Call::Prepare => "prepare",
        Call::Authorize { .. } => "authorize",
        Call::Revoke => "revoke",
        Call::Maintain { .. } => "maintain",
        Call::Cleanup => "cleanup",
        Call::Inventory => "inventory",
        Call::Power(_) => "power",
    }
}
