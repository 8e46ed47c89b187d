//! The policy in use: it takes its settings once, then the controller asks it in sessions of its own.

use std::sync::Arc;

use grove_domain::plugin::PluginVersion;
use grove_engine::{Exit, Output, Scope, Service};

use super::{CONTROLLER, POLICY, Shared, plugin};
use crate::serve::adapters::policies::{self, Chosen};

pub(super) fn service(shared: &Arc<Shared>, version: &Arc<PluginVersion>) -> Service {
    let (shared, version) = (shared.clone(), version.clone());
    let needed = plugin::key(&plugin::version_of(&version));
    Service::new(POLICY, move |scope| run(scope, shared.clone(), version.clone()))
        .needs(&needed)
        .needs(&CONTROLLER)
}

/// The one that was asked for is not there.
pub(super) fn missing(why: String) -> Service {
    Service::new(POLICY, move |_| std::future::ready(Err(Exit::failed(why.clone()))))
}

async fn run(scope: Scope, shared: Arc<Shared>, version: Arc<PluginVersion>) -> Result<(), Exit> {
    let controller = scope.get(&CONTROLLER)?;
    let plugin = (*scope.get(&plugin::key(&plugin::version_of(&version)))?).clone().into_policy()?;
    let (name, digest) = (version.name.clone(), version.digest);
    let settings = shared.loader.settings.of(&name);
    if let Err(why) = policies::open(&plugin, &name, settings.clone()).await {
        shared.policies.choose(Chosen::Broken { name, version: Some(digest), why: why.clone() });
        controller.policy_changed().await;
        return Err(Exit::failed(why));
    }
    shared.policies.choose(Chosen::Policy { name, version: digest, plugin, settings });
    controller.policy_changed().await;
    scope.started(Output::none());
    scope.stop().cancelled().await;
    // Until another one has started, or it has again, requests wait for it only as long as the controller says.
    shared.policies.choose(Chosen::Undecided);
    Ok(())
}
