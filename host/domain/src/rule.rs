//! Rules: what an admin concludes from inventories, as data.
//!
//! A rule acts on a worker in its scope whose inventory meets all of its conditions. First the conditions of every rule are
//! judged, on what came from the board and from inspectors; then those that apply act, in the order in which they were
//! made. If one fails, none has acted.

mod action;
mod apply;
mod condition;
mod effort;
mod pattern;
mod template;
mod trial;

pub use action::Action;
pub use apply::{Failed, apply};
pub use condition::{Comparison, Condition, Multiple, Source, Test, Verdict};
pub use effort::MAX_EFFORT;
pub use pattern::{Network, Pattern};
pub use template::Template;
pub use trial::{MAX_TRIED, Trial, Tried, trial};

use crate::id::RuleId;
use crate::moment::Timestamp;

/// Rules of a farm.
pub const MAX_RULES: usize = 1000;
/// Conditions of one rule.
pub const MAX_CONDITIONS: usize = 32;
/// Actions of one rule.
pub const MAX_ACTIONS: usize = 32;
/// Bytes of a description, a message, a pattern, a template, or a text to compare with.
pub const MAX_TEXT: usize = 1024;
/// Bytes of a scope.
pub const MAX_SCOPE: usize = 64;

/// A rule. It is never changed: another takes its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Identity.
    pub id: RuleId,
    /// Its place among all rules: those that were made earlier act earlier.
    pub place: u64,
    /// What it is for.
    pub description: String,
    /// The group whose workers it is for; none = every worker.
    pub scope: Option<String>,
    /// All must hold; none hold always.
    pub conditions: Vec<Condition>,
    /// What it does, in order.
    pub actions: Vec<Action>,
    /// When it was made.
    pub created: Timestamp,
    /// ETag.
    pub revision: u64,
}

/// Why a rule cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Where in the rule, as `actions[0].name`.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

impl Rule {
    /// Checks what the types of its parts leave open.
    ///
    /// # Errors
    /// The first part that cannot be.
    pub fn check(&self) -> Result<(), Invalid> {
        let at = |field: &str| {
            let field = field.to_owned();
            move |reason| Invalid { field, reason }
        };
        short(&self.description).map_err(at("description"))?;
        self.scope.as_deref().map_or(Ok(()), scope).map_err(at("scope"))?;
        at_most(self.conditions.len(), MAX_CONDITIONS, "conditions").map_err(at("conditions"))?;
        at_most(self.actions.len(), MAX_ACTIONS, "actions").map_err(at("actions"))?;
        if self.actions.is_empty() {
            return Err(at("actions")("a rule has at least one action".to_owned()));
        }
        for (place, action) in self.actions.iter().enumerate() {
            action.check().map_err(|(field, reason)| at(&format!("actions[{place}].{field}"))(reason))?;
        }
        Ok(())
    }
}

fn scope(group: &str) -> Result<(), String> {
    match group.len() {
        0 => Err("a group has a name; leave the scope out for every worker".to_owned()),
        len => at_most(len, MAX_SCOPE, "bytes"),
    }
}

/// Refuses text that is too long.
fn short(text: &str) -> Result<(), String> {
    at_most(text.len(), MAX_TEXT, "bytes")
}

fn at_most(count: usize, most: usize, unit: &str) -> Result<(), String> {
    if count > most { Err(format!("{count} {unit}: at most {most} are accepted")) } else { Ok(()) }
}
