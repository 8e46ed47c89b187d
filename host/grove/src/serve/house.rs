//! The one place where rooms are put together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_access::keypool::{KeyPool, KeyPoolSettings};
use grove_access::keys::parse_public_line;
use grove_access::secrets::Secrets;
use grove_access::ssh::{SshClient, SshSettings};
use grove_access::tunnel::{TunnelSettings, Tunnels};
use grove_api::{App, Attached, Front, Limits, Options, PluginRefused, Services};
use grove_control::clock::{Clock, SystemClock};
use grove_control::{Controller, Created, NewTaskId, Parts};
use grove_domain::id::{TaskId, Uuid};
use grove_runtime::{Kind, Plugin, Runtime, Settings as RuntimeSettings};
use grove_store::Store;
use grove_wire::Timestamp;
use grove_wire::plugin::{Plugin as PluginView, PluginKind, PluginState, VersionChoice};
use grove_wire::service::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::adapters::access::{FileSecrets, PoolKeys, Supervisors, TcpTunnels};
use super::adapters::drivers::PluginDrivers;
use super::adapters::policies::PluginPolicies;
use super::adapters::store::SqliteStore;
use super::config::Config;
use super::plugins::Plugins;

/// A controller, put together and listening.
pub(crate) struct House {
    controller: Controller,
    front: Front,
    attached: Attached,
    listener: TcpListener,
    address: SocketAddr,
    tunnels: Tunnels,
    drain: Duration,
}

