//! Trying a rule out: what it would do, and why.

use super::apply::Facts;
use super::effort::{Effort, TooMuch};
use super::{Condition, Rule, Verdict};
use crate::capability::Map;
use crate::introspection::{Change, View};
use crate::inventory::Value;

/// Values of one condition that are told.
pub const MAX_TRIED: usize = 20;

/// What a rule would do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Whether it is for that worker at all.
    pub in_scope: bool,
    /// Each of its conditions; without those that there is too much to look at for.
    pub conditions: Vec<Tried>,
    /// Whether it would act.
    pub applies: bool,
    /// What it would change; nothing where it would not act. Otherwise why it would fail the run.
    pub outcome: Result<Vec<Change>, String>,
}

/// What became of one condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    /// Whether it holds.
    pub holds: bool,
    /// How many values it is about. None: nothing is there, so it does not hold.
    pub count: usize,
    /// The first [`MAX_TRIED`] of them, each with what is said of it (turned round where the condition is).
    pub values: Vec<(Value, Verdict)>,
}

/// What `rule` alone would do. `found` is what was found before it.
pub fn trial(rule: &Rule, inventory: &Value, worker: &View, found: &Map) -> Trial {
    let facts = Facts::new(inventory, worker, found);
    let in_scope = facts.in_scope(rule);
    let mut effort = Effort::new();
    let tried = |condition: &Condition| {
        let mut values: Vec<_> = condition.judge(facts.tree(condition), &mut effort)?.collect();
        let holds = condition.decide(values.iter().map(|(_, verdict)| *verdict));
        let count = values.len();
        values.truncate(MAX_TRIED);
        let values = values.into_iter().map(|(value, verdict)| (value.clone(), verdict)).collect();
        Ok(Tried { holds, count, values })
    };
    let mut conditions = Vec::new();
    let judged = rule.conditions.iter().map(tried).try_for_each(|tried| {
        conditions.push(tried?);
        Ok::<_, TooMuch>(())
    });
    let applies = in_scope && judged.is_ok() && conditions.iter().all(|condition| condition.holds);
    let outcome = match judged {
        Err(too_much) if in_scope => Err(too_much.to_string()),
        Ok(()) if applies => facts.act(rule, &mut found.clone()),
        _ => Ok(Vec::new()),
    };
    Trial { in_scope, conditions, applies, outcome }
}
