//! Live tasks as they report themselves: progress, steps and log, which are written to the store when the task ends.

use std::collections::HashMap;
use std::sync::Arc;

use grove_domain::id::TaskId;
use grove_domain::moment::Timestamp;
use grove_domain::task::{LogLevel, LogLine, LogTail, Report, StepKind, StepOutcome, Task, TaskStatus};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::ports::{Said, TaskLog, TaskLogs, Watch};

/// A driver's steps beyond this are not kept.
const STEPS: usize = 256;
/// Characters of a note or step name beyond this are cut.
const TEXT: usize = 512;

/// What is known of every running task.
pub(crate) struct LiveTasks {
    clock: Arc<dyn Clock>,
    logs: Arc<dyn TaskLogs>,
    tasks: Mutex<HashMap<TaskId, TaskStatus>>,
}

impl LiveTasks {
    pub(crate) fn new(clock: Arc<dyn Clock>, logs: Arc<dyn TaskLogs>) -> Arc<Self> {
        Arc::new(Self { clock, logs, tasks: Mutex::default() })
    }

    /// The task begins, as its row says.
    pub(crate) fn begin(self: &Arc<Self>, task: &Task) -> Arc<LiveTask> {
        self.tasks.lock().insert(task.id, task.status.clone());
        let log = self.logs.begin(task.id);
        Arc::new(LiveTask { task: task.id, all: self.clone(), log, note: Mutex::default() })
    }

    /// The task with what it has reported so far.
    pub(crate) fn overlay(&self, task: &Task) -> Task {
        let mut seen = task.clone();
        if !task.status.phase.is_terminal()
            && let Some(live) = self.tasks.lock().get(&task.id)
        {
            seen.status = live.clone();
        }
        seen
    }

    /// The task is over and recorded as such.
    pub(crate) fn forget(&self, task: TaskId) {
        self.tasks.lock().remove(&task);
    }

    /// Forgets every task that `keep` does not want kept.
    pub(crate) fn retain(&self, keep: impl Fn(TaskId) -> bool) {
        self.tasks.lock().retain(|task, _| keep(*task));
    }

    pub(crate) fn count(&self) -> usize {
        self.tasks.lock().len()
    }
}

/// One running task's way to report.
pub(crate) struct LiveTask {
    task: TaskId,
    all: Arc<LiveTasks>,
    log: Arc<dyn TaskLog>,
    /// The last note that went into the log.
    note: Mutex<String>,
}

/// Closes a task's log when it is dropped: also when what runs the task breaks.
pub(crate) struct OpenLog(Arc<LiveTask>);

impl Drop for OpenLog {
    fn drop(&mut self) {
        self.0.log.close();
    }
}

impl LiveTask {
    pub(crate) fn open_log(self: &Arc<Self>) -> OpenLog {
        OpenLog(self.clone())
    }

    pub(crate) fn say(&self, said: Said<'_>) {
        self.log.say(self.all.clock.now(), said);
    }

    /// A step of the core's own begins; how the one before ended.
    pub(crate) fn own_step(&self, kind: StepKind, before: StepOutcome) {
        self.say(Said::Step(&kind.to_string()));
        self.report(|_, at| Some(Report::Step { kind, at, before }));
    }

    /// What comes after the end changes nothing.
    fn report(&self, report: impl FnOnce(&TaskStatus, Timestamp) -> Option<Report>) {
        let now = self.all.clock.now();
        if let Some(live) = self.all.tasks.lock().get_mut(&self.task)
            && let Some(report) = report(live, now)
        {
            live.advance(report);
        }
    }
}

impl Watch for LiveTask {
    fn progress(&self, percent: u8, note: &str) {
        let note = cut(note);
        let is_new = !note.is_empty() && std::mem::replace(&mut *self.note.lock(), note.clone()) != note;
        if is_new {
            self.say(Said::Progress { percent: percent.min(100), note: &note });
        }
        self.report(|_, _| Some(Report::Progress { percent, note }));
    }

    fn step(&self, name: &str) {
        self.say(Said::Step(name));
        let kind = StepKind::Driver(cut(name));
        self.report(|live, at| {
            let step = Report::Step { kind, at, before: StepOutcome::Success };
            (live.steps.len() < STEPS).then_some(step)
        });
    }

    fn log(&self, level: &str, line: &str) {
        self.say(Said::Line { level, line });
        let task = self.task;
        match level {
            "error" | "warn" => tracing::warn!(%task, "{line}"),
            "info" => tracing::info!(%task, "{line}"),
            _ => tracing::debug!(%task, "{line}"),
        }
        let level = LogLevel::from_name(level).unwrap_or(LogLevel::Debug);
        let text = line.chars().take(LogTail::BYTES).collect();
        self.report(|_, at| Some(Report::Log(LogLine { at, level, text })));
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}
