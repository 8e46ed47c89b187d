//! What all rules make of an inventory.

use std::collections::BTreeMap;

use super::condition::Source;
use super::effort::{Effort, TooMuch};
use super::{Action, Condition, Rule};
use crate::capability::Map;
use crate::id::RuleId;
use crate::introspection::{Change, View};
use crate::inventory::Value;

/// A rule that failed the run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("rule/{rule}: {reason}")]
pub struct Failed {
    /// Which.
    pub rule: RuleId,
    /// Why.
    pub reason: String,
}

/// What rules change, with which of them changes it, in order: all conditions are judged before anything changes, then the
/// rules that apply act in the order of their places. `found` is what inspectors found.
///
/// # Errors
/// The first rule that cannot act, wants the run to fail, or has more looked at than [`MAX_EFFORT`](super::MAX_EFFORT).
pub fn apply<'a>(
    rules: impl IntoIterator<Item = &'a Rule>,
    inventory: &Value,
    worker: &View,
    found: &Map,
) -> Result<Vec<(RuleId, Change)>, Failed> {
    let facts = Facts::new(inventory, worker, found);
    let mut effort = Effort::new();
    let failed = |rule: &Rule, reason| Failed { rule: rule.id, reason };
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by_key(|rule| rule.place);
    let mut applying = Vec::new();
    for rule in rules {
        if facts.meet(rule, &mut effort).map_err(|too_much| failed(rule, too_much.to_string()))? {
            applying.push(rule);
        }
    }
    let mut found = found.clone();
    let mut changes = Vec::new();
    for rule in applying {
        let acted = facts.act(rule, &mut found).map_err(|reason| failed(rule, reason))?;
        changes.extend(acted.into_iter().map(|change| (rule.id, change)));
    }
    Ok(changes)
}

/// What rules look at.
pub(super) struct Facts<'a> {
    inventory: &'a Value,
    own: &'a Map,
    groups: &'a [String],
    worker: Value,
}

impl<'a> Facts<'a> {
    pub(super) fn new(inventory: &'a Value, worker: &'a View, found: &Map) -> Self {
        Self {
            inventory,
            own: &worker.capabilities,
            groups: &worker.groups,
            worker: worker_tree(worker, found),
        }
    }

    pub(super) fn tree(&self, condition: &Condition) -> &Value {
        match condition.source {
            Source::Data => self.inventory,
            Source::Worker => &self.worker,
        }
    }

    pub(super) fn in_scope(&self, rule: &Rule) -> bool {
        rule.scope.as_ref().is_none_or(|group| self.groups.contains(group))
    }

    fn meet(&self, rule: &Rule, effort: &mut Effort) -> Result<bool, TooMuch> {
        if !self.in_scope(rule) {
            return Ok(false);
        }
        for condition in &rule.conditions {
            if !condition.holds(self.tree(condition), effort)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a rule changes in what was found so far.
    pub(super) fn act(&self, rule: &Rule, found: &mut Map) -> Result<Vec<Change>, String> {
        let act = |action: &Action| {
            let change = action.act(self.inventory, found, self.own)?;
            match &change {
                Change::SetCapability(key, value) => {
                    found.insert(key.clone(), value.clone());
                }
                Change::UnsetCapability(key) => {
                    found.remove(key);
                }
                Change::Label(..) | Change::Fail(_) => {}
            }
            Ok(change)
        };
        rule.actions.iter().map(act).collect()
    }
}

fn worker_tree(worker: &View, found: &Map) -> Value {
    let text = |text: &String| Value::Text(text.clone());
    let map = |map: &Map| Value::Map(map.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    let fields = [
        ("uuid", text(&worker.worker.to_string())),
        ("driver", text(&worker.driver)),
        ("host", worker.host.as_ref().map_or(Value::Null, text)),
        ("groups", Value::List(worker.groups.iter().map(text).collect())),
        ("capabilities", map(&worker.capabilities)),
        ("found", map(found)),
    ];
    Value::Map(BTreeMap::from(fields.map(|(name, value)| (name.to_owned(), value))))
}
