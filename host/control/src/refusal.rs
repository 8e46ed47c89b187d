//! Why the controller did not do what it was asked. Nothing changed then.

use grove_domain::id::{IntrospectionId, RuleId};
use grove_domain::introspection::{self, NotAdmitted};
use grove_domain::moment::Timestamp;
use grove_domain::plugin::{self, Digest};
use grove_domain::{request, rule, worker};

/// A refusal. Its text is fit for the user who asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No such worker.
    #[error("no worker has this uuid")]
    NoSuchWorker,
    /// No such request, or it ended so long ago that it is no longer kept.
    #[error("no request has this number")]
    NoSuchRequest,
    /// No such task, or it is no longer kept.
    #[error("no task has this id")]
    NoSuchTask,
    /// No such run of introspection, or it is no longer kept.
    #[error("no introspection has this id")]
    NoSuchIntrospection,
    /// No such rule.
    #[error("no rule has this id")]
    NoSuchRule,
    /// There is a rule of this id; a rule is never changed.
    #[error("there is a rule {0} already: remove it first, or leave the id out")]
    RuleExists(RuleId),
    /// The rule cannot be.
    #[error(transparent)]
    Rule(#[from] rule::Invalid),
    /// The introspection machine refused.
    #[error(transparent)]
    Introspection(#[from] introspection::Refusal),
    /// What a board sent was not taken.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Another run of the same worker has not ended.
    #[error("introspection {0} of the same worker is under way")]
    UnderWay(IntrospectionId),
    /// A later inventory of the same worker is there.
    #[error("introspection {0} has a later inventory of the same worker")]
    Outdated(IntrospectionId),
    /// The driver does not say what a board is made of.
    #[error("driver {0:?} cannot read what a board is made of: have the board send it")]
    CannotIntrospect(String),
    /// The inventory is larger than any may be.
    #[error("the inventory has {bytes} bytes: at most {limit} are accepted")]
    InventoryTooLarge {
        /// So many bytes.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// No such plugin.
    #[error("no plugin is named {0:?}: install it first")]
    NoSuchPlugin(String),
    /// The plugin is there, but not in this version.
    #[error("plugin {plugin:?} has no version {} here: install it first", digest.short())]
    NoSuchVersion {
        /// Which plugin.
        plugin: String,
        /// Which version.
        digest: Digest,
    },
    /// The driver is there, and disabled.
    #[error("driver {0:?} is disabled; enable it first: grove plugin enable {0}")]
    DriverDisabled(String),
    /// The plugin machine refused.
    #[error(transparent)]
    Plugin(#[from] plugin::Refusal),
    /// The worker machine refused.
    #[error(transparent)]
    Worker(#[from] worker::Refusal),
    /// The request machine refused.
    #[error(transparent)]
    Request(#[from] request::Refusal),
    /// The resource is no longer at the revision that the caller saw.
    #[error("it changed meanwhile: it is at revision {current} now")]
    Revision {
        /// Where it is.
        current: u64,
    },
    /// The owner used the idempotency key for another wish.
    #[error("this key was used with another body")]
    KeyReused,
    /// No driver has this name.
    #[error("no driver is named {name:?}; there are: {}", known.join(", "))]
    UnknownDriver {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The driver does not take this configuration.
    #[error("the driver does not accept this configuration: {0}")]
    DriverConfig(String),
    /// A cap of the farm is reached.
    #[error("the farm holds {limit} {what} already, which is its limit")]
    Full {
        /// Of what.
        what: &'static str,
        /// The cap.
        limit: usize,
    },
    /// The job would run longer than the admin allows.
    #[error("a job may run {max:#} at the longest")]
    TooLong {
        /// The longest.
        max: grove_domain::moment::SignedDuration,
    },
    /// The task has ended, or was superseded.
    #[error("the task is not live")]
    TaskEnded,
    /// The farm is in maintenance, and takes nothing new.
    #[error(
        "the farm is in maintenance since {since}: {reason}; try again {}",
        until.map_or_else(|| "later".to_owned(), |until| format!("after {until}"))
    )]
    FarmMaintenance {
        /// Since when.
        since: Timestamp,
        /// Why, in its admin's words.
        reason: String,
        /// When it is expected to be over.
        until: Option<Timestamp>,
    },
    /// The store does not take writes; nothing was changed.
    #[error("the farm cannot store changes now: {0}")]
    Unavailable(String),
    /// The controller stops.
    #[error("the controller is shutting down")]
    Stopping,
}
