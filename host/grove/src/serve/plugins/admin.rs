//! Plugins as admins see and change them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_api::{PluginRefused, Plugins};
use grove_control::Created;
use grove_control::farm::Farm;
use grove_control::refusal::Refused;
use grove_domain::plugin::{self, Digest, PluginKind, PluginVersion};
use grove_runtime::{Effective, Manifest, TcpRule, Wants};
use grove_wire::plugin as wire;

use super::found::Found;
use super::intake::{self, Intake};
use super::load::kind;
use super::registry;
use super::shelf;

/// The admin's side; cheap to clone.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) intake: Intake,
}

type Answer<T> = Result<T, PluginRefused>;

impl Plugins for Admin {
    fn list(&self) -> Vec<wire::Plugin> {
        let farm = self.intake.controller.farm();
        let known = farm.plugins().values().map(|plugin| self.show(&farm, plugin));
        let refused = self.intake.registry.refused();
        let strangers = refused.values().filter(|refused| farm.plugin(&refused.manifest.name).is_none());
        let mut all: Vec<_> = known.chain(strangers.map(show_refused)).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    fn install(
        &self,
        actor: &str,
        manifest: String,
        component: Bytes,
        activate: bool,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Answer<(wire::Plugin, Created)>> {
        let (admin, actor) = (self.clone(), actor.to_owned());
        async move {
            let text = manifest;
            let manifest = Manifest::parse(&text, "plugin.toml")
                .map_err(|error| PluginRefused::BadManifest(error.to_string()))?;
            let name = manifest.name.clone();
            let version = (name.clone(), shelf::digest(&component));
            let known = admin.intake.controller.farm().plugin_versions().contains_key(&version);
            let origin = plugin::Origin::Installed;
            let found = Found { text, manifest, component, origin };
            let tried = admin.intake.tried_out(&actor, found).await.map_err(refused)?;
            let install = async move |admin: Self| {
                admin.intake.install(&actor, tried, activate, expected).await.map_err(refused)?;
                let shown = admin.shown_at_work(&name).await?;
                Ok((shown, if known { Created::No } else { Created::Yes }))
            };
            admin.go_on(install).await
        }
        .boxed()
    }

    fn enable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Answer<wire::Plugin>> {
        let (actor, name) = (actor.to_owned(), name.to_owned());
        self.go_on(async move |admin| {
            let farm = admin.intake.controller.farm();
            let plugin = farm.plugin(&name).ok_or(PluginRefused::NotFound)?;
            if !plugin.enabled {
                let newest =
                    || farm.versions_of(&name).max_by_key(|version| (version.installed, version.digest));
                let active =
                    plugin.active.and_then(|digest| farm.plugin_versions().get(&(name.clone(), digest)));
                if let Some(version) = active.or_else(newest) {
                    admin.intake.try_out(&actor, version).await.map_err(refused)?;
                }
            }
            admin.intake.controller.enable_plugin(&actor, &name, expected).await.map_err(declined)?;
            admin.shown_at_work(&name).await
        })
    }

    fn disable(
        &self,
        actor: &str,
        name: &str,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Answer<wire::Plugin>> {
        let (actor, name) = (actor.to_owned(), name.to_owned());
        self.go_on(async move |admin| {
            admin.intake.controller.disable_plugin(&actor, &name, expected).await.map_err(declined)?;
            admin.shown(&name)
        })
    }

    fn swap(
        &self,
        actor: &str,
        name: &str,
        to: wire::VersionChoice,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Answer<wire::Plugin>> {
        let (actor, name) = (actor.to_owned(), name.to_owned());
        self.go_on(async move |admin| {
            let farm = admin.intake.controller.farm();
            let version = pick(&farm, &name, &to)?;
            if farm.plugin(&name).is_some_and(|plugin| plugin.active != Some(version.digest)) {
                admin.intake.try_out(&actor, &version).await.map_err(refused)?;
            }
            let controller = &admin.intake.controller;
            controller.swap_plugin(&actor, &name, version.digest, expected).await.map_err(declined)?;
            admin.shown_at_work(&name).await
        })
    }

    fn remove(
        &self,
        actor: &str,
        name: &str,
        version: Option<wire::VersionChoice>,
        expected: Option<u64>,
    ) -> BoxFuture<'static, Answer<()>> {
        let (actor, name) = (actor.to_owned(), name.to_owned());
        self.go_on(async move |admin| {
            let (farm, controller) = (admin.intake.controller.farm(), &admin.intake.controller);
            let plugin = farm.plugin(&name).ok_or(PluginRefused::NotFound)?;
            let mut digests = match &version {
                Some(version) => vec![pick(&farm, &name, version)?.digest],
                None => farm.versions_of(&name).map(|version| version.digest).collect(),
            };
            // The active one last: it can only go when it is the last.
            digests.sort_by_key(|digest| plugin.active == Some(*digest));
            if version.is_none() {
                unused(&farm, plugin)?;
            }
            let mut expected = expected;
            if version.is_none() && plugin.enabled {
                let disabled = controller.disable_plugin(&actor, &name, expected).await.map_err(declined)?;
                expected = expected.map(|_| disabled.revision);
            }
            let shelf = &admin.intake.loader.shelf;
            for digest in digests {
                let _changing = shelf.changing().await;
                controller.remove_plugin_version(&actor, &name, digest, expected).await.map_err(declined)?;
                expected = expected.and_then(|_| Some(controller.farm().plugin(&name)?.revision));
                if controller.farm().plugin_versions().keys().all(|(_, other)| *other != digest) {
                    let shelf = shelf.clone();
                    let removed = tokio::task::spawn_blocking(move || shelf.remove(&digest)).await;
                    if let Ok(Err(error)) = removed {
                        tracing::warn!("component {} could not be removed: {error}", digest.short());
                    }
                }
            }
            Ok(())
        })
    }
}

impl Admin {
    /// Carried out also when nobody waits for it any more.
    fn go_on<T: Send + 'static, F: Future<Output = Answer<T>> + Send + 'static>(
        &self,
        change: impl FnOnce(Self) -> F,
    ) -> BoxFuture<'static, Answer<T>> {
        let changing = tokio::spawn(change(self.clone()));
        async move {
            let broken = || PluginRefused::Unavailable("the change broke off; look at the log".to_owned());
            changing.await.unwrap_or_else(|_| Err(broken()))
        }
        .boxed()
    }

    /// Once what is in use is loaded: whoever hears that it is there may use it at once.
    async fn shown_at_work(&self, name: &str) -> Answer<wire::Plugin> {
        let in_use = self.intake.controller.farm().plugin(name).and_then(|plugin| plugin.in_use());
        if let Some(digest) = in_use {
            self.intake.registry.settled(&[(name.to_owned(), digest)]).await;
        }
        self.shown(name)
    }

    fn shown(&self, name: &str) -> Answer<wire::Plugin> {
        let farm = self.intake.controller.farm();
        farm.plugin(name).map(|plugin| self.show(&farm, plugin)).ok_or(PluginRefused::NotFound)
    }

    fn show(&self, farm: &Farm, plugin: &plugin::Plugin) -> wire::Plugin {
        let name = &plugin.name;
        let pinned = pins(farm, name);
        let mut rows: Vec<_> = farm.versions_of(name).collect();
        rows.sort_by_key(|version| std::cmp::Reverse((version.installed, version.digest)));
        let versions: Vec<_> = rows
            .iter()
            .map(|version| {
                self.show_version(plugin, version, pinned.get(&version.digest).copied().unwrap_or(0))
            })
            .collect();
        let face = versions.iter().find(|version| version.active).or(versions.first());
        let loaded = plugin.in_use().map(|digest| self.intake.registry.loaded(&(name.clone(), digest)));
        let state = match loaded {
            None => wire::PluginState::Disabled,
            Some(None) => wire::PluginState::Loading,
            Some(Some(Ok(_))) => wire::PluginState::Active,
            Some(Some(Err(_))) => wire::PluginState::Failed,
        };
        let name_of = |digest: Digest| {
            let version = rows.iter().find(|version| version.digest == digest)?;
            Some(wire::VersionName { digest: digest.to_string(), version: version.version.clone() })
        };
        wire::Plugin {
            name: name.clone(),
            kind: wire_kind(plugin.kind),
            state,
            active: state == wire::PluginState::Active,
            enabled: plugin.enabled,
            version: face.map(|face| face.version.clone()).unwrap_or_default(),
            digest: face.map(|face| face.digest.clone()),
            world: face.map(|face| face.world.clone()).unwrap_or_default(),
            summary: face.map(|face| face.summary.clone()).unwrap_or_default(),
            since: plugin.since,
            previous: plugin.previous.and_then(name_of),
            probation: plugin.probation.map(|probation| wire::Probation {
                until: probation.until,
                outcomes: probation.outcomes,
                failures: probation.failures,
            }),
            wants: face.map(|face| face.wants.clone()).unwrap_or_default(),
            grants: face.map(|face| face.grants.clone()).unwrap_or_default(),
            trouble: plugin
                .trouble
                .clone()
                .or_else(|| face.and_then(|face| face.trouble.clone()))
                .or_else(|| self.intake.registry.refused().get(name).map(|refused| refused.why.clone())),
            config_schema: face.and_then(|face| face.config_schema.clone()),
            versions,
            revision: plugin.revision,
        }
    }

    fn show_version(
        &self,
        plugin: &plugin::Plugin,
        version: &PluginVersion,
        pinned_workers: u64,
    ) -> wire::PluginVersion {
        // It was read when it was taken in.
        let manifest = Manifest::parse(&version.manifest, "plugin.toml").ok();
        let (granted, trouble) = match self.intake.registry.loaded(&(version.name.clone(), version.digest)) {
            Some(Ok(loaded)) => (Some(grants(loaded.effective())), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let granted = granted.or_else(|| {
            manifest.as_ref().map(|manifest| grants(&self.intake.loader.effective(manifest, version.origin)))
        });
        wire::PluginVersion {
            digest: version.digest.to_string(),
            version: version.version.clone(),
            world: manifest.as_ref().map(|manifest| manifest.world.clone()).unwrap_or_default(),
            summary: manifest.as_ref().map(|manifest| manifest.summary.clone()).unwrap_or_default(),
            origin: match version.origin {
                plugin::Origin::BuiltIn => wire::Origin::BuiltIn,
                plugin::Origin::Folder => wire::Origin::Folder,
                plugin::Origin::Installed => wire::Origin::Installed,
            },
            installed: version.installed,
            active: plugin.active == Some(version.digest),
            pinned_workers,
            wants: manifest.as_ref().map(|manifest| wants(&manifest.wants)).unwrap_or_default(),
            grants: granted.unwrap_or_default(),
            trouble,
            config_schema: manifest.and_then(|manifest| manifest.config_schema),
        }
    }
}

/// A plugin that was found and not taken in: it is no row of the farm, and people look for it here.
fn show_refused(refused: &registry::Refused) -> wire::Plugin {
    let manifest = &refused.manifest;
    wire::Plugin {
        name: manifest.name.clone(),
        kind: wire_kind(kind(manifest.kind)),
        state: wire::PluginState::Failed,
        active: false,
        enabled: false,
        version: manifest.version.clone(),
        digest: Some(refused.digest.to_string()),
        world: manifest.world.clone(),
        summary: manifest.summary.clone(),
        since: refused.at,
        previous: None,
        probation: None,
        wants: wants(&manifest.wants),
        grants: Vec::new(),
        trouble: Some(refused.why.clone()),
        config_schema: manifest.config_schema.clone(),
        versions: Vec::new(),
        revision: 0,
    }
}

/// All of a driver goes only when no worker needs it: refused before anything is changed.
fn unused(farm: &Farm, plugin: &plugin::Plugin) -> Answer<()> {
    let mut users = farm.workers().values().filter(|worker| worker.registration.driver == plugin.name);
    let Some(first) = users.next().filter(|_| plugin.kind == PluginKind::Driver) else { return Ok(()) };
    let refusal = plugin::Refusal::Used { workers: users.count() + 1, first: first.id };
    Err(PluginRefused::Conflict(refusal.to_string()))
}

/// How many workers are pinned to each version of a driver.
fn pins(farm: &Farm, driver: &str) -> BTreeMap<Digest, u64> {
    let mut pins = BTreeMap::new();
    for worker in farm.workers().values().filter(|worker| worker.registration.driver == driver) {
        if let Some(digest) = worker.driver_version {
            *pins.entry(digest).or_default() += 1;
        }
    }
    pins
}

fn pick(farm: &Farm, name: &str, choice: &wire::VersionChoice) -> Answer<PluginVersion> {
    if farm.plugin(name).is_none() {
        return Err(PluginRefused::NotFound);
    }
    let named: Vec<_> = farm.versions_of(name).map(|version| (version.digest.to_string(), version)).collect();
    let picked = choice.pick(&named, |(digest, version)| (digest, &version.version));
    picked.map(|(_, version)| PluginVersion::clone(version)).map_err(|error| match error {
        wire::PickError::None => PluginRefused::VersionNotFound,
        wire::PickError::Several => PluginRefused::Ambiguous,
    })
}

fn refused(refused: intake::Refused) -> PluginRefused {
    match refused {
        intake::Refused::Check(why) => PluginRefused::CheckFailed(why),
        intake::Refused::Shelf(why) => PluginRefused::Unavailable(why),
        intake::Refused::Controller(refused) => declined(refused),
    }
}

fn declined(refused: Refused) -> PluginRefused {
    use plugin::Refusal;
    match refused {
        Refused::NoSuchPlugin(_) | Refused::Plugin(Refusal::Unknown) => PluginRefused::NotFound,
        Refused::NoSuchVersion { .. } | Refused::Plugin(Refusal::NoSuchVersion(_)) => {
            PluginRefused::VersionNotFound
        }
        Refused::Revision { current } => PluginRefused::RevisionMismatch { current },
        Refused::Plugin(refusal @ (Refusal::OtherKind(_) | Refusal::OtherManifest(_))) => {
            PluginRefused::BadManifest(refusal.to_string())
        }
        Refused::Plugin(refusal) => PluginRefused::Conflict(refusal.to_string()),
        refused @ Refused::FarmMaintenance { .. } => PluginRefused::Maintenance(refused.to_string()),
        full @ Refused::Full { .. } => PluginRefused::Full(full.to_string()),
        other => PluginRefused::Unavailable(other.to_string()),
    }
}

fn wire_kind(kind: PluginKind) -> wire::PluginKind {
    match kind {
        PluginKind::Policy => wire::PluginKind::Policy,
        PluginKind::Driver => wire::PluginKind::Driver,
        PluginKind::Inspector => wire::PluginKind::Inspector,
    }
}

/// What a manifest asks for, one line each.
fn wants(wants: &Wants) -> Vec<String> {
    let all = Access {
        ssh: wants.ssh,
        secrets: wants.secrets.iter().collect(),
        storage: wants.storage.iter().collect(),
        serial: wants.serial.iter().collect(),
        tcp: &wants.tcp,
    };
    let mut lines = all.lines();
    lines.extend(wants.memory_mib.map(memory));
    lines.extend(wants.call_ms.map(running_time));
    lines
}

/// What a plugin really has, one line each.
fn grants(effective: &Effective) -> Vec<String> {
    let all = Access {
        ssh: effective.ssh,
        secrets: effective.secrets.iter().collect(),
        storage: effective.storage.iter().collect(),
        serial: effective.serial.iter().collect(),
        tcp: effective.granted_tcp(),
    };
    let mut lines = all.lines();
    lines.push(memory(u32::try_from(effective.memory >> 20).unwrap_or(u32::MAX)));
    lines.push(running_time(effective.call_ms));
    lines
}

/// What may be reached, wanted or granted.
struct Access<'a> {
    ssh: bool,
    secrets: Vec<&'a String>,
    storage: Vec<&'a String>,
    serial: Vec<&'a String>,
    tcp: &'a [TcpRule],
}

impl Access<'_> {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.ssh {
            lines.push("ssh to its workers' supervisors".to_owned());
        }
        lines.extend(self.secrets.iter().map(|name| format!("secret {name}")));
        lines.extend(self.storage.iter().map(|group| format!("artifacts of {group}")));
        lines.extend(self.serial.iter().map(|name| format!("serial {name}")));
        lines.extend(self.tcp.iter().map(|peer| format!("tcp to {peer}")));
        lines
    }
}

fn memory(mib: u32) -> String {
    format!("memory {mib} MiB")
}

fn running_time(call_ms: u64) -> String {
    format!("running time {call_ms} ms a call")
}
