//! Inspectors: an inventory in, capability changes out; nothing else.

use std::sync::Arc;

use serde::de::IgnoredAny;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::bindings::inspector as wit;
use crate::bindings::inspector::exports::grove::plugin::inspector as api;
use crate::bindings::inspector::grove::plugin::types::Pair;
use crate::driver::POOL_RETRY;
use crate::driver_call::Info;
use crate::engine::{Identity, Inner};
use crate::error::{CallError, Cause, Failure, FailureKind};
use crate::grants::Effective;
use crate::guest_log::cut;
use crate::guests::confined;
use crate::host::LogSink;
use crate::limits::{CallLimits, MAX_TEXT, Metered, cause_of};
use crate::manifest::Manifest;
use crate::pure::{PureStore, error, pure_store, running_time};

/// Longest inventory that an inspector is asked about, and that it may make of one, in bytes.
pub const MAX_INVENTORY: usize = 2 << 20;
/// Deepest nesting of what it makes.
pub const MAX_DEPTH: usize = 64;
/// Most findings of one inspector about one inventory.
pub const MAX_FINDINGS: usize = 1000;
/// Longest key of a finding, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest value of a finding, in bytes.
pub const MAX_VALUE: usize = 4096;
/// Longest driver config of a registration, in bytes.
const MAX_CONFIG: usize = 64 << 10;

/// A worker, as an inspector sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its uuid.
    pub uuid: String,
    /// Its effective capabilities.
    pub capabilities: Vec<(String, String)>,
    /// Its groups.
    pub groups: Vec<String>,
}

/// What an inspector concludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// This capability has this value.
    SetCapability(String, String),
    /// The board lacks this capability.
    UnsetCapability(String),
    /// A note on the worker.
    Label(String, String),
    /// The board is not what it should be.
    Fail(String),
}

/// How a device that nobody registered could be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its identity from now on.
    pub uuid: String,
    /// Capabilities it would report.
    pub capabilities: Vec<(String, String)>,
    /// Its driver.
    pub driver: String,
    /// Its driver config, JSON text.
    pub config: String,
}

/// A loaded inspector. Cheap to clone.
#[derive(Clone)]
pub struct InspectorPlugin {
    inner: Arc<Inner>,
    identity: Arc<Identity>,
    pre: Arc<wit::InspectorPluginPre<PureStore>>,
}

/// A running inspector; dead after any cause but [`Cause::Failure`] and [`Cause::NotAsked`].
pub struct InspectorSession {
    plugin: InspectorPlugin,
    limits: CallLimits,
    cancel: CancellationToken,
    info: Info,
    live: Option<Box<Live>>,
}

/// A live instance. The store is dropped before its slot is given back.
struct Live {
    store: Store<PureStore>,
    bindings: wit::InspectorPlugin,
    _slot: OwnedSemaphorePermit,
}

enum Question {
    Normalize(String),
    Derive(String, WorkerView),
    UnknownDevice(String),
}

enum Answer {
    Inventory(String),
    Findings(Vec<Finding>),
    Registration(Option<Registration>),
}

impl InspectorPlugin {
    pub(crate) fn new(
        inner: Arc<Inner>,
        identity: Arc<Identity>,
        pre: InstancePre<PureStore>,
    ) -> wasmtime::Result<InspectorPlugin> {
        Ok(InspectorPlugin { inner, identity, pre: Arc::new(wit::InspectorPluginPre::new(pre)?) })
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

    /// Makes an instance and calls its `init` with these settings (JSON). `limits` hold for each later call too; when
    /// `cancel` fires, a call ends whatever it is doing, and its instance is gone when it resolves.
    pub async fn open(
        &self,
        settings: String,
        limits: CallLimits,
        log: Arc<dyn LogSink>,
        cancel: CancellationToken,
    ) -> Result<InspectorSession, CallError> {
        let plugin = self.clone();
        let running = running_time(&self.identity, limits);
        let work = async move {
            let slot = plugin.inner.inspector_slots.clone().acquire_owned().await;
            let slot = slot.map_err(|_| Cause::Internal("the plugin runtime is stopping".to_owned()))?;
            let (mut store, bindings) = loop {
                let mut store = pure_store(plugin.pre.engine(), &plugin.identity, log.clone());
                store.data_mut().meter().begin_call(running);
                match plugin.pre.instantiate_async(&mut store).await {
                    Ok(bindings) => break (store, bindings),
                    Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                        drop(store);
                        tokio::time::sleep(POOL_RETRY).await;
                    }
                    Err(error) => return Err(ended(&store, &error)),
                }
            };
            let info = bindings.grove_plugin_inspector().call_init(&mut store, &settings).await;
            let info = info.map_err(|error| ended(&store, &error))?;
            store.data().log().end_call();
            let info = info.map_err(|text| Cause::Failure(failure(FailureKind::Config, &text)))?;
            let info = Info { name: info.name, version: info.version, summary: info.summary };
            Ok((Box::new(Live { store, bindings, _slot: slot }), info))
        };
        let outcome = confined(&self.inner.guests, Some(cancel.clone()), limits.deadline, work).await;
        let (live, info) =
            outcome.and_then(|result| result).map_err(|cause| error(&self.identity, "init", cause))?;
        Ok(InspectorSession { plugin: self.clone(), limits, cancel, info, live: Some(live) })
    }
}

