//! The plugin machine: a pure function from (plugin, event) to a new plugin and effects as data.

use std::sync::Arc;

use super::{Digest, Plugin, PluginKind, PluginVersion, Probation};
use crate::id::WorkerId;
use crate::moment::{SignedDuration, Timestamp, after};

/// What can happen to a plugin. Who installs, swaps or enables has seen the component at work before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A version is there.
    Install {
        /// Which.
        version: Arc<PluginVersion>,
        /// Use it: a new name is enabled with it, a known one is given it.
        activate: bool,
    },
    /// The admin wants another version to be used.
    Swap {
        /// Which.
        to: Digest,
    },
    /// The admin wants it to be used.
    Enable,
    /// The admin wants nothing of it to run for new work.
    Disable,
    /// The admin wants a version gone.
    Remove {
        /// Which.
        digest: Digest,
    },
    /// A task or a plan ended.
    Outcome {
        /// The version that it ran on.
        digest: Digest,
        /// Whether that was the plugin's failure.
        failed: bool,
        /// Why it failed.
        reason: String,
    },
    /// The component of a version cannot be loaded.
    LoadFailed {
        /// Which.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// The time of its probation is up.
    ProbationDue,
}

/// What must be done once the new plugin is stored, or with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The other policy steps down, before this one is written.
    Disable(String),
    /// This version is written.
    Keep(Arc<PluginVersion>),
    /// This version goes.
    Drop(Digest),
    /// The plugin itself goes with its last version.
    Removed,
    /// It is told.
    Tell {
        /// What happened.
        what: Happening,
        /// Version before, for people.
        before: Option<String>,
        /// Version now, for people.
        after: Option<String>,
        /// Why.
        note: Option<String>,
    },
}

/// What is told of plugins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Happening {
    /// A version was installed.
    Installed,
    /// It is used from now on.
    Enabled,
    /// It is used no more.
    Disabled,
    /// Another version is used.
    Swapped,
    /// A version is gone.
    Removed,
    /// A version did not prove itself: the one before it is used again.
    RolledBack,
    /// It fails, and there is nothing to go back to.
    Failing,
}

impl Happening {
    /// The kind of event.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Installed => "plugin.installed",
            Self::Enabled => "plugin.enabled",
            Self::Disabled => "plugin.disabled",
            Self::Swapped => "plugin.swapped",
            Self::Removed => "plugin.removed",
            Self::RolledBack => "plugin.rolled_back",
            Self::Failing => "plugin.failing",
        }
    }
}

/// A step of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The plugin afterwards. Equal to the one before when nothing changed.
    pub plugin: Plugin,
    /// In the order in which they take place.
    pub effects: Vec<Effect>,
}

/// Why an event is refused; nothing changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing of this name was ever installed.
    #[error("no plugin has this name: install it first")]
    Unknown,
    /// The version is not installed.
    #[error("version {} is not installed: install it first", .0.short())]
    NoSuchVersion(Digest),
    /// The name stands for a plugin of another kind.
    #[error("this name is a {}'s: give the plugin another name", .0.name())]
    OtherKind(PluginKind),
    /// The same component is installed with another manifest.
    #[error("its component {} is installed with another manifest: remove that version first", .0.short())]
    OtherManifest(Digest),
    /// The version is in use.
    #[error(
        "version {} is the active one: swap to another first or, if there is no other, disable the plugin",
        .0.short()
    )]
    Active(Digest),
    /// The active version may still have to go back to it.
    #[error(
        "version {} is what the plugin goes back to while its new version is on probation: wait until that is over",
        .0.short()
    )]
    MayBeNeeded(Digest),
    /// Workers are pinned to the version.
    #[error("{workers} workers are pinned to it, the first is {first}: take their pins away first")]
    Pinned {
        /// How many.
        workers: usize,
        /// One of them.
        first: WorkerId,
    },
    /// Workers need the driver.
    #[error(
        "{workers} workers use this driver, the first is {first}: remove them first, or install another version"
    )]
    Used {
        /// How many.
        workers: usize,
        /// One of them.
        first: WorkerId,
    },
    /// Late: about a version that is not, or no longer, in use or on probation.
    #[error("the version is not in use, or not on probation")]
    Stale,
}

/// What a step needs to know besides the plugin and the event.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Timestamp,
    /// The admin's rules.
    pub rules: &'a Rules,
    /// Installed versions of this name.
    pub versions: &'a [Arc<PluginVersion>],
    /// Name of the policy that is enabled.
    pub policy: Option<&'a str>,
    /// Workers that are pinned to the version that an event wants removed.
    pub pinned: &'a [WorkerId],
    /// Workers that are registered with a driver of this name.
    pub users: &'a [WorkerId],
}

