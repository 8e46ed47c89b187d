//! The introspection machine: a table of states and events, and what moving by it does to a run.

use super::{Ending, Introspection, Rules, State, Way};
use crate::id::WorkerId;
use crate::moment::Timestamp;

/// What can happen to a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A newer run of the same worker is to begin.
    Start,
    /// The driver reads the board, or the board was started: its inventory is expected.
    Wait,
    /// An inventory came, and is stored with this; or an unknown board became this worker.
    Process {
        /// Who the board turned out to be; none where that was known.
        enrolled: Option<WorkerId>,
    },
    /// Somebody wants the stored inventory processed again.
    Reapply,
    /// What was found is stored with this.
    Finish,
    /// Somebody wants it ended, or the worker moved on.
    Abort {
        /// Why.
        reason: String,
    },
    /// The board is off, or could not be switched off.
    AbortEnd {
        /// What went wrong with that.
        trouble: Option<String>,
    },
    /// It cannot go on.
    Error {
        /// Why.
        reason: String,
    },
    /// It has been in its state for too long.
    Timeout,
}

impl Event {
    /// One of each, in the order of the table.
    pub fn each() -> [Self; 9] {
        [
            Self::Start,
            Self::Wait,
            Self::Process { enrolled: None },
            Self::Reapply,
            Self::Finish,
            Self::Abort { reason: String::new() },
            Self::AbortEnd { trouble: None },
            Self::Error { reason: String::new() },
            Self::Timeout,
        ]
    }

    /// Its name in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Wait => "wait",
            Self::Process { .. } => "process",
            Self::Reapply => "reapply",
            Self::Finish => "finish",
            Self::Abort { .. } => "abort",
            Self::AbortEnd { .. } => "abort_end",
            Self::Error { .. } => "error",
            Self::Timeout => "timeout",
        }
    }
}

/// The table: where an event leads; none where it does not belong. `Start` leads to the state of the newer run.
pub fn next(state: State, event: &Event) -> Option<State> {
    use Event as E;
    use State as S;
    Some(match (state, event) {
        (S::Finished | S::Error | S::Waiting, E::Start) => S::Starting,
        (S::Starting, E::Wait) => S::Waiting,
        (S::Waiting | S::Enrolling, E::Process { .. }) => S::Processing,
        (S::Finished | S::Error | S::Reapplying, E::Reapply) => S::Reapplying,
        (S::Processing | S::Reapplying | S::Finished, E::Finish) => S::Finished,
        (S::Starting | S::Waiting | S::Processing | S::Reapplying | S::Enrolling, E::Abort { .. }) => {
            S::Aborting
        }
        (S::Error, E::Abort { .. } | E::Error { .. }) => S::Error,
        (S::Aborting, E::AbortEnd { .. }) => S::Error,
        (
            S::Starting | S::Waiting | S::Processing | S::Reapplying | S::Enrolling | S::Aborting,
            E::Error { .. } | E::Timeout,
        ) => S::Error,
        _ => return None,
    })
}

/// What must be done once the new run is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Effect {
    /// Whatever works for this run is to stop; its result no longer counts.
    Stop,
    /// Have the stored inventory processed.
    Process,
    /// Switch the board off where its driver can, then end the run.
    SwitchOff,
    /// End the run: no board is involved.
    EndAbort,
}

/// A step of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transition {
    /// The run afterwards. Equal to the one before when nothing changed.
    pub run: Introspection,
    /// In the order in which they take place.
    pub effects: Vec<Effect>,
}

/// Why an event is refused; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Refusal {
    /// The event does not belong in that state.
    #[error("the introspection is {}: it takes no `{event}`", state.name())]
    NotNow {
        /// Where the run is.
        state: State,
        /// What was asked of it.
        event: &'static str,
    },
    /// There is no inventory to process again.
    #[error("no inventory was stored")]
    NothingStored,
    /// The board of this run never became a worker.
    #[error("the board was never registered")]
    NoWorker,
}

