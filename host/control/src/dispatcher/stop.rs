//! The end of a controller that was told to stop, or that nobody can ask anything any more.

use std::sync::Arc;

use grove_domain::change::Change;
use grove_domain::instance::Instance;
use grove_domain::task::{End, Phase};
use tokio::sync::{mpsc, oneshot};

use super::Dispatcher;
use crate::command::Command;
use crate::refusal::Refused;
use crate::runner::TaskResult;

/// What is heard after the last decision for a caller.
#[derive(Default)]
pub(super) struct LastWords {
    /// Who wants to know when it has stopped.
    told: Vec<oneshot::Sender<()>>,
    /// Results of tasks, which count.
    ended: Vec<TaskResult>,
}

impl LastWords {
    fn hear(&mut self, command: Command) {
        match command {
            Command::Stop { done } => self.told.push(done),
            Command::TaskEnded(result) => self.ended.push(*result),
            command => command.refuse(&Refused::Stopping),
        }
    }
}

impl FromIterator<Command> for LastWords {
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Self {
        let mut last = Self::default();
        commands.into_iter().for_each(|command| last.hear(command));
        last
    }
}

impl Dispatcher {
    /// Ends every task, and leaves rows from which the next start goes on.
    pub(super) async fn stop(mut self, mut inbox: mpsc::Receiver<Command>, mut last: LastWords) {
        self.stopping = true;
        let (runner, processor) = (self.runner.clone(), self.processor.clone());
        let stopping = async { tokio::join!(runner.stop(), processor.stop()) };
        tokio::pin!(stopping);
        loop {
            // Open as long as tasks end, so that what they found is heard.
            tokio::select! {
                biased;
                Some(command) = inbox.recv() => last.hear(command),
                _ = &mut stopping => break,
            }
        }
        inbox.close();
        while let Some(command) = inbox.recv().await {
            last.hear(command);
        }
        // While the store is away nothing can be recorded: the next start takes it up as after a crash.
        if self.trouble.load().is_none() {
            self.wind_up(last.ended);
        }
        self.drain().await;
        for done in last.told {
            // The caller may have given up waiting.
            let _ = done.send(());
        }
    }

    /// Another instance decides now: nothing of this one may be written any more.
    pub(super) async fn give_up(self, mut inbox: mpsc::Receiver<Command>, mut last: LastWords) {
        inbox.close();
        while let Some(command) = inbox.recv().await {
            last.hear(command);
        }
        for done in last.told {
            // The caller may have given up waiting.
            let _ = done.send(());
        }
    }

    /// What ended counts; what was cut off is recorded as cancelled, and begun by the next start.
    fn wind_up(&mut self, ended: Vec<TaskResult>) {
        for result in ended {
            self.task_ended(result);
        }
        let begun = self.farm.tasks().values().filter(|task| task.status.phase == Phase::Running);
        let mut tasks: Vec<_> = begun.cloned().collect();
        tasks.sort_unstable_by_key(|task| task.id);
        for task in tasks {
            self.begin_again(&task, End::Cancelled, "the controller stopped");
        }
        let now = self.clock.now();
        let ended = Instance { heartbeat: now, ended: Some(now), ..self.instance };
        self.turn.change(Change::PutInstance(Arc::new(ended)));
        self.turn.change(Change::Stopped);
    }
}
