//! Tasks as rows.

use std::borrow::Cow;
use std::sync::Arc;

use grove_domain::id::{RequestId, TaskId, WorkerId};
use grove_domain::moment::SignedDuration;
use grove_domain::task::{Phase, Step, StepOutcome, Task, TaskKind, TaskSpec, TaskStatus};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id, Sha, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] =
    &["phase", "steps", "progress", "note", "error", "started", "ended", "deadline", "revision"];
const FIXED: &[&str] =
    &["id", "kind", "worker", "generation", "request", "driver", "driver_version", "timeout", "queued"];

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
    row.put(&status.error)?;
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
    row.put(&spec.driver)?;
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
        error: cells.take()?,
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
        driver: cells.take()?,
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

#[derive(Serialize, Deserialize)]
struct StepRow<'a> {
    name: Cow<'a, str>,
    started: String,
    ended: Option<String>,
    outcome: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Step> for StepRow<'a> {
    fn from(step: &'a Step) -> Self {
        Self {
            name: Cow::Borrowed(&step.name),
            started: At(step.started).text(),
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
        Ok(Step {
            name: self.name.into_owned(),
            started: At::parse(&self.started)?,
            ended: self.ended.as_deref().map(At::parse).transpose()?,
            outcome: self.outcome.map(outcome).transpose()?,
        })
    }
}
