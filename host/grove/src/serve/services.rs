//! What the controller is made of: its services, what each needs, and what it gives.
//!
//! ```text
//! http ─────────────▶ front ◀── api ──▶ controller ──▶ store, keys, tunnels
//! (answers always)                │         ▲
//!                                 └─▶ plugins ──▶ (installs) plugin/NAME@VERSION ──▶ runtime
//!                                       ▲              ▲
//!                       plugin-folder ──┘   policy ────┴──▶ controller
//! objects (nobody waits for it)
//! ```
//!
//! An arrow leads to what a service needs. The dispatcher, its timers, the publisher of events and the sessions with
//! policies are parts of one service, `controller`: none of them can go on without the others.
//!
//! What must never happen here: a service that outlives what it needs; one that does not stop when it is asked to.

mod api;
mod controller;
mod folder;
mod http;
mod keys;
mod objects;
mod plugin;
mod plugins;
mod policy;
mod runtime;
mod store;
mod tunnels;

pub(crate) use api::API;
pub(crate) use http::HTTP;
pub(crate) use store::{Hopeless, until_left};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use futures_util::FutureExt;
use grove_access::keypool::KeyPool;
use grove_access::secrets::Secrets;
use grove_access::tunnel::Tunnels;
use grove_api::{Front, Storage};
use grove_control::Controller;
use grove_domain::introspection::TokenDigest;
use grove_engine::{EngineHandle, Key, Refused, Service};
use grove_runtime::{Compiler, Runtime};
use grove_store::{Left, Store};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::adapters::policies::PluginPolicies;
use super::adapters::store::SqliteStore;
use super::config::Config;
use super::house::subfolder;
use super::plugins::intake::Intake;
use super::plugins::load::Loader;
use super::plugins::registry::Registry;
use super::transfer::Slot;

/// The durable truth.
const STORE: Key<SqliteStore> = Key::new("store");
/// Where plugins run.
const RUNTIME: Key<Runtime> = Key::new("runtime");
/// Session keys in stock.
const KEYS: Key<KeyPool> = Key::new("keys");
/// Ways to boards.
pub(crate) const TUNNELS: Key<Tunnels> = Key::new("tunnels");
/// Who decides.
pub(crate) const CONTROLLER: Key<Controller> = Key::new("controller");
/// That plugins are found, and follow the rows of the farm.
const PLUGINS: &str = "plugins";
/// That files outside the store are looked through, and kept within their bounds.
const OBJECTS: &str = "objects";
/// The policy in use.
const POLICY: &str = "policy";

/// What services share that none of them makes: it is there before the first and after the last.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The state folder.
    pub(crate) state: PathBuf,
    pub(crate) secrets: Arc<Secrets>,
    /// Digest of what boards show that nobody registered.
    pub(crate) enrolment: Option<TokenDigest>,
    pub(crate) registry: Registry,
    pub(crate) policies: PluginPolicies,
    pub(crate) loader: Loader,
    pub(crate) front: Front,
    /// The open store, for who needs it without the controller.
    pub(crate) store: Slot<Store>,
    /// The controller that runs, for who needs it without its service.
    pub(crate) running: Slot<Controller>,
    /// Files outside the store.
    pub(crate) storage: Storage,
    /// For those that install others.
    pub(crate) engine: EngineHandle,
    /// Compiles plugins in processes of their own; none = they are compiled in this one.
    pub(crate) compiler: Option<Compiler>,
    /// What every service goes through before it is installed: tests break some.
    pub(crate) make: Box<dyn Fn(Service) -> Service + Send + Sync>,
    /// Where HTTP is served, once it is.
    pub(crate) address: watch::Sender<Option<SocketAddr>>,
    /// Of the store that was opened last. Once there was one, there is a farm to lose.
    pub(crate) store_left: Mutex<Option<Left>>,
}

/// Between looks at whether a service has left.
const LEAVING: Duration = Duration::from_millis(5);

impl Shared {
    /// Installs a service, in the place of one of its name that is there or is leaving.
    pub(crate) async fn install(&self, service: Service) -> Result<(), Refused> {
        let service = (self.make)(service);
        loop {
            match self.engine.install(service.clone()).await {
                Err(Refused::AlreadyInstalled) => match self.engine.replace(service.clone()).await {
                    // It is about to leave, which takes no longer than its deadline.
                    Err(Refused::NotInstalled) => tokio::time::sleep(LEAVING).await,
                    other => return other,
                },
                other => return other,
            }
        }
    }

    /// A folder in the state folder, as that is now: it may be another one than a while ago.
    fn folder(&self, name: &str) -> anyhow::Result<Dir> {
        let state = Dir::open_ambient_dir(&self.state, ambient_authority())
            .with_context(|| format!("failed to open the state folder {}", self.state.display()))?;
        subfolder(&state, name)
    }

    /// Takes a service out, if it is there.
    async fn uninstall(&self, name: &str) -> Result<(), Refused> {
        match self.engine.uninstall(name).await {
            Err(Refused::NotInstalled) => Ok(()),
            other => other,
        }
    }

    /// The way in for plugins, as long as these live.
    fn intake(&self, controller: &Controller, runtime: &Runtime) -> Intake {
        Intake {
            controller: controller.clone(),
            runtime: runtime.clone(),
            loader: self.loader.clone(),
            registry: self.registry.clone(),
            reload: {
                let engine = self.engine.clone();
                Arc::new(move |version| {
                    let engine = engine.clone();
                    // One that nothing is asked of has no service.
                    async move { drop(engine.bounce(plugin::key(&version).name()).await) }.boxed()
                })
            },
        }
    }
}

/// The services that are there from the beginning; `plugins` installs the others.
pub(crate) fn all(shared: &Arc<Shared>) -> Vec<Service> {
    let mut all = vec![
        store::service(shared),
        runtime::service(shared),
        keys::service(shared),
        tunnels::service(shared),
        objects::service(shared),
        controller::service(shared),
        plugins::service(shared),
        api::service(shared),
        http::service(shared),
    ];
    if shared.config.plugins.folder.is_some() {
        all.push(folder::service(shared));
    }
    all
}
