//! Requests, and their jobs, as rows. A job is part of its request's row, so that the rules which tie the two are
//! constraints of one row.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, WorkerId};
use grove_domain::moment::{Moment, SignedDuration};
use grove_domain::request::{Idempotency, Job, JobAccess, Priority, Request, Spec, State};
use grove_domain::wants::{Term, Wants};
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::{At, Binder, Cells, Count, Id, Table};
use crate::error::StoreError;

const WRITTEN: &[&str] = &[
    "state",
    "since",
    "priority",
    "place",
    "valid_after",
    "valid_after_offset",
    "deadline",
    "deadline_offset",
    "reserved",
    "reason",
    "job_worker",
    "job_opened",
    "job_timeout",
    "job_prolongs",
    "job_access",
    "job_ended",
    "job_away",
    "job_unreachable",
    "job_kept",
    "job_warned",
    "ended_by",
    "revision",
];
const FIXED: &[&str] = &["id", "created", "spec"];

pub(super) fn table() -> Table {
    Table::new("requests", WRITTEN, FIXED)
}

/// Binds the insert of a first revision, or the update of a later one.
pub(crate) fn put_request(row: &mut Binder<'_, '_>, request: &Request) -> rusqlite::Result<()> {
    row.put(request.state.name())?;
    row.put(At(request.since))?;
    row.put(request.priority.get())?;
    row.put(Count(request.place))?;
    put_moment(row, request.valid_after)?;
    put_moment(row, request.deadline)?;
    row.put(request.reserved.map(Id::from))?;
    row.put(&request.reason)?;
    match request.job.as_deref() {
        Some(job) => put_job(row, job)?,
        None => row.null(6 + 2).and_then(|()| row.put(false)).and_then(|()| row.put(0))?,
    }
    row.put(&request.ended_by)?;
    row.put(Count(request.revision))?;
    row.put(Count(request.id.0))?;
    if request.revision > 1 {
        return row.put(Count(request.revision - 1));
    }
    row.put(At(request.created))?;
    row.json(&SpecRow::from(&*request.spec))
}

/// Reads a row of the table's select.
pub(crate) fn request(row: &Row<'_>) -> Result<Request, StoreError> {
    let mut cells = Cells::new(row, "request");
    Ok(Request {
        state: cells.word(State::from_name)?,
        since: cells.take::<At>()?.0,
        priority: priority(&mut cells)?,
        place: cells.take::<Count>()?.0,
        valid_after: moment(&mut cells)?,
        deadline: moment(&mut cells)?,
        reserved: cells.take::<Option<Id>>()?.map(|id| WorkerId(id.0)),
        reason: cells.take()?,
        job: job(&mut cells)?,
        ended_by: cells.take()?,
        revision: cells.take::<Count>()?.0,
        id: RequestId(cells.take::<Count>()?.0),
        created: cells.take::<At>()?.0,
        spec: Arc::new(spec(&mut cells)?),
    })
}

fn put_moment(row: &mut Binder<'_, '_>, moment: Moment) -> rusqlite::Result<()> {
    row.put(At(moment.at))?;
    row.put(moment.offset)
}

fn moment(cells: &mut Cells<'_>) -> Result<Moment, StoreError> {
    Ok(Moment { at: cells.take::<At>()?.0, offset: cells.take()? })
}

fn priority(cells: &mut Cells<'_>) -> Result<Priority, StoreError> {
    let number = cells.take()?;
    Priority::new(number).ok_or_else(|| cells.wrong(format!("there is no priority {number}")))
}

fn put_job(row: &mut Binder<'_, '_>, job: &Job) -> rusqlite::Result<()> {
    row.put(Id::from(job.worker))?;
    row.put(At(job.opened))?;
    row.put(At(job.timeout))?;
    row.put(job.prolongs)?;
    row.json(&JobAccessRow::from(&*job.access))?;
    row.put(job.ended.map(At))?;
    row.put(job.away.map(At))?;
    row.put(job.unreachable.map(At))?;
    row.put(job.kept)?;
    row.put(job.warned)
}

fn job(cells: &mut Cells<'_>) -> Result<Option<Arc<Job>>, StoreError> {
    let worker = cells.take::<Option<Id>>()?;
    let opened = cells.take::<Option<At>>()?;
    let timeout = cells.take::<Option<At>>()?;
    let prolongs = cells.take::<Option<u32>>()?;
    let access = cells.json_or_null::<JobAccessRow<'_>>()?;
    let ended = cells.take::<Option<At>>()?.map(|at| at.0);
    let away = cells.take::<Option<At>>()?.map(|at| at.0);
    let unreachable = cells.take::<Option<At>>()?.map(|at| at.0);
    let (kept, warned) = (cells.take()?, cells.take()?);
    // Constraint job_is_whole: all of them, or none.
    let (Some(worker), Some(opened), Some(timeout), Some(prolongs), Some(access)) =
        (worker, opened, timeout, prolongs, access)
    else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Job {
        worker: WorkerId(worker.0),
        opened: opened.0,
        timeout: timeout.0,
        prolongs,
        access: Arc::new(access.access()),
        ended,
        away,
        unreachable,
        kept,
        warned,
    })))
}

