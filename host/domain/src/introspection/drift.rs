//! Drift: what an introspection found, against what its worker promises.

use crate::capability::{Capabilities, Map, is_reserved};

/// A promise that was not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Of this capability.
    pub key: String,
    /// What was promised.
    pub promised: String,
    /// What was found; none where an earlier introspection found something and this one did not.
    pub found: Option<String>,
}

/// What a worker with these capabilities promises and `found` contradicts, by key. What nobody promised is no drift.
pub fn drift(before: &Capabilities, found: &Map) -> Vec<Drift> {
    let broken = |(key, promised): (&String, &String)| {
        let found = found.get(key);
        let lost = found.is_none() && before.introspected().contains_key(key);
        let other = found.is_some_and(|found| found != promised);
        let drift = || Drift { key: key.clone(), promised: promised.clone(), found: found.cloned() };
        (!is_reserved(key) && (lost || other)).then(drift)
    };
    before.effective().iter().filter_map(broken).collect()
}

/// The value of [`DRIFT_KEY`](crate::capability::DRIFT_KEY) that names them; none when there are none.
pub fn named(drift: &[Drift]) -> Option<String> {
    let keys: Vec<_> = drift.iter().map(|drift| drift.key.as_str()).collect();
    (!keys.is_empty()).then(|| keys.join(","))
}
