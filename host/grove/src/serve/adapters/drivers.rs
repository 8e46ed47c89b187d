//! Driver plugins as the controller's drivers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_control::ports::{self, Call, Driver, Drivers, HealthReport, Reply, Watch};
use grove_domain::plugin::Digest;
use grove_domain::worker::{self, Failure, FailureKind};
use grove_runtime::{
    CallContext, CallError, CallLimits, Cause, DriverCall, DriverInstance, DriverReply, Level, NoSecrets,
    SecretHost, Session, SshHost, Target, TaskHost,
};
use tokio_util::sync::CancellationToken;

use crate::serve::plugins::Plugins;

/// Longest time a driver may look at a configuration.
const VALIDATE: Duration = Duration::from_secs(10);

/// The farm's drivers.
pub(crate) struct PluginDrivers {
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) ssh: Arc<dyn SshHost>,
    pub(crate) secrets: Arc<dyn SecretHost>,
}

impl Drivers for PluginDrivers {
    fn names(&self) -> Vec<String> {
        self.plugins.drivers()
    }

    fn validate(
        &self,
        driver: &str,
        _version: Option<&Digest>,
        config: &str,
    ) -> BoxFuture<'static, Result<(), String>> {
        let driver = self.plugins.driver(driver);
        let config = config.to_owned();
        async move {
            let context = CallContext {
                cancel: CancellationToken::new(),
                limits: CallLimits { deadline: VALIDATE, ..CallLimits::default() },
                task: Arc::new(NoTask),
                ssh: None,
                secrets: Arc::new(NoSecrets),
                label: "validate".to_owned(),
            };
            match driver?.call(DriverCall::Validate(config), context).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    Err(error.failure().map_or_else(|| error.to_string(), |said| said.text.clone()))
                }
            }
        }
        .boxed()
    }

    fn start(
        &self,
        driver: &str,
        _version: Option<&Digest>,
        target: ports::Target,
        watch: Arc<dyn Watch>,
    ) -> Result<Box<dyn Driver>, Failure> {
        let config_failure = |reason| Failure { kind: FailureKind::Config, reason };
        let plugin = self.plugins.driver(driver).map_err(config_failure)?;
        let cancel = CancellationToken::new();
        let context = CallContext {
            cancel: cancel.clone(),
            limits: CallLimits::default(),
            task: Arc::new(WatchedTask(watch)),
            ssh: Some(self.ssh.clone()),
            secrets: self.secrets.clone(),
            label: format!("worker {}", target.worker),
        };
        let target = Target {
            uuid: target.worker.to_string(),
            capabilities: target.capabilities.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            config: target.config,
        };
        Ok(Box::new(PluginDriver { instance: plugin.open(context), cancel, target }))
    }
}

/// One plugin instance at work for one task.
struct PluginDriver {
    instance: DriverInstance,
    /// Fires inside the instance.
    cancel: CancellationToken,
    target: Target,
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
            let limits = CallLimits { deadline, ..CallLimits::default() };
            let work = self.instance.call_within(call, limits);
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
            result.map_err(call_error).and_then(reply)
        }
        .boxed()
    }
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
        DriverReply::Described(_) | DriverReply::Inventory(_) => Err(ports::CallError::Failed {
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
        Cause::PoolExhausted(_) | Cause::Internal(_) => (FailureKind::Environment, false),
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
