//! Watches over the parts of a controller: when one breaks, none lives on.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use crate::processor::Processor;
use crate::runner::Runner;

/// The parts that run by themselves.
#[derive(Default)]
pub(crate) struct Running {
    parts: JoinSet<Result<(), String>>,
    names: Vec<(Id, Part)>,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Decides. It ends only when it was told to, and the others after it.
    Dispatcher,
    Publisher,
    PolicySession,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Dispatcher => "the dispatcher",
            Self::Publisher => "the publisher",
            Self::PolicySession => "the session with the policy",
        }
    }
}

impl Running {
    /// An error is why all of it must end.
    pub(crate) fn add(
        &mut self,
        part: Part,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let running = self.parts.spawn(work);
        self.names.push((running.id(), part));
    }

    /// Why one of them broke; none once they ended as they should.
    async fn broke(&mut self) -> Option<String> {
        while let Some(end) = self.parts.join_next().await {
            match end {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return Some(reason),
                Err(error) => {
                    let part = self.names.iter().find(|(id, _)| *id == error.id());
                    let part = part.map_or("a part", |(_, part)| part.name());
                    return Some(format!("{part} {}", said(error)));
                }
            }
        }
        None
    }
}

fn said(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "was cut off".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.map_or_else(|| "broke".to_owned(), |text| format!("broke: {text}"))
}

/// What is ended when a part broke, and who learns of it.
pub(crate) struct Supervisor {
    pub(crate) running: Running,
    pub(crate) runner: Runner,
    pub(crate) processor: Processor,
    /// Tasks may take so long to end.
    pub(crate) patience: Duration,
    pub(crate) trouble: Arc<ArcSwap<Option<String>>>,
    pub(crate) tell: watch::Sender<Option<String>>,
}

impl Supervisor {
    pub(crate) async fn run(mut self) {
        let Some(reason) = self.running.broke().await else { return };
        tracing::error!(%reason, "the controller ends");
        self.trouble.store(Arc::new(Some(reason.clone())));
        let all = async { tokio::join!(self.runner.stop(), self.processor.stop()) };
        let tasks = tokio::time::timeout(self.patience, all);
        let ((), tasks) = tokio::join!(self.running.parts.shutdown(), tasks);
        if tasks.is_err() {
            tracing::error!("tasks did not end with their controller");
        }
        self.tell.send_replace(Some(reason));
    }
}