impl House {
    /// Opens everything, takes the farm up where it was, and listens. Nothing is answered before [`Self::serve`].
    pub(crate) async fn build(config: &Config) -> anyhow::Result<Self> {
        let state = config.state()?;
        let folder = private_folder(&state)?;
        // First of all the store: it makes sure that nobody else has this folder.
        let path = state.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(&path, grove_store::Settings::default()))
            .await
            .context("opening the store was interrupted")??;
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("failed to listen on {}; choose another --listen", config.listen))?;
        let address = listener.local_addr().context("failed to learn the own address")?;

        let cache = subfolder(&folder, "cache")?;
        let runtime = Runtime::new(RuntimeSettings { cache: Some(cache), ..RuntimeSettings::default() })?;
        let plugins = Plugins::load(&runtime, &config.plugins).await?;

        let secrets = Arc::new(Secrets::new(subfolder(&folder, "secrets")?));
        let ssh = SshClient::new(SshSettings::default(), Secrets::clone(&secrets));
        let keys = KeyPoolSettings { size: config.keys.pool, ..KeyPoolSettings::default() };
        let keys = KeyPool::open(subfolder(&folder, "keys")?, keys)?;
        let tunnels = Tunnels::new(tunnel_settings(config));

        let policies = PluginPolicies {
            plugins: plugins.clone(),
            active: config.policy.name.clone(),
            settings: serde_json::to_string(&config.policy.settings)
                .context("the settings of the policy cannot be written as JSON")?,
        };
        let drivers = PluginDrivers {
            plugins: plugins.clone(),
            ssh: Arc::new(Supervisors(ssh)),
            secrets: Arc::new(FileSecrets(secrets)),
        };
        let controller = Controller::start(Parts {
            store: Arc::new(SqliteStore(store)),
            drivers: Arc::new(drivers),
            keys: Arc::new(PoolKeys(keys)),
            tunnels: Arc::new(TcpTunnels(tunnels.clone())),
            policies: Arc::new(policies),
            clock: Arc::new(SystemClock),
            new_task_id: task_ids(),
            settings: config.settings(),
        })
        .await?;

        let since = SystemClock.now();
        let plugins = Arc::new(Shown { plugins, policy: config.policy.name.clone(), since });
        let check_key = Arc::new(|line: &str| match parse_public_line(line) {
            Ok(key) => Ok(key.to_string()),
            Err(error) => Err(error.to_string()),
        });
        let app = App::new(controller.clone(), options(config), plugins, check_key);
        let front = Front::new(limits(config), Arc::new(NoServices));
        let attached = front.attach(app);
        Ok(Self { controller, front, attached, listener, address, tunnels, drain: config.drain() })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` fires; then finishes what is being answered, stops deciding, and returns when everything
    /// decided is stored.
    pub(crate) async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let served = grove_api::serve(self.listener, self.front, stop).await;
        drop(self.attached);
        if tokio::time::timeout(self.drain, self.controller.stop()).await.is_err() {
            tracing::warn!(
                "tasks did not end within {} s; the next start takes them up",
                self.drain.as_secs()
            );
        }
        // Jobs go on with the next start, on the same ports; their connections cannot outlive this process.
        self.tunnels.close_all().await;
        served.context("failed to serve HTTP")
    }
}

fn options(config: &Config) -> Options {
    Options { owner: config.owner(), advertise: config.advertise.clone() }
}

fn limits(config: &Config) -> Limits {
    Limits { connections: config.limits.connections, drain: config.drain(), ..Limits::default() }
}

fn tunnel_settings(config: &Config) -> TunnelSettings {
    let tunnels = &config.tunnels;
    TunnelSettings {
        bind: tunnels.bind,
        ports: tunnels.first_port..=tunnels.last_port,
        max_connections_per_job: tunnels.connections_per_job,
        max_connections_total: tunnels.connections,
        idle: tunnels.idle.map(|idle| idle.duration()),
        ..TunnelSettings::default()
    }
}

/// UUIDs v7, in the order in which they are made.
fn task_ids() -> NewTaskId {
    let context = uuid::ContextV7::new();
    Box::new(move |now| {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        TaskId(Uuid::new_v7(uuid::Timestamp::from_unix(&context, seconds, nanos)))
    })
}

/// Makes the state folder, for its owner only.
fn private_folder(path: &std::path::Path) -> anyhow::Result<Dir> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("failed to make the state folder {}", path.display()))?;
    Dir::open_ambient_dir(path, ambient_authority())
        .with_context(|| format!("failed to open the state folder {}", path.display()))
}

fn subfolder(folder: &Dir, name: &str) -> anyhow::Result<Dir> {
    use cap_std::fs::{DirBuilder, DirBuilderExt};
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    folder
        .create_dir_with(name, &builder)
        .and_then(|()| folder.open_dir(name))
        .with_context(|| format!("failed to open {name} in the state folder"))
}

/// Nothing that is told apart.
struct NoServices;

impl Services for NoServices {
    fn report(&self) -> Vec<Service> {
        Vec::new()
    }

    fn dot(&self) -> String {
        "digraph services {\n}\n".to_owned()
    }
}

/// Plugins as people see them: those that were read at the start.
struct Shown {
    plugins: Arc<Plugins>,
    policy: String,
    since: Timestamp,
}

fn fixed<T: Send + 'static>() -> BoxFuture<'static, Result<T, PluginRefused>> {
    let text = "plugins are read at the start: put it into the plugin folder, and start the controller again";
    std::future::ready(Err(PluginRefused::Unavailable(text.to_owned()))).boxed()
}

impl grove_api::Plugins for Shown {
    fn list(&self) -> Vec<PluginView> {
        let view = |known: &super::plugins::Known| {
            let manifest = &known.manifest;
            let loaded = known.loaded.as_ref();
            let (kind, enabled) = match manifest.kind {
                Kind::Policy => (PluginKind::Policy, manifest.name == self.policy),
                Kind::Driver => (PluginKind::Driver, true),
                Kind::Inspector => (PluginKind::Inspector, false),
            };
            let state = match loaded {
                Err(_) => PluginState::Failed,
                Ok(_) if enabled => PluginState::Active,
                Ok(_) => PluginState::Disabled,
            };
            PluginView {
                name: manifest.name.clone(),
                kind,
                state,
                active: state == PluginState::Active,
                enabled,
                version: manifest.version.clone(),
                digest: loaded.ok().map(|plugin| plugin.digest().to_owned()),
                world: manifest.world.clone(),
                summary: manifest.summary.clone(),
                since: self.since,
                previous: None,
                probation: None,
                grants: loaded.map(grants).unwrap_or_default(),
                trouble: loaded.err().cloned(),
                config_schema: manifest.config_schema.clone(),
                versions: Vec::new(),
                revision: 1,
            }
        };
        self.plugins.all().map(view).collect()
    }

    fn install(
        &self,
        _: &str,
        _: String,
        _: Bytes,
        _: bool,
    ) -> BoxFuture<'static, Result<(PluginView, Created), PluginRefused>> {
        fixed()
    }

    fn enable(
        &self,
        _: &str,
        _: &str,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<PluginView, PluginRefused>> {
        fixed()
    }

    fn disable(
        &self,
        _: &str,
        _: &str,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<PluginView, PluginRefused>> {
        fixed()
    }

    fn swap(
        &self,
        _: &str,
        _: &str,
        _: VersionChoice,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<PluginView, PluginRefused>> {
        fixed()
    }

    fn remove(
        &self,
        _: &str,
        _: &str,
        _: Option<VersionChoice>,
        _: Option<u64>,
    ) -> BoxFuture<'static, Result<(), PluginRefused>> {
        fixed()
    }
}

/// What a plugin really has, one line each.
fn grants(plugin: &Plugin) -> Vec<String> {
    let effective = plugin.effective();
    let mut lines = Vec::new();
    if effective.ssh {
        lines.push("ssh to its workers' supervisors".to_owned());
    }
    lines.extend(effective.secrets.iter().map(|name| format!("secret {name}")));
    lines.extend(effective.serial.iter().map(|name| format!("serial {name}")));
    if effective.has_tcp() {
        lines.push("tcp to the peers it was granted".to_owned());
    }
    lines.push(format!("memory {} MiB", effective.memory >> 20));
    lines.push(format!("running time {} ms a call", effective.call_ms));
    lines
}
