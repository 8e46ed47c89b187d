//! What the farm acknowledged, and what must be found of it whatever happened since.
//!
//! Every request and every worker has one writer, which makes one write at a time and enters it here before it is sent. An
//! answer is the whole resource with its revision. So what is found later must be at that revision or a later one; at that
//! very revision it must be what was answered; and what only its writer changes must be as last answered, or as in one of
//! the writes since to which no answer came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use grove_tests_kit::client::Error;
use grove_tests_kit::client::wire::Uuid;
use grove_tests_kit::client::wire::request::{Request, RequestState};
use grove_tests_kit::client::wire::worker::Worker;
use grove_tests_kit::farm::Farm;
use grove_tests_kit::history;

/// The capability that a worker's writer numbers its registrations with.
pub(crate) const SERIAL: &str = "serial";

/// A write that is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Write {
    /// The request's priority.
    Priority(u8),
    /// The job runs longer.
    Prolong,
    /// The request is closed.
    Close,
    /// The worker registers with this number.
    Serial(u64),
    /// The worker's notes are this number.
    Notes(u64),
    /// The worker is wanted elsewhere, or is reported as broken.
    Move,
}

/// What one writer knows of what it writes.
#[derive(Clone, Debug)]
struct Account<T> {
    answered: T,
    /// Sent since then, and not answered.
    doubtful: Vec<Write>,
}

#[derive(Clone, Debug, Default)]
struct Books {
    requests: BTreeMap<u64, Account<Request>>,
    workers: BTreeMap<Uuid, Account<Worker>>,
    figures: Figures,
}

/// How much was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Figures {
    /// Writes to which the farm said that they are done.
    pub(crate) acknowledged: u64,
    /// Of which these made a request.
    pub(crate) created: u64,
    /// Writes that the farm refused by a word of its own.
    pub(crate) refused: u64,
    /// Writes without an answer.
    pub(crate) unanswered: u64,
    /// Of which these might have made a request.
    pub(crate) maybe_created: u64,
}

/// The books of all writers; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.books().figures
    }

    /// What became of a request that was asked for.
    pub(crate) fn created(&self, answer: Result<Request, Error>) -> Option<Request> {
        let mut books = self.books();
        let request = books.figures.count(answer, true)?;
        let account = Account { answered: request.clone(), doubtful: Vec::new() };
        let before = books.requests.insert(request.id, account);
        assert!(before.is_none(), "number {} was given twice", request.id);
        Some(request)
    }

    /// A write to a request is sent.
    pub(crate) fn sends(&self, request: u64, write: Write) {
        self.books().requests.get_mut(&request).unwrap().doubtful.push(write);
    }

    /// What became of it.
    pub(crate) fn written(&self, request: u64, answer: Result<Request, Error>) -> Option<Request> {
        let mut books = self.books();
        let undone = is_undone(&answer);
        let answer = books.figures.count(answer, false);
        let account = books.requests.get_mut(&request).unwrap();
        account.hears(undone, answer.clone());
        answer
    }

    /// How a request was found by its writer, who relies on it from now on.
    pub(crate) fn seen(&self, answer: Result<Request, Error>) -> Option<Request> {
        let request = answer.ok()?;
        self.books().requests.get_mut(&request.id).unwrap().hears(false, Some(request.clone()));
        Some(request)
    }

    /// Whether the farm said that it knows this worker.
    pub(crate) fn knows(&self, worker: Uuid) -> bool {
        self.books().workers.contains_key(&worker)
    }

    /// A write to a worker is sent.
    pub(crate) fn sends_to(&self, worker: Uuid, write: Write) {
        if let Some(account) = self.books().workers.get_mut(&worker) {
            account.doubtful.push(write);
        }
    }

    /// What became of it.
    pub(crate) fn written_to(&self, worker: Uuid, answer: Result<Worker, Error>) {
        let mut books = self.books();
        let undone = is_undone(&answer);
        let answer = books.figures.count(answer, false);
        match books.workers.get_mut(&worker) {
            Some(account) => account.hears(undone, answer),
            None => {
                let account = answer.map(|answered| Account { answered, doubtful: Vec::new() });
                books.workers.extend(account.map(|account| (worker, account)));
            }
        }
    }

    /// Everything that was acknowledged is there. Nobody writes meanwhile.
    pub(crate) async fn check(&self, farm: &Farm) {
        let (requests, workers) = (farm.all_requests().await, farm.all_workers().await);
        let books = self.books().clone();
        let found: BTreeMap<_, _> = requests.iter().map(|request| (request.id, request)).collect();
        let lost: Vec<_> = books.requests.keys().filter(|id| !found.contains_key(id)).collect();
        assert!(
            lost.is_empty(),
            "of {} acknowledged requests these are lost: {lost:?}",
            books.requests.len()
        );
        assert!(found.keys().copied().eq(1..=found.len() as u64), "numbers of requests have gaps");
        let most = books.figures.created + books.figures.maybe_created;
        assert!(found.len() as u64 <= most, "{} requests, and {most} were asked for", found.len());
        for (id, account) in &books.requests {
            found.get(id).into_iter().for_each(|found| account.allows(found));
        }
        let found: BTreeMap<_, _> = workers.iter().map(|worker| (worker.uuid, worker)).collect();
        for (uuid, account) in &books.workers {
            let found = found.get(uuid);
            account.allows_worker(found.unwrap_or_else(|| panic!("acknowledged worker {uuid} is lost")));
        }
        requests.iter().for_each(history::request_is_whole);
    }
}

