//! Driver plugins as the controller's drivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_control::ports::{self, Call, Driver, Drivers, HealthReport, Power, Reply, Watch};
use grove_domain::plugin::Digest;
use grove_domain::worker::{self, Failure, FailureKind};
use grove_runtime::{
    CallContext, CallError, CallLimits, Cause, DriverCall, DriverInstance, DriverPlugin, DriverReply, Level,
    NoSecrets, PowerAction, SecretHost, Session, SshError, SshHost, SshOutput, SshTarget, StorageHost,
    Target, TaskHost,
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::serve::plugins::registry::Registry;

/// Longest time a driver may look at a configuration.
const VALIDATE: Duration = Duration::from_secs(10);

/// The farm's drivers.
pub(crate) struct PluginDrivers {
    pub(crate) registry: Registry,
    pub(crate) ssh: Arc<dyn SshHost>,
    pub(crate) secrets: Arc<dyn SecretHost>,
    pub(crate) storage: Arc<dyn StorageHost>,
}

impl Drivers for PluginDrivers {
    fn names(&self) -> Vec<String> {
        self.registry.drivers()
    }

    fn validate(
        &self,
        driver: &str,
        version: Option<&Digest>,
        config: &str,
    ) -> BoxFuture<'static, Result<(), String>> {
        let (registry, driver, version) = (self.registry.clone(), driver.to_owned(), version.copied());
        let config = config.to_owned();
        async move { validate(&registry.driver(&driver, version).await?, config).await }.boxed()
    }

    fn abilities(&self, driver: &str, version: Option<&Digest>) -> Option<ports::Abilities> {
        let abilities = self.registry.loaded_driver(driver, version.copied())?.abilities();
        Some(ports::Abilities { power: abilities.power, introspect: abilities.introspect })
    }

    fn start(
        &self,
        driver: &str,
        version: Option<&Digest>,
        target: ports::Target,
        watch: Arc<dyn Watch>,
    ) -> Result<Box<dyn Driver>, Failure> {
        let cancel = CancellationToken::new();
        let short = Arc::new(Mutex::new(None));
        let context = CallContext {
            cancel: cancel.clone(),
            limits: CallLimits::default(),
            task: Arc::new(WatchedTask(watch)),
            ssh: Some(Arc::new(TaskSsh {
                ssh: self.ssh.clone(),
                dialled: AtomicBool::new(false),
                short: short.clone(),
            })),
            secrets: self.secrets.clone(),
            storage: Some(self.storage.clone()),
            label: format!("worker {}", target.worker),
        };
        let target = Target {
            uuid: target.worker.to_string(),
            capabilities: target.capabilities.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            config: target.config,
        };
        let wanted = Wanted {
            registry: self.registry.clone(),
            name: driver.to_owned(),
            version: version.copied(),
            context,
        };
        Ok(Box::new(PluginDriver { at_work: AtWork::Wanted(Some(Box::new(wanted))), cancel, target, short }))
    }
}

/// Whether the driver takes this configuration; otherwise its words why not.
pub(crate) async fn validate(driver: &DriverPlugin, config: String) -> Result<(), String> {
    match driver.call(DriverCall::Validate(config), outside_tasks("validate")).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.failure().map_or_else(|| error.to_string(), |said| said.text.clone())),
    }
}

/// Asks a driver what it is: it starts, and answers.
pub(crate) async fn describe(driver: &DriverPlugin) -> Result<(), String> {
    match driver.call(DriverCall::Describe, outside_tasks("describe")).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn outside_tasks(label: &str) -> CallContext {
    CallContext {
        cancel: CancellationToken::new(),
        limits: CallLimits { deadline: VALIDATE, ..CallLimits::default() },
        task: Arc::new(NoTask),
        ssh: None,
        secrets: Arc::new(NoSecrets),
        storage: None,
        label: label.to_owned(),
    }
}

/// One plugin instance at work for one task.
struct PluginDriver {
    at_work: AtWork,
    /// Fires inside the instance.
    cancel: CancellationToken,
    target: Target,
    /// What the controller was short of in the call that runs.
    short: Arc<Mutex<Option<String>>>,
}

/// The way of a task to its board. The task's first command dials: a connection that somebody else left behind may live on
/// where nobody can log in any more. Remembered is when it failed for a reason that is no board's.
struct TaskSsh {
    ssh: Arc<dyn SshHost>,
    dialled: AtomicBool,
    short: Arc<Mutex<Option<String>>>,
}

impl TaskSsh {
    /// Before each command.
    fn dial(&self, target: &SshTarget) {
        if !self.dialled.swap(true, Ordering::Relaxed) {
            self.ssh.hang_up(target);
        }
    }

    fn note<T>(&self, result: Result<T, SshError>) -> Result<T, SshError> {
        if let Err(SshError::Short(text)) = &result {
            *self.short.lock() = Some(text.clone());
        }
        result
    }
}

impl SshHost for TaskSsh {
    fn hang_up(&self, target: &SshTarget) {
        self.ssh.hang_up(target);
    }

    fn run<'a>(
        &'a self,
        target: &'a SshTarget,
        argv: Vec<String>,
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<SshOutput, SshError>> {
        async move {
            self.dial(target);
            self.note(self.ssh.run(target, argv, stdin, timeout).await)
        }
        .boxed()
    }

    fn write_file<'a>(
        &'a self,
        target: &'a SshTarget,
        path: String,
        mode: u32,
        data: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), SshError>> {
        async move {
            self.dial(target);
            self.note(self.ssh.write_file(target, path, mode, data).await)
        }
        .boxed()
    }
}

