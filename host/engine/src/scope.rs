//! What one attempt of a service works with.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::exit::{InputError, Missing, Why};
use crate::key::{Key, Name, Output, Value};
use crate::report::Detail;

/// What one attempt of a service works with: its inputs as they were when the attempt began, and the wish to stop.
///
/// Inputs never change under a running attempt. When one does, the attempt is asked to stop and a new one begins.
pub struct Scope {
    pub(crate) name: Name,
    pub(crate) attempt: u64,
    pub(crate) inputs: Vec<(Name, Seen)>,
    pub(crate) stop: CancellationToken,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
}

/// What was seen of an input when the attempt began.
pub(crate) enum Seen {
    Absent,
    NoOutput,
    Value(Value),
}

/// What an attempt tells the engine. Few for each attempt, so the channel needs no limit.
pub(crate) enum Notice {
    Started {
        name: Name,
        attempt: u64,
        output: Output,
    },
    Reporter {
        name: Name,
        attempt: u64,
        reporter: Reporter,
    },
    /// Somebody watches the reports from now on.
    Watched,
}

/// Tells details of a running service.
pub(crate) type Reporter = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Detail> + Send>> + Send + Sync>;

impl Scope {
    /// The service's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of this attempt: no other attempt of the same engine has it.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// The output of a declared input.
    ///
    /// # Errors
    /// It is missing (undeclared, not running, without output), or of another type.
    pub fn get<T: ?Sized + Send + Sync + 'static>(&self, key: &Key<T>) -> Result<Arc<T>, InputError> {
        let missing = |why| Missing { input: key.name().to_owned(), why };
        match self.seen(key.name()) {
            None => Err(missing(Why::Undeclared).into()),
            Some(Seen::Absent) => Err(missing(Why::NotRunning).into()),
            Some(Seen::NoOutput) => Err(missing(Why::NoOutput).into()),
            Some(Seen::Value(value)) => value.downcast_ref::<Arc<T>>().cloned().ok_or_else(|| {
                InputError::WrongType { input: key.name().to_owned(), wanted: type_name::<T>() }
            }),
        }
    }

    /// Whether a declared input runs, whatever it gives.
    ///
    /// # Errors
    /// It is undeclared or not running.
    pub fn exists(&self, name: &str) -> Result<(), Missing> {
        let missing = |why| Missing { input: name.to_owned(), why };
        match self.seen(name) {
            None => Err(missing(Why::Undeclared)),
            Some(Seen::Absent) => Err(missing(Why::NotRunning)),
            Some(Seen::NoOutput | Seen::Value(_)) => Ok(()),
        }
    }

    fn seen(&self, name: &str) -> Option<&Seen> {
        self.inputs.iter().find(|(input, _)| **input == *name).map(|(_, seen)| seen)
    }

    /// Says that the service has started, and what it gives. To be said once; twice is an error of the service.
    ///
    /// An attempt that was asked to stop before it said so never counts as started, and nobody gets its output.
    pub fn started(&self, output: Output) {
        self.tell(Notice::Started { name: self.name.clone(), attempt: self.attempt, output });
    }

    /// Fires when the attempt should end: wait for it, or hand on children of it. It says nothing of the reason.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Gives the details for reports on this attempt. Asked outside of the engine's loop, with a time limit; a later
    /// call replaces an earlier one. What the closure holds lives until the attempt's end, or that of a report under way:
    /// let it hold nothing exclusive.
    pub fn report<F, D, R>(&self, reporter: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = D> + Send + 'static,
        D: Into<Detail>,
    {
        let reporter: Reporter = Arc::new(move || {
            let detail = reporter();
            Box::pin(async move { detail.await.into() })
        });
        self.tell(Notice::Reporter { name: self.name.clone(), attempt: self.attempt, reporter });
    }

    fn tell(&self, notice: Notice) {
        // Nobody listens after the engine's end: then there is nothing to tell either.
        self.notices.send(notice).ok();
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("name", &self.name)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
