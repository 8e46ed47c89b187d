//! Things of the domain as they travel.

use std::collections::BTreeMap;

use grove_control::farm::{Farm, Places};
use grove_control::{Reason, Warning};
use grove_domain::capability::Map;
use grove_domain::limit::{Limit, Scope};
use grove_domain::mode::{FarmMode, Mode};
use grove_domain::moment::SignedDuration;
use grove_domain::request::{self, Request};
use grove_domain::task::{LogLine, Phase, StepKind, StepOutcome, Task, TaskKind};
use grove_domain::worker::{self, Recovery, Worker};
use grove_wire::{
    Span, event, job, limit as wire_limit, mode as wire_mode, request as wire_request, task as wire_task,
    worker as wire_worker,
};

use super::introspections;

pub(super) fn worker(farm: &Farm, worker: &Worker) -> wire_worker::Worker {
    let map = |map: &Map| -> BTreeMap<String, String> { map.clone() };
    let recovery = worker.recovery;
    let running = worker.occupation.and_then(|occupation| farm.request(occupation.request)?.running_job());
    let unreachable = running.and_then(|job| job.unreachable);
    wire_worker::Worker {
        uuid: worker.id.0,
        state: worker_state(worker.state),
        since: worker.since,
        reason: worker.reason.clone(),
        driver: worker.registration.driver.clone(),
        driver_version: worker.driver_version.map(|version| version.to_string()),
        driver_config: serde_json::from_str(&worker.registration.driver_config).unwrap_or_default(),
        host: worker.host.clone(),
        notes: worker.notes.clone(),
        groups: worker.groups().to_vec(),
        capabilities: map(worker.capabilities.effective()),
        sources: wire_worker::Sources {
            agent: map(worker.capabilities.agent()),
            introspected: map(worker.capabilities.introspected()),
            admin: map(worker.capabilities.admin()),
        },
        health: wire_worker::Health {
            ok: worker.health.ok && unreachable.is_none(),
            checked_at: worker.health.checked_at,
            note: match unreachable {
                Some(since) => format!("it has not answered since {since:.0}"),
                None => worker.health.note.clone(),
            },
        },
        job: worker.occupation.map(|job| wire_worker::WorkerJob { id: job.request.0, open: job.opened }),
        task: worker.task.map(|(id, kind)| wire_worker::WorkerTask { id: id.0, kind: task_kind(kind) }),
        introspection: farm.newest_introspection(worker.id).map(|run| introspections::told(run)),
        recovery: (recovery != Recovery::default()).then_some(wire_worker::Recovery {
            relapses: recovery.relapses,
            attempts: recovery.attempts,
            recheck_at: recovery.recheck_at,
            quarantined: recovery.quarantined,
        }),
        drain: worker.drain,
        generation: worker.generation,
        revision: worker.revision,
    }
}

fn worker_state(state: worker::State) -> wire_worker::WorkerState {
    match state {
        worker::State::Maintenance => wire_worker::WorkerState::Maintenance,
        worker::State::Prepare => wire_worker::WorkerState::Prepare,
        worker::State::Idle => wire_worker::WorkerState::Idle,
        worker::State::Running => wire_worker::WorkerState::Running,
        worker::State::Busy => wire_worker::WorkerState::Busy,
        worker::State::Failed => wire_worker::WorkerState::Failed,
    }
}

/// `host` is where tunnels are.
pub(super) fn request(places: &Places<'_>, request: &Request, host: &str) -> wire_request::Request {
    wire_request::Request {
        id: request.id.0,
        state: match request.state {
            request::State::Waiting => wire_request::RequestState::Waiting,
            request::State::InProgress => wire_request::RequestState::InProgress,
            request::State::Cancelled => wire_request::RequestState::Cancelled,
            request::State::Timeout => wire_request::RequestState::Timeout,
            request::State::Invalid => wire_request::RequestState::Invalid,
            request::State::Done => wire_request::RequestState::Done,
            request::State::Failed => wire_request::RequestState::Failed,
        },
        since: request.since,
        reason: request.reason.clone(),
        owner: request.spec.owner.name.clone(),
        wants: request.spec.wants.describe(),
        priority: request.priority.get(),
        position: places.of(request).map(|place| place as u64),
        why: None,
        created: request.created,
        valid_after: request.valid_after.at,
        deadline: request.deadline.at,
        length: request.spec.length.and_then(span),
        heartbeat: request.spec.heartbeat.and_then(span),
        away: request.spec.away.and_then(span),
        idle: request.spec.idle.and_then(span),
        extend: request.spec.extend,
        hints: request.spec.hints.clone(),
        reserved: request.reserved.map(|worker| worker.0),
        job: job(request, host, false),
        ended_by: request.ended_by.clone(),
        warnings: None,
        revision: request.revision,
    }
}

