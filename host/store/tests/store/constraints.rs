//! The last line of defence: rows that must never be are refused, by name.

use std::sync::Arc;

use grove_domain::capability::Map;
use grove_domain::id::{RequestId, TaskId, Uuid};
use grove_domain::request::{Job, JobAccess, Request, State};
use grove_domain::task::{End, Phase, Task, TaskKind};
use grove_domain::worker::{self, Occupation, Worker};
use grove_store::{Batch, Change, CommitError, Store};

use crate::farm::{
    self, batch, commit, ended, held, opened, put_request, put_task, put_worker, request, reserved, task,
};

/// A farm where worker 1 runs the job of request 1, worker 2 is reserved for request 2, and request 3 waits.
fn busy_farm() -> (tempfile::TempDir, Store) {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let (first, second) = (farm::worker(1), farm::worker(2));
    let changes = [
        put_worker(&first),
        put_worker(&second),
        put_request(&request(1)),
        put_request(&request(2)),
        put_request(&request(3)),
        // In whichever order: the end of the transaction counts.
        put_request(&reserved(&request(1), &first)),
        put_worker(&held(&first, 1)),
        put_request(&opened(&reserved(&request(1), &first), &first)),
        put_worker(&held(&second, 2)),
        put_request(&reserved(&request(2), &second)),
    ];
    commit(&store, batch(epoch, changes)).unwrap();
    (folder, store)
}

#[track_caller]
fn refused(store: &Store, what: &str, rule: &str, changes: impl IntoIterator<Item = Change>) {
    let before = store.load().unwrap();
    let answer = commit(store, batch(before.epoch, changes));
    assert_eq!(answer, Err(CommitError::Forbidden { what: what.to_owned(), rule: rule.to_owned() }));
    let after = store.load().unwrap();
    assert_eq!(
        (before.workers, before.requests, before.live_tasks),
        (after.workers, after.requests, after.live_tasks)
    );
}

#[test]
fn a_worker_is_held_by_one_request_and_holds_it() {
    let (_folder, store) = busy_farm();
    let (first, second) = (farm::worker(1), farm::worker(2));
    let running = opened(&reserved(&request(1), &first), &first);
    let rule = "held_worker_holds_request";

    // Two requests, one worker: reserved, or with a job.
    let index = "requests.holds is unique";
    refused(&store, "request 3 at revision 2", index, [put_request(&reserved(&request(3), &first))]);
    refused(&store, "request 3 at revision 2", index, [put_request(&opened(&request(3), &second))]);
    // A job, and its worker does not run it.
    refused(&store, "request 1", rule, [put_worker(&idle(&held(&first, 1)))]);
    refused(&store, "request 2", rule, [put_worker(&idle(&held(&second, 2)))]);
    refused(&store, "request 1", rule, [put_worker(&held(&held(&first, 1), 3))]);
    // A job on no worker at all.
    refused(&store, "request 3", rule, [put_request(&opened(&request(3), &farm::worker(9)))]);
    refused(&store, "request 1", rule, [Change::RemoveWorker(first.id)]);

    // Both together are right, in either order.
    let epoch = store.load().unwrap().epoch;
    let changes = [
        put_worker(&idle(&held(&first, 1))),
        put_request(&ended(&running, State::Done)),
        put_request(&reserved(&request(3), &first)),
        put_worker(&held(&idle(&held(&first, 1)), 3)),
    ];
    commit(&store, batch(epoch, changes)).unwrap();
}

fn idle(worker: &Worker) -> Worker {
    let mut next = worker.clone();
    next.state = worker::State::Idle;
    next.occupation = None;
    next.revision += 1;
    next
}

/// How an entity is spoilt.
type Spoil<T> = fn(&mut T);

#[test]
fn no_worker_breaks_a_rule() {
    let (_folder, store) = farm::new();
    let spoilt: [(&str, Spoil<Worker>); 7] = [
        ("running_worker_has_occupation", |worker| worker.state = worker::State::Running),
        ("running_worker_has_occupation", |worker| {
            worker.occupation = Some(Occupation { request: RequestId(1), opened: true });
        }),
        ("failed_worker_has_reason", |worker| worker.state = worker::State::Failed),
        ("only_failed_worker_is_rechecked", |worker| worker.recovery.recheck_at = Some(farm::at(1))),
        ("worker_counts", |worker| worker.generation = 0),
        ("worker_counts", |worker| worker.revision = 0),
        ("agent_capabilities_are_the_registered", |worker| {
            worker.capabilities = worker.capabilities.with_agent(worker.id, Arc::new(Map::new()));
        }),
    ];
    for (rule, spoil) in spoilt {
        let mut worker = farm::worker(1);
        spoil(&mut worker);
        let what = match rule {
            "agent_capabilities_are_the_registered" => format!("worker {}", worker.id),
            _ => format!("worker {} at revision {}", worker.id, worker.revision),
        };
        refused(&store, &what, rule, [put_worker(&worker)]);
    }
}

