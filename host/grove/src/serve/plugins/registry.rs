//! Which versions of plugins are loaded: where tasks, registrations and policy sessions find what they run on.
//!
//! The services of the plugins come and go here; whoever asks for a version that is on its way waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grove_domain::moment::Timestamp;
use grove_domain::plugin::{Digest, PluginKind};
use grove_runtime::{DriverPlugin, InspectorPlugin, Manifest, Plugin};
use tokio::sync::watch;

/// Longest wait for a version that is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version: of which name, and which component.
pub(crate) type Version = (String, Digest);

/// The loaded versions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry(Arc<watch::Sender<State>>);

/// What is known of versions.
#[derive(Default)]
pub(crate) struct State {
    versions: BTreeMap<Version, Slot>,
    /// Versions that have a service.
    served: BTreeSet<Version>,
    /// Plugins that were found and not taken in, by name.
    refused: BTreeMap<String, Refused>,
    /// The policy that has a service, once that is decided.
    policy: Option<Option<Version>>,
    /// The plugin folder, if there is one, was read since the start: what is not there now may not still come from it.
    folder_read: bool,
    /// What names stand for now, as far as they are in use; none before that is known.
    in_use: Option<BTreeMap<String, (PluginKind, Digest)>>,
}

/// A plugin that was found and not taken in.
#[derive(Clone)]
pub(crate) struct Refused {
    pub(crate) manifest: Manifest,
    pub(crate) digest: Digest,
    pub(crate) at: Timestamp,
    pub(crate) why: String,
}

enum Slot {
    Loading,
    Loaded(Plugin),
    Failed(String),
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }

    /// A version is on its way. It leaves when the place is dropped.
    pub(crate) fn enter(&self, version: Version) -> Place {
        self.set(&version, Slot::Loading);
        Place { registry: self.clone(), version, stays: false }
    }

    /// A version that is not wanted any more.
    pub(crate) fn forget(&self, version: &Version) {
        self.0.send_if_modified(|state| state.versions.remove(version).is_some());
    }

    /// A plugin was found and not taken in.
    pub(crate) fn refuse(&self, refused: Refused) {
        self.0.send_modify(|state| {
            state.refused.insert(refused.manifest.name.clone(), refused);
        });
    }

    /// What was found under this name is taken in.
    pub(crate) fn accept(&self, name: &str) {
        self.0.send_if_modified(|state| state.refused.remove(name).is_some());
    }

    /// Plugins that were found and not taken in, by name.
    pub(crate) fn refused(&self) -> BTreeMap<String, Refused> {
        self.0.borrow().refused.clone()
    }

    /// Everything in the plugin folder was taken in, or refused.
    pub(crate) fn folder_is_read(&self) {
        self.0.send_if_modified(|state| !std::mem::replace(&mut state.folder_read, true));
    }

    /// Whether it was.
    pub(crate) fn is_folder_read(&self) -> bool {
        self.0.borrow().folder_read
    }

    /// Versions that have a service, which is what loads them.
    pub(crate) fn served(&self) -> BTreeSet<Version> {
        self.0.borrow().served.clone()
    }

    /// A version has a service from now on, or none any more.
    pub(crate) fn serve(&self, version: &Version, served: bool) {
        self.0.send_if_modified(|state| {
            if served {
                state.served.insert(version.clone())
            } else {
                state.served.remove(version)
            };
            // Nobody waits for that.
            false
        });
    }

    /// The version of a policy that has a service (none: no policy has); none before that is decided.
    pub(crate) fn policy(&self) -> Option<Option<Version>> {
        self.0.borrow().policy.clone()
    }

    /// This version of a policy has a service from now on, or none has.
    pub(crate) fn set_policy(&self, policy: Option<Version>) {
        self.0.send_if_modified(|state| {
            state.policy = Some(policy);
            // Nobody waits for that.
            false
        });
    }

    /// Fires when something changes.
    pub(crate) fn changes(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    fn set(&self, version: &Version, slot: Slot) {
        self.0.send_modify(|state| drop(state.versions.insert(version.clone(), slot)));
    }

    /// What names stand for from now on.
    pub(crate) fn use_these(&self, in_use: BTreeMap<String, (PluginKind, Digest)>) {
        self.0.send_if_modified(|state| {
            let in_use = Some(in_use);
            let changed = state.in_use != in_use;
            state.in_use = in_use;
            changed
        });
    }

    /// Names of the drivers in use, sorted.
    pub(crate) fn drivers(&self) -> Vec<String> {
        self.0.borrow().names(PluginKind::Driver)
    }

    /// Names of the inspectors in use, sorted.
    pub(crate) fn inspectors(&self) -> Vec<String> {
        self.0.borrow().names(PluginKind::Inspector)
    }

    /// The same, waiting while it is not known what is in use: then none would be the wrong answer.
    pub(crate) async fn known_inspectors(&self) -> Result<Vec<String>, String> {
        let mut states = self.0.subscribe();
        let known = states.wait_for(|state| state.in_use.is_some());
        match tokio::time::timeout(PATIENCE, known).await {
            Ok(Ok(state)) => Ok(state.names(PluginKind::Inspector)),
            _ => Err("it is not known yet which plugins are in use".to_owned()),
        }
    }

    /// A version that is loaded at this moment, or why it is not.
    pub(crate) fn loaded(&self, version: &Version) -> Option<Result<Plugin, String>> {
        self.0.borrow().versions.get(version).and_then(Slot::outcome)
    }

    /// A version (none: the one in use), waiting for it while it is on its way.
    pub(crate) async fn get(&self, name: &str, digest: Option<Digest>) -> Result<Plugin, String> {
        let mut states = self.0.subscribe();
        let there = states.wait_for(|state| state.find(name, digest).is_some());
        match tokio::time::timeout(PATIENCE, there).await {
            Ok(Ok(state)) => state.find(name, digest).unwrap_or_else(|| Err(not_loaded(name, digest))),
            _ => Err(not_loaded(name, digest)),
        }
    }

    /// A driver, waiting for it while it is on its way.
    pub(crate) async fn driver(&self, name: &str, digest: Option<Digest>) -> Result<DriverPlugin, String> {
        match self.get(name, digest).await? {
            Plugin::Driver(driver) => Ok(driver),
            other => Err(format!("plugin {name:?} is a {}, not a driver", other.manifest().kind)),
        }
    }

    /// The inspector in use under this name, waiting for it while it is on its way.
    pub(crate) async fn inspector(&self, name: &str) -> Result<InspectorPlugin, String> {
        match self.get(name, None).await? {
            Plugin::Inspector(inspector) => Ok(inspector),
            other => Err(format!("plugin {name:?} is a {}, not an inspector", other.manifest().kind)),
        }
    }

    /// A driver that is loaded at this moment.
    pub(crate) fn loaded_driver(&self, name: &str, digest: Option<Digest>) -> Option<DriverPlugin> {
        match self.0.borrow().find(name, digest) {
            Some(Ok(Plugin::Driver(driver))) => Some(driver),
            _ => None,
        }
    }

    /// Waits until each of these is loaded, or known to have failed.
    pub(crate) async fn settled(&self, versions: &[Version]) {
        let known = |state: &State| {
            versions
                .iter()
                .all(|version| state.versions.get(version).is_some_and(|slot| slot.outcome().is_some()))
        };
        let mut states = self.0.subscribe();
        // One that takes longer is waited for by whoever needs it.
        let _ = tokio::time::timeout(PATIENCE, states.wait_for(known)).await;
    }
}