/// The admin's rules on versions that replace others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// How long a version is on probation.
    pub probation: SignedDuration,
    /// It goes back after so many failures …
    pub failures: u32,
    /// … if they are at least so many of a hundred outcomes.
    pub percent: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self { probation: SignedDuration::from_mins(5), failures: 3, percent: 50 }
    }
}

/// Moves `plugin` by `event`, or says why not.
pub fn step(plugin: Option<&Plugin>, event: Event, context: Context<'_>) -> Result<Transition, Refusal> {
    let (known, event) = match (plugin, event) {
        (Some(plugin), event) => (plugin.clone(), event),
        (None, Event::Install { version, activate }) => {
            return Ok(first_version(version, activate, context));
        }
        (None, _) => return Err(Refusal::Unknown),
    };
    let mut next = Next { plugin: known, effects: Vec::new(), context };
    match event {
        Event::Install { version, activate } => next.install(version, activate)?,
        Event::Swap { to } => next.swap(to)?,
        Event::Enable => next.enable(),
        Event::Disable => next.disable(),
        Event::Remove { digest } => next.remove(digest)?,
        Event::Outcome { digest, failed, reason } => next.outcome(digest, failed, &reason)?,
        Event::LoadFailed { digest, reason } => next.load_failed(digest, &reason)?,
        Event::ProbationDue => next.probation_due()?,
    }
    Ok(next.finish(plugin))
}

/// A name that nobody used before.
fn first_version(version: Arc<PluginVersion>, activate: bool, context: Context<'_>) -> Transition {
    let plugin = Plugin {
        name: version.name.clone(),
        kind: version.kind,
        enabled: false,
        active: None,
        previous: None,
        since: context.now,
        probation: None,
        trouble: None,
        revision: 1,
    };
    let mut next = Next { plugin, effects: Vec::new(), context };
    next.keep(&version);
    if activate {
        next.plugin.active = Some(version.digest);
        next.use_it(Some(version.label()));
    }
    next.finish(None)
}

/// A transition in the making.
struct Next<'a> {
    plugin: Plugin,
    effects: Vec<Effect>,
    context: Context<'a>,
}

