//! Runs of introspection as the tasks see them that work for them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use grove_domain::event::Subject;
use grove_domain::id::{IntrospectionId, TaskId};
use grove_domain::introspection::State;
use tokio::sync::{mpsc, oneshot};

use crate::command::Command;
use crate::controller::Answer;
use crate::farm::Farm;
use crate::feed::Feed;
use crate::refusal::Refused;

pub(crate) struct Runs {
    pub(crate) view: Arc<ArcSwap<Farm>>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) commands: mpsc::WeakSender<Command>,
}

impl Runs {
    /// Hands in what a task has read, or why it could not read it. Answers when that is stored.
    pub(crate) async fn hand_in(
        &self,
        run: IntrospectionId,
        task: TaskId,
        inventory: Result<Arc<str>, String>,
    ) -> Answer<()> {
        let (reply, answer) = oneshot::channel();
        let dispatcher = self.commands.upgrade().ok_or(Refused::Stopping)?;
        let command = Command::Pulled { run, task, inventory, reply };
        dispatcher.send(command).await.map_err(|_| Refused::Stopping)?;
        drop(dispatcher);
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Resolves when the run has ended, to why it did not end well.
    pub(crate) async fn ended(&self, run: IntrospectionId) -> Result<(), String> {
        loop {
            let watcher = self.feed.watch(Subject::Introspection(run));
            let now = self.view.load().introspection(run).cloned();
            let now = now.ok_or_else(|| "its introspection is gone".to_owned())?;
            match now.state {
                State::Finished => return Ok(()),
                State::Error => return Err(now.error.clone().unwrap_or_default()),
                _ => watcher.changed().await,
            }
        }
    }
}
