//! Makes committed decisions known, in order: snapshot, then events, effects and answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use grove_domain::event::Event;
use grove_domain::id::{IntrospectionId, RequestId, TaskId, WorkerId};
use grove_domain::introspection::Introspection;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::command::Command;
use crate::farm::Farm;
use crate::feed::Feed;
use crate::live::LiveTasks;
use crate::ports::StoreError;
use crate::processor::Processor;
use crate::refusal::Refused;
use crate::runner::{Runner, Start};

/// Sends one answer: what was decided, or that it could not be stored.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Refused>) + Send>;

/// What is done once a decision is stored.
pub(crate) enum Effect {
    Start(Box<Start>),
    Cancel(WorkerId, TaskId),
    CloseTunnel(RequestId),
    /// The task's end is on record: what it reported while it ran is no longer needed.
    Forget(TaskId),
    /// Inspectors and rules are to conclude from the stored inventory of this run, as it is now.
    Process(Arc<Introspection>),
    /// What they conclude no longer counts.
    StopProcessing(IntrospectionId),
}

/// A turn of the dispatcher, handed to the store.
pub(crate) struct Sealed {
    pub(crate) epoch: u64,
    /// None when the turn wrote nothing.
    pub(crate) committed: Option<oneshot::Receiver<Result<(), StoreError>>>,
    pub(crate) farm: Farm,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) answers: Vec<Answer>,
}

/// How many turns are on their way to disk.
#[derive(Default)]
pub(crate) struct InFlight {
    turns: AtomicUsize,
    changed: Notify,
}

impl InFlight {
    pub(crate) fn count(&self) -> usize {
        self.turns.load(Ordering::Acquire)
    }

    pub(crate) fn add(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }

    fn remove(&self) {
        self.turns.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Resolves after the count went down.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

pub(crate) struct Publisher {
    pub(crate) view: Arc<ArcSwap<Farm>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) runner: Runner,
    pub(crate) processor: Processor,
    pub(crate) live: Arc<LiveTasks>,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) commands: mpsc::WeakSender<Command>,
}

impl Publisher {
    pub(crate) async fn run(self, mut sealed: mpsc::UnboundedReceiver<Sealed>) {
        // The load whose turns are void since one of them was refused, and why.
        let mut void = None;
        // Unbounded only in type: the dispatcher seals no more turns than it allows in flight.
        while let Some(turn) = sealed.recv().await {
            let stored = match (&void, turn.committed) {
                // Also a turn that wrote nothing: it was decided on something that is not stored.
                (Some((epoch, error)), _) if *epoch == turn.epoch => Err(StoreError::clone(error)),
                (_, None) => Ok(()),
                (_, Some(committed)) => match committed.await {
                    Ok(result) => result,
                    Err(_) => Err(StoreError("the store went away".to_owned())),
                },
            };
            match stored {
                Ok(()) => self.publish(turn.farm, turn.effects, turn.answers, turn.events),
                Err(error) => {
                    void = Some((turn.epoch, error.clone()));
                    for answer in turn.answers {
                        answer(Err(Refused::Unavailable(error.0.clone())));
                    }
                    if let Some(commands) = self.commands.upgrade() {
                        let failed = Command::CommitFailed { epoch: turn.epoch, error: error.0 };
                        // Not awaited: the dispatcher may be waiting for this very loop.
                        tokio::spawn(async move { commands.send(failed).await });
                    }
                }
            }
            self.in_flight.remove();
        }
    }

    fn publish(&self, farm: Farm, effects: Vec<Effect>, answers: Vec<Answer>, events: Vec<Event>) {
        self.view.store(Arc::new(farm));
        // Before the effects: a thousand tasks that begin at once must not keep people from hearing of it.
        self.feed.publish(events);
        for effect in effects {
            match effect {
                Effect::Start(start) => self.runner.start(*start),
                Effect::Cancel(worker, task) => self.runner.cancel(worker, task),
                Effect::Forget(task) => self.live.forget(task),
                Effect::Process(run) => self.processor.process(run),
                Effect::StopProcessing(run) => self.processor.stop_run(run),
                Effect::CloseTunnel(request) => {
                    let mut closing = self.runner.tunnels().close(request);
                    // It begins here and now, before any later task opens another for the same request.
                    if (&mut closing).now_or_never().is_none() {
                        tokio::spawn(closing);
                    }
                }
            }
        }
        for answer in answers {
            answer(Ok(()));
        }
    }
}