fn not_loaded(name: &str, digest: Option<Digest>) -> String {
    match digest {
        Some(digest) => format!("version {} of plugin {name:?} is not loaded", digest.short()),
        None => format!("no plugin named {name:?} is in use"),
    }
}

impl State {
    /// Those of this kind that are in use, sorted.
    fn names(&self, wanted: PluginKind) -> Vec<String> {
        let in_use = self.in_use.iter().flatten();
        in_use.filter(|(_, (kind, _))| *kind == wanted).map(|(name, _)| name.clone()).collect()
    }

    /// None while it may still come.
    fn find(&self, name: &str, digest: Option<Digest>) -> Option<Result<Plugin, String>> {
        let in_use = || self.in_use.as_ref()?.get(name).map(|(_, digest)| *digest);
        let digest = digest.or_else(in_use)?;
        self.versions.get(&(name.to_owned(), digest))?.outcome()
    }
}

impl Slot {
    fn outcome(&self) -> Option<Result<Plugin, String>> {
        match self {
            Slot::Loading => None,
            Slot::Loaded(plugin) => Some(Ok(plugin.clone())),
            Slot::Failed(why) => Some(Err(why.clone())),
        }
    }
}

/// A version's place in the registry, as long as its service lives.
pub(crate) struct Place {
    registry: Registry,
    version: Version,
    stays: bool,
}

impl Place {
    pub(crate) fn loaded(&self, plugin: Plugin) {
        self.registry.set(&self.version, Slot::Loaded(plugin));
    }

    /// It stays known as failed until it is tried again.
    pub(crate) fn failed(mut self, why: String) {
        self.registry.set(&self.version, Slot::Failed(why));
        self.stays = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.stays {
            self.registry.forget(&self.version);
        }
    }
}
