//! Which plugins there are: those in the binary, and those in the plugin folder, which take their place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use grove_runtime::{DriverPlugin, Grants, Kind, MAX_MANIFEST, Manifest, Plugin, PolicyPlugin, Runtime};

use super::config::PluginConfig;

/// First-party plugins: (manifest, component).
static BUNDLE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundle.rs"));

/// Plugins by name, each loaded or with the reason why it was not.
pub(crate) struct Plugins {
    known: BTreeMap<String, Known>,
}

/// A plugin that was found.
pub(crate) struct Known {
    pub(crate) manifest: Manifest,
    pub(crate) loaded: Result<Plugin, String>,
}

/// Where a plugin comes from.
struct Found {
    manifest: Manifest,
    component: Vec<u8>,
    first_party: bool,
}

impl Plugins {
    /// Finds and loads plugins. One that cannot be loaded does not keep the others from serving.
    pub(crate) async fn load(runtime: &Runtime, config: &PluginConfig) -> anyhow::Result<Arc<Self>> {
        let mut found = bundled()?;
        if let Some(folder) = &config.folder {
            found.extend(read_folder(folder, BUNDLE.is_empty())?);
        }
        let mut loading = Vec::new();
        for (name, plugin) in found {
            let grants = match config.grants.get(&name) {
                Some(grants) => grants.clone(),
                None if plugin.first_party => Grants::all_wanted(&plugin.manifest),
                None => Grants::default(),
            };
            let runtime = runtime.clone();
            let manifest = plugin.manifest.clone();
            let load = async move { runtime.load(plugin.manifest, plugin.component, &grants).await };
            loading.push((name, manifest, tokio::spawn(load)));
        }
        let mut known = BTreeMap::new();
        for (name, manifest, load) in loading {
            let loaded =
                load.await.context("loading a plugin was interrupted")?.map_err(|error| error.to_string());
            if let Err(error) = &loaded {
                tracing::error!(plugin = name, "{error}");
            }
            known.insert(name, Known { manifest, loaded });
        }
        Ok(Arc::new(Self { known }))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// Names of the drivers that can be used.
    pub(crate) fn drivers(&self) -> Vec<String> {
        let usable = self.known.values().filter(|known| matches!(known.loaded, Ok(Plugin::Driver(_))));
        usable.map(|known| known.manifest.name.clone()).collect()
    }

    /// A driver, or why there is none.
    pub(crate) fn driver(&self, name: &str) -> Result<DriverPlugin, String> {
        match self.loaded(name, Kind::Driver)? {
            Plugin::Driver(driver) => Ok(driver.clone()),
            other => Err(wrong_kind(name, other.manifest().kind, Kind::Driver)),
        }
    }

    /// A policy, or why there is none.
    pub(crate) fn policy(&self, name: &str) -> Result<PolicyPlugin, String> {
        match self.loaded(name, Kind::Policy)? {
            Plugin::Policy(policy) => Ok(policy.clone()),
            other => Err(wrong_kind(name, other.manifest().kind, Kind::Policy)),
        }
    }

    fn loaded(&self, name: &str, kind: Kind) -> Result<&Plugin, String> {
        let known = self.known.get(name).ok_or_else(|| format!("no {kind} is named {name:?}"))?;
        known.loaded.as_ref().map_err(Clone::clone)
    }
}

fn wrong_kind(name: &str, is: Kind, wanted: Kind) -> String {
    format!("plugin {name:?} is a {is}, not a {wanted}")
}

fn bundled() -> anyhow::Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for (manifest, component) in BUNDLE {
        let manifest = Manifest::parse(manifest, "built-in plugin.toml")?;
        let name = manifest.name.clone();
        found.insert(name, Found { manifest, component: component.to_vec(), first_party: true });
    }
    Ok(found)
}

/// `trusted`: the binary carries no plugins, so that this folder is where its own ones are.
fn read_folder(folder: &Path, trusted: bool) -> anyhow::Result<BTreeMap<String, Found>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to read the plugin folder {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    let mut found = BTreeMap::new();
    for path in paths {
        let file = path.join("plugin.toml");
        if !file.is_file() {
            continue;
        }
        let shown = file.display().to_string();
        let size = file.metadata().with_context(|| format!("failed to read {shown}"))?.len();
        if size > MAX_MANIFEST as u64 {
            bail!("{shown} is {size} bytes long; a manifest has {MAX_MANIFEST} at most");
        }
        let text = std::fs::read_to_string(&file).with_context(|| format!("failed to read {shown}"))?;
        let manifest = Manifest::parse(&text, &shown)?;
        let component = path.join(&manifest.component);
        let component = std::fs::read(&component)
            .with_context(|| format!("failed to read {}, which {shown} names", component.display()))?;
        let name = manifest.name.clone();
        if found.insert(name.clone(), Found { manifest, component, first_party: trusted }).is_some() {
            bail!("two plugins in {} are named {name:?}", folder.display());
        }
    }
    Ok(found)
}
