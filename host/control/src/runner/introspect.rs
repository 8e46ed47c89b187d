//! What a task does for an introspection.

use std::sync::Arc;
use std::time::Duration;

use grove_domain::id::IntrospectionId;
use grove_domain::introspection::{Introspection, MAX_INVENTORY, State, Way};
use grove_domain::task::{StepKind, StepOutcome};
use grove_domain::worker::{Failure, FailureKind};

use super::execute::{Work, environment, nonsense, until_cancelled};
use crate::ports::{Call, CallError, Power, Reply};
use crate::refusal::Refused;

/// Between attempts to hand in an inventory while the store is away.
const HAND_IN: Duration = Duration::from_millis(500);

impl Work<'_> {
    /// The introspection that the task is for.
    pub(super) async fn introspect(&mut self, run: &Introspection) -> Result<(), CallError> {
        if run.way == Way::Push {
            // The board may be on, or be switched on by hand.
            return unless_unsupported(self.call(StepKind::PowerCycle, Call::Power(Power::Cycle)).await);
        }
        if expects_inventory(run) {
            let inventory = self.read(run.id).await?;
            self.hand_in(run.id, Ok(inventory)).await?;
        }
        self.processed(run.id).await
    }

    /// The introspection on the way to the first preparation. A driver that cannot read the board leaves it out.
    pub(super) async fn introspect_first(&mut self, run: &Introspection) -> Result<(), CallError> {
        if expects_inventory(run) {
            let inventory = match self.read(run.id).await {
                Err(CallError::Failed { failure, .. }) if failure.kind == FailureKind::Unsupported => {
                    return self.hand_in(run.id, Err(failure.reason)).await;
                }
                read => read?,
            };
            self.hand_in(run.id, Ok(inventory)).await?;
        }
        self.processed(run.id).await
    }

    /// After an introspection that was aborted.
    pub(super) async fn switch_off(&mut self) -> Result<(), CallError> {
        unless_unsupported(self.call(StepKind::PowerOff, Call::Power(Power::Off)).await)
    }

    /// Has the driver read the board, as long as anybody wants to know.
    async fn read(&mut self, run: IntrospectionId) -> Result<Arc<str>, CallError> {
        let ended = self.tools.runs.ended(run);
        let stop = self.cancel.child_token();
        let ended = {
            let reading = self.call_until(StepKind::Introspect, Call::Inventory, stop.clone());
            tokio::pin!(reading);
            tokio::select! {
                biased;
                reply = &mut reading => return match reply? {
                    Reply::Inventory(inventory) => small(inventory),
                    _ => Err(nonsense("introspect")),
                },
                ended = ended => {
                    stop.cancel();
                    // Whatever it still says: nobody listens.
                    drop(reading.await);
                    ended
                }
            }
        };
        self.clean_up(StepOutcome::Cancelled).await;
        let reason = ended.err().unwrap_or_else(|| "the introspection is over".to_owned());
        Err(environment(reason))
    }

    async fn hand_in(
        &mut self,
        run: IntrospectionId,
        inventory: Result<Arc<str>, String>,
    ) -> Result<(), CallError> {
        let (runs, task) = (&self.tools.runs, self.task);
        let handing_in = async {
            loop {
                match runs.hand_in(run, task, inventory.clone()).await {
                    Err(Refused::Unavailable(_)) => tokio::time::sleep(HAND_IN).await,
                    handed_in => return handed_in.map_err(|refused| environment(refused.to_string())),
                }
            }
        };
        until_cancelled(self.cancel, self.ends, handing_in).await?
    }

    /// Waits for what inspectors and rules say.
    async fn processed(&mut self, run: IntrospectionId) -> Result<(), CallError> {
        self.watch.own_step(StepKind::Process, StepOutcome::Success);
        // Others want its place while this one waits.
        self.driver = None;
        until_cancelled(self.cancel, self.ends, self.tools.runs.ended(run)).await?.map_err(environment)
    }
}

fn expects_inventory(run: &Introspection) -> bool {
    matches!(run.state, State::Starting | State::Waiting)
}

fn unless_unsupported(reply: Result<Reply, CallError>) -> Result<(), CallError> {
    match reply {
        Err(CallError::Failed { failure, .. }) if failure.kind == FailureKind::Unsupported => Ok(()),
        reply => reply.map(drop),
    }
}

fn small(inventory: Arc<str>) -> Result<Arc<str>, CallError> {
    let (bytes, limit) = (inventory.len(), MAX_INVENTORY);
    if bytes <= limit {
        return Ok(inventory);
    }
    let reason = Refused::InventoryTooLarge { bytes, limit }.to_string();
    let failure = Failure { kind: FailureKind::Plugin, reason };
    Err(CallError::Failed { failure, plugin_died: false })
}