/// The job of a request; with its private key when `secret`.
pub(super) fn job(request: &Request, host: &str, secret: bool) -> Option<job::Job> {
    let job = request.job.as_ref()?;
    let access = || job::Access {
        host: host.to_owned(),
        port: job.access.port,
        user: job.access.user.clone(),
        host_keys: job.access.host_keys.clone(),
        private_key: job.access.private_key.clone().filter(|_| secret),
    };
    Some(job::Job {
        id: request.id.0,
        worker: job.worker.0,
        state: if job.ended.is_none() { job::JobState::Running } else { job::JobState::Ended },
        opened: job.opened,
        timeout: job.timeout,
        ended: job.ended,
        prolongs: job.prolongs,
        away_since: job.away,
        unreachable_since: job.unreachable,
        kept: job.kept,
        ended_by: request.ended_by.clone(),
        reason: request.reason.clone().filter(|_| job.ended.is_some()),
        access: job.ended.is_none().then(access),
    })
}

pub(super) fn reason(reason: Reason) -> wire_request::Reason {
    wire_request::Reason {
        code: reason.code.to_owned(),
        text: reason.text,
        worker: reason.worker.map(|worker| worker.0),
        until: reason.until,
    }
}

pub(super) fn warning(warning: Warning) -> wire_request::Warning {
    wire_request::Warning { code: warning.code.to_owned(), text: warning.text, at: warning.at }
}

pub(super) fn limit(limit: &Limit, running: u64) -> wire_limit::Limit {
    wire_limit::Limit {
        scope: match limit.scope {
            Scope::Farm => wire_limit::LimitScope::Farm,
            Scope::Driver(_) => wire_limit::LimitScope::Driver,
            Scope::Host(_) => wire_limit::LimitScope::Host,
        },
        name: limit.scope.name().to_owned(),
        value: limit.value,
        running,
        revision: limit.revision,
    }
}

pub(super) fn mode(mode: &FarmMode) -> wire_mode::FarmMode {
    let (word, reason, until) = match &mode.mode {
        Mode::Normal => (wire_mode::Mode::Normal, None, None),
        Mode::Maintenance { reason, until } => (wire_mode::Mode::Maintenance, Some(reason.clone()), *until),
    };
    wire_mode::FarmMode { mode: word, since: mode.since, reason, until, revision: mode.revision }
}

fn task_kind(kind: TaskKind) -> wire_task::TaskKind {
    match kind {
        TaskKind::Prepare => wire_task::TaskKind::Prepare,
        TaskKind::Maintain => wire_task::TaskKind::Maintain,
        TaskKind::Open => wire_task::TaskKind::Open,
        TaskKind::Check => wire_task::TaskKind::Check,
        TaskKind::Recheck => wire_task::TaskKind::Recheck,
        TaskKind::Introspect => wire_task::TaskKind::Introspect,
        TaskKind::PowerOff => wire_task::TaskKind::PowerOff,
    }
}

pub(super) fn task(task: Task) -> wire_task::Task {
    let status = task.status;
    let step = |step: grove_domain::task::Step| wire_task::Step {
        kind: match &step.kind {
            StepKind::Driver(_) => "driver".to_owned(),
            kind => kind.text().into_owned(),
        },
        name: step.kind.to_string(),
        started: step.started,
        ended: step.ended,
        outcome: step.outcome.map(|outcome| match outcome {
            StepOutcome::Success => wire_task::StepOutcome::Success,
            StepOutcome::Failed => wire_task::StepOutcome::Failed,
            StepOutcome::Cancelled => wire_task::StepOutcome::Cancelled,
            StepOutcome::Skipped => wire_task::StepOutcome::Skipped,
        }),
    };
    let line = |line: &LogLine| wire_task::TailLine {
        at: line.at,
        level: line.level.name().to_owned(),
        text: line.text.clone(),
    };
    wire_task::Task {
        id: task.id.0,
        worker: task.spec.worker.0,
        kind: task_kind(task.spec.kind),
        request: task.spec.request.map(|request| request.0),
        driver: task.spec.driver.clone(),
        driver_version: task.spec.driver_version.map(|version| version.to_string()),
        phase: match status.phase {
            Phase::Waiting => wire_task::TaskPhase::Waiting,
            Phase::Running => wire_task::TaskPhase::Running,
            Phase::Succeeded => wire_task::TaskPhase::Succeeded,
            Phase::Failed => wire_task::TaskPhase::Failed,
            Phase::Cancelled => wire_task::TaskPhase::Cancelled,
        },
        steps: status.steps.into_iter().map(step).collect(),
        progress: status.progress,
        note: status.note,
        log: Some(status.log.lines().map(line).collect()),
        error: status.error,
        queued: task.spec.queued,
        started: status.started,
        ended: status.ended,
        deadline: status.deadline,
    }
}

pub(super) fn event(event: &grove_domain::event::Event) -> event::Event {
    event::Event {
        seq: event.seq,
        at: event.at,
        actor: event.actor.clone(),
        kind: event.kind.clone(),
        subject: event.subject.to_string(),
        before: event.before.clone(),
        after: event.after.clone(),
        note: event.note.clone(),
    }
}

fn span(length: SignedDuration) -> Option<Span> {
    u64::try_from(length.as_secs()).ok().and_then(Span::from_secs)
}
