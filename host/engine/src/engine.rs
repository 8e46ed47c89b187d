//! The engine as those see it who use it.

use std::error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError, Environment};
use crate::exit::Exit;
use crate::graph::Cycle;
use crate::record::Answer;
use crate::report::{Draft, EngineState, Report};
use crate::scope::Notice;
use crate::service::Service;
use crate::supervisor::Supervisor;

/// How many wishes may wait for the loop; whoever has more waits to tell them.
const WISHES: usize = 64;

/// A running engine. Dropping it kills it; [`Engine::handle`] gives others the use of it without its life.
#[derive(Debug)]
#[must_use = "an engine that is dropped is killed"]
pub struct Engine(EngineHandle);

impl Engine {
    /// Starts an engine without services.
    ///
    /// # Errors
    /// The config is invalid, or this is not within a tokio runtime.
    pub fn start(config: Config, environment: Environment) -> Result<Self, ConfigError> {
        config.check()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let (wishes, wished) = mpsc::channel(WISHES);
        let (notices, noticed) = mpsc::unbounded_channel();
        let kill = CancellationToken::new();
        let report = Report { state: EngineState::Started, services: Vec::new() };
        let reports = Arc::new(watch::Sender::new(Arc::new(report)));
        let (end, ended) = watch::channel(None);
        let handle = EngineHandle {
            wishes,
            notices: notices.clone(),
            kill: kill.clone(),
            reports: reports.clone(),
            end: ended,
            report_timeout: config.report_timeout,
        };
        let supervisor = Supervisor::new(config, environment, notices, reports, kill);
        runtime.spawn(async move {
            // If this panics, `end` is dropped, which says so.
            let result = supervisor.run(wished, noticed).await;
            end.send_replace(Some(result));
        });
        Ok(Self(handle))
    }

    /// A handle for others. It does not keep the engine alive.
    pub fn handle(&self) -> EngineHandle {
        self.0.clone()
    }
}

impl Deref for Engine {
    type Target = EngineHandle;

    fn deref(&self) -> &EngineHandle {
        &self.0
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// The use of an engine; cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    wishes: mpsc::Sender<Wish>,
    notices: mpsc::UnboundedSender<Notice>,
    kill: CancellationToken,
    reports: Arc<watch::Sender<Arc<Report>>>,
    end: watch::Receiver<Option<Result<(), Error>>>,
    report_timeout: Duration,
}

/// What a handle wants of the loop.
pub(crate) enum Wish {
    Install(Service, Answer),
    Replace(Service, Answer),
    Uninstall(String, Answer),
    Bounce(String, Answer),
    Report(oneshot::Sender<Draft>),
}

impl EngineHandle {
    /// Installs a service, whose first attempt begins at once. Its inputs may be installed later.
    ///
    /// # Errors
    /// The name is taken, a service would need itself, there are too many services, or the engine stops. Nothing is
    /// changed then.
    pub async fn install(&self, service: Service) -> Result<(), Refused> {
        self.wish(|answer| Wish::Install(service, answer)).await
    }

    /// Puts another declaration in the place of the installed one of the same name, once that has stopped (after its
    /// dependents, which come back after it). What was counted of the old one is forgotten.
    ///
    /// # Errors
    /// Nothing of that name is installed (any longer), a service would need itself, a later replacement came first, or
    /// the engine stops.
    pub async fn replace(&self, service: Service) -> Result<(), Refused> {
        self.wish(|answer| Wish::Replace(service, answer)).await
    }

    /// Takes a service out, once it has stopped (after its dependents). These go on needing the name, and come back
    /// when it is installed again.
    ///
    /// # Errors
    /// Nothing of that name is installed, or the engine stops.
    pub async fn uninstall(&self, name: impl Into<String>) -> Result<(), Refused> {
        self.wish(|answer| Wish::Uninstall(name.into(), answer)).await
    }

    /// Stops a service (after its dependents) and starts it again; one that is stopped or waits is started at once.
    /// Answers when that has begun.
    ///
    /// # Errors
    /// Nothing of that name is installed, or the engine stops.
    pub async fn bounce(&self, name: impl Into<String>) -> Result<(), Refused> {
        self.wish(|answer| Wish::Bounce(name.into(), answer)).await
    }

    /// What everything is doing, with the details that services tell. Works as long as there is a handle: after the
    /// engine's end it tells how everything ended.
    pub async fn report(&self) -> Report {
        let (answer, answered) = oneshot::channel();
        if self.wishes.send(Wish::Report(answer)).await.is_ok()
            && let Ok(draft) = answered.await
        {
            return draft.finish(self.report_timeout).await;
        }
        Report::clone(&self.reports.borrow())
    }

    /// Reports, without details, whenever something has changed, but not more often than the config says. The last one
    /// has the state [`EngineState::Stopped`].
    pub fn watch_report(&self) -> watch::Receiver<Arc<Report>> {
        let reports = self.reports.subscribe();
        // After the end the last report is there already.
        self.notices.send(Notice::Watched).ok();
        reports
    }

    /// Asks the engine to stop, as often as one likes.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits until the engine has ended: any number may.
    ///
    /// # Errors
    /// The worst fatal end of a service, or a mistake in the engine.
    pub async fn wait(&self) -> Result<(), Error> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::Internal("its loop is gone".to_owned())),
        }
    }

    async fn wish(&self, wish: impl FnOnce(Answer) -> Wish) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send(wish(answer)).await.map_err(|_| Refused::ShuttingDown)?;
        answered.await.unwrap_or(Err(Refused::ShuttingDown))
    }
}

impl fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineHandle").finish_non_exhaustive()
    }
}

/// Why a wish was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The name is taken, if only by a service that is about to leave.
    #[error("already installed")]
    AlreadyInstalled,
    /// There is no such service, or it is about to leave.
    #[error("not installed")]
    NotInstalled,
    /// A service would need itself.
    #[error(transparent)]
    Cycle(#[from] Cycle),
    /// There are as many services as there may be.
    #[error("already {0} services, which is the limit")]
    Full(usize),
    /// A later replacement of the same service was wished.
    #[error("superseded by a later replacement")]
    Superseded,
    /// The engine stops, or has stopped.
    #[error("shutting down")]
    ShuttingDown,
}

/// A fatal end of a service.
#[derive(Clone, Debug)]
pub struct Fatal {
    /// The service's name.
    pub service: String,
    /// How it ended.
    pub exit: Exit,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {}: {}", self.service, self.exit)
    }
}

impl error::Error for Fatal {}

/// Why an engine ended that was not simply killed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The worst fatal end of a service.
    #[error(transparent)]
    Fatal(Fatal),
    /// A mistake in the engine itself.
    #[error("internal error of the engine: {0}")]
    Internal(String),
}
