//! One version of one plugin: loaded, and in the registry as long as it is needed.

use std::sync::Arc;

use grove_domain::plugin::PluginVersion;
use grove_engine::{Exit, Key, Output, Scope, Service};
use grove_runtime::Plugin;

use super::{RUNTIME, Shared};
use crate::serve::plugins::registry::Version;

/// The key of a version.
pub(super) fn key((name, digest): &Version) -> Key<Plugin> {
    Key::named(format!("plugin/{name}@{}", digest.short()))
}

pub(super) fn service(shared: &Arc<Shared>, version: &Arc<PluginVersion>) -> Service {
    let (shared, version) = (shared.clone(), version.clone());
    let key = key(&version_of(&version));
    Service::new(key.name(), move |scope| run(scope, shared.clone(), version.clone())).needs(&RUNTIME)
}

async fn run(scope: Scope, shared: Arc<Shared>, version: Arc<PluginVersion>) -> Result<(), Exit> {
    let runtime = scope.get(&RUNTIME)?;
    let identity = version_of(&version);
    let place = shared.registry.enter(identity.clone());
    match shared.loader.load_installed(&runtime, &version).await {
        Ok(plugin) => {
            place.loaded(plugin.clone());
            scope.started(Output::of(&key(&identity), Arc::new(plugin)));
        }
        Err(why) => {
            place.failed(why.clone());
            return Err(Exit::failed(why));
        }
    }
    scope.stop().cancelled().await;
    Ok(())
}

/// Its identity.
pub(super) fn version_of(version: &PluginVersion) -> Version {
    (version.name.clone(), version.digest)
}
