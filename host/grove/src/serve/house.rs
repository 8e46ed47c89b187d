//! The house: the state folder, the engine, and the services on it, from start to stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use grove_access::secrets::Secrets;
use grove_api::{Front, Limits, Storage};
use grove_control::clock::{Clock, SystemClock};
use grove_engine::{
    Config as EngineConfig, Engine, Environment, Exit, Observer, Refused, Report, Service, State,
};
use grove_objects::{Artifacts, Backend, Logs, Objects};
use grove_runtime::Compiler;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::adapters::policies::PluginPolicies;
use super::adapters::services::Reported;
use super::config::Config;
use super::files;
use super::plugins::found;
use super::plugins::load::{InspectorSettings, Loader, PolicySettings};
use super::plugins::registry::Registry;
use super::plugins::shelf::Shelf;
use super::services::{self, API, CONTROLLER, HTTP, Hopeless, Shared};
use super::transfer::{FarmTransfer, Slot};

/// Of the time for a clean stop: what services get that are stopped after the controller.
const AFTERWARDS: Duration = Duration::from_secs(5);

/// What the last lines of tasks get to be written.
const LAST_LINES: Duration = Duration::from_secs(3);

/// What reads of the store get that are under way.
const LAST_READS: Duration = Duration::from_secs(3);

/// What becomes of a house whose port is another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    /// It tries again and again, and does meanwhile what it can.
    IsWaitedFor,
    /// It does not start.
    MustBeFree,
}

/// A controller, put together and running.
pub(crate) struct House {
    engine: Engine,
    shared: Arc<Shared>,
}

impl House {
    /// Starts every service, in whatever order they can.
    pub(crate) async fn start(config: Config, port: Port) -> anyhow::Result<Self> {
        let rules = engine_config(&config, port);
        // This very program, also when another one has taken its place on disk.
        let command = ["/proc/self/exe", super::COMPILE].map(Into::into).into();
        let compiler = Compiler { command, limits: config.plugins.compile.limits() };
        Self::with(config, rules, Some(compiler), |service| service).await
    }

    /// By these rules, with plugins compiled so (none: in this process), and with every service as `make` makes it.
    async fn with(
        config: Config,
        rules: EngineConfig,
        compiler: Option<Compiler>,
        make: impl Fn(Service) -> Service + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let state = config.state()?;
        let folder = private_folder(&state)?;
        let engine = Engine::start(rules, environment())?;
        subfolder(&folder, "plugins")?;
        let shelf = Shelf::new(state.join("plugins"), found::components());
        let text = serde_json::to_string(&config.policy.settings)
            .context("the settings of the policy cannot be written as JSON")?;
        let settings = PolicySettings { name: config.policy.name.clone(), text };
        subfolder(&folder, "secrets")?;
        let secrets = Secrets::new(state.join("secrets"));
        let enrolment = config.enrolment_secret(&secrets)?;
        let storage = storage(&config, &state, &folder, &secrets)?;
        let reported = Arc::new(Reported::of(engine.handle()));
        let (store, running) = (Slot::default(), Slot::default());
        let transfer = Arc::new(FarmTransfer {
            engine: engine.handle(),
            store: store.clone(),
            controller: running.clone(),
            shelf: shelf.clone(),
            state: state.clone(),
            actor: format!("user:{}", config.owner().name),
        });
        let shared = Arc::new(Shared {
            store,
            running,
            secrets: Arc::new(secrets),
            enrolment: enrolment.as_deref().map(grove_api::token_digest),
            storage,
            registry: Registry::new(),
            policies: PluginPolicies::new(),
            loader: Loader {
                shelf,
                config: Arc::new(config.plugins.clone()),
                settings,
                inspectors: InspectorSettings::new(&config.plugins.settings)?,
            },
            front: Front::new(limits(&config), reported).with_transfer(transfer),
            engine: engine.handle(),
            compiler,
            make: Box::new(make),
            address: watch::Sender::new(None),
            store_left: Default::default(),
            state,
            config,
        });
        if shared.config.plugins.folder.is_none() {
            shared.registry.folder_is_read();
        }
        for service in services::all(&shared) {
            match shared.install(service).await {
                // One of those before it has ended all of it, and says why.
                Err(Refused::ShuttingDown) => return Err(why_it_ended(&engine).await),
                installed => installed?,
            }
        }
        Ok(Self { engine, shared })
    }

    /// Where it listens, once whoever asks meets a farm at work.
    ///
    /// # Errors
    /// When something is amiss that no waiting mends.
    pub(crate) async fn ready(&self) -> anyhow::Result<SocketAddr> {
        let mut reports = self.engine.watch_report();
        let started = |report: &Report, name| {
            report.service(name).is_some_and(|service| service.state == State::Started)
        };
        let up = reports.wait_for(|report| started(report, HTTP) && started(report, API));
        tokio::select! {
            up = up => { up.context("the controller is gone")?; }
            error = why_it_ended(&self.engine) => return Err(error),
        }
        let address = *self.shared.address.borrow();
        address.context("nobody listens")
    }

