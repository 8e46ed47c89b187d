//! How an attempt of a service ends.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How an attempt of a service ended, which decides what happens next.
///
/// Every error turns into an `Exit` through `?`: one that is (or wraps) a [`Missing`] into [`Exit::Missing`], any other
/// into [`Exit::Failed`]. That is why `Exit` is no [`Error`] itself.
#[derive(Clone, Debug)]
pub enum Exit {
    /// Done: stays stopped until an input changes.
    Clean,
    /// Something it needs is not there: stays stopped until an input changes.
    Missing(Missing),
    /// Wants to be started again after the bounce delay.
    Bounce,
    /// Wants to be taken out of the engine.
    Uninstall,
    /// Its start was cut short.
    Aborted,
    /// Broken: started again after the error delay.
    Failed(Arc<dyn Error + Send + Sync>),
}

impl Exit {
    /// A failure with this error, or with this text.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }

    /// The error of a failure, when it is of this type.
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Exit {
    fn from(error: E) -> Self {
        let mut link: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = link {
            if let Some(missing) = Missing::of(error) {
                return Self::Missing(missing.clone());
            }
            link = error.source();
        }
        Self::failed(error)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str("done"),
            Self::Missing(missing) => missing.fmt(f),
            Self::Bounce => f.write_str("asked to be started again"),
            Self::Uninstall => f.write_str("asked to be uninstalled"),
            Self::Aborted => f.write_str("start cut short"),
            Self::Failed(error) => {
                let mut text = error.to_string();
                let mut source = error.source();
                while let Some(error) = source {
                    let cause = error.to_string();
                    // Many errors tell their cause themselves.
                    if !text.contains(&cause) {
                        text = format!("{text}: {cause}");
                    }
                    source = error.source();
                }
                f.write_str(&text)
            }
        }
    }
}

/// An input that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input {input} {why}")]
pub struct Missing {
    /// The service that was asked for.
    pub input: String,
    /// Why there is nothing to be had of it.
    pub why: Why,
}

impl Missing {
    fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        match error.downcast_ref() {
            Some(InputError::Missing(missing)) => Some(missing),
            _ => error.downcast_ref(),
        }
    }
}

/// Why an input is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The service that asks has not declared that it needs it.
    Undeclared,
    /// It was not running when the attempt began.
    NotRunning,
    /// It runs, but gives nothing.
    NoOutput,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undeclared => "is not declared",
            Self::NotRunning => "is not running",
            Self::NoOutput => "has no output",
        })
    }
}

/// Why an input cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InputError {
    /// It is not there: worth waiting for.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// It is there, but is something else than the key says: a mistake in the program, which no waiting mends.
    #[error("input {input} is not a {wanted}")]
    WrongType {
        /// The service that was asked for.
        input: String,
        /// The type that the key says.
        wanted: &'static str,
    },
}

/// A service that did not end within the kill deadline after it was asked to stop, and was aborted.
#[derive(Clone, Debug, thiserror::Error)]
#[error("did not stop within {after:?}")]
pub struct Overdue {
    /// How long it was given.
    pub after: Duration,
}

/// A service that broke the rules of the engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Misuse {
    /// It said twice in one attempt that it has started.
    #[error("said twice that it has started")]
    StartedTwice,
    /// It gave an output under a name that is not its own.
    #[error("gave an output of the name {0}")]
    ForeignOutput(String),
}

/// A service, or its reporter, that panicked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

impl Panicked {
    pub(crate) fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("with something that is no text").to_owned())
    }
}