#[test]
fn no_request_breaks_a_rule() {
    let (_folder, store) = busy_farm();
    let spoilt: [(&str, Spoil<Request>); 9] = [
        ("request_has_job", |request| request.state = State::InProgress),
        ("request_has_job", |request| request.state = State::Done),
        ("request_has_job", |request| {
            request.state = State::Cancelled;
            request.job = over(request.job.take(), None);
        }),
        ("job_runs_in_progress", |request| request.state = State::Done),
        ("job_runs_in_progress", |request| request.job = over(request.job.take(), None)),
        ("ended_job_has_no_key", |request| {
            request.state = State::Done;
            request.job = over(request.job.take(), Some("a key"));
        }),
        ("failed_request_has_reason", |request| {
            request.state = State::Failed;
            request.job = over(request.job.take(), None);
        }),
        ("failed_request_has_reason", |request| request.state = State::Invalid),
        ("only_waiting_request_is_reserved", |request| {
            request.state = State::Timeout;
            request.reserved = Some(farm::worker(5).id);
        }),
    ];
    let without_job = [0, 1, 7, 8];
    let worker = farm::worker(5);
    for (nth, (rule, spoil)) in spoilt.into_iter().enumerate() {
        let mut spoilt = if without_job.contains(&nth) {
            let mut next = request(3);
            next.revision = 2;
            next
        } else {
            opened(&request(3), &worker)
        };
        spoil(&mut spoilt);
        refused(&store, "request 3 at revision 2", rule, [put_request(&spoilt)]);
    }
    let mut nobody = request(0);
    nobody.place = 1;
    refused(&store, "request 0 at revision 1", "request_counts", [put_request(&nobody)]);
}

fn over(job: Option<Arc<Job>>, private_key: Option<&str>) -> Option<Arc<Job>> {
    job.map(|job| {
        let access =
            JobAccess { private_key: private_key.map(str::to_owned), ..JobAccess::clone(&job.access) };
        Arc::new(Job { ended: Some(farm::at(9)), access: Arc::new(access), ..Job::clone(&job) })
    })
}

#[test]
fn no_task_breaks_a_rule() {
    let (_folder, store) = farm::new();
    let spoilt: [(&str, Spoil<Task>); 7] = [
        ("task_ends_when_terminal", |task| task.status.phase = Phase::Succeeded),
        ("task_ends_when_terminal", |task| task.status.ended = Some(farm::at(1))),
        ("running_task_has_start", |task| task.status.phase = Phase::Running),
        ("failed_task_has_error", |task| {
            task.status.phase = Phase::Failed;
            task.status.ended = Some(farm::at(1));
        }),
        ("task_counts", |task| task.status.progress = 101),
        ("task_counts", |task| task.revision = 0),
        ("task_counts", |task| Arc::make_mut(&mut task.spec).generation = 0),
    ];
    for (rule, spoil) in spoilt {
        let mut task = task(1, TaskKind::Check, &farm::worker(1), None);
        spoil(&mut task);
        let what = format!("task {} at revision {}", task.id, task.revision);
        refused(&store, &what, rule, [put_task(&task)]);
    }
}

#[test]
fn one_task_runs_on_a_worker() {
    let (_folder, store) = farm::new();
    let running = |number| {
        let mut task = task(number, TaskKind::Check, &farm::worker(1), None);
        task.status.phase = Phase::Running;
        task.status.started = Some(farm::at(1));
        task
    };
    let epoch = store.load().unwrap().epoch;
    commit(&store, batch(epoch, [put_task(&running(1))])).unwrap();
    let what = format!("task {} at revision 1", TaskId(Uuid::from_u128(2)));
    refused(&store, &what, "tasks.worker is unique", [put_task(&running(2))]);
    let epoch = store.load().unwrap().epoch;
    let over = farm::over(&running(1), End::Cancelled, farm::at(2));
    commit(&store, batch(epoch, [put_task(&over), put_task(&running(2))])).unwrap();
}

#[test]
fn history_is_written_once() {
    let (folder, store) = farm::new();
    let epoch = store.load().unwrap().epoch;
    let events = vec![farm::event(1, grove_domain::event::Subject::Farm)];
    commit(&store, Batch { epoch, changes: vec![], events }).unwrap();
    let error = farm::intrude(folder.path()).execute("UPDATE events SET actor = 'nobody'", []).unwrap_err();
    assert!(error.to_string().contains("events_are_written_once"), "{error}");
}