impl Figures {
    /// The answer, if it is one that holds.
    fn count<T>(&mut self, answer: Result<T, Error>, creates: bool) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.acknowledged += 1;
                self.created += u64::from(creates);
                Some(answer)
            }
            Err(error) if error.is_unreachable() => None,
            Err(error) if error.is_protocol() => panic!("{error}"),
            Err(error) if !error.is_refused() => {
                self.unanswered += 1;
                self.maybe_created += u64::from(creates);
                None
            }
            Err(error) => {
                let said = error.problem().status;
                assert!(matches!(said, 409 | 503 | 507), "an answer that nobody expects: {error:?}");
                self.refused += 1;
                // It could not be stored, as far as the farm knows.
                self.maybe_created += u64::from(creates && said >= 500);
                None
            }
        }
    }
}

/// Whether it surely was not done.
fn is_undone<T>(answer: &Result<T, Error>) -> bool {
    let refused = |error: &Error| error.is_refused() && error.problem().status < 500;
    answer.as_ref().is_err_and(|error| error.is_unreachable() || refused(error))
}

impl<T> Account<T> {
    /// The last write has its answer, or surely never happened, or is in doubt.
    fn hears(&mut self, undone: bool, answer: Option<T>) {
        if undone {
            self.doubtful.pop();
        }
        if let Some(answer) = answer {
            self.answered = answer;
            self.doubtful.clear();
        }
    }

    fn may_have(&self, write: impl Fn(&Write) -> bool) -> bool {
        self.doubtful.iter().any(write)
    }
}

impl Account<Request> {
    /// What is found now may follow on what was answered.
    fn allows(&self, found: &Request) {
        let answered = &self.answered;
        let both = format!("{self:#?}\nfound: {found:#?}");
        assert!(found.revision >= answered.revision, "an acknowledged write is lost: {both}");
        let asked = |request: &Request| {
            (
                request.created,
                request.wants.clone(),
                request.length,
                request.owner.clone(),
                request.valid_after,
            )
        };
        assert_eq!(asked(found), asked(answered), "what was asked for changed: {both}");
        let same_priority = found.priority == answered.priority;
        let priority = |write: &Write| *write == Write::Priority(found.priority);
        assert!(same_priority || self.may_have(priority), "an acknowledged priority is lost: {both}");
        let told = |request: &Request| {
            let Request { state, since, reason, reserved, job, .. } = request.clone();
            (state, since, reason, reserved, job)
        };
        if found.revision == answered.revision || answered.state.is_terminal() {
            assert_eq!(told(found), told(answered), "it is not what was acknowledged: {both}");
        }
        if let Some(before) = &answered.job {
            let job = found.job.as_ref().unwrap_or_else(|| panic!("an acknowledged job is lost: {both}"));
            assert_ne!(found.state, RequestState::Waiting, "an acknowledged job is lost: {both}");
            assert_eq!((job.worker, job.opened), (before.worker, before.opened), "another job: {both}");
            let end = job.timeout == before.timeout && job.prolongs == before.prolongs;
            assert!(end || self.may_have(|write| *write == Write::Prolong), "its end is another: {both}");
        }
    }
}

impl Account<Worker> {
    fn allows_worker(&self, found: &Worker) {
        let answered = &self.answered;
        let both = format!("{self:#?}\nfound: {found:#?}");
        assert!(found.revision >= answered.revision, "an acknowledged write is lost: {both}");
        let notes = |worker: &Worker| worker.notes.as_deref().map(|notes| notes.parse().unwrap());
        let serial = |worker: &Worker| worker.capabilities.get(SERIAL).map(|serial| serial.parse().unwrap());
        let same = notes(found) == notes(answered);
        let doubtful = |write: &Write| matches!(write, Write::Notes(wrote) if notes(found) == Some(*wrote));
        assert!(same || self.may_have(doubtful), "acknowledged notes are lost: {both}");
        let same = serial(found) == serial(answered);
        let doubtful = |write: &Write| matches!(write, Write::Serial(wrote) if serial(found) == Some(*wrote));
        assert!(same || self.may_have(doubtful), "an acknowledged registration is lost: {both}");
        if found.revision == answered.revision {
            let told =
                |worker: &Worker| (worker.state, worker.since, worker.reason.clone(), worker.generation);
            assert_eq!(told(found), told(answered), "it is not what was acknowledged: {both}");
        }
    }
}

/// What holds of a farm at every moment, also in the middle of its work.
pub(crate) async fn invariants_hold(farm: &Farm) {
    // A page is of one moment.
    let workers = farm.all_workers().await;
    for worker in &workers {
        let running = worker.state == grove_tests_kit::client::wire::worker::WorkerState::Running;
        assert_eq!(worker.job.is_some(), running, "a job has its running worker: {worker:#?}");
    }
    let jobs = farm.all_jobs().await;
    let on: BTreeSet<_> = jobs.iter().map(|job| job.worker).collect();
    assert_eq!(on.len(), jobs.len(), "two jobs on one worker: {jobs:#?}");
    for job in jobs {
        assert!(workers.iter().any(|worker| worker.uuid == job.worker), "a job without a worker: {job:#?}");
        assert!(job.ended.is_none(), "a running job with an end: {job:#?}");
    }
}
