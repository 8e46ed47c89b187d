//! Drivers: one instance per task, several calls in it, gone with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::bindings::driver::{DriverBase, DriverBaseIndices};
use crate::bindings::introspect::{HasIntrospect, HasIntrospectIndices};
use crate::bindings::power::{HasPower, HasPowerIndices};
pub use crate::driver_call::{Access, DriverCall, DriverReply, Health, Info, PowerAction, Session, Target};
pub(crate) use crate::driver_store::{DriverStore, driver_linker};
use crate::engine::{Identity, Inner};
use crate::error::{CallError, Cause, Failure, FailureKind};
use crate::grants::Effective;
use crate::guest_log::cut;
use crate::guests::confined;
use crate::host::{SecretHost, SshHost, StorageHost, TaskHost};
use crate::limits::{CallLimits, MAX_TEXT, cause_of};
use crate::manifest::Manifest;
use crate::pure::{error, running_time};

/// How long to wait before trying again for parts of the pool that no slot stands for (second memories, tables).
pub(crate) const POOL_RETRY: Duration = Duration::from_millis(20);

/// What a task gives the driver that works for it.
#[derive(Clone)]
pub struct CallContext {
    /// Fires when a newer state cancels the task: whatever runs is dropped at once.
    pub cancel: CancellationToken,
    /// Limits of each call, unless [`DriverInstance::call_within`] says otherwise.
    pub limits: CallLimits,
    /// The task.
    pub task: Arc<dyn TaskHost>,
    /// Commands on the worker's supervisor; reached only by plugins that were granted `ssh`.
    pub ssh: Option<Arc<dyn SshHost>>,
    /// Secrets; asked only for granted names.
    pub secrets: Arc<dyn SecretHost>,
    /// Artifacts; asked only for groups that were granted.
    pub storage: Option<Arc<dyn StorageHost>>,
    /// Which task this is, for the controller's own log.
    pub label: String,
}

/// A loaded driver. Cheap to clone.
#[derive(Clone)]
pub struct DriverPlugin {
    inner: Arc<Inner>,
    identity: Arc<Identity>,
    code: Arc<Code>,
}

struct Code {
    pre: InstancePre<DriverStore>,
    base: DriverBaseIndices,
    power: Option<HasPowerIndices>,
    introspect: Option<HasIntrospectIndices>,
}

/// What a driver can do beyond its lifecycle, as its component says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// It can switch power: [`DriverCall::Power`].
    pub power: bool,
    /// It can read what the board is made of: [`DriverCall::Inventory`].
    pub introspect: bool,
}

/// One driver instance, for one task. It is made at the first call. After any cause but [`Cause::Failure`] it is gone,
/// and clean-up needs a new one.
pub struct DriverInstance {
    plugin: DriverPlugin,
    context: Arc<CallContext>,
    seat: Seat,
}

enum Seat {
    Empty,
    Taken(Box<Live>),
    Ended,
}

/// A live instance. The store is dropped before its slot is given back.
struct Live {
    store: Store<DriverStore>,
    base: DriverBase,
    power: Option<HasPower>,
    introspect: Option<HasIntrospect>,
    _slot: OwnedSemaphorePermit,
}

impl DriverPlugin {
    pub(crate) fn new(
        inner: Arc<Inner>,
        identity: Arc<Identity>,
        pre: InstancePre<DriverStore>,
    ) -> wasmtime::Result<DriverPlugin> {
        let base = DriverBaseIndices::new(&pre)?;
        let power = HasPowerIndices::new(&pre).ok();
        let introspect = HasIntrospectIndices::new(&pre).ok();
        Ok(DriverPlugin { inner, identity, code: Arc::new(Code { pre, base, power, introspect }) })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The manifest it was loaded with.
    pub fn manifest(&self) -> &Manifest {
        &self.identity.manifest
    }

    /// SHA-256 of the component, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.identity.digest
    }

    /// What it may do.
    pub fn effective(&self) -> &Effective {
        &self.identity.effective
    }

