//! Tasks as rows.

use std::borrow::Cow;
use std::sync::Arc;

use grove_domain::id::{InstanceId, IntrospectionId, RequestId, TaskId, WorkerId};
use grove_domain::moment::SignedDuration;
use grove_domain::task::{
    LogLevel, LogLine, LogTail, Phase, Step, StepKind, StepOutcome, Task, TaskKind, TaskSpec, TaskStatus,
};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id, Sha, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] = &[
    "phase", "steps", "progress", "note", "log", "error", "instance", "started", "ended", "deadline",
    "revision",
];
const FIXED: &[&str] = &[
    "id",
    "kind",
    "worker",
    "generation",
    "request",
    "introspection",
    "driver",
    "host",
    "driver_version",
    "timeout",
    "queued",
];

pub(super) fn table() -> Table {
    Table::new("tasks", WRITTEN, FIXED)
}

/// Binds the insert of a first revision, or the update of a later one.
pub(crate) fn put_task(row: &mut Binder<'_, '_>, task: &Task) -> rusqlite::Result<()> {
    let status = &task.status;
    row.put(status.phase.name())?;
    row.json(&status.steps.iter().map(StepRow::from).collect::<Vec<_>>())?;
    row.put(status.progress)?;
    row.put(&status.note)?;
    row.json(&status.log.lines().map(LineRow::from).collect::<Vec<_>>())?;
    row.put(&status.error)?;
    row.put(status.instance.map(Id::from))?;
    row.put(status.started.map(At))?;
    row.put(status.ended.map(At))?;
    row.put(status.deadline.map(At))?;
    row.put(Count(task.revision))?;
    row.put(Id::from(task.id))?;
    if task.revision > 1 {
        return row.put(Count(task.revision - 1));
    }
    let spec = &task.spec;
    row.put(spec.kind.name())?;
    row.put(Id::from(spec.worker))?;
    row.put(Count(spec.generation))?;
    row.put(spec.request.map(|id| Count(id.0)))?;
    row.put(spec.introspection.map(Id::from))?;
    row.put(&spec.driver)?;
    row.put(&spec.host)?;
    row.put(spec.driver_version.map(Sha))?;
    row.put(spec.timeout.to_string())?;
    row.put(At(spec.queued))
}

/// Reads a row of the table's select.
pub(crate) fn task(row: &Row<'_>) -> Result<Task, StoreError> {
    let mut cells = Cells::new(row, "task");
    let status = TaskStatus {
        phase: cells.word(Phase::from_name)?,
        steps: steps(&mut cells)?,
        progress: cells.take()?,
        note: cells.take()?,
        log: log(&mut cells)?,
        error: cells.take()?,
        instance: cells.take::<Option<Id>>()?.map(|id| InstanceId(id.0)),
        started: cells.take::<Option<At>>()?.map(|at| at.0),
        ended: cells.take::<Option<At>>()?.map(|at| at.0),
        deadline: cells.take::<Option<At>>()?.map(|at| at.0),
    };
    let revision = cells.take::<Count>()?.0;
    let id = TaskId(cells.take::<Id>()?.0);
    let spec = TaskSpec {
        kind: cells.word(TaskKind::from_name)?,
        worker: WorkerId(cells.take::<Id>()?.0),
        generation: cells.take::<Count>()?.0,
        request: cells.take::<Option<Count>>()?.map(|id| RequestId(id.0)),
        introspection: cells.take::<Option<Id>>()?.map(|id| IntrospectionId(id.0)),
        driver: cells.take()?,
        host: cells.take()?,
        driver_version: cells.take::<Option<Sha>>()?.map(|sha| sha.0),
        timeout: cells.word(|text| text.parse::<SignedDuration>().ok())?,
        queued: cells.take::<At>()?.0,
    };
    Ok(Task { id, spec: Arc::new(spec), status, revision })
}

fn steps(cells: &mut Cells<'_>) -> Result<Vec<Step>, StoreError> {
    let rows: Vec<StepRow<'_>> = cells.json()?;
    rows.into_iter().map(|row| row.step().map_err(|problem| cells.wrong(problem))).collect()
}

fn log(cells: &mut Cells<'_>) -> Result<LogTail, StoreError> {
    let rows: Vec<LineRow<'_>> = cells.json()?;
    rows.into_iter().map(|row| row.line().map_err(|problem| cells.wrong(problem))).collect()
}

#[derive(Serialize, Deserialize)]
struct StepRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Cow<'a, str>>,
    /// What the first versions called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    started: Option<String>,
    ended: Option<String>,
    outcome: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Step> for StepRow<'a> {
    fn from(step: &'a Step) -> Self {
        Self {
            kind: Some(step.kind.text()),
            name: None,
            started: step.started.map(|at| At(at).text()),
            ended: step.ended.map(|at| At(at).text()),
            outcome: step.outcome.map(|outcome| Cow::Borrowed(outcome.name())),
        }
    }
}

impl StepRow<'_> {
    fn step(self) -> Result<Step, String> {
        let outcome = |word: Cow<'_, str>| {
            StepOutcome::from_name(&word).ok_or_else(|| format!("this version knows no outcome {word:?}"))
        };
        let kind = match (self.kind, self.name) {
            (Some(kind), _) => StepKind::stored(&kind),
            (None, Some(name)) => first_words(&name),
            (None, None) => return Err("a step without a kind".to_owned()),
        };
        Ok(Step {
            kind,
            started: self.started.as_deref().map(At::parse).transpose()?,
            ended: self.ended.as_deref().map(At::parse).transpose()?,
            outcome: self.outcome.map(outcome).transpose()?,
        })
    }
}

/// A step by the name that the first versions wrote, for people.
fn first_words(name: &str) -> StepKind {
    let core = StepKind::CORE.into_iter().find(|kind| kind.to_string() == name);
    core.unwrap_or_else(|| StepKind::Driver(name.to_owned()))
}

#[derive(Serialize, Deserialize)]
struct LineRow<'a> {
    at: String,
    level: Cow<'a, str>,
    text: Cow<'a, str>,
}

impl<'a> From<&'a LogLine> for LineRow<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self {
            at: At(line.at).text(),
            level: Cow::Borrowed(line.level.name()),
            text: Cow::Borrowed(&line.text),
        }
    }
}

impl LineRow<'_> {
    fn line(self) -> Result<LogLine, String> {
        let level = LogLevel::from_name(&self.level)
            .ok_or_else(|| format!("this version knows no level {:?}", self.level))?;
        Ok(LogLine { at: At::parse(&self.at)?, level, text: self.text.into_owned() })
    }
}
