//! What the exit code of `run` and `ssh` says.

use std::process::ExitCode;

use grove_client::Error;
use grove_client::wire::Span;
use grove_client::wire::request::{Request, RequestState};

use super::signals::Signal;
use crate::cli::failure::{self, Hinted};

/// For `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  the remote command's own, and of the farm:
  120  no board in time (--wait, or the request's deadline)
  121  the board failed, or the connection to it was lost, under the job
  122  the request was closed by somebody else
  123  the farm refused the request, or no board could ever satisfy it
  124  the job's time was up, or nothing moved for --idle
  125  the farm could not be reached
  255  ssh failed; 128 + N: ended by signal N (130 is Ctrl-C)";

/// What the farm calls itself where it says who did something.
const FARM: &str = "core";

/// A sentence that is the whole error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Plain(String);

/// How a stay ended.
#[derive(Debug)]
pub(crate) enum Exit {
    /// The remote command ended with this code.
    Remote(u8),
    /// ssh itself failed.
    Ssh(u8),
    /// No board came within the user's bound.
    Late { id: u64, bound: Span },
    /// The connection to the board is lost for good.
    Lost(String),
    /// The request ended without us.
    Over { code: u8, text: String },
    /// The farm said no.
    Refused(Error),
    /// The farm is away.
    Away(Error),
    /// The user has enough.
    Interrupted(Signal),
    /// Something failed on this machine.
    Local(anyhow::Error),
}

impl Exit {
    /// The request has ended, and not by us.
    pub(crate) fn of_request(request: &Request) -> Self {
        let id = request.id;
        let why = request.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let time_is_up =
            request.job.as_ref().is_some_and(|job| job.ended.is_some_and(|ended| ended >= job.timeout));
        // The farm itself, and not somebody.
        let by_farm = request.ended_by.as_deref() == Some(FARM);
        let was_away = request.job.as_ref().is_some_and(|job| job.away_since.is_some());
        let (code, what) = match request.state {
            RequestState::Timeout => (120, "got no board before its deadline"),
            RequestState::Failed => (121, "lost its board, which failed"),
            RequestState::Invalid => (123, "can be satisfied by no board of this farm"),
            RequestState::Done if time_is_up => (124, "ended, its time was up"),
            RequestState::Done if by_farm && was_away => (121, "was ended by the farm"),
            RequestState::Done if by_farm => (124, "was ended by the farm"),
            _ => (122, "was closed by somebody else"),
        };
        Self::Over { code, text: format!("request {id} {what}{why}") }
    }

    pub(crate) fn of_error(error: Error) -> Self {
        if error.is_transient() { Self::Away(error) } else { Self::Refused(error) }
    }

    /// Whether there is nothing left to release.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }

    /// Whether the board is kept for a user who may come back: the farm takes it when nobody does.
    pub(crate) fn may_come_back(&self) -> bool {
        matches!(self, Self::Interrupted(Signal::HangUp))
    }

    /// What the farm's history shall say, where that is worth telling.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Interrupted(_) => Some("interrupted by its user".to_owned()),
            Self::Late { bound, .. } => Some(format!("its user waited {bound} for a board, and no longer")),
            Self::Local(_) => Some("its user could not connect".to_owned()),
            Self::Lost(_) => Some("the connection to the board was lost".to_owned()),
            Self::Ssh(code) => Some(format!("its user's ssh failed with exit code {code}")),
            _ => None,
        }
    }

    /// Tells the user what the code alone does not.
    pub(crate) fn tell(&self) {
        match self {
            Self::Remote(_) | Self::Ssh(_) | Self::Interrupted(_) => {}
            Self::Late { id, bound } => {
                let hint = "`--wait` bounds the wait; `grove worker list` shows which boards there are";
                failure::say(&Hinted::new(format!("request {id} got no board within {bound}"), hint));
            }
            Self::Over { code: 123, text } => {
                let hint = "`grove worker list` shows what boards there are";
                failure::say(&Hinted::new(text, hint));
            }
            Self::Lost(text) => failure::say(&Plain(text.clone())),
            Self::Over { text, .. } => failure::say(&Plain(text.clone())),
            Self::Refused(error) | Self::Away(error) => failure::say(error),
            Self::Local(error) => failure::say(error.as_ref()),
        }
    }

    /// As the process's.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Remote(code) | Self::Ssh(code) | Self::Over { code, .. } => *code,
            Self::Late { .. } => 120,
            Self::Lost(_) => 121,
            Self::Refused(_) => 123,
            Self::Away(_) => 125,
            Self::Interrupted(signal) => 128 + signal.number(),
            Self::Local(_) => 1,
        })
    }
}