    /// What it can do beyond its lifecycle.
    pub fn abilities(&self) -> Abilities {
        Abilities { power: self.code.power.is_some(), introspect: self.code.introspect.is_some() }
    }

    /// An instance for one task. Nothing runs before its first call.
    pub fn open(&self, context: CallContext) -> DriverInstance {
        DriverInstance { plugin: self.clone(), context: Arc::new(context), seat: Seat::Empty }
    }

    /// One call in an instance of its own, which is gone when this resolves.
    pub async fn call(&self, call: DriverCall, context: CallContext) -> Result<DriverReply, CallError> {
        self.open(context).call(call).await
    }

    /// Waits for a slot and makes an instance.
    async fn instantiate(
        &self,
        context: &Arc<CallContext>,
        deadline: Instant,
        running: Duration,
        seated: &AtomicBool,
    ) -> Result<Box<Live>, Cause> {
        let slot = self.inner.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| Cause::Internal("the plugin runtime is stopping".to_owned()))?;
        loop {
            seated.store(true, Ordering::Relaxed);
            // Every try has a fresh store: what a failed one had already allocated lives as long as its store.
            let mut store = DriverStore::fresh(self.code.pre.engine(), &self.identity, context);
            store.data_mut().begin_call(None, deadline, running);
            let instance = match self.code.pre.instantiate_async(&mut store).await {
                Ok(instance) => instance,
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                    drop(store);
                    seated.store(false, Ordering::Relaxed);
                    tokio::time::sleep(POOL_RETRY).await;
                    continue;
                }
                Err(error) => return Err(ended(&store, &error)),
            };
            let bind = |error: wasmtime::Error| Cause::Internal(format!("{error:#}"));
            let base = self.code.base.load(&mut store, &instance).map_err(bind)?;
            let power = match &self.code.power {
                Some(indices) => Some(indices.load(&mut store, &instance).map_err(bind)?),
                None => None,
            };
            let introspect = match &self.code.introspect {
                Some(indices) => Some(indices.load(&mut store, &instance).map_err(bind)?),
                None => None,
            };
            return Ok(Box::new(Live { store, base, power, introspect, _slot: slot }));
        }
    }
}

impl std::fmt::Debug for DriverPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverPlugin").field("name", &self.name()).field("digest", &self.digest()).finish()
    }
}

impl DriverInstance {
    /// A call within the limits of the context.
    pub async fn call(&mut self, call: DriverCall) -> Result<DriverReply, CallError> {
        let limits = self.context.limits;
        self.call_within(call, limits).await
    }

    /// A call within limits of its own.
    ///
    /// It runs on the guests' threads. When the context's token fires or the deadline passes, it is dropped there,
    /// whatever it is doing, and this resolves when its store is really gone. If the future of this call is dropped
    /// instead, the store goes soon after.
    pub async fn call_within(
        &mut self,
        call: DriverCall,
        limits: CallLimits,
    ) -> Result<DriverReply, CallError> {
        let name = call.name();
        let seat = std::mem::replace(&mut self.seat, Seat::Ended);
        let live = match seat {
            Seat::Empty => None,
            Seat::Taken(live) => Some(live),
            Seat::Ended => return Err(error(&self.plugin.identity, name, Cause::Ended)),
        };
        let seated = Arc::new(AtomicBool::new(live.is_some()));
        let work = work(self.plugin.clone(), self.context.clone(), live, call, limits, seated.clone());
        let cancel = Some(self.context.cancel.clone());
        let outcome = match confined(&self.plugin.inner.guests, cancel, limits.deadline, work).await {
            Ok(Ok((live, reply))) => {
                self.seat = Seat::Taken(live);
                reply.map_err(Cause::Failure)
            }
            Ok(Err(cause)) => Err(cause),
            Err(Cause::DeadlineExceeded(_)) if !seated.load(Ordering::Relaxed) => {
                Err(Cause::PoolExhausted(self.plugin.inner.slot_count))
            }
            Err(cause) => Err(cause),
        };
        outcome.map_err(|cause| {
            let error = error(&self.plugin.identity, name, cause);
            tracing::debug!(task = self.context.label, digest = self.plugin.digest(), %error, "driver call failed");
            error
        })
    }