impl Introspection {
    /// Moves this run by `event`, or says why not.
    ///
    /// [`Event::Start`] ends a run that waits, and leaves one that has ended as it is: the newer run is another row.
    ///
    /// # Errors
    /// The event does not belong in the run's state, or there is nothing to process again.
    pub fn step(&self, event: Event, now: Timestamp, rules: &Rules) -> Result<Transition, Refusal> {
        let to =
            next(self.state, &event).ok_or(Refusal::NotNow { state: self.state, event: event.name() })?;
        let mut run = self.clone();
        let mut effects = Vec::new();
        match event {
            Event::Start if self.state.is_terminal() => {}
            Event::Start => run.end(State::Error, Some("a newer introspection was started".to_owned()), now),
            Event::Wait => run.enter(to, now),
            Event::Process { enrolled } => {
                run.worker = enrolled.or(run.worker);
                run.worker.ok_or(Refusal::NoWorker)?;
                run.has_raw = true;
                run.enter(to, now);
                effects.push(Effect::Process);
            }
            Event::Reapply => {
                self.worker.ok_or(Refusal::NoWorker)?;
                if !self.has_raw {
                    return Err(Refusal::NothingStored);
                }
                if self.state == State::Reapplying {
                    effects.push(Effect::Stop);
                }
                run.enter(to, now);
                run.started = now;
                run.finished = None;
                run.error = None;
                effects.push(Effect::Process);
            }
            Event::Finish if self.state == State::Finished => {}
            Event::Finish => {
                run.has_processed = true;
                run.end(to, None, now);
            }
            Event::Abort { .. } | Event::Error { .. } if self.state == State::Error => {}
            Event::Abort { reason } => {
                run.enter(to, now);
                let board = matches!(self.state, State::Starting | State::Waiting | State::Processing);
                run.ending = Some(Ending { reason, switch_off: board && self.way != Way::Enrol });
                effects.extend([Effect::Stop, run.abort_effect()]);
            }
            Event::AbortEnd { trouble } => {
                let reason = self.ending.as_ref().map_or("aborted", |ending| &ending.reason);
                let error = match trouble {
                    Some(trouble) => format!("{reason}; the board could not be switched off: {trouble}"),
                    None => reason.to_owned(),
                };
                run.end(to, Some(error), now);
            }
            Event::Error { reason } => {
                run.end(to, Some(reason), now);
                effects.push(Effect::Stop);
            }
            Event::Timeout => {
                run.end(to, Some(self.too_long(rules)), now);
                effects.push(Effect::Stop);
            }
        }
        if run != *self {
            run.revision += 1;
        }
        Ok(Transition { run, effects })
    }

    /// What its state calls for after a restart, when nobody works for it any more.
    pub fn resumed(&self) -> Option<Effect> {
        match self.state {
            State::Processing | State::Reapplying | State::Enrolling => Some(Effect::Process),
            State::Aborting => Some(self.abort_effect()),
            // A task begins again by itself; a board that was started sends its inventory by itself.
            State::Starting | State::Waiting | State::Finished | State::Error => None,
        }
    }

    fn abort_effect(&self) -> Effect {
        let switch_off = self.ending.as_ref().is_some_and(|ending| ending.switch_off);
        if switch_off { Effect::SwitchOff } else { Effect::EndAbort }
    }

    fn too_long(&self, rules: &Rules) -> String {
        let longest = rules.longest(self.state).unwrap_or_default();
        let what = match self.state {
            State::Starting => "the board's driver was not done",
            State::Waiting => "no inventory came",
            State::Processing | State::Reapplying => "inspectors were not done",
            State::Enrolling => "it was not decided whether the board becomes a worker",
            State::Aborting => {
                let reason = self.ending.as_ref().map_or("aborted", |ending| &ending.reason);
                return format!("{reason}; the board was not switched off within {longest:#}");
            }
            State::Finished | State::Error => "it was not done",
        };
        format!("{what} within {longest:#}")
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.since = now;
    }

    fn end(&mut self, state: State, error: Option<String>, now: Timestamp) {
        self.enter(state, now);
        self.finished = Some(now);
        self.error = error;
        self.ending = None;
    }
}
