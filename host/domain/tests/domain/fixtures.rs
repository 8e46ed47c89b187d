//! Workers and requests to test with.

use std::collections::BTreeMap;
use std::sync::Arc;

use grove_domain::capability::{Capabilities, Map};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, TaskId, Uuid, WorkerId};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::request::{self, Bounds, Create, Request, Spec};
use grove_domain::wants::Wants;
use grove_domain::worker::{Registration, State, Worker};

/// `seconds` after the beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    after(Timestamp::UNIX_EPOCH, SignedDuration::from_secs(seconds))
}

pub(crate) fn worker_id(number: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(number))
}

pub(crate) fn task_id(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn registration(pairs: &[(&str, &str)]) -> Registration {
    Registration {
        driver: "ssh".to_owned(),
        driver_config: "{}".to_owned(),
        capabilities: Arc::new(map(pairs)),
    }
}

/// An IDLE worker.
pub(crate) fn idle(number: u128, capabilities: &[(&str, &str)], groups: &[&str]) -> Worker {
    let mut worker = Worker::register(worker_id(number), registration(capabilities), at(0));
    worker.state = State::Idle;
    worker.groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
    worker
}

pub(crate) fn with_capabilities(worker: &Worker, capabilities: Map) -> Worker {
    let none = Arc::new(Map::new());
    let capabilities = Capabilities::new(worker.id, Arc::new(capabilities), none.clone(), none);
    Worker { capabilities, ..worker.clone() }
}

pub(crate) fn spec(groups: OwnerGroups, wants: Wants) -> Spec {
    Spec {
        owner: Owner { name: "ann".to_owned(), groups },
        wants,
        length: None,
        keys: Vec::new(),
        heartbeat: None,
        hints: BTreeMap::new(),
        idempotency: None,
    }
}

/// A waiting request at the place of its number.
pub(crate) fn request(number: u64, priority: u8, groups: OwnerGroups, wants: Wants) -> Request {
    let wish = Create { spec: spec(groups, wants), priority, valid_after: None, deadline: None };
    let context = request::Context { now: at(0), tail: number, bounds: &Bounds::default() };
    request::create(RequestId(number), wish, context).unwrap()
}

/// A waiting request of an owner who reaches every worker.
pub(crate) fn wish(number: u64, priority: u8, terms: &[&str]) -> Request {
    request(number, priority, OwnerGroups::All, Wants::parse(terms).unwrap())
}
