//! Decisions about plugins.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::WorkerId;
use grove_domain::plugin::{self, Digest, Effect, Event, Plugin, PluginVersion};
use grove_domain::worker::{Edit, FailureKind, Outcome, Worker};

use super::Dispatcher;
use super::events::{CORE, Happened};
use crate::command::Moved;
use crate::refusal::Refused;
use crate::runner::Lack;

impl Dispatcher {
    pub(super) fn move_plugin(
        &mut self,
        actor: &str,
        name: &str,
        event: Event,
        expected: Option<u64>,
    ) -> Result<Moved, Refused> {
        let plugin = self.farm.plugin(name);
        match (plugin, expected) {
            (Some(plugin), Some(expected)) if expected != plugin.revision => {
                return Err(Refused::Revision { current: plugin.revision });
            }
            (None, Some(_)) => return Err(Refused::NoSuchPlugin(name.to_owned())),
            _ => {}
        }
        let digest = match &event {
            Event::Install { version, .. } => {
                self.check_room_for(version)?;
                Some(version.digest)
            }
            _ if plugin.is_none() => return Err(Refused::NoSuchPlugin(name.to_owned())),
            Event::Remove { digest } => Some(*digest),
            _ => None,
        };
        let version =
            |dispatcher: &Self| dispatcher.farm.plugin_versions().get(&(name.to_owned(), digest?)).cloned();
        let before = version(self);
        let plugin = self.apply_plugin(actor, name, event)?;
        Ok((plugin, before.or_else(|| version(self))))
    }

    fn check_room_for(&self, version: &PluginVersion) -> Result<(), Refused> {
        let limit = self.settings.caps.plugin_versions;
        let versions = self.farm.plugin_versions();
        let known = versions.contains_key(&(version.name.clone(), version.digest));
        if !known && versions.len() >= limit {
            return Err(Refused::Full { what: "plugin versions", limit });
        }
        Ok(())
    }

    /// A component was not taken in.
    pub(super) fn plugin_refused(&mut self, actor: &str, name: String, reason: String) {
        self.note(actor, "plugin.refused", Subject::Plugin(name), reason);
    }

    /// Moves a plugin and everything that hangs on it.
    fn apply_plugin(&mut self, actor: &str, name: &str, event: Event) -> Result<Arc<Plugin>, Refused> {
        let before = self.farm.plugin(name).cloned();
        let versions: Vec<Arc<PluginVersion>> = self.farm.versions_of(name).cloned().collect();
        let policy = self.farm.policy().cloned();
        let removed = if let Event::Remove { digest } = &event { Some(*digest) } else { None };
        // Only a removal asks for them: every worker is looked at.
        let of = |wanted: &dyn Fn(&Worker) -> bool| -> Vec<WorkerId> {
            let workers = removed.is_some().then(|| self.farm.workers().values());
            let of_it = workers.into_iter().flatten().filter(|worker| worker.registration.driver == name);
            of_it.filter(|worker| wanted(worker)).map(|worker| worker.id).collect()
        };
        let (pinned, users) = (of(&|worker| worker.driver_version == removed), of(&|_| true));
        let context = plugin::Context {
            now: self.clock.now(),
            rules: &self.settings.plugin_rules,
            versions: &versions,
            policy: policy.as_ref().map(|policy| policy.name.as_str()),
            pinned: &pinned,
            users: &users,
        };
        let transition = plugin::step(before.as_deref(), event, context)?;
        let plugin = Arc::new(transition.plugin);
        let goes = transition.effects.contains(&Effect::Removed);
        // Two policies are never enabled at once, not even between two rows.
        for effect in &transition.effects {
            if let Effect::Disable(other) = effect {
                self.apply_plugin(actor, other, Event::Disable)?;
            }
        }
        if !goes && before.as_ref() != Some(&plugin) {
            self.index_plugin(before.as_deref(), &plugin);
            self.turn.change(Change::PutPlugin(plugin.clone()));
        }
        for effect in transition.effects {
            self.carry_out_plugin(actor, &plugin, effect);
        }
        Ok(plugin)
    }

