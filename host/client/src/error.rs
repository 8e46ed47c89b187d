//! What can go wrong between a client and a farm.

use grove_wire::{Code, Problem};

/// Why a call gave no answer. Texts are fit for the user: they say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The farm answered, and refused.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// No farm was reached, or the connection broke before the answer was complete.
    #[error("no answer from {url}: {}", root_cause(.source))]
    Unreachable {
        /// Base address of the farm.
        url: String,
        /// What the transport says.
        source: reqwest::Error,
    },
    /// Something answered that does not speak our protocol.
    #[error("{url} does not answer as a farm does: {what}")]
    Protocol {
        /// Base address of the farm.
        url: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// The base address is none.
    #[error("{url:?} is no address of a farm: {what}")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Problem(problem) => problem.hint.clone(),
            Self::Unreachable { url, .. } => {
                Some(format!("is `grove serve` running at {url}? set --server or GROVE_SERVER"))
            }
            Self::Protocol { .. } => {
                Some("is that address a farm of this version? see --server and GROVE_SERVER".to_owned())
            }
            Self::Address { .. } => Some(
                "an address is written like http://farm.example:8487; see --server and GROVE_SERVER"
                    .to_owned(),
            ),
        }
    }

    /// Whether the same call may succeed when it is made again in a while: the farm may be restarting. A maintenance
    /// is nothing to wait for: it takes as long as its admin does.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => match problem.known_code() {
                Some(Code::FarmMaintenance) => false,
                Some(Code::IdempotencyBusy) => true,
                _ => matches!(problem.status, 502..=504),
            },
            Self::Protocol { .. } | Self::Address { .. } => false,
        }
    }

    /// Whether no connection was made, so that the farm surely did nothing.
    pub fn is_refused_connection(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_connect())
    }

    /// The farm's refusal, when that is what it is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }
}

fn describe(problem: &Problem) -> String {
    match problem.detail.as_str() {
        "" => problem.title.clone(),
        detail => detail.to_owned(),
    }
}

/// The innermost cause: the outer ones only repeat that a request was sent.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
