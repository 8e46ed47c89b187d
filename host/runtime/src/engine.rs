//! The two engines, and the runtime that owns them, their threads, their clock and their cache.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use crate::cache::{CodeCache, compile, digest};
use crate::driver::{DriverPlugin, DriverStore, driver_linker};
use crate::error::{LoadError, StartError};
use crate::grants::{Effective, Grants};
use crate::guests::GuestThreads;
use crate::inspector::InspectorPlugin;
use crate::manifest::{Kind, Manifest};
use crate::policy::PolicyPlugin;
use crate::pure::{PureStore, pure_linker};
use crate::ticker::Ticker;

/// Most memory that any instance in the pool can have, whatever is granted.
const POOL_MEMORY: usize = 256 << 20;

/// Most bytes of a memory or table that stay with its slot between instances.
const KEPT_PAGES: usize = 256 << 10;
/// Inspector instances that can live at once.
const INSPECTOR_SLOTS: u32 = 200;

/// How the runtime is set up.
#[derive(Debug)]
pub struct Settings {
    /// Threads that drivers and inspectors run on. Policies have one more of their own.
    pub guest_threads: usize,
    /// Driver instances that can live at once; more wait for a slot. Each reserves 4 GiB of address space (not memory),
    /// so at most 1000. Inspectors have slots of their own: drivers that hang take none from them.
    pub slots: u32,
    /// Biggest component that is loaded, in bytes.
    pub max_component: usize,
    /// Folder in which folder `code` is made for compiled plugins; `None` compiles at every start.
    pub cache: Option<cap_std::fs::Dir>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { guest_threads: 2, slots: 1000, max_component: 64 << 20, cache: None }
    }
}

/// Loads plugins and runs them. Cheap to clone; everything ends when the last clone and the last plugin are gone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

/// What plugins need of the runtime; keeps threads and clock alive as long as a plugin lives.
pub(crate) struct Inner {
    policies: Engine,
    pooled: Engine,
    policy_linker: Linker<PureStore>,
    inspector_linker: Linker<PureStore>,
    driver_linker: Linker<DriverStore>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) slot_count: usize,
    pub(crate) inspector_slots: Arc<Semaphore>,
    /// Where drivers and inspectors run.
    pub(crate) guests: Handle,
    /// Where policies run: drivers that compute must not delay a matching round.
    pub(crate) policy_guests: Handle,
    cache: Option<CodeCache>,
    max_component: usize,
    ticker: Ticker,
    _threads: [GuestThreads; 2],
}

/// A loaded plugin: compiled and checked, not yet running.
#[derive(Clone, Debug)]
pub enum Plugin {
    /// A policy.
    Policy(PolicyPlugin),
    /// A driver.
    Driver(DriverPlugin),
    /// An inspector.
    Inspector(InspectorPlugin),
}

/// What all plugins have.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) manifest: Manifest,
    pub(crate) name: Arc<str>,
    pub(crate) digest: String,
    pub(crate) effective: Arc<Effective>,
}

impl Runtime {
    /// Starts engines, threads and clock. Blocks a little; nothing of a plugin runs.
    pub fn new(settings: Settings) -> Result<Runtime, StartError> {
        let engine_error = |error: wasmtime::Error| StartError::Engine(format!("{error:#}"));
        let slots = settings.slots.clamp(1, 1000);
        let policies = Engine::new(&policy_config()).map_err(engine_error)?;
        let pooled = Engine::new(&pooled_config(slots + INSPECTOR_SLOTS)).map_err(engine_error)?;
        let cache = match &settings.cache {
            Some(dir) => Some(CodeCache::open(dir, "code").map_err(StartError::Cache)?),
            None => None,
        };
        let threads =
            GuestThreads::start("grove-guest", settings.guest_threads).map_err(StartError::Threads)?;
        let policy_threads = GuestThreads::start("grove-policy", 1).map_err(StartError::Threads)?;
        let ticker = Ticker::start(vec![policies.weak(), pooled.weak()]).map_err(StartError::Threads)?;
        let inner = Inner {
            policy_linker: pure_linker(&policies).map_err(engine_error)?,
            inspector_linker: pure_linker(&pooled).map_err(engine_error)?,
            driver_linker: driver_linker(&pooled).map_err(engine_error)?,
            policies,
            pooled,
            slots: Arc::new(Semaphore::new(slots as usize)),
            slot_count: slots as usize,
            inspector_slots: Arc::new(Semaphore::new(INSPECTOR_SLOTS as usize)),
            guests: threads.handle().clone(),
            policy_guests: policy_threads.handle().clone(),
            cache,
            max_component: settings.max_component,
            ticker,
            _threads: [threads, policy_threads],
        };
        Ok(Runtime { inner: Arc::new(inner) })
    }

    /// Compiles a component (or takes it from the cache) and checks it against manifest, grants and contract. Nothing
    /// of it runs. Compiling happens on threads of its own: 20 ms to several seconds when it is not in the cache.
    pub async fn load(
        &self,
        manifest: Manifest,
        component: impl Into<Bytes>,
        grants: &Grants,
    ) -> Result<Plugin, LoadError> {
        let (plugin, component) = (manifest.name.clone(), component.into());
        let mut effective = Effective::of(&manifest, grants);
        if manifest.kind != Kind::Policy && effective.memory > POOL_MEMORY {
            tracing::warn!(
                plugin,
                "granted more than the {} MiB that one instance can have",
                POOL_MEMORY >> 20
            );
            effective.memory = POOL_MEMORY;
        }
        let inner = self.inner.clone();
        let loading = self.inner.guests.spawn_blocking(move || inner.load(manifest, &component, effective));
        loading.await.unwrap_or(Err(LoadError::Stopping { plugin }))
    }

