//! What must hold of a farm whatever happened to it, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use grove_client::wire::event::Event;
use grove_client::wire::job::JobState;
use grove_client::wire::request::{Request, RequestState};
use grove_client::wire::task::{Task, TaskPhase};
use grove_client::wire::worker::{Worker, WorkerState};
use grove_client::wire::{Timestamp, Uuid};

use crate::{Farm, wait};

/// Waits until nothing is under way on the farm, then holds everything it tells against everything else. The caller
/// sees to it that nobody changes the farm meanwhile, and that no request is left that an idle worker could serve.
pub async fn check_when_settled(farm: &Farm) {
    let look = || async {
        let workers = farm.all_workers().await;
        workers.into_iter().filter(is_moving).collect::<Vec<_>>()
    };
    wait::until_is("workers to settle", look, Vec::is_empty).await;
    check(&farm.all_workers().await, &farm.all_requests().await, &farm.all_events().await);
    let tasks = farm.all_tasks().await;
    tasks.iter().for_each(task_has_ended);
}

/// Nothing runs for ever: where nothing is under way, every task has its end, and so has every step of it.
fn task_has_ended(task: &Task) {
    let terminal = !matches!(task.phase, TaskPhase::Waiting | TaskPhase::Running);
    assert!(terminal && task.ended.is_some(), "a task that nobody works on has no end: {task:#?}");
    for step in &task.steps {
        assert!(step.outcome.is_some(), "a step without an end in a task that has one: {task:#?}");
        assert!(step.ended.is_some() || step.started.is_none(), "an end has its time: {task:#?}");
    }
}

fn is_moving(worker: &Worker) -> bool {
    let opening = worker.job.is_some_and(|job| !job.open);
    worker.task.is_some() || opening || matches!(worker.state, WorkerState::Prepare | WorkerState::Busy)
}

/// Holds workers, requests and events of one moment against each other.
pub fn check(workers: &[Worker], requests: &[Request], events: &[Event]) {
    numbers_are_unique(requests);
    for request in requests {
        request_is_whole(request);
    }
    workers_and_jobs_agree(workers, requests);
    no_worker_had_two_jobs(requests);
    events_tell_it_all(requests, events);
}

fn numbers_are_unique(requests: &[Request]) {
    let numbers: BTreeSet<_> = requests.iter().map(|request| request.id).collect();
    assert_eq!(numbers.len(), requests.len(), "two requests have the same number");
}

/// What a request says of itself makes sense.
pub fn request_is_whole(request: &Request) {
    let running = request.job.as_ref().is_some_and(|job| job.state == JobState::Running);
    let expected = request.state == RequestState::InProgress;
    assert_eq!(running, expected, "a job runs if and only if its request is in progress: {request:#?}");
    if let Some(job) = &request.job {
        assert_eq!(job.id, request.id);
        assert_eq!(job.ended.is_some(), !running, "an end has its time, and only an end: {request:#?}");
        assert!(job.ended.is_none_or(|ended| ended >= job.opened), "{request:#?}");
    }
    if request.state.is_terminal() {
        assert!(request.reserved.is_none() && request.position.is_none(), "it still waits: {request:#?}");
    }
    if matches!(request.state, RequestState::Cancelled | RequestState::Timeout | RequestState::Invalid) {
        assert!(request.job.is_none(), "it never had a job: {request:#?}");
    }
}

fn workers_and_jobs_agree(workers: &[Worker], requests: &[Request]) {
    let mut on: BTreeMap<Uuid, u64> = BTreeMap::new();
    for request in requests.iter().filter(|request| !request.state.is_terminal()) {
        let job = request.job.as_ref().map(|job| job.worker);
        for worker in job.into_iter().chain(request.reserved) {
            let other = on.insert(worker, request.id);
            assert!(other.is_none(), "worker {worker} has requests {} and {other:?}", request.id);
        }
    }
    for worker in workers {
        let job = worker.job.map(|job| job.id);
        assert_eq!(job, on.get(&worker.uuid).copied(), "worker and requests disagree: {worker:#?}");
        assert_eq!(job.is_some(), worker.state == WorkerState::Running, "{worker:#?}");
    }
    for (worker, request) in on {
        let known = workers.iter().any(|known| known.uuid == worker);
        assert!(known, "request {request} is on worker {worker}, which there is not");
    }
}

/// From the times of the jobs, which are kept: no two on one worker overlap.
fn no_worker_had_two_jobs(requests: &[Request]) {
    let mut jobs: BTreeMap<Uuid, Vec<(Timestamp, Timestamp, u64)>> = BTreeMap::new();
    for job in requests.iter().filter_map(|request| request.job.as_ref()) {
        jobs.entry(job.worker).or_default().push((job.opened, job.ended.unwrap_or(Timestamp::MAX), job.id));
    }
    for (worker, mut jobs) in jobs {
        jobs.sort();
        for pair in jobs.windows(2) {
            let ((_, ended, first), (opened, _, second)) = (pair[0], pair[1]);
            assert!(ended <= opened, "jobs {first} and {second} were on worker {worker} at the same time");
        }
    }
}

fn events_tell_it_all(requests: &[Request], events: &[Event]) {
    for (expected, event) in (1..).zip(events) {
        assert_eq!(event.seq, expected, "a place in the sequence of events is missing or double");
    }
    let mut created = BTreeSet::new();
    let mut states: BTreeMap<&str, &str> = BTreeMap::new();
    for event in events.iter().filter(|event| event.subject.starts_with("request/")) {
        if event.kind == "request.created" {
            assert!(created.insert(&event.subject), "{} was created twice", event.subject);
        }
        if let (true, Some(before), Some(after)) =
            (event.kind == "request.state", &event.before, &event.after)
            && let Some(state) = states.insert(&event.subject, after)
        {
            assert_eq!(state, before, "events of {} do not follow each other", event.subject);
        }
    }
    for request in requests {
        let subject = format!("request/{}", request.id);
        assert!(created.contains(&subject), "no event tells that {subject} was created");
        let told = states.get(subject.as_str()).map(|state| word(state));
        let expected = serde_json::to_value(request.state).unwrap();
        let told = told.unwrap_or_else(|| "waiting".to_owned());
        assert_eq!(Some(told.as_str()), expected.as_str(), "the last event of {subject} tells another state");
    }
}

/// A state as the wire writes it.
fn word(state: &str) -> String {
    state.to_lowercase().replace(' ', "_")
}