enum AtWork {
    /// Until the first call; none while that looks for the plugin, or when it did not find it.
    Wanted(Option<Box<Wanted>>),
    Instance(DriverInstance),
}

/// A version of a driver that may still be on its way.
struct Wanted {
    registry: Registry,
    name: String,
    version: Option<Digest>,
    context: CallContext,
}

impl Wanted {
    async fn open(self) -> Result<DriverInstance, String> {
        Ok(self.registry.driver(&self.name, self.version).await?.open(self.context))
    }
}

impl AtWork {
    async fn instance(&mut self) -> Result<&mut DriverInstance, String> {
        if let AtWork::Wanted(wanted) = self {
            let wanted = wanted.take().ok_or("its driver was not to be had")?;
            *self = AtWork::Instance(wanted.open().await?);
        }
        match self {
            AtWork::Instance(instance) => Ok(instance),
            AtWork::Wanted(_) => Err("its driver was not to be had".to_owned()),
        }
    }
}

impl Driver for PluginDriver {
    fn call<'a>(
        &'a mut self,
        call: Call,
        deadline: Duration,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<Reply, ports::CallError>> {
        let call = driver_call(call, self.target.clone());
        async move {
            let instance = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(ports::CallError::Cancelled),
                instance = self.at_work.instance() => instance.map_err(not_to_be_had)?,
            };
            self.short.lock().take();
            let limits = CallLimits { deadline, ..CallLimits::default() };
            let work = instance.call_within(call, limits);
            tokio::pin!(work);
            let result = tokio::select! {
                biased;
                result = &mut work => result,
                () = cancel.cancelled() => {
                    self.cancel.cancel();
                    // Resolves when the instance is really gone.
                    work.await
                }
            };
            match result.map_err(call_error).and_then(reply) {
                Err(ports::CallError::Failed { failure, plugin_died: false }) => {
                    // Whatever the driver made of it.
                    let failure = match self.short.lock().take() {
                        Some(reason) => Failure { kind: FailureKind::Shortage, reason },
                        None => failure,
                    };
                    Err(ports::CallError::Failed { failure, plugin_died: false })
                }
                replied => replied,
            }
        }
        .boxed()
    }
}

fn not_to_be_had(reason: String) -> ports::CallError {
    ports::CallError::Failed { failure: Failure { kind: FailureKind::Shortage, reason }, plugin_died: false }
}

fn driver_call(call: Call, target: Target) -> DriverCall {
    match call {
        Call::Check => DriverCall::Check(target),
        Call::Prepare => DriverCall::Prepare(target),
        Call::Authorize { user, keys } => {
            DriverCall::Authorize(target, Session { user, authorized_keys: keys })
        }
        Call::Revoke => DriverCall::Revoke(target),
        Call::Maintain { message } => DriverCall::PutInMaintenance(target, message),
        Call::Cleanup => DriverCall::Cleanup(target),
        Call::Inventory => DriverCall::Inventory(target),
        Call::Power(Power::Off) => DriverCall::Power(target, PowerAction::Off),
        Call::Power(Power::Cycle) => DriverCall::Power(target, PowerAction::Cycle),
    }
}

fn reply(reply: DriverReply) -> Result<Reply, ports::CallError> {
    match reply {
        DriverReply::Done => Ok(Reply::Done),
        DriverReply::Health(health) => Ok(Reply::Health(HealthReport {
            ok: health.ok,
            note: health.note,
            readings: health.readings.into_iter().collect(),
        })),
        DriverReply::Access(access) => Ok(Reply::Access(worker::Access {
            host: access.host,
            port: access.port,
            user: access.user,
            host_keys: access.host_keys,
        })),
        DriverReply::Inventory(inventory) => Ok(Reply::Inventory(inventory.into())),
        DriverReply::Described(_) => Err(ports::CallError::Failed {
            failure: Failure {
                kind: FailureKind::Plugin,
                reason: "an answer to another question".to_owned(),
            },
            plugin_died: false,
        }),
    }
}

fn call_error(error: CallError) -> ports::CallError {
    use grove_runtime::FailureKind as Said;
    let (kind, plugin_died) = match &error.cause {
        Cause::Cancelled => return ports::CallError::Cancelled,
        Cause::Failure(said) => match said.kind {
            Said::Device => (FailureKind::Device, false),
            Said::Config => (FailureKind::Config, false),
            Said::Environment => (FailureKind::Environment, false),
            Said::Unsupported => (FailureKind::Unsupported, false),
            // It was asked to stop because its deadline came.
            Said::Stopped => (FailureKind::Plugin, true),
        },
        // No fault of the board or the plugin: it mends when others end.
        Cause::PoolExhausted(_) => (FailureKind::Shortage, false),
        Cause::Internal(_) => (FailureKind::Environment, false),
        _ => (FailureKind::Plugin, true),
    };
    let reason = match &error.cause {
        Cause::Failure(said) => said.to_string(),
        _ => error.to_string(),
    };
    ports::CallError::Failed { failure: Failure { kind, reason }, plugin_died }
}

/// The controller's watch as the plugin's task.
struct WatchedTask(Arc<dyn Watch>);

impl TaskHost for WatchedTask {
    fn progress<'a>(&'a self, percent: u8, note: &'a str) -> BoxFuture<'a, ()> {
        self.0.progress(percent, note);
        std::future::ready(()).boxed()
    }

    fn step<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        self.0.step(name);
        std::future::ready(()).boxed()
    }

    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        self.0.log(level, line);
    }
}

/// A call outside any task.
struct NoTask;

impl TaskHost for NoTask {
    fn progress<'a>(&'a self, _percent: u8, _note: &'a str) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn step<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }

    fn log(&self, _level: Level, line: &str) {
        tracing::debug!("{line}");
    }
}