    /// How often the clock that interrupts guests stood still and was replaced; 0 on a healthy machine.
    pub fn clock_replacements(&self) -> u64 {
        self.inner.ticker.replaced()
    }

    /// Slots for driver instances that are free now.
    pub fn free_slots(&self) -> usize {
        self.inner.slots.available_permits()
    }

    /// Inspector instances that live now.
    pub fn live_inspectors(&self) -> usize {
        INSPECTOR_SLOTS as usize - self.inner.inspector_slots.available_permits()
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("free_slots", &self.free_slots()).finish_non_exhaustive()
    }
}

impl Inner {
    fn load(
        self: Arc<Inner>,
        manifest: Manifest,
        wasm: &[u8],
        effective: Effective,
    ) -> Result<Plugin, LoadError> {
        let plugin = manifest.name.clone();
        let kind = manifest.kind;
        if wasm.len() > self.max_component {
            return Err(LoadError::TooLarge { plugin, size: wasm.len(), limit: self.max_component });
        }
        let engine = if kind == Kind::Policy { &self.policies } else { &self.pooled };
        let digest = digest(wasm);
        let component = match &self.cache {
            Some(cache) => cache.component(engine, &digest, wasm),
            None => compile(engine, wasm),
        };
        let component = component.map_err(|error| LoadError::Compile {
            plugin: plugin.clone(),
            component: manifest.component.clone(),
            text: format!("{error:#}"),
        })?;
        for (import, _) in component.component_type().imports(engine) {
            effective.admits(kind, import).map_err(|refusal| LoadError::Import {
                plugin: plugin.clone(),
                import: import.to_owned(),
                refusal,
            })?;
        }
        let not_ours =
            |error: wasmtime::Error| LoadError::Contract { plugin, kind, text: format!("{error:#}") };
        let identity = Arc::new(Identity {
            name: manifest.name.as_str().into(),
            digest,
            effective: Arc::new(effective),
            manifest,
        });
        Ok(match kind {
            Kind::Policy => {
                let pre = self.policy_linker.instantiate_pre(&component).map_err(not_ours.clone())?;
                Plugin::Policy(PolicyPlugin::new(self, identity, pre).map_err(not_ours)?)
            }
            Kind::Driver => {
                let pre = self.driver_linker.instantiate_pre(&component).map_err(not_ours.clone())?;
                Plugin::Driver(DriverPlugin::new(self, identity, pre).map_err(not_ours)?)
            }
            Kind::Inspector => {
                let pre = self.inspector_linker.instantiate_pre(&component).map_err(not_ours.clone())?;
                Plugin::Inspector(InspectorPlugin::new(self, identity, pre).map_err(not_ours)?)
            }
        })
    }
}

impl Plugin {
    fn identity(&self) -> &Identity {
        match self {
            Plugin::Policy(plugin) => plugin.identity(),
            Plugin::Driver(plugin) => plugin.identity(),
            Plugin::Inspector(plugin) => plugin.identity(),
        }
    }

    /// The manifest it was loaded with.
    pub fn manifest(&self) -> &Manifest {
        &self.identity().manifest
    }

    /// SHA-256 of the component, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.identity().digest
    }

    /// What it may do.
    pub fn effective(&self) -> &Effective {
        &self.identity().effective
    }

    /// The driver, if it is one.
    pub fn into_driver(self) -> Result<DriverPlugin, LoadError> {
        match self {
            Plugin::Driver(plugin) => Ok(plugin),
            other => Err(other.not(Kind::Driver)),
        }
    }

    /// The policy, if it is one.
    pub fn into_policy(self) -> Result<PolicyPlugin, LoadError> {
        match self {
            Plugin::Policy(plugin) => Ok(plugin),
            other => Err(other.not(Kind::Policy)),
        }
    }

    /// The inspector, if it is one.
    pub fn into_inspector(self) -> Result<InspectorPlugin, LoadError> {
        match self {
            Plugin::Inspector(plugin) => Ok(plugin),
            other => Err(other.not(Kind::Inspector)),
        }
    }

    fn not(&self, wanted: Kind) -> LoadError {
        let manifest = self.manifest();
        LoadError::Kind { plugin: manifest.name.clone(), is: manifest.kind, wanted }
    }
}

/// Policies: few, long-lived, called often; the bookkeeping for concurrent calls would make a call five times dearer.
fn policy_config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    config.max_wasm_stack(512 << 10).async_stack_size(2 << 20);
    // The same calls must give the same plans on every machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    config
}

/// Drivers and inspectors: many, short-lived; slots are set up once and reused.
fn pooled_config(slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(8 * slots.max(25))
        .max_core_instances_per_component(200)
        .total_memories(slots.max(4))
        .max_memories_per_component(4)
        .max_memory_size(POOL_MEMORY)
        .total_tables(4 * slots.max(16))
        .max_tables_per_component(64)
        .table_elements(50_000)
        .total_stacks(slots)
        .max_unused_warm_slots(50)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        // Giving pages back to the kernel after each call, to take them again for the next, costs more than the calls
        // of most drivers: the few that a guest has touched are cleared in place instead.
        .linear_memory_keep_resident(KEPT_PAGES)
        .table_keep_resident(KEPT_PAGES)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.epoch_interruption(true).allocation_strategy(pool);
    config.max_wasm_stack(512 << 10).async_stack_size(2 << 20);
    config
}
