//! The one error of everybody who has to do with a farm over HTTP: the server answers with it, the client gives it back.

use std::error::Error as StdError;
use std::fmt;

use crate::problem::{Code, Problem};

/// What an error means to whoever decides what to do next. Every code is of one kind; codes of a newer server are of the
/// kind that their status tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for cannot be: asked again, it is refused again.
    Invalid,
    /// Whoever asks may not.
    Forbidden,
    /// What it is about is not there.
    NotFound,
    /// What it is about is in no state for this.
    Conflict,
    /// What it is about is not what the caller saw.
    PreconditionFailed,
    /// A cap is reached.
    Exhausted,
    /// It cannot be done now.
    Unavailable,
    /// The server broke.
    Internal,
    /// What answered does not speak as a farm does.
    Protocol,
}

impl ErrorKind {
    fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            412 => Self::PreconditionFailed,
            429 => Self::Exhausted,
            400..=499 => Self::Invalid,
            502..=504 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// Why something was refused, or came to nothing: what is public is a [`Problem`], and the cause stays where it arose.
pub struct Error(Box<Inner>);

struct Inner {
    problem: Problem,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this code, with a message for the user.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Problem::new(code, message).into()
    }

    /// The same, because of this. It is never sent.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The same with a hint at what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.problem = self.0.problem.hint(hint);
        self
    }

    /// What it means to whoever decides what to do next.
    pub fn kind(&self) -> ErrorKind {
        match self.known_code() {
            Some(Code::NotAFarm) => ErrorKind::Protocol,
            _ => ErrorKind::of_status(self.0.problem.status),
        }
    }

    /// The stable word for it.
    pub fn code(&self) -> &str {
        &self.0.problem.code
    }

    /// The code, when this version knows it.
    pub fn known_code(&self) -> Option<Code> {
        self.0.problem.known_code()
    }

    /// What is wrong, fit for the user.
    pub fn message(&self) -> &str {
        match self.0.problem.detail.as_str() {
            "" => &self.0.problem.title,
            detail => detail,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        self.0.problem.hint.as_deref()
    }

    /// The field of the body, the query parameter or the header that it is about.
    pub fn field(&self) -> Option<&str> {
        self.0.problem.field.as_deref()
    }

    /// All of it that is public.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Whether what was asked for cannot be.
    pub fn is_invalid(&self) -> bool {
        self.kind() == ErrorKind::Invalid
    }

    /// Whether the caller may not.
    pub fn is_forbidden(&self) -> bool {
        self.kind() == ErrorKind::Forbidden
    }

    /// Whether what it is about is not there, or not any more.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether what it is about is in no state for this.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// Whether it changed since the caller saw it.
    pub fn is_precondition_failed(&self) -> bool {
        self.kind() == ErrorKind::PreconditionFailed
    }

    /// Whether a cap is reached.
    pub fn is_exhausted(&self) -> bool {
        self.kind() == ErrorKind::Exhausted
    }

    /// Whether the farm cannot do it now, or was not reached.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// Whether the server broke.
    pub fn is_internal(&self) -> bool {
        self.kind() == ErrorKind::Internal
    }

    /// Whether what answered does not speak as a farm does.
    pub fn is_protocol(&self) -> bool {
        self.kind() == ErrorKind::Protocol
    }

    /// Whether no connection was made, so that the farm surely did nothing.
    pub fn is_unreachable(&self) -> bool {
        self.known_code() == Some(Code::Unreachable)
    }

    /// Whether a farm answered, and said no.
    pub fn is_refused(&self) -> bool {
        !self.known_code().is_some_and(Code::is_of_client)
    }

    /// Whether the same call may succeed when it is made again in a while: the farm may be restarting. A maintenance is
    /// nothing to wait for: it takes as long as its admin does.
    pub fn is_transient(&self) -> bool {
        self.is_unavailable() && self.known_code() != Some(Code::FarmMaintenance)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Inner { problem, cause: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("problem", &self.0.problem)
            .field("cause", &self.0.cause)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}