    /// Whether it can still be called.
    pub fn is_alive(&self) -> bool {
        !matches!(self.seat, Seat::Ended)
    }
}

impl std::fmt::Debug for DriverInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriverInstance")
            .field("plugin", &self.plugin.name())
            .field("alive", &self.is_alive())
            .finish()
    }
}

/// The part of a call that runs on the guests' threads. Owns the store: dropping it drops everything.
async fn work(
    plugin: DriverPlugin,
    context: Arc<CallContext>,
    live: Option<Box<Live>>,
    call: DriverCall,
    limits: CallLimits,
    seated: Arc<AtomicBool>,
) -> Result<(Box<Live>, Result<DriverReply, Failure>), Cause> {
    let deadline = Instant::now() + limits.deadline;
    let running = running_time(&plugin.identity, limits);
    let mut live = match live {
        Some(live) => live,
        None => plugin.instantiate(&context, deadline, running, &seated).await?,
    };
    let config = call.target().map(|target| target.config.clone());
    live.store.data_mut().begin_call(config, deadline, running);
    match live.perform(call).await {
        Ok(reply) => {
            live.store.data().end_call();
            Ok((live, reply))
        }
        Err(error) => Err(ended(&live.store, &error)),
    }
}

fn ended(store: &Store<DriverStore>, error: &wasmtime::Error) -> Cause {
    use crate::limits::Metered as _;
    store.data().end_call();
    cause_of(error, store.data().log())
}

impl Live {
    async fn perform(&mut self, call: DriverCall) -> wasmtime::Result<Result<DriverReply, Failure>> {
        let lifecycle = self.base.grove_plugin_lifecycle();
        let store = &mut self.store;
        let done = |result: Result<(), _>| result.map(|()| DriverReply::Done).map_err(Failure::from);
        Ok(match call {
            DriverCall::Describe => Ok(lifecycle.call_describe(store).await?.into()),
            DriverCall::Validate(config) => match lifecycle.call_validate(store, &config).await? {
                Ok(()) => Ok(DriverReply::Done),
                Err(text) => {
                    Err(Failure { kind: FailureKind::Config, text: cut(&text, MAX_TEXT).to_owned() })
                }
            },
            DriverCall::Check(target) => {
                lifecycle.call_check(store, &target.into()).await?.map(Into::into).map_err(Into::into)
            }
            DriverCall::Prepare(target) => {
                lifecycle.call_prepare(store, &target.into()).await?.map(Into::into).map_err(Into::into)
            }
            DriverCall::Authorize(target, session) => lifecycle
                .call_authorize(store, &target.into(), &session.into())
                .await?
                .map(Into::into)
                .map_err(Into::into),
            DriverCall::Revoke(target) => done(lifecycle.call_revoke(store, &target.into()).await?),
            DriverCall::PutInMaintenance(target, message) => {
                done(lifecycle.call_put_in_maintenance(store, &target.into(), &message).await?)
            }
            DriverCall::Cleanup(target) => done(lifecycle.call_cleanup(store, &target.into()).await?),
            DriverCall::Power(target, action) => match &self.power {
                Some(power) => {
                    done(power.grove_plugin_power().call_set(store, &target.into(), action.into()).await?)
                }
                None => Err(unsupported("it does not export `power`")),
            },
            DriverCall::Inventory(target) => match &self.introspect {
                Some(introspect) => introspect
                    .grove_plugin_introspect()
                    .call_inventory(store, &target.into())
                    .await?
                    .map(DriverReply::Inventory)
                    .map_err(Into::into),
                None => Err(unsupported("it does not export `introspect`")),
            },
        })
    }
}

fn unsupported(text: &str) -> Failure {
    Failure { kind: FailureKind::Unsupported, text: text.to_owned() }
}
