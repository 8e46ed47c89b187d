//! Which services of plugins there are: it takes in those in the binary, then follows the rows of the farm.
//!
//! What must never happen here: waiting for what somebody else wrote to be compiled. The API waits for this service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grove_control::Controller;
use grove_control::farm::Farm;
use grove_domain::plugin::PluginVersion;
use grove_engine::{Exit, Output, Scope, Service};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{CONTROLLER, PLUGINS, POLICY, RUNTIME, Shared, plugin, policy};
use crate::serve::adapters::policies::Chosen;
use crate::serve::plugins::found;
use crate::serve::plugins::intake::Intake;
use crate::serve::plugins::registry::Version;
use crate::serve::plugins::shelf::Shelf;

pub(super) fn service(shared: &Arc<Shared>) -> Service {
    let shared = shared.clone();
    Service::new(PLUGINS, move |scope| run(scope, shared.clone())).needs(&CONTROLLER).needs(&RUNTIME)
}

async fn run(scope: Scope, shared: Arc<Shared>) -> Result<(), Exit> {
    let controller = scope.get(&CONTROLLER)?;
    let mut events = controller.feed().subscribe();
    let intake = shared.intake(&controller, &*scope.get(&RUNTIME)?);
    take_in_our_own(&shared, &intake).await?;
    let mut follow =
        Follow { shared: shared.clone(), controller: (*controller).clone(), told: BTreeSet::new() };
    follow.catch_up(&controller.farm()).await?;
    let needed: Vec<Version> = needed(&controller.farm()).into_keys().collect();
    shared.registry.settled(&needed).await;
    follow.tell_failures().await;
    scope.started(Output::none());
    let mut outcomes = shared.registry.changes();
    let mut names_told = false;
    loop {
        if !names_told && shared.registry.is_folder_read() {
            tell_unknown_names(&shared, &controller.farm());
            names_told = true;
        }
        tokio::select! {
            () = scope.stop().cancelled() => return Ok(()),
            event = events.recv() => match event {
                Ok(event) if !concerns_plugins(&event.kind) => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err(Exit::failed("the controller tells no events any more")),
            },
            changed = outcomes.changed() => if changed.is_err() { return Ok(()) },
        }
        // The farm is looked at once for all that has happened: ten thousand workers may just be registered.
        while !matches!(events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        follow.catch_up(&controller.farm()).await?;
        follow.tell_failures().await;
    }
}

/// What the configuration says of plugins that there are not: it may be misspelt, and then nothing else would say so.
fn tell_unknown_names(shared: &Shared, farm: &Farm) {
    let config = &shared.config.plugins;
    let refused = shared.registry.refused();
    let known: BTreeSet<&String> = farm.plugins().keys().chain(refused.keys()).collect();
    let grants = config.grants.keys().map(|name| ("grants", name));
    let settings = config.settings.keys().map(|name| ("settings", name));
    for (table, name) in grants.chain(settings).filter(|(_, name)| !known.contains(name)) {
        let known = known.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        tracing::warn!(
            "[plugins.{table}.{name}] is for a plugin that the farm does not have: correct the name, or install it; there are \
             {known}"
        );
    }
}

/// Pins come with the edits of workers; what else happens to these is not worth a look at all of them.
fn concerns_plugins(kind: &str) -> bool {
    kind.starts_with("plugin.") || matches!(kind, "worker.registered" | "worker.edited" | "worker.removed")
}

/// The plugins in the binary. One that is not taken in does not keep the others from it.
async fn take_in_our_own(shared: &Arc<Shared>, intake: &Intake) -> Result<(), Exit> {
    for found in found::bundled().map_err(Exit::failed)? {
        let name = found.manifest.name.clone();
        if let Err(why) = intake.found(found, false).await {
            tracing::error!(plugin = name, "{why}");
        }
    }
    if let Some(name) = &shared.config.policy.name
        && !intake.use_policy(name).await?
        && shared.registry.is_folder_read()
        && let Some(current) = intake.controller.farm().policy()
    {
        tracing::error!("no policy is named {name:?}; {:?} stays in use", current.name);
    }
    let farm = intake.controller.farm();
    let shelf = shared.loader.shelf.clone();
    tokio::task::spawn_blocking(move || tell_of_the_shelf(&shelf, &farm)).await?;
    Ok(())
}

/// What the farm has lost, by name; and what is kept that it does not name. That stays: another store may name it, like one
/// that a backup holds.
fn tell_of_the_shelf(shelf: &Shelf, farm: &Farm) {
    for version in farm.plugin_versions().values() {
        if let Ok(None) = shelf.open(&version.digest) {
            let PluginVersion { name, version, digest, .. } = &**version;
            tracing::warn!(
                "the component of {name} {version} ({}) is lost: install that version again, or remove it",
                digest.short()
            );
        }
    }
    match shelf.strangers(|digest| farm.plugin_versions().keys().any(|(_, named)| named == digest)) {
        Ok((0, _)) => {}
        Ok((count, bytes)) => tracing::info!(
            "{count} components ({bytes} bytes) in plugins/ of the state folder are of no plugin of this farm; remove them if \
             no other store needs them"
        ),
        Err(error) => tracing::warn!("failed to look through the components: {error}"),
    }
}

/// Versions that something may be asked of: those in use, those that may have to be gone back to, and those that workers
/// are pinned to.
fn needed(farm: &Farm) -> BTreeMap<Version, Arc<PluginVersion>> {
    let mut wanted = BTreeSet::new();
    for plugin in farm.plugins().values().filter(|plugin| plugin.enabled) {
        let previous = plugin.previous.filter(|_| plugin.probation.is_some());
        wanted.extend(plugin.active.into_iter().chain(previous).map(|digest| (plugin.name.clone(), digest)));
    }
    for worker in farm.workers().values() {
        if let Some(digest) = worker.driver_version {
            wanted.insert((worker.registration.driver.clone(), digest));
        }
    }
    let version = |version: Version| Some((version.clone(), farm.plugin_versions().get(&version)?.clone()));
    wanted.into_iter().filter_map(version).collect()
}

/// What was done about the rows so far. What another life of this service did is met in the engine.
struct Follow {
    shared: Arc<Shared>,
    controller: Controller,
    /// Failures to load that the controller knows of.
    told: BTreeSet<(Version, String)>,
}

impl Follow {
    async fn catch_up(&mut self, farm: &Farm) -> Result<(), Exit> {
        let in_use = farm
            .plugins()
            .values()
            .filter_map(|plugin| Some((plugin.name.clone(), (plugin.kind, plugin.in_use()?))));
        self.shared.registry.use_these(in_use.collect());
        let needed = needed(farm);
        let served = self.shared.registry.served();
        for (version, row) in needed.iter().filter(|(version, _)| !served.contains(*version)) {
            self.shared.install(plugin::service(&self.shared, row)).await?;
            self.shared.registry.serve(version, true);
        }
        self.follow_policy(farm, &needed).await?;
        for version in served.iter().filter(|version| !needed.contains_key(*version)) {
            self.shared.uninstall(plugin::key(version).name()).await?;
            self.shared.registry.serve(version, false);
            self.shared.registry.forget(version);
            self.told.retain(|(told, _)| told != version);
        }
        Ok(())
    }

    async fn follow_policy(
        &mut self,
        farm: &Farm,
        needed: &BTreeMap<Version, Arc<PluginVersion>>,
    ) -> Result<(), Exit> {
        let wanted = farm.policy().and_then(|plugin| Some((plugin.name.clone(), plugin.in_use()?)));
        if self.shared.registry.policy() == Some(wanted.clone()) {
            return Ok(());
        }
        let row = wanted.as_ref().and_then(|wanted| needed.get(wanted));
        match row {
            Some(row) => {
                let service = policy::service(&self.shared, row);
                self.shared.install(service).await?;
            }
            None => {
                let chosen = match &self.shared.config.policy.name {
                    Some(name) if !name.is_empty() && farm.plugin(name).is_none() => {
                        // It may be in the folder: requests wait for it as for one that is being loaded.
                        if !self.shared.registry.is_folder_read() {
                            return Ok(());
                        }
                        let why = match self.shared.registry.refused().get(name) {
                            Some(refused) => refused.why.clone(),
                            None => format!(
                                "no policy is named {name:?}: install it, or let policy.name name another"
                            ),
                        };
                        self.shared.install(policy::missing(why.clone())).await?;
                        Chosen::Broken { name: name.clone(), version: None, why }
                    }
                    _ => {
                        self.shared.uninstall(POLICY).await?;
                        Chosen::Nobody
                    }
                };
                self.shared.policies.choose(chosen);
                self.controller.policy_changed().await;
            }
        }
        self.shared.registry.set_policy(wanted);
        Ok(())
    }

    /// The controller goes back to the version before, where there is one.
    async fn tell_failures(&mut self) {
        let farm = self.controller.farm();
        for plugin in farm.plugins().values() {
            let Some(digest) = plugin.in_use() else { continue };
            let version = (plugin.name.clone(), digest);
            let Some(Err(why)) = self.shared.registry.loaded(&version) else { continue };
            if !self.told.insert((version.clone(), why.clone())) {
                continue;
            }
            if self.shared.registry.policy().flatten().as_ref() == Some(&version) {
                let (name, version) = (plugin.name.clone(), Some(digest));
                self.shared.policies.choose(Chosen::Broken { name, version, why: why.clone() });
                self.controller.policy_changed().await;
            }
            // Refused when it is not in use any more: then nobody minds.
            let _ = self.controller.plugin_load_failed(&plugin.name, digest, why).await;
        }
    }
}
