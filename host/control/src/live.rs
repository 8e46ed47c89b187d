//! Live tasks as they report themselves: progress and steps that are written to the store when the task ends.

use std::collections::HashMap;
use std::sync::Arc;

use grove_domain::id::TaskId;
use grove_domain::moment::Timestamp;
use grove_domain::task::{Phase, Step, StepOutcome, Task};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::ports::{Said, TaskLog, TaskLogs, Watch};

/// Steps of one task beyond this are not kept.
const STEPS: usize = 256;
/// Characters of a note or step name beyond this are cut.
const TEXT: usize = 512;

/// What is known of every running task.
pub(crate) struct LiveTasks {
    clock: Arc<dyn Clock>,
    logs: Arc<dyn TaskLogs>,
    tasks: Mutex<HashMap<TaskId, Live>>,
}

#[derive(Clone, Default)]
struct Live {
    steps: Vec<Step>,
    progress: u8,
    note: String,
    started: Option<Timestamp>,
    deadline: Option<Timestamp>,
}

impl LiveTasks {
    pub(crate) fn new(clock: Arc<dyn Clock>, logs: Arc<dyn TaskLogs>) -> Arc<Self> {
        Arc::new(Self { clock, logs, tasks: Mutex::default() })
    }

    /// The task was taken up.
    pub(crate) fn begin(self: &Arc<Self>, task: TaskId, deadline: Timestamp) -> Arc<LiveTask> {
        let live = Live { started: Some(self.clock.now()), deadline: Some(deadline), ..Live::default() };
        self.tasks.lock().insert(task, live);
        Arc::new(LiveTask { task, all: self.clone(), log: self.logs.begin(task), note: Mutex::default() })
    }

    /// The task with what it has reported so far.
    pub(crate) fn overlay(&self, task: &Task) -> Task {
        let mut seen = task.clone();
        if task.status.phase.is_terminal() {
            return seen;
        }
        if let Some(live) = self.tasks.lock().get(&task.id).cloned() {
            seen.status.phase = Phase::Running;
            seen.status.steps = live.steps;
            seen.status.progress = live.progress;
            seen.status.note = live.note;
            seen.status.started = live.started;
            seen.status.deadline = live.deadline;
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

    /// Whether the task was taken up, and is not forgotten yet.
    pub(crate) fn has_begun(&self, task: TaskId) -> bool {
        self.tasks.lock().contains_key(&task)
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

    fn with(&self, change: impl FnOnce(&mut Live, Timestamp)) {
        let now = self.all.clock.now();
        if let Some(live) = self.all.tasks.lock().get_mut(&self.task) {
            change(live, now);
        }
    }
}

impl Watch for LiveTask {
    fn progress(&self, percent: u8, note: &str) {
        self.with(|live, _| {
            live.progress = percent.min(100);
            live.note = cut(note);
        });
        let is_new = !note.is_empty() && std::mem::replace(&mut *self.note.lock(), cut(note)) != cut(note);
        if is_new {
            self.say(Said::Progress { percent: percent.min(100), note });
        }
    }

    fn step(&self, name: &str) {
        self.say(Said::Step(name));
        self.with(|live, now| {
            if let Some(step) = live.steps.last_mut().filter(|step| step.ended.is_none()) {
                step.ended = Some(now);
                step.outcome = Some(StepOutcome::Success);
            }
            if live.steps.len() < STEPS {
                live.steps.push(Step { name: cut(name), started: now, ended: None, outcome: None });
            }
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
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}