impl std::fmt::Debug for InspectorPlugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectorPlugin").field("name", &self.name()).field("digest", &self.digest()).finish()
    }
}

impl InspectorSession {
    /// What the inspector said of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Whether it can still be called.
    pub fn is_alive(&self) -> bool {
        self.live.is_some()
    }

    /// Brings an inventory (JSON) into the common form.
    pub async fn normalize(&mut self, inventory: String) -> Result<String, CallError> {
        match self.call("normalize", Question::Normalize(inventory)).await? {
            Answer::Inventory(inventory) => Ok(inventory),
            _ => Err(self.mismatch("normalize")),
        }
    }

    /// What follows for a worker from an inventory.
    pub async fn derive(&mut self, inventory: String, worker: WorkerView) -> Result<Vec<Finding>, CallError> {
        match self.call("derive", Question::Derive(inventory, worker)).await? {
            Answer::Findings(findings) => Ok(findings),
            _ => Err(self.mismatch("derive")),
        }
    }

    /// How to register a device that is not known, if the inspector can tell.
    pub async fn unknown_device(&mut self, inventory: String) -> Result<Option<Registration>, CallError> {
        match self.call("unknown-device", Question::UnknownDevice(inventory)).await? {
            Answer::Registration(registration) => Ok(registration),
            _ => Err(self.mismatch("unknown-device")),
        }
    }

    fn mismatch(&self, name: &'static str) -> CallError {
        error(&self.plugin.identity, name, Cause::Internal("answer to another question".to_owned()))
    }

    async fn call(&mut self, name: &'static str, question: Question) -> Result<Answer, CallError> {
        if let Err(why) = question.is_small() {
            return Err(error(&self.plugin.identity, name, Cause::NotAsked(why)));
        }
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
            match live.perform(question).await {
                Ok(answer) => {
                    live.store.data().log().end_call();
                    if let Ok(answer) = &answer {
                        answer.is_sound()?;
                    }
                    Ok((live, answer))
                }
                Err(error) => Err(ended(&live.store, &error)),
            }
        };
        let cancel = Some(self.cancel.clone());
        let outcome = confined(&self.plugin.inner.guests, cancel, self.limits.deadline, work).await;
        let outcome = outcome.and_then(|result| result).and_then(|(live, answer)| {
            self.live = Some(live);
            answer.map_err(Cause::Failure)
        });
        outcome.map_err(|cause| error(&self.plugin.identity, name, cause))
    }
}

impl std::fmt::Debug for InspectorSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plugin = self.plugin.name();
        f.debug_struct("InspectorSession").field("plugin", &plugin).field("alive", &self.is_alive()).finish()
    }
}

impl Live {
    async fn perform(&mut self, question: Question) -> wasmtime::Result<Result<Answer, Failure>> {
        let inspector = self.bindings.grove_plugin_inspector();
        let store = &mut self.store;
        let refused = |text: String| failure(FailureKind::Device, &text);
        Ok(match question {
            Question::Normalize(inventory) => {
                inspector.call_normalize(store, &inventory).await?.map(Answer::Inventory).map_err(refused)
            }
            Question::Derive(inventory, worker) => {
                let worker = api::WorkerView {
                    uuid: worker.uuid,
                    capabilities: to_pairs(worker.capabilities),
                    groups: worker.groups,
                };
                let changes = inspector.call_derive(store, &inventory, &worker).await?;
                changes
                    .map(|changes| Answer::Findings(changes.into_iter().map(Into::into).collect()))
                    .map_err(refused)
            }
            Question::UnknownDevice(inventory) => {
                let found = inspector.call_unknown_device(store, &inventory).await?;
                Ok(Answer::Registration(found.map(|found| Registration {
                    uuid: found.uuid,
                    capabilities: from_pairs(found.capabilities),
                    driver: found.driver,
                    config: found.config,
                })))
            }
        })
    }
}

