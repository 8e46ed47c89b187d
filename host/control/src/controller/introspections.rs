//! Introspection and its rules as callers see them.

use std::sync::Arc;

use grove_domain::history::IntrospectionQuery;
use grove_domain::id::{IntrospectionId, RuleId, WorkerId};
use grove_domain::introspection::{Event, Findings, Introspection, Kind, MAX_INVENTORY, TokenDigest};
use grove_domain::rule::Rule;

use super::{Answer, Controller};
use crate::command::Command;
use crate::ports::StoreError;
use crate::refusal::Refused;

/// How an introspection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// The driver reads the board's inventory.
    Pull,
    /// The board is started anew where its driver can do that, and sends its inventory with the token of this digest.
    Push(TokenDigest),
}

impl Controller {
    /// Begins to find out what a worker in MAINTENANCE is made of. A run that waits for its board is ended by it.
    /// `expected` is the worker's revision.
    pub async fn start_introspection(
        &self,
        actor: &str,
        worker: WorkerId,
        begin: Begin,
        expected: Option<u64>,
    ) -> Answer<Arc<Introspection>> {
        let actor = actor.into();
        self.ask(|reply| Command::StartIntrospection { actor, worker, begin, expected, reply }).await
    }

    /// A board sends its inventory: JSON text.
    pub async fn introspection_data(
        &self,
        id: IntrospectionId,
        token: TokenDigest,
        inventory: Arc<str>,
    ) -> Answer<Arc<Introspection>> {
        if self.farm().introspection(id).is_none() {
            // It can only have ended long ago.
            let kept = self.introspection(id).await?.ok_or(Refused::NoSuchIntrospection)?;
            kept.admit(token)?;
        }
        small(&inventory)?;
        self.ask(|reply| Command::Pushed { run: id, token, inventory, reply }).await
    }

    /// A board that nobody registered sends its inventory: whether it becomes a worker is up to the inspectors.
    pub async fn enrol(&self, actor: &str, inventory: Arc<str>) -> Answer<Arc<Introspection>> {
        small(&inventory)?;
        let actor = actor.into();
        self.ask(|reply| Command::Enrol { actor, inventory, reply }).await
    }

    /// Ends a run, and switches its board off where that was started for it. Nothing happens to one in ERROR.
    pub async fn abort_introspection(
        &self,
        actor: &str,
        id: IntrospectionId,
        expected: Option<u64>,
    ) -> Answer<Arc<Introspection>> {
        let event = Event::Abort { reason: format!("aborted by {actor}") };
        self.move_introspection(actor, id, event, expected).await
    }

    /// Has today's inspectors and rules conclude from the stored inventory of a run: the latest of its worker.
    pub async fn reapply_introspection(
        &self,
        actor: &str,
        id: IntrospectionId,
        expected: Option<u64>,
    ) -> Answer<Arc<Introspection>> {
        self.move_introspection(actor, id, Event::Reapply, expected).await
    }

    async fn move_introspection(
        &self,
        actor: &str,
        id: IntrospectionId,
        event: Event,
        expected: Option<u64>,
    ) -> Answer<Arc<Introspection>> {
        let farm = self.farm();
        if farm.introspection(id).is_none() {
            let kept = self.introspection(id).await?.ok_or(Refused::NoSuchIntrospection)?;
            return outdated(&farm, kept, event, expected);
        }
        let actor = actor.into();
        self.ask(|reply| Command::MoveIntrospection { actor, run: id, event, expected, reply }).await
    }

    /// The same for the latest inventory of every worker, but for those that an introspection is under way of.
    pub async fn reapply_all(&self, actor: &str) -> Answer<Vec<IntrospectionId>> {
        let actor = actor.into();
        self.ask(|reply| Command::ReapplyAll { actor, reply }).await
    }

    /// A page of kept runs, newest first.
    pub async fn introspections(&self, query: IntrospectionQuery) -> Answer<Vec<Introspection>> {
        self.inner.store.introspections(query).await.map_err(unavailable)
    }

    /// One run; none where there is none, or it is no longer kept.
    pub async fn introspection(&self, id: IntrospectionId) -> Answer<Option<Arc<Introspection>>> {
        if let Some(run) = self.farm().introspection(id) {
            return Ok(Some(run.clone()));
        }
        let kept = self.inner.store.introspection(id).await.map_err(unavailable)?;
        Ok(kept.map(Arc::new))
    }

    /// What is kept of the inventory of a run: JSON text.
    pub async fn inventory(&self, id: IntrospectionId, kind: Kind) -> Answer<Option<Arc<str>>> {
        self.inner.store.inventory(id, kind).await.map_err(unavailable)
    }

    /// What inspectors and rules last found in a run.
    pub async fn findings(&self, id: IntrospectionId) -> Answer<Option<Findings>> {
        self.inner.store.findings(id).await.map_err(unavailable)
    }

    /// A rule joins the others, behind them. Its place, revision and time are given to it.
    pub async fn add_rule(&self, actor: &str, rule: Rule) -> Answer<Arc<Rule>> {
        rule.check()?;
        let actor = actor.into();
        self.ask(|reply| Command::AddRule { actor, rule: Box::new(rule), reply }).await
    }

    /// A rule goes. What was found with it stays found, until it is found anew. The answer is the rule as it was.
    pub async fn remove_rule(&self, actor: &str, id: RuleId, expected: Option<u64>) -> Answer<Arc<Rule>> {
        let actor = actor.into();
        let removed =
            self.ask(|reply| Command::RemoveRules { actor, rule: Some(id), expected, reply }).await?;
        removed.into_iter().next().ok_or(Refused::NoSuchRule)
    }

    /// Every rule goes. The answer is the rules as they were.
    pub async fn remove_rules(&self, actor: &str) -> Answer<Vec<Arc<Rule>>> {
        let actor = actor.into();
        self.ask(|reply| Command::RemoveRules { actor, rule: None, expected: None, reply }).await
    }
}

/// A run that memory does not hold has ended, and a later one of its worker has an inventory: it stays as it is.
fn outdated(
    farm: &crate::farm::Farm,
    kept: Arc<Introspection>,
    event: Event,
    expected: Option<u64>,
) -> Answer<Arc<Introspection>> {
    if expected.is_some_and(|expected| expected != kept.revision) {
        return Err(Refused::Revision { current: kept.revision });
    }
    let latest = kept.worker.and_then(|worker| farm.latest_inventory(worker));
    match (event, latest) {
        (Event::Reapply, Some(latest)) if kept.has_raw => Err(Refused::Outdated(latest.id)),
        (event, _) => {
            let never = grove_domain::introspection::Rules::default();
            let same = kept.step(event, kept.since, &never)?.run;
            if same == *kept { Ok(kept) } else { Err(Refused::NoSuchIntrospection) }
        }
    }
}

fn small(inventory: &str) -> Answer<()> {
    let (bytes, limit) = (inventory.len(), MAX_INVENTORY);
    if bytes > limit { Err(Refused::InventoryTooLarge { bytes, limit }) } else { Ok(()) }
}

fn unavailable(error: StoreError) -> Refused {
    Refused::Unavailable(error.0)
}
