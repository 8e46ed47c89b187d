//! The two engines, and the runtime that owns them, their threads, their clock and their cache.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use crate::cache::{CodeCache, compile_here, digest, from_compiler};
use crate::compiler::{Compiler, Failed, For};
use crate::driver::{DriverPlugin, DriverStore, driver_linker};
use crate::error::{LoadError, StartError};
use crate::grants::{Effective, Grants};
use crate::guests::{GuestThreads, Guests};
use crate::inspector::InspectorPlugin;
use crate::manifest::{Kind, Manifest};
use crate::policy::PolicyPlugin;
use crate::pure::{PureStore, pure_linker};
use crate::ticker::Ticker;

/// Most memory that any instance in the pool can have, whatever is granted.
const POOL_MEMORY: usize = 256 << 20;

/// Most bytes of a memory or table that stay with its slot between instances.
const KEPT_PAGES: usize = 256 << 10;
/// Components that are compiled at once: one that takes all it may keeps none from the others.
const COMPILING: usize = 2;
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
    /// Compiles in processes of their own; `None` compiles in this one, without limits.
    pub compiler: Option<Compiler>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { guest_threads: 2, slots: 1000, max_component: 64 << 20, cache: None, compiler: None }
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
    pub(crate) guests: Guests,
    /// Where policies run: drivers that compute must not delay a matching round.
    pub(crate) policy_guests: Guests,
    cache: Option<CodeCache>,
    compiler: Option<Compiler>,
    /// Places for those that compile.
    compiling: Semaphore,
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
            guests: Guests { threads: threads.handle().clone(), clock: ticker.clock() },
            policy_guests: Guests { threads: policy_threads.handle().clone(), clock: ticker.clock() },
            cache,
            compiler: settings.compiler,
            compiling: Semaphore::new(COMPILING),
            max_component: settings.max_component,
            ticker,
            _threads: [threads, policy_threads],
        };
        Ok(Runtime { inner: Arc::new(inner) })
    }

    /// Compiles a component (or takes it from the cache) and checks it against manifest, grants and contract. Nothing
    /// of it runs. Compiling takes 20 ms to several seconds when it is not in the cache; it ends when this is dropped.
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
        let loading = self.inner.guests.threads.spawn(async move {
            let component = inner.clone().compiled(&manifest, component).await?;
            blocking(move || inner.load(manifest, component, effective)).await?
        });
        match AbortOnDropHandle::new(loading).await {
            Ok(Err(Missed::Refused(error))) => Err(error),
            Ok(Ok(plugin)) => Ok(plugin),
            Ok(Err(Missed::Stopping)) | Err(_) => Err(LoadError::Stopping { plugin }),
        }
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

/// A component that was compiled, and its digest.
struct Compiled {
    component: Component,
    digest: String,
}

/// Why a plugin was not loaded.
enum Missed {
    Refused(LoadError),
    Stopping,
}

impl From<LoadError> for Missed {
    fn from(error: LoadError) -> Self {
        Missed::Refused(error)
    }
}

/// What there is to make a component of.
enum Source {
    /// What a compiler gave.
    Code(Vec<u8>),
    /// WebAssembly, to be compiled in this process.
    Wasm(Bytes),
}

impl Inner {
    /// Takes it from the cache, or compiles it. A compiler that works for it is ended when this is dropped.
    async fn compiled(self: Arc<Inner>, manifest: &Manifest, wasm: Bytes) -> Result<Compiled, Missed> {
        let (plugin, component, kind) = (manifest.name.clone(), manifest.component.clone(), manifest.kind);
        if wasm.len() > self.max_component {
            return Err(LoadError::TooLarge { plugin, size: wasm.len(), limit: self.max_component }.into());
        }
        let refused = |failed| match failed {
            Failed::Unusable(text) => LoadError::Compile { plugin, component, text },
            Failed::TooMuch(text) | Failed::Broken(text) => LoadError::Expensive { plugin, component, text },
        };
        let bytes = wasm.clone();
        let digest = blocking(move || digest(&bytes)).await?;
        let known = async || {
            let (inner, digest) = (self.clone(), digest.clone());
            blocking(move || inner.known(kind, &digest)).await
        };
        let mut component = known().await?;
        if component.is_none() {
            let _place = self.compiling.acquire().await;
            // Somebody else may have compiled the same meanwhile.
            component = known().await?;
            if component.is_none() {
                component = Some(self.clone().compile(kind, &digest, wasm).await?);
            }
        }
        match component {
            Some(Ok(component)) => Ok(Compiled { component, digest }),
            Some(Err(failed)) => Err(refused(failed).into()),
            None => Err(Missed::Stopping),
        }
    }

