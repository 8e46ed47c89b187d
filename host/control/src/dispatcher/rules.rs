//! Decisions about the rules on inventories.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::event::Subject;
use grove_domain::id::RuleId;
use grove_domain::rule::{MAX_RULES, Rule};

use super::Dispatcher;
use crate::refusal::Refused;

impl Dispatcher {
    pub(super) fn add_rule(&mut self, actor: &str, rule: Rule) -> Result<Arc<Rule>, Refused> {
        if self.farm.rule(rule.id).is_some() {
            return Err(Refused::RuleExists(rule.id));
        }
        if self.farm.rules().len() >= MAX_RULES {
            return Err(Refused::Full { what: "rules", limit: MAX_RULES });
        }
        let place = self.farm.rules().next_back().map_or(1, |last| last.place + 1);
        let rule = Arc::new(Rule { place, created: self.clock.now(), revision: 1, ..rule });
        self.farm.put_rule(rule.clone());
        self.turn.change(Change::PutRule(rule.clone()));
        self.note(actor, "rule.added", Subject::Rule(rule.id), rule.description.clone());
        Ok(rule)
    }

    pub(super) fn remove_rules(
        &mut self,
        actor: &str,
        which: Option<RuleId>,
        expected: Option<u64>,
    ) -> Result<Vec<Arc<Rule>>, Refused> {
        let rules: Vec<_> = match which {
            None => self.farm.rules().cloned().collect(),
            Some(id) => vec![self.farm.rule(id).ok_or(Refused::NoSuchRule)?.clone()],
        };
        if let Some(changed) = rules.iter().find(|rule| expected.is_some_and(|at| at != rule.revision)) {
            return Err(Refused::Revision { current: changed.revision });
        }
        for rule in &rules {
            self.farm.remove_rule(rule);
            self.turn.change(Change::RemoveRule(rule.id));
            self.note(actor, "rule.removed", Subject::Rule(rule.id), rule.description.clone());
        }
        Ok(rules)
    }
}
