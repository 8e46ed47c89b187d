//! Loading a version, and seeing it at work before anything depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use grove_control::Controller;
use grove_domain::plugin::{Origin, PluginKind, PluginVersion};
use grove_runtime::{Effective, Grants, Kind, Manifest, Plugin, Runtime};

use super::shelf::Shelf;
use crate::serve::adapters::{drivers, inspectors, policies};
use crate::serve::config::PluginConfig;

/// Longest time for seeing a version at work.
const PATIENCE: Duration = Duration::from_secs(60);
/// Configurations of workers that a new version of their driver is shown.
const CONFIGS: usize = 1000;

/// What every load needs; cheap to clone.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) shelf: Shelf,
    pub(crate) config: Arc<PluginConfig>,
    /// Settings of policies, JSON text.
    pub(crate) settings: PolicySettings,
    pub(crate) inspectors: InspectorSettings,
}

/// Settings of policies.
#[derive(Clone)]
pub(crate) struct PolicySettings {
    /// The policy that they are for; none = whichever is used.
    pub(crate) name: Option<String>,
    /// JSON text.
    pub(crate) text: String,
}

impl PolicySettings {
    /// Those of this policy.
    pub(crate) fn of(&self, policy: &str) -> String {
        match &self.name {
            Some(name) if name != policy => "{}".to_owned(),
            _ => self.text.clone(),
        }
    }
}

/// Settings of inspectors; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct InspectorSettings(Arc<BTreeMap<String, String>>);

impl InspectorSettings {
    /// From those of all plugins, by name.
    pub(crate) fn new(settings: &BTreeMap<String, toml::Table>) -> anyhow::Result<Self> {
        let text = |(name, table): (&String, &toml::Table)| {
            let text = serde_json::to_string(table)
                .with_context(|| format!("the settings of {name} cannot be written as JSON"))?;
            Ok((name.clone(), text))
        };
        Ok(Self(Arc::new(settings.iter().map(text).collect::<anyhow::Result<_>>()?)))
    }

    /// Those of this inspector, JSON text.
    pub(crate) fn of(&self, inspector: &str) -> String {
        self.0.get(inspector).cloned().unwrap_or_else(|| "{}".to_owned())
    }
}

/// The kind, in the farm's own terms.
pub(crate) fn kind(kind: Kind) -> PluginKind {
    match kind {
        Kind::Policy => PluginKind::Policy,
        Kind::Driver => PluginKind::Driver,
        Kind::Inspector => PluginKind::Inspector,
    }
}

impl Loader {
    /// The policy that the configuration names.
    pub(crate) fn policy(&self) -> Option<&str> {
        self.settings.name.as_deref()
    }

    /// What the admin grants a plugin: as configured, and to our own what they want.
    fn grants(&self, manifest: &Manifest, origin: Origin) -> Grants {
        match self.config.grants.get(&manifest.name) {
            Some(grants) => grants.clone(),
            None if origin == Origin::BuiltIn => Grants::all_wanted(manifest),
            None => Grants::default(),
        }
    }

    /// What a plugin may do.
    pub(crate) fn effective(&self, manifest: &Manifest, origin: Origin) -> Effective {
        Effective::of(manifest, &self.grants(manifest, origin))
    }

    /// Compiles a component and checks it against manifest, grants and contract.
    pub(crate) async fn load(
        &self,
        runtime: &Runtime,
        manifest: Manifest,
        component: impl Into<Bytes>,
        origin: Origin,
    ) -> Result<Plugin, String> {
        let grants = self.grants(&manifest, origin);
        if manifest.kind != Kind::Inspector && self.config.settings.contains_key(&manifest.name) {
            tracing::warn!(
                plugin = manifest.name,
                "plugins.settings are for inspectors: nobody looks at those of a {}",
                manifest.kind
            );
        }
        runtime.load(manifest, component, &grants).await.map_err(|error| error.to_string())
    }

    /// Loads an installed version from the shelf.
    pub(crate) async fn load_installed(
        &self,
        runtime: &Runtime,
        version: &PluginVersion,
    ) -> Result<Plugin, String> {
        let manifest =
            Manifest::parse(&version.manifest, "plugin.toml").map_err(|error| error.to_string())?;
        let (shelf, digest) = (self.shelf.clone(), version.digest);
        let component = match tokio::task::spawn_blocking(move || shelf.take(&digest)).await {
            Ok(component) => component.map_err(|error| {
                let PluginVersion { name, version, .. } = version;
                format!("{error:#}: install {name} {version} again, or remove that version")
            })?,
            Err(_) => return Err("reading its component was interrupted".to_owned()),
        };
        self.load(runtime, manifest, component, version.origin).await
    }

    /// Has a loaded version do what costs nobody anything: a policy takes its settings and plans for nobody, a driver
    /// looks at the configurations of the workers that it is for, an inspector concludes from an empty inventory.
    pub(crate) async fn try_out(&self, plugin: &Plugin, controller: &Controller) -> Result<(), String> {
        let name = &plugin.manifest().name;
        let trial = async {
            match plugin {
                Plugin::Policy(policy) => {
                    let mut session = policies::open(policy, name, self.settings.of(name)).await?;
                    let plan = session.round(Vec::new(), 0, Vec::new(), Vec::new()).await;
                    plan.map(drop).map_err(|error| error.to_string())
                }
                Plugin::Driver(driver) => {
                    let farm = controller.farm();
                    let users = farm.workers().values().filter(|worker| {
                        worker.registration.driver == *name && worker.driver_version.is_none()
                    });
                    let mut seen = BTreeSet::new();
                    for worker in users {
                        let config = &worker.registration.driver_config;
                        if seen.len() < CONFIGS && seen.insert(config.clone()) {
                            drivers::validate(driver, config.clone()).await.map_err(|why| {
                                format!("it refuses the configuration of worker {}: {why}", worker.id)
                            })?;
                        }
                    }
                    drivers::describe(driver).await
                }
                Plugin::Inspector(inspector) => {
                    inspectors::try_out(inspector, self.inspectors.of(name)).await
                }
            }
        };
        match tokio::time::timeout(PATIENCE, trial).await {
            Ok(result) => result,
            Err(_) => Err(format!("it was not done within {} s", PATIENCE.as_secs())),
        }
    }
}