    /// Runs until `stop` fires; then finishes what is being answered, stops deciding, and returns when everything
    /// decided is stored.
    pub(crate) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let ended = self.until_stopped(stop).await;
        // By now every task has ended.
        shared.storage.logs.finish(LAST_LINES).await;
        if !services::until_left(&shared, LAST_READS).await {
            tracing::warn!("the store is still being read, and is looked through at the next start");
        }
        ended
    }

    async fn until_stopped(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.engine.wait() => return Ok(ended?),
        }
        // Whoever is being answered needs the others until then; and tasks that are cut off need their plugins to clean up,
        // which the engine does not know.
        for first in [HTTP, CONTROLLER.name()] {
            if let Err(error) = self.engine.uninstall(first).await {
                tracing::debug!(%error, first, "it had ended");
            }
        }
        self.engine.kill();
        Ok(self.engine.wait().await?)
    }
}

/// Of an engine that ends before everything has started.
async fn why_it_ended(engine: &Engine) -> anyhow::Error {
    match engine.wait().await {
        Ok(()) => anyhow!("the controller was stopped before it had started"),
        Err(error) => error.into(),
    }
}

/// Files outside the store. Nothing is looked at yet, and no bucket is asked.
fn storage(config: &Config, state: &Path, folder: &Dir, secrets: &Secrets) -> anyhow::Result<Storage> {
    let backend = match config.bucket(secrets)? {
        Some(bucket) => Backend::S3(bucket),
        None => {
            subfolder(folder, "objects")?;
            Backend::Folder(state.join("objects"))
        }
    };
    let objects = Objects::open(backend).context("failed to open the place for files")?;
    let artifacts = Artifacts::new(objects.clone(), config.quotas());
    Ok(Storage { artifacts, logs: Logs::new(objects, config.keeping()) })
}

fn limits(config: &Config) -> Limits {
    let connections = files::connections(config.limits.connections, files::raise());
    let all = Limits::default();
    Limits {
        connections,
        // Whoever asks for one too many is answered on a connection of the other half.
        streams: all.streams.min(connections / 2),
        drain: config.drain(),
        import: config.limits.import_mib.saturating_mul(1 << 20),
        inventory: config.inventory(),
        ..all
    }
}

fn engine_config(config: &Config, port: Port) -> EngineConfig {
    EngineConfig {
        error_delay: Duration::from_millis(500),
        max_delay: Duration::from_secs(30),
        kill_deadline: config.drain() + AFTERWARDS,
        report_interval: Duration::from_millis(5),
        is_fatal: Arc::new(move |service, exit| {
            let no_port = service == HTTP && matches!(exit, Exit::Failed(_));
            exit.error::<Hopeless>().is_some() || port == Port::MustBeFree && no_port
        }),
        ..EngineConfig::default()
    }
}

fn environment() -> Environment {
    let now = || SystemTime::from(SystemClock.now());
    Environment::new(now, fastrand::f64).observer(Told::default())
}

/// What happens to services, in the log. What a service fails with again and again is told once, until it has started.
#[derive(Default)]
struct Told {
    failures: Mutex<HashMap<String, String>>,
}

impl Told {
    /// Whether this is not what the service failed with last.
    fn is_news(&self, service: &str, failure: &str) -> bool {
        let mut failures = self.failures.lock();
        failures.insert(service.to_owned(), failure.to_owned()).is_none_or(|before| before != failure)
    }

    fn forget(&self, service: &str) {
        self.failures.lock().remove(service);
    }
}

impl Observer for Told {
    fn started(&self, service: &str, _attempt: u64) {
        tracing::debug!(service, "started");
        self.forget(service);
    }

    fn stopped(&self, service: &str, _attempt: u64, exit: &Exit) {
        match exit {
            // What it wanted of an engine that stops.
            Exit::Failed(_) if exit.error::<Refused>() == Some(&Refused::ShuttingDown) => {}
            Exit::Failed(_) if self.is_news(service, &exit.to_string()) => tracing::warn!(service, "{exit}"),
            _ => tracing::debug!(service, "{exit}"),
        }
    }

    fn restarting(&self, service: &str, delay: Duration) {
        tracing::debug!(service, "starts again in {} ms", delay.as_millis());
    }

    fn overdue(&self, service: &str, after: Duration) {
        tracing::error!(service, "did not stop within {} s; what it was doing breaks off", after.as_secs());
    }
}

/// Makes the state folder, for its owner only.
fn private_folder(path: &Path) -> anyhow::Result<Dir> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("failed to make the state folder {}", path.display()))?;
    Dir::open_ambient_dir(path, ambient_authority())
        .with_context(|| format!("failed to open the state folder {}", path.display()))
}

/// Makes a folder in the state folder.
pub(crate) fn subfolder(folder: &Dir, name: &str) -> anyhow::Result<Dir> {
    use cap_std::fs::{DirBuilder, DirBuilderExt};
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    folder
        .create_dir_with(name, &builder)
        .and_then(|()| folder.open_dir(name))
        .with_context(|| format!("failed to open {name} in the state folder"))
}

#[cfg(test)]
mod tests;