fn spec(cells: &mut Cells<'_>) -> Result<Spec, StoreError> {
    let row: SpecRow<'_> = cells.json()?;
    row.spec().map_err(|problem| cells.wrong(problem))
}

#[derive(Serialize, Deserialize)]
struct SpecRow<'a> {
    owner: Cow<'a, str>,
    /// None = `*`.
    groups: Option<Cow<'a, [String]>>,
    wants: WantsRow<'a>,
    length: Option<String>,
    keys: Cow<'a, [String]>,
    heartbeat: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    extend: bool,
    hints: Cow<'a, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency: Option<IdempotencyRow<'a>>,
}

#[derive(Serialize, Deserialize)]
struct IdempotencyRow<'a> {
    key: Cow<'a, str>,
    /// In hexadecimal.
    body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantsRow<'a> {
    Exact(Option<Cow<'a, BTreeMap<String, String>>>),
    Terms(Vec<Cow<'a, str>>),
}

impl<'a> From<&'a Spec> for SpecRow<'a> {
    fn from(spec: &'a Spec) -> Self {
        Self {
            owner: Cow::Borrowed(&spec.owner.name),
            groups: match &spec.owner.groups {
                OwnerGroups::All => None,
                OwnerGroups::Some(groups) => Some(Cow::Borrowed(groups)),
            },
            wants: match &spec.wants {
                Wants::Exact(wanted) => WantsRow::Exact(wanted.as_ref().map(Cow::Borrowed)),
                Wants::Terms(terms) => {
                    WantsRow::Terms(terms.iter().map(|term| Cow::Borrowed(term.as_str())).collect())
                }
            },
            length: spec.length.map(|span| span.to_string()),
            keys: Cow::Borrowed(&spec.keys),
            heartbeat: spec.heartbeat.map(|span| span.to_string()),
            away: spec.away.map(|span| span.to_string()),
            idle: spec.idle.map(|span| span.to_string()),
            extend: spec.extend,
            hints: Cow::Borrowed(&spec.hints),
            idempotency: spec
                .idempotency
                .as_ref()
                .map(|once| IdempotencyRow { key: Cow::Borrowed(&once.key), body: once.body.to_string() }),
        }
    }
}

impl SpecRow<'_> {
    fn spec(self) -> Result<Spec, String> {
        let groups = self.groups.map_or(OwnerGroups::All, |groups| OwnerGroups::Some(groups.into_owned()));
        Ok(Spec {
            owner: Owner { name: self.owner.into_owned(), groups },
            wants: self.wants.wants()?,
            length: self.length.as_deref().map(span).transpose()?,
            keys: self.keys.into_owned(),
            heartbeat: self.heartbeat.as_deref().map(span).transpose()?,
            away: self.away.as_deref().map(span).transpose()?,
            idle: self.idle.as_deref().map(span).transpose()?,
            extend: self.extend,
            hints: self.hints.into_owned(),
            idempotency: self.idempotency.map(IdempotencyRow::idempotency).transpose()?,
        })
    }
}

impl IdempotencyRow<'_> {
    fn idempotency(self) -> Result<Idempotency, String> {
        let body = self.body.parse().map_err(|_| format!("{:?} is no digest", self.body))?;
        Ok(Idempotency { key: self.key.into_owned(), body })
    }
}

impl WantsRow<'_> {
    fn wants(self) -> Result<Wants, String> {
        match self {
            Self::Exact(wanted) => Ok(Wants::Exact(wanted.map(Cow::into_owned))),
            Self::Terms(terms) => {
                let term = |text: Cow<'_, str>| {
                    Term::parse(&text).map_err(|error| format!("{text:?} is no term: {error}"))
                };
                terms.into_iter().map(term).collect::<Result<_, _>>().map(Wants::Terms)
            }
        }
    }
}

fn span(text: &str) -> Result<SignedDuration, String> {
    text.parse().map_err(|error| format!("{text:?} is no span of time: {error}"))
}

#[derive(Serialize, Deserialize)]
struct JobAccessRow<'a> {
    port: u16,
    target_host: Cow<'a, str>,
    target_port: u16,
    user: Cow<'a, str>,
    host_keys: Cow<'a, [String]>,
    private_key: Option<Cow<'a, str>>,
    authorized_keys: Cow<'a, [String]>,
}

impl<'a> From<&'a JobAccess> for JobAccessRow<'a> {
    fn from(access: &'a JobAccess) -> Self {
        Self {
            port: access.port,
            target_host: Cow::Borrowed(&access.target_host),
            target_port: access.target_port,
            user: Cow::Borrowed(&access.user),
            host_keys: Cow::Borrowed(&access.host_keys),
            private_key: access.private_key.as_deref().map(Cow::Borrowed),
            authorized_keys: Cow::Borrowed(&access.authorized_keys),
        }
    }
}

impl JobAccessRow<'_> {
    fn access(self) -> JobAccess {
        JobAccess {
            port: self.port,
            target_host: self.target_host.into_owned(),
            target_port: self.target_port,
            user: self.user.into_owned(),
            host_keys: self.host_keys.into_owned(),
            private_key: self.private_key.map(Cow::into_owned),
            authorized_keys: self.authorized_keys.into_owned(),
        }
    }
}
