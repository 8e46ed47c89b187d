//! Taking a plugin in: tried out, kept, then made a row of the farm.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use grove_control::Controller;
use grove_domain::plugin::{Origin, Plugin, PluginKind, PluginVersion};
use grove_runtime::Runtime;

use super::found::Found;
use super::load::{Loader, kind};
use super::registry::{self, Registry, Version};
use super::shelf;
use crate::serve::config::DEFAULT_POLICY;

/// Who takes in what is found.
const CORE: &str = "core";

/// Given a version that is to be loaded again.
pub(crate) type Reload = Arc<dyn Fn(Version) -> BoxFuture<'static, ()> + Send + Sync>;

/// What taking in needs.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) controller: Controller,
    pub(crate) runtime: Runtime,
    pub(crate) loader: Loader,
    pub(crate) registry: Registry,
    /// Has a version loaded again that could not be, once what it lacked is there.
    pub(crate) reload: Reload,
}

/// A version that does what it must, and is not kept yet.
pub(crate) struct TriedOut {
    version: PluginVersion,
    component: Bytes,
}

/// Why a plugin was not taken in.
pub(crate) enum Refused {
    /// It does not do what it must, and this is told in an event.
    Check(String),
    /// It cannot be kept.
    Shelf(String),
    /// The controller said no.
    Controller(grove_control::refusal::Refused),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Check(why) | Self::Shelf(why) => f.write_str(why),
            Self::Controller(refused) => refused.fmt(f),
        }
    }
}

impl Intake {
    /// Takes in what was found, unless it was taken in before. `placed`: it was put there just now, by somebody who
    /// wants it used.
    pub(crate) async fn found(&self, found: Found, placed: bool) -> Result<(), Refused> {
        let farm = self.controller.farm();
        let name = found.manifest.name.clone();
        let version = (name.clone(), shelf::digest(&found.component));
        let known = farm.plugin_versions().contains_key(&version);
        let activate = match farm.plugin(&name) {
            None => match kind(found.manifest.kind) {
                PluginKind::Policy => self.loader.policy().unwrap_or(DEFAULT_POLICY) == name,
                PluginKind::Driver | PluginKind::Inspector => true,
            },
            Some(plugin) if found.origin == Origin::BuiltIn => {
                // What an admin chose stays; what came with the binary goes with it.
                let active =
                    plugin.active.and_then(|digest| farm.plugin_versions().get(&(name.clone(), digest)));
                active.is_none_or(|active| active.origin == Origin::BuiltIn)
            }
            Some(_) => placed || !known,
        };
        let in_use = farm.plugin(&name).is_some_and(|plugin| plugin.active == Some(version.1));
        if known && (in_use || !activate) {
            let _changing = self.loader.shelf.changing().await;
            return self.keep(&version, found.component).await;
        }
        let manifest = found.manifest.clone();
        let taken_in = match self.tried_out(CORE, found).await {
            Ok(tried) => self.install(CORE, tried, activate, None).await,
            Err(refused) => Err(refused),
        };
        match &taken_in {
            Ok(_) => self.registry.accept(&name),
            Err(refused) => {
                let (at, why) = (self.controller.clock().now(), refused.to_string());
                self.registry.refuse(registry::Refused { manifest, digest: version.1, at, why });
            }
        }
        taken_in.map(drop)
    }

    /// Compiles a version and tries it out. When this is dropped, that ends, and nothing has happened.
    pub(crate) async fn tried_out(&self, actor: &str, found: Found) -> Result<TriedOut, Refused> {
        let Found { text, manifest, component, origin } = found;
        let version = PluginVersion {
            name: manifest.name.clone(),
            digest: shelf::digest(&component),
            kind: kind(manifest.kind),
            version: manifest.version.clone(),
            manifest: text,
            origin,
            installed: self.controller.clock().now(),
        };
        // Our own were tried out when they were built.
        if origin != Origin::BuiltIn {
            let tried = match self.loader.load(&self.runtime, manifest, component.clone(), origin).await {
                Ok(plugin) => self.loader.try_out(&plugin, &self.controller).await,
                Err(why) => Err(why),
            };
            if let Err(why) = tried {
                return Err(self.refuse(actor, &version.name, why).await);
            }
        }
        Ok(TriedOut { version, component })
    }

    /// Keeps the component of a version, and makes it a row.
    pub(crate) async fn install(
        &self,
        actor: &str,
        tried: TriedOut,
        activate: bool,
        expected: Option<u64>,
    ) -> Result<(Arc<Plugin>, Arc<PluginVersion>), Refused> {
        let TriedOut { version, component } = tried;
        let _changing = self.loader.shelf.changing().await;
        self.keep(&(version.name.clone(), version.digest), component).await?;
        self.controller.install_plugin(actor, version, activate, expected).await.map_err(Refused::Controller)
    }

    /// Keeps a component; a version that was lost without it is mended by that.
    async fn keep(&self, version: &Version, component: Bytes) -> Result<(), Refused> {
        let (shelf, digest) = (self.loader.shelf.clone(), version.1);
        match tokio::task::spawn_blocking(move || shelf.keep(&digest, &component)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Refused::Shelf(format!("{error:#}"))),
            Err(_) => return Err(Refused::Shelf("keeping the component was interrupted".to_owned())),
        }
        if matches!(self.registry.loaded(version), Some(Err(_))) {
            self.registry.forget(version);
            (self.reload)(version.clone()).await;
        }
        Ok(())
    }

    /// Tries out an installed version that is about to be used.
    pub(crate) async fn try_out(&self, actor: &str, version: &PluginVersion) -> Result<(), Refused> {
        let tried = match self.loader.load_installed(&self.runtime, version).await {
            Ok(plugin) => self.loader.try_out(&plugin, &self.controller).await,
            Err(why) => Err(why),
        };
        match tried {
            Ok(()) => Ok(()),
            Err(why) => Err(self.refuse(actor, &version.name, why).await),
        }
    }

    async fn refuse(&self, actor: &str, name: &str, why: String) -> Refused {
        // A store that cannot take the event refuses the rest, too: the reason is told all the same.
        let _ = self.controller.plugin_refused(actor, name, why.clone()).await;
        Refused::Check(why)
    }

    /// The policy that the configuration names is the one in use; empty: none is. False: there is no such policy.
    pub(crate) async fn use_policy(&self, name: &str) -> Result<bool, grove_control::refusal::Refused> {
        let farm = self.controller.farm();
        let policy = farm.plugin(name).filter(|plugin| plugin.kind == PluginKind::Policy);
        match (policy, farm.policy()) {
            (Some(policy), _) if !policy.enabled => {
                self.controller.enable_plugin(CORE, name, None).await.map(|_| true)
            }
            (None, Some(current)) if name.is_empty() => {
                self.controller.disable_plugin(CORE, &current.name, None).await.map(|_| true)
            }
            (policy, _) => Ok(policy.is_some() || name.is_empty()),
        }
    }
}
