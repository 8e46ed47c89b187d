//! What has been done of a task. It moves forward only: a report that comes late, or twice, changes nothing.

use super::{LogLine, LogTail, Phase, Step, StepKind, StepOutcome};
use crate::id::InstanceId;
use crate::moment::Timestamp;

/// What has been done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskStatus {
    /// How far.
    pub phase: Phase,
    /// Steps in the order in which they began or are to come.
    pub steps: Vec<Step>,
    /// Percent, 0..=100, by the driver's own account.
    pub progress: u8,
    /// The driver's last word about it.
    pub note: String,
    /// Its last log lines: shown while it runs, written with its end.
    pub log: LogTail,
    /// Why it failed or was cancelled.
    pub error: Option<String>,
    /// Which instance of the controller runs it, or ran it; none where it never began.
    pub instance: Option<InstanceId>,
    /// When it was taken up.
    pub started: Option<Timestamp>,
    /// When it ended; set exactly when the phase is terminal.
    pub ended: Option<Timestamp>,
    /// When it will be stopped.
    pub deadline: Option<Timestamp>,
}

/// How a task can end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// Well.
    Succeeded,
    /// Badly.
    Failed,
    /// Superseded or stopped.
    Cancelled,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The phase after it.
    pub fn phase(self) -> Phase {
        match self {
            Self::Succeeded => Phase::Succeeded,
            Self::Failed => Phase::Failed,
            Self::Cancelled => Phase::Cancelled,
        }
    }

    /// What it means for the step that was running.
    fn of_step(self) -> StepOutcome {
        match self {
            Self::Succeeded => StepOutcome::Success,
            Self::Failed => StepOutcome::Failed,
            Self::Cancelled => StepOutcome::Cancelled,
        }
    }
}

/// What is told of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// It is taken up; the first of its steps begins with it.
    Begun {
        /// When.
        at: Timestamp,
        /// When it will be stopped.
        deadline: Timestamp,
        /// By whom.
        instance: InstanceId,
        /// The core's steps that it is to take.
        plan: Vec<StepKind>,
    },
    /// A step begins, and with it the one before ends.
    Step {
        /// What it does.
        kind: StepKind,
        /// When.
        at: Timestamp,
        /// How the one before ended.
        before: StepOutcome,
    },
    /// How far it is, by the driver's own account.
    Progress {
        /// Percent.
        percent: u8,
        /// A remark.
        note: String,
    },
    /// A line of its log.
    Log(LogLine),
    /// It is over.
    Ended {
        /// How.
        end: End,
        /// Why it did not end well.
        error: Option<String>,
        /// When: for the task, the step that was running, and those that were never begun.
        at: Timestamp,
    },
}

impl TaskStatus {
    /// Of a task that was just queued.
    pub fn waiting() -> Self {
        Self {
            phase: Phase::Waiting,
            steps: Vec::new(),
            progress: 0,
            note: String::new(),
            log: LogTail::default(),
            error: None,
            instance: None,
            started: None,
            ended: None,
            deadline: None,
        }
    }

    /// The status after the report; none when that comes too late or too early: nothing changes then, no time either.
    pub fn report(&self, report: Report) -> Option<Self> {
        let mut next = self.clone();
        next.advance(report).then_some(next)
    }

    /// The same in place; whether the report was taken.
    pub fn advance(&mut self, report: Report) -> bool {
        match (self.phase, report) {
            (Phase::Waiting, Report::Begun { at, deadline, instance, plan }) => {
                self.phase = Phase::Running;
                self.started = Some(at);
                self.deadline = Some(deadline);
                self.instance = Some(instance);
                self.steps = plan.into_iter().map(Step::planned).collect();
                if let Some(first) = self.steps.first_mut() {
                    first.started = Some(at);
                }
            }
            (Phase::Running, Report::Step { kind, at, before }) => self.step(kind, at, before),
            (Phase::Running, Report::Progress { percent, note }) => {
                self.progress = percent.min(100);
                self.note = note;
            }
            (Phase::Running, Report::Log(line)) => self.log.push(line),
            (Phase::Waiting | Phase::Running, Report::Ended { end, error, at }) => self.end(end, error, at),
            (Phase::Waiting, Report::Step { .. } | Report::Progress { .. } | Report::Log(_))
            | (Phase::Running, Report::Begun { .. })
            | (Phase::Succeeded | Phase::Failed | Phase::Cancelled, _) => return false,
        }
        true
    }

    fn step(&mut self, kind: StepKind, at: Timestamp, before: StepOutcome) {
        let running = self.steps.iter().position(Step::is_running);
        let is_own = matches!(kind, StepKind::Driver(_) | StepKind::Unknown(_));
        let begun = running.and_then(|running| self.steps.get_mut(running));
        if let Some(step) = begun {
            if step.kind == kind && !is_own {
                // It began with the task.
                return;
            }
            step.end(before, at);
        }
        let is_next = |step: &Step| step.started.is_none() && step.outcome.is_none() && step.kind == kind;
        if let Some(planned) = self.steps.iter().position(is_next).filter(|_| !is_own) {
            for step in self.steps.iter_mut().take(planned).filter(|step| step.outcome.is_none()) {
                step.end(StepOutcome::Skipped, at);
            }
            if let Some(step) = self.steps.get_mut(planned) {
                step.started = Some(at);
            }
            return;
        }
        let last = self.steps.iter().rposition(|step| step.outcome.is_some());
        let step = Step { kind, started: Some(at), ended: None, outcome: None };
        self.steps.insert(last.map_or(0, |last| last + 1), step);
    }

    fn end(&mut self, end: End, error: Option<String>, at: Timestamp) {
        for step in self.steps.iter_mut().filter(|step| step.outcome.is_none()) {
            step.end(if step.started.is_some() { end.of_step() } else { StepOutcome::Skipped }, at);
        }
        if end == End::Succeeded {
            self.progress = 100;
        }
        self.phase = end.phase();
        self.error = error;
        self.ended = Some(at);
    }
}
