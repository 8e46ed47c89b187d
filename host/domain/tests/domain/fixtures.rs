//! Workers and requests to test with.

use std::collections::BTreeMap;
use std::sync::Arc;

use grove_domain::capability::{Capabilities, Map};
use grove_domain::group::{Owner, OwnerGroups};
use grove_domain::id::{RequestId, TaskId, Uuid, WorkerId};
use grove_domain::inventory::{Number, Value};
use grove_domain::moment::{SignedDuration, Timestamp, after};
use grove_domain::request::{self, Bounds, Create, Request, Spec};
use grove_domain::wants::Wants;
use grove_domain::worker::{Registration, State, Worker};
use proptest::prelude::*;

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
        away: None,
        idle: None,
        extend: false,
        hints: BTreeMap::new(),
        idempotency: None,
    }
}

/// A waiting request at the place of its number.
pub(crate) fn request(number: u64, priority: u8, groups: OwnerGroups, wants: Wants) -> Request {
    let wish = Create { spec: spec(groups, wants), priority, valid_after: None, deadline: None };
    let context = request::Context { now: at(0), actor: "ann", tail: number, bounds: &Bounds::default() };
    request::create(RequestId(number), wish, context).unwrap()
}

/// A waiting request of an owner who reaches every worker.
pub(crate) fn wish(number: u64, priority: u8, terms: &[&str]) -> Request {
    request(number, priority, OwnerGroups::All, Wants::parse(terms).unwrap())
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn number(number: i64) -> Value {
    Value::Number(number.into())
}

pub(crate) fn real(number: f64) -> Value {
    Value::Number(Number::real(number).unwrap())
}

pub(crate) fn list<const N: usize>(values: [Value; N]) -> Value {
    Value::List(values.into())
}

pub(crate) fn tree<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Any value, often like another.
pub(crate) fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2i64..3).prop_map(number),
        any::<i64>().prop_map(number),
        any::<u64>().prop_map(|number| Value::Number(number.into())),
        any::<f64>().prop_filter_map("no number", |number| Number::real(number).map(Value::Number)),
        "[ab]{0,2}|-?[0-9]{1,3}|10\\.0\\.0\\.[0-9]".prop_map(Value::Text),
        ".{0,8}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            proptest::collection::btree_map("[ab*/~0]{1,2}", inner, 0..4).prop_map(Value::Map),
        ]
    })
}
