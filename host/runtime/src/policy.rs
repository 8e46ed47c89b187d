//! Policies: one long-lived session each, told what changes and asked for plans.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::bindings::policy as wit;
use crate::engine::{Identity, Inner};
use crate::error::{CallError, Cause, Failure, FailureKind};
use crate::grants::Effective;
use crate::guest_log::cut;
use crate::guests::confined;
use crate::host::LogSink;
use crate::limits::{CallLimits, MAX_TEXT, Metered, cause_of};
use crate::manifest::Manifest;
use crate::policy_call::checked;
pub use crate::policy_call::{Assignment, Change, Demand, Plan, PolicyInfo, Request, Wait, Worker};
use crate::pure::{PureStore, error, pure_store, running_time};

/// A loaded policy. Cheap to clone.
#[derive(Clone)]
pub struct PolicyPlugin {
    inner: Arc<Inner>,
    identity: Arc<Identity>,
    pre: Arc<wit::PolicyPluginPre<PureStore>>,
}

/// A running policy. Its state is the sequence of calls it got: after an error it is dead, and whoever owns it opens
/// another and tells it everything again.
pub struct PolicySession {
    plugin: PolicyPlugin,
    limits: CallLimits,
    info: PolicyInfo,
    live: Option<Box<Live>>,
}

struct Live {
    store: Store<PureStore>,
    bindings: wit::PolicyPlugin,
}

impl PolicyPlugin {
    pub(crate) fn new(
        inner: Arc<Inner>,
        identity: Arc<Identity>,
        pre: InstancePre<PureStore>,
    ) -> wasmtime::Result<PolicyPlugin> {
        Ok(PolicyPlugin { inner, identity, pre: Arc::new(wit::PolicyPluginPre::new(pre)?) })
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

    /// Makes an instance and calls its `init` with these settings (JSON). `limits` hold for each later call too. A
    /// policy that does not like its settings gives [`Cause::Failure`] of kind config.
    pub async fn open(
        &self,
        settings: String,
        limits: CallLimits,
        log: Arc<dyn LogSink>,
    ) -> Result<PolicySession, CallError> {
        let plugin = self.clone();
        let running = running_time(&self.identity, limits);
        let work = async move {
            let mut store = pure_store(plugin.pre.engine(), &plugin.identity, log);
            store.data_mut().meter().begin_call(running);
            let init = async {
                let bindings = plugin.pre.instantiate_async(&mut store).await?;
                let info = bindings.grove_plugin_policy().call_init(&mut store, &settings).await?;
                Ok((bindings, info))
            };
            let (bindings, info) = init.await.map_err(|error| ended(&store, &error))?;
            store.data().log().end_call();
            let info = info.map_err(|text| {
                Cause::Failure(Failure { kind: FailureKind::Config, text: cut(&text, MAX_TEXT).to_owned() })
            })?;
            Ok((Box::new(Live { store, bindings }), PolicyInfo::from(info)))
        };
        let outcome = confined(&self.inner.policy_guests, None, limits.deadline, work).await;
        let (live, info) =
            outcome.and_then(|result| result).map_err(|cause| error(&self.identity, "init", cause))?;
        Ok(PolicySession { plugin: self.clone(), limits, info, live: Some(live) })
    }
}

impl std::fmt::Debug for PolicyPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyPlugin").field("name", &self.name()).field("digest", &self.digest()).finish()
    }
}

impl PolicySession {
    /// What the policy said of itself.
    pub fn info(&self) -> &PolicyInfo {
        &self.info
    }

    /// The plugin it runs.
    pub fn plugin(&self) -> &PolicyPlugin {
        &self.plugin
    }

    /// Whether it can still be called.
    pub fn is_alive(&self) -> bool {
        self.live.is_some()
    }

    /// Other limits for the calls that follow.
    pub fn set_limits(&mut self, limits: CallLimits) {
        self.limits = limits;
    }

    /// Tells what changed.
    pub async fn apply(&mut self, changes: Vec<Change>) -> Result<(), CallError> {
        if changes.is_empty() && self.is_alive() {
            return Ok(());
        }
        self.call("apply", Some(changes), None).await.map(drop)
    }

    /// Asks for a plan. `candidate_sets` holds worker ids; `demands` come in queue order.
    pub async fn plan(
        &mut self,
        now: u64,
        candidate_sets: Vec<Vec<u32>>,
        demands: Vec<Demand>,
    ) -> Result<Plan, CallError> {
        self.call("plan", None, Some((now, candidate_sets, demands))).await
    }

    /// Tells what changed and asks for a plan, with one trip to the guests' threads instead of two.
    pub async fn round(
        &mut self,
        changes: Vec<Change>,
        now: u64,
        candidate_sets: Vec<Vec<u32>>,
        demands: Vec<Demand>,
    ) -> Result<Plan, CallError> {
        let changes = if changes.is_empty() { None } else { Some(changes) };
        self.call("plan", changes, Some((now, candidate_sets, demands))).await
    }

    async fn call(
        &mut self,
        name: &'static str,
        changes: Option<Vec<Change>>,
        question: Option<(u64, Vec<Vec<u32>>, Vec<Demand>)>,
    ) -> Result<Plan, CallError> {
        let Some(live) = self.live.take() else {
            return Err(error(&self.plugin.identity, name, Cause::Ended));
        };
        let running = running_time(&self.plugin.identity, self.limits);
        let inner = self.plugin.inner.clone();
        let work = async move {
            // Without it, dropping the session in the middle of a call could stop the clock that ends the guest.
            let _alive = inner;
            let mut live = live;
            live.store.data_mut().meter().begin_call(running);
            live.store.data().log().begin_call();
            match live.perform(changes, question).await {
                Ok(plan) => {
                    live.store.data().log().end_call();
                    plan.map(|plan| (live, plan))
                }
                Err(error) => Err(ended(&live.store, &error)),
            }
        };
        let outcome = confined(&self.plugin.inner.policy_guests, None, self.limits.deadline, work).await;
        match outcome.and_then(|result| result) {
            Ok((live, plan)) => {
                self.live = Some(live);
                Ok(plan)
            }
            Err(cause) => Err(error(&self.plugin.identity, name, cause)),
        }
    }
}

impl std::fmt::Debug for PolicySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySession")
            .field("plugin", &self.plugin.name())
            .field("alive", &self.is_alive())
            .finish()
    }
}

impl Live {
    async fn perform(
        &mut self,
        changes: Option<Vec<Change>>,
        question: Option<(u64, Vec<Vec<u32>>, Vec<Demand>)>,
    ) -> wasmtime::Result<Result<Plan, Cause>> {
        let policy = self.bindings.grove_plugin_policy();
        if let Some(changes) = changes {
            let changes: Vec<_> = changes.into_iter().map(Into::into).collect();
            policy.call_apply(&mut self.store, &changes).await?;
        }
        let Some((now, candidate_sets, demands)) = question else {
            return Ok(Ok(Plan::default()));
        };
        let demands: Vec<_> = demands.into_iter().map(Into::into).collect();
        let plan = policy.call_plan(&mut self.store, now, &candidate_sets, &demands).await?;
        Ok(checked(plan, demands.len()))
    }
}

fn ended(store: &Store<PureStore>, error: &wasmtime::Error) -> Cause {
    store.data().log().end_call();
    cause_of(error, store.data().log())
}
