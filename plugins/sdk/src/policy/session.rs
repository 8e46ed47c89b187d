//! One instance's life as a policy: `init`, then `apply` and `plan` in any order.

use super::ranking::Ranking;
use super::{Change, Demand, Farm, Plan, Policy, Round, TimestampMs, Worker, WorkerId};
use crate::bindings::policy::exports::grove::plugin::policy::PolicyInfo;
use crate::{Info, Settings};

/// A policy with all that it was told.
#[derive(Debug)]
pub struct Session<P> {
    policy: Option<P>,
    farm: Farm,
    ranking: Ranking,
}

impl<P> Default for Session<P> {
    fn default() -> Self {
        Self { policy: None, farm: Farm::default(), ranking: Ranking::default() }
    }
}

impl<P: Policy> Session<P> {
    /// Begins anew with these settings.
    ///
    /// # Errors
    /// What the policy finds wrong with them.
    pub fn init(&mut self, base: Info, settings: &str) -> Result<PolicyInfo, String> {
        let policy = P::new(Settings::new(settings))?;
        *self = Self { policy: Some(policy), ..Self::default() };
        Ok(PolicyInfo { base, own_keys: P::own_keys(), max_candidates: P::max_candidates() })
    }

    /// Takes changes in.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match &change {
                Change::WorkerPut(Worker { id, .. }) | Change::WorkerGone(id)
                    if !P::scores_depend_on_request() =>
                {
                    self.ranking.touch(*id);
                }
                _ => {}
            }
            if let Some(policy) = &mut self.policy {
                policy.observe(&self.farm, &change);
            }
            self.farm.apply(change);
        }
    }

    /// Makes a plan; without `init`, an empty one.
    pub fn plan(&mut self, now: TimestampMs, candidate_sets: &[Vec<WorkerId>], demands: &[Demand]) -> Plan {
        let Self { policy: Some(policy), farm, ranking } = self else {
            crate::log::error("asked for a plan before init");
            return Plan { assignments: Vec::new(), waits: Vec::new(), wake_at: None };
        };
        policy.plan(Round { now, farm, candidate_sets, demands, ranking })
    }
}