    async fn compile(
        self: Arc<Inner>,
        kind: Kind,
        digest: &str,
        wasm: Bytes,
    ) -> Result<Result<Component, Failed>, Missed> {
        let source = match &self.compiler {
            None => Source::Wasm(wasm),
            Some(compiler) => match compiler.compile(engine_for(kind), wasm).await {
                Ok(code) => Source::Code(code),
                Err(failed) => {
                    if let (Failed::TooMuch(why), Some(cache)) = (&failed, &self.cache) {
                        cache.refuse(self.engine(kind), digest, compiler.limits, why);
                    }
                    return Ok(Err(failed));
                }
            },
        };
        let (inner, digest) = (self.clone(), digest.to_owned());
        blocking(move || inner.take(kind, &digest, source)).await
    }

    fn engine(&self, kind: Kind) -> &Engine {
        match engine_for(kind) {
            For::Policies => &self.policies,
            For::Drivers => &self.pooled,
        }
    }

    /// What is known of a component from an earlier time; an error says why it is not compiled again. Blocks on the disk.
    fn known(&self, kind: Kind, digest: &str) -> Option<Result<Component, Failed>> {
        let (cache, engine) = (self.cache.as_ref()?, self.engine(kind));
        let component = cache.component(engine, digest).map(Ok);
        component.or_else(|| {
            let limits = self.compiler.as_ref()?.limits;
            Some(Err(Failed::TooMuch(cache.refusal(engine, digest, limits)?)))
        })
    }

    /// Makes a component, and keeps its code. Blocks.
    fn take(&self, kind: Kind, digest: &str, source: Source) -> Result<Component, Failed> {
        let engine = self.engine(kind);
        let (component, code) = match source {
            Source::Code(code) => {
                let broken =
                    |error| Failed::Broken(format!("the code of the compiler is unusable: {error:#}"));
                (from_compiler(engine, &code).map_err(broken)?, Some(code))
            }
            Source::Wasm(wasm) => {
                let unusable = |error| Failed::Unusable(format!("{error:#}"));
                let component = compile_here(engine, &wasm).map_err(unusable)?;
                let code =
                    self.cache.is_some().then(|| component.serialize()).transpose().map_err(unusable)?;
                (component, code)
            }
        };
        if let (Some(cache), Some(code)) = (&self.cache, code) {
            cache.keep(engine, digest, &code);
        }
        Ok(component)
    }

    fn load(
        self: Arc<Inner>,
        manifest: Manifest,
        compiled: Compiled,
        effective: Effective,
    ) -> Result<Plugin, Missed> {
        let plugin = manifest.name.clone();
        let kind = manifest.kind;
        let engine = self.engine(kind);
        let Compiled { component, digest } = compiled;
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

fn engine_for(kind: Kind) -> For {
    if kind == Kind::Policy { For::Policies } else { For::Drivers }
}

/// Work that blocks, on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Missed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Missed::Stopping),
        },
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
pub(crate) fn policy_config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    config.max_wasm_stack(512 << 10).async_stack_size(2 << 20);
    // The same calls must give the same plans on every machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    config
}

/// Drivers and inspectors, as their code is compiled.
pub(crate) fn driver_config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(512 << 10).async_stack_size(2 << 20);
    config
}

/// Drivers and inspectors, as they run: many, short-lived; slots are set up once and reused.
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
    let mut config = driver_config();
    config.allocation_strategy(pool);
    config
}