impl Next<'_> {
    fn install(&mut self, version: Arc<PluginVersion>, activate: bool) -> Result<(), Refusal> {
        if version.kind != self.plugin.kind {
            return Err(Refusal::OtherKind(self.plugin.kind));
        }
        match self.version(version.digest) {
            Some(known) if known.manifest == version.manifest && known.version == version.version => {}
            Some(_) => return Err(Refusal::OtherManifest(version.digest)),
            None => self.keep(&version),
        }
        if activate {
            self.give(&version);
        }
        Ok(())
    }

    fn keep(&mut self, version: &Arc<PluginVersion>) {
        self.effects.push(Effect::Keep(version.clone()));
        self.tell(Happening::Installed, None, Some(version.label()), None);
    }

    fn swap(&mut self, to: Digest) -> Result<(), Refusal> {
        let version = self.version(to).cloned().ok_or(Refusal::NoSuchVersion(to))?;
        self.give(&version);
        Ok(())
    }

    /// This version is used from now on.
    fn give(&mut self, version: &PluginVersion) {
        let (to, before) = (version.digest, self.plugin.active);
        if before == Some(to) {
            // It was seen at work a moment ago.
            if self.plugin.trouble.take().is_some() {
                self.tell(Happening::Swapped, self.label(before), Some(version.label()), None);
            }
            return;
        }
        // A version that has not proved itself is nothing to go back to, and one that has needs not prove it again.
        let proved = if self.plugin.probation.is_some() { self.plugin.previous } else { before };
        self.plugin.active = Some(to);
        self.plugin.previous = proved.filter(|proved| *proved != to);
        self.plugin.trouble = None;
        self.plugin.since = self.context.now;
        self.plugin.probation = self.plugin.previous.map(|_| self.probation());
        self.tell(Happening::Swapped, self.label(before), Some(version.label()), None);
    }

    fn probation(&self) -> Probation {
        let until = after(self.context.now, self.context.rules.probation);
        Probation { until, outcomes: 0, failures: 0 }
    }

    fn enable(&mut self) {
        if self.plugin.active.is_none() {
            // Never swapped to any: the newest.
            let newest =
                self.context.versions.iter().max_by_key(|version| (version.installed, version.digest));
            self.plugin.active = newest.map(|version| version.digest);
        }
        let mended = self.plugin.trouble.take().is_some();
        if !self.plugin.enabled || mended {
            self.use_it(self.label(self.plugin.active));
        }
    }

    fn use_it(&mut self, label: Option<String>) {
        if !self.plugin.enabled {
            self.plugin.enabled = true;
            self.plugin.since = self.context.now;
            // Its time begins when it is used.
            self.plugin.probation = self.plugin.probation.map(|_| self.probation());
        }
        if let (PluginKind::Policy, Some(other)) = (self.plugin.kind, self.context.policy)
            && other != self.plugin.name
        {
            self.effects.push(Effect::Disable(other.to_owned()));
        }
        self.tell(Happening::Enabled, None, label, None);
    }

    fn disable(&mut self) {
        if self.plugin.enabled {
            self.plugin.enabled = false;
            self.plugin.since = self.context.now;
            self.tell(Happening::Disabled, self.label(self.plugin.active), None, None);
        }
    }

    fn remove(&mut self, digest: Digest) -> Result<(), Refusal> {
        let label = self.version(digest).map(|version| version.label());
        let label = label.ok_or(Refusal::NoSuchVersion(digest))?;
        let last = self.context.versions.len() == 1;
        if self.plugin.active == Some(digest) && (self.plugin.enabled || !last) {
            return Err(Refusal::Active(digest));
        }
        if self.plugin.previous == Some(digest) && self.plugin.probation.is_some() {
            return Err(Refusal::MayBeNeeded(digest));
        }
        if let [first, ..] = *self.context.pinned {
            return Err(Refusal::Pinned { workers: self.context.pinned.len(), first });
        }
        if let (true, PluginKind::Driver, [first, ..]) = (last, self.plugin.kind, self.context.users) {
            return Err(Refusal::Used { workers: self.context.users.len(), first: *first });
        }
        self.plugin.previous = self.plugin.previous.filter(|previous| *previous != digest);
        self.effects.push(Effect::Drop(digest));
        if last {
            self.effects.push(Effect::Removed);
        }
        self.tell(Happening::Removed, Some(label), None, None);
        Ok(())
    }

    fn outcome(&mut self, digest: Digest, failed: bool, reason: &str) -> Result<(), Refusal> {
        let (Some(mut probation), Some(active)) = (self.plugin.probation, self.plugin.in_use()) else {
            return Err(Refusal::Stale);
        };
        if active != digest {
            return Err(Refusal::Stale);
        }
        probation.outcomes = probation.outcomes.saturating_add(1);
        probation.failures = probation.failures.saturating_add(u32::from(failed));
        self.plugin.probation = Some(probation);
        let rules = self.context.rules;
        let Probation { outcomes, failures, .. } = probation;
        let share = u64::from(failures) * 100 >= u64::from(outcomes) * u64::from(rules.percent);
        if failed && failures >= rules.failures && share {
            self.go_back(&format!("{failures} of {outcomes} failed, the last: {reason}"));
        }
        Ok(())
    }

    fn load_failed(&mut self, digest: Digest, reason: &str) -> Result<(), Refusal> {
        if self.plugin.active != Some(digest) {
            return Err(Refusal::Stale);
        }
        let why = format!("it cannot be loaded: {reason}");
        if self.plugin.probation.is_some() {
            self.go_back(&why);
        } else {
            self.failing(&why);
        }
        Ok(())
    }

    /// To the version before, which proved itself.
    fn go_back(&mut self, why: &str) {
        let Some(previous) = self.plugin.previous.take() else { return self.failing(why) };
        let failed = self.label(self.plugin.active);
        let note = format!("version {} was rolled back: {why}", failed.as_deref().unwrap_or("?"));
        self.plugin.active = Some(previous);
        self.plugin.probation = None;
        self.plugin.since = self.context.now;
        self.plugin.trouble = Some(note.clone());
        self.tell(Happening::RolledBack, failed, self.label(Some(previous)), Some(note));
    }

    /// It stays, for want of anything better.
    fn failing(&mut self, why: &str) {
        let label = self.label(self.plugin.active);
        let note = format!("version {} fails: {why}", label.as_deref().unwrap_or("?"));
        if self.plugin.trouble.as_ref() != Some(&note) {
            self.plugin.trouble = Some(note.clone());
            self.tell(Happening::Failing, None, label, Some(note));
        }
    }

    fn probation_due(&mut self) -> Result<(), Refusal> {
        self.plugin.probation_ends().ok_or(Refusal::Stale)?;
        self.plugin.probation = None;
        Ok(())
    }

    fn version(&self, digest: Digest) -> Option<&Arc<PluginVersion>> {
        self.context.versions.iter().find(|version| version.digest == digest)
    }

    fn label(&self, digest: Option<Digest>) -> Option<String> {
        digest.map(|digest| self.version(digest).map_or_else(|| digest.short(), |version| version.label()))
    }

    fn tell(&mut self, what: Happening, before: Option<String>, after: Option<String>, note: Option<String>) {
        self.effects.push(Effect::Tell { what, before, after, note });
    }

    fn finish(mut self, before: Option<&Plugin>) -> Transition {
        if let Some(before) = before
            && self.plugin != *before
        {
            self.plugin.revision = before.revision + 1;
        }
        Transition { plugin: self.plugin, effects: self.effects }
    }
}