impl Question {
    /// The inventory is not the inspector's: one that is too long is no fault of it.
    fn is_small(&self) -> Result<(), String> {
        let (Question::Normalize(inventory)
        | Question::Derive(inventory, _)
        | Question::UnknownDevice(inventory)) = self;
        match inventory.len() {
            0..=MAX_INVENTORY => Ok(()),
            long => Err(format!("the inventory has {long} bytes, and at most {MAX_INVENTORY} are taken")),
        }
    }
}

impl Answer {
    /// Whether it is of the kind and size that were asked for. One that is not ends the instance.
    fn is_sound(&self) -> Result<(), Cause> {
        let too_much = |text: String| Err(Cause::TooMuchData(text));
        match self {
            Answer::Inventory(inventory) if inventory.len() > MAX_INVENTORY => too_much(format!(
                "an inventory of {} bytes; at most {MAX_INVENTORY} are taken",
                inventory.len()
            )),
            Answer::Inventory(inventory) => is_json(inventory),
            Answer::Findings(findings) if findings.len() > MAX_FINDINGS => {
                too_much(format!("{} findings; at most {MAX_FINDINGS} are taken", findings.len()))
            }
            Answer::Findings(findings) => findings.iter().try_for_each(Finding::is_short),
            Answer::Registration(None) => Ok(()),
            Answer::Registration(Some(registration)) => {
                let Registration { uuid, capabilities, driver, config } = registration;
                if capabilities.len() > MAX_FINDINGS || config.len() > MAX_CONFIG {
                    return too_much("a registration that is too big".to_owned());
                }
                is_short(uuid, driver)?;
                capabilities.iter().try_for_each(|(key, value)| is_short(key, value))?;
                is_json(config)
            }
        }
    }
}

impl Finding {
    fn is_short(&self) -> Result<(), Cause> {
        match self {
            Finding::SetCapability(key, value) | Finding::Label(key, value) => is_short(key, value),
            Finding::UnsetCapability(key) => is_short(key, ""),
            // It was cut.
            Finding::Fail(_) => Ok(()),
        }
    }
}

fn is_short(key: &str, value: &str) -> Result<(), Cause> {
    if key.len() > MAX_KEY {
        return Err(Cause::TooMuchData(format!("a key of {} bytes; at most {MAX_KEY} are taken", key.len())));
    }
    if value.len() > MAX_VALUE {
        let (key, long) = (cut(key, MAX_KEY), value.len());
        return Err(Cause::TooMuchData(format!(
            "a value of {long} bytes for {key:?}; at most {MAX_VALUE} are taken"
        )));
    }
    Ok(())
}

fn is_json(text: &str) -> Result<(), Cause> {
    let nonsense = |why: String| Err(Cause::Nonsense(why));
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return nonsense(format!("what it answered is not JSON: {error}"));
    }
    match depth(text) {
        0..=MAX_DEPTH => Ok(()),
        deep => nonsense(format!("what it answered is nested {deep} deep; at most {MAX_DEPTH} is taken")),
    }
}

/// How deep lists and objects are nested in a text that is JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl From<api::Change> for Finding {
    fn from(change: api::Change) -> Self {
        match change {
            api::Change::SetCapability(pair) => Finding::SetCapability(pair.key, pair.value),
            api::Change::UnsetCapability(key) => Finding::UnsetCapability(key),
            api::Change::Label(pair) => Finding::Label(pair.key, pair.value),
            api::Change::Fail(text) => Finding::Fail(cut(&text, MAX_TEXT).to_owned()),
        }
    }
}

fn to_pairs(pairs: Vec<(String, String)>) -> Vec<Pair> {
    pairs.into_iter().map(|(key, value)| Pair { key, value }).collect()
}

fn from_pairs(pairs: Vec<Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

fn failure(kind: FailureKind, text: &str) -> Failure {
    Failure { kind, text: cut(text, MAX_TEXT).to_owned() }
}

fn ended(store: &Store<PureStore>, error: &wasmtime::Error) -> Cause {
    store.data().log().end_call();
    cause_of(error, store.data().log())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_texts() {
        for (json, deep) in
            [("7", 0), ("[]", 1), (r#"{"a": [1, [2]], "b": {}}"#, 3), (r#"{"[[[": "{\"[", "x\\": [[]]}"#, 3)]
        {
            assert_eq!(depth(json), deep, "{json}");
        }
    }

    #[test]
    fn deep_and_broken_json_is_nonsense() {
        let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        assert_eq!(is_json(&nested(MAX_DEPTH)), Ok(()));
        for broken in
            [nested(MAX_DEPTH + 1), nested(100_000), "{".to_owned(), String::new(), "{} {}".to_owned()]
        {
            assert!(matches!(is_json(&broken), Err(Cause::Nonsense(_))));
        }
    }
}
