//! Idempotency keys: a creation that is sent again makes nothing new.
//!
//! Keys are remembered in memory, a bounded number of them, for as long as this process lives: enough for a client
//! that repeats what a broken connection left open.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use grove_domain::id::RequestId;
use grove_wire::{Code, Problem, limits};
use http::HeaderMap;
use parking_lot::Mutex;

use super::refuse::Refuse;

/// Keys remembered; the oldest are forgotten first.
const KEYS: usize = 10_000;

/// What was made under which key.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    hasher: RandomState,
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    made: HashMap<Arc<str>, Made>,
    order: VecDeque<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    /// Digest of the body.
    body: u64,
    /// None while it is being made.
    request: Option<RequestId>,
}

/// What to do with a key.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Make it, then tell.
    Make(Claimed),
    /// It was made.
    Made(RequestId),
}

/// A key that is being used. Dropped without a result, it is free again.
#[derive(Debug)]
pub(crate) struct Claimed {
    all: Arc<Remembered>,
    key: Arc<str>,
    done: bool,
}

/// The header, when there is one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, Refuse> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if values.next().is_some() || text.is_empty() || text.len() > limits::IDEMPOTENCY_KEY {
        let most = limits::IDEMPOTENCY_KEY;
        let problem =
            Problem::new(Code::InvalidHeader, format!("Idempotency-Key takes 1 to {most} characters, once"));
        return Err(problem.hint("send a fresh uuid for each new request").field("Idempotency-Key").into());
    }
    Ok(Some(text))
}

impl Remembered {
    /// What to do with `key`, sent with `body`.
    pub(crate) fn claim(self: &Arc<Self>, key: &str, body: &[u8]) -> Result<Claim, Refuse> {
        let body = self.hasher.hash_one(body);
        let mut keys = self.keys.lock();
        match keys.made.get(key) {
            Some(made) if made.body != body => {
                let problem = Problem::new(Code::IdempotencyMismatch, "this key was used with another body");
                Err(problem.hint("use a new key for a new request").field("Idempotency-Key").into())
            }
            Some(Made { request: Some(request), .. }) => Ok(Claim::Made(*request)),
            Some(Made { request: None, .. }) => {
                let problem =
                    Problem::new(Code::IdempotencyBusy, "a request with this key is being made now");
                Err(problem.hint("ask again in a moment").field("Idempotency-Key").into())
            }
            None => {
                let key: Arc<str> = key.into();
                keys.made.insert(key.clone(), Made { body, request: None });
                keys.order.push_back(key.clone());
                if keys.order.len() > KEYS
                    && let Some(oldest) = keys.order.pop_front()
                {
                    keys.made.remove(&oldest);
                }
                Ok(Claim::Make(Claimed { all: self.clone(), key, done: false }))
            }
        }
    }
}

impl Claimed {
    /// This was made under the key.
    pub(crate) fn made(mut self, request: RequestId) {
        self.done = true;
        if let Some(made) = self.all.keys.lock().made.get_mut(&self.key) {
            made.request = Some(request);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.done {
            let mut keys = self.all.keys.lock();
            keys.made.remove(&self.key);
            keys.order.retain(|key| !Arc::ptr_eq(key, &self.key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(all: &Arc<Remembered>, key: &str, body: &[u8]) -> Claimed {
        match all.claim(key, body).unwrap() {
            Claim::Make(claimed) => claimed,
            Claim::Made(request) => panic!("made as {request}"),
        }
    }

    #[test]
    fn a_key_makes_one_thing() {
        let all = Arc::new(Remembered::default());
        let first = claimed(&all, "a", b"1");
        assert_eq!(all.claim("a", b"1").unwrap_err().problem().code, "idempotency_busy");
        first.made(RequestId(7));
        assert!(matches!(all.claim("a", b"1"), Ok(Claim::Made(RequestId(7)))));
        assert_eq!(all.claim("a", b"2").unwrap_err().problem().code, "idempotency_mismatch");
    }

    #[test]
    fn a_refused_creation_frees_its_key() {
        let all = Arc::new(Remembered::default());
        drop(claimed(&all, "a", b"1"));
        claimed(&all, "a", b"2").made(RequestId(1));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let all = Arc::new(Remembered::default());
        for number in 0..KEYS + 5 {
            claimed(&all, &number.to_string(), b"").made(RequestId(number as u64));
        }
        let keys = all.keys.lock();
        assert_eq!((keys.made.len(), keys.order.len()), (KEYS, KEYS));
        assert!(!keys.made.contains_key("4") && keys.made.contains_key("5"));
    }
}