    fn carry_out_plugin(&mut self, actor: &str, plugin: &Plugin, effect: Effect) {
        match effect {
            Effect::Disable(_) => {}
            Effect::Keep(version) => {
                self.farm.put_version(version.clone());
                self.turn.change(Change::PutPluginVersion(version));
            }
            Effect::Drop(digest) => {
                self.farm.remove_version(&plugin.name, digest);
                self.turn.change(Change::RemovePluginVersion(plugin.name.clone(), digest));
            }
            Effect::Removed => {
                self.timers.replace_plugin(self.times(), Some(plugin), None, &self.settings);
                self.farm.remove_plugin(&plugin.name);
                self.turn.change(Change::RemovePlugin(plugin.name.clone()));
            }
            Effect::Tell { what, before, after, note } => self.happened(Happened {
                actor,
                kind: what.kind(),
                subject: Subject::Plugin(plugin.name.clone()),
                before,
                after,
                note,
            }),
        }
    }

    /// Everything in memory that follows a plugin's row.
    pub(super) fn index_plugin(&mut self, before: Option<&Plugin>, plugin: &Arc<Plugin>) {
        self.timers.replace_plugin(self.times(), before, Some(plugin), &self.settings);
        self.farm.put_plugin(plugin.clone());
        self.nudge(Lack::Driver(plugin.name.clone()));
    }

    /// The time of a probation is up. A refusal means that it no longer is.
    pub(super) fn probation_due(&mut self, name: &str) {
        // It went back, or was disabled meanwhile.
        let _ = self.apply_plugin(CORE, name, Event::ProbationDue);
    }

    /// A task, plan or introspection of a plugin ended on this version. Nothing to do unless that is on probation.
    pub(super) fn plugin_outcome(&mut self, name: &str, digest: Option<Digest>, failure: Option<&str>) {
        let Some(digest) = digest else { return };
        let tried = self
            .farm
            .plugin(name)
            .is_some_and(|plugin| plugin.probation.is_some() && plugin.in_use() == Some(digest));
        if tried {
            let reason = failure.unwrap_or_default().to_owned();
            let event = Event::Outcome { digest, failed: failure.is_some(), reason };
            if let Err(refused) = self.apply_plugin(CORE, name, event) {
                tracing::error!(plugin = name, %refused, "an outcome was refused after it was checked");
            }
        }
    }

    /// The version that a worker's next task is to run on.
    pub(super) fn driver_version(&self, worker: &Worker) -> Option<Digest> {
        let plugin = self.farm.plugin(&worker.registration.driver)?;
        worker.driver_version.filter(|_| plugin.enabled).or_else(|| plugin.in_use())
    }

    /// Why no task of this driver may run.
    pub(super) fn driver_disabled(&self, driver: &str) -> Option<Refused> {
        let plugin = self.farm.plugin(driver)?;
        (!plugin.enabled).then(|| Refused::DriverDisabled(driver.to_owned()))
    }

    /// A pin must be to an installed version of the worker's driver.
    pub(super) fn check_pin(&self, driver: &str, edit: &Edit) -> Result<(), Refused> {
        let Some(digest) = edit.driver_version.flatten() else { return Ok(()) };
        if self.farm.plugin_versions().contains_key(&(driver.to_owned(), digest)) {
            return Ok(());
        }
        Err(Refused::NoSuchVersion { plugin: driver.to_owned(), digest })
    }
}

/// What an outcome says against the driver: not what is around the board, which no version of it can help.
pub(super) fn blame(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Failed(failure) if failure.kind == FailureKind::Environment => None,
        Outcome::Failed(failure) => Some(&failure.reason),
        Outcome::Done { health: Some(health), .. } if !health.ok => Some(&health.note),
        Outcome::Done { .. } | Outcome::Short { .. } => None,
    }
}
