//! What an import may hold: no more than somebody could have brought over HTTP, by either version of the api.

use std::collections::BTreeMap;

use grove_access::keys::parse_public_line;
use grove_domain::limit::{Limit, Scope};
use grove_domain::moment::SignedDuration;
use grove_domain::request::{Request, Spec};
use grove_domain::rule::Rule;
use grove_domain::wants::Wants;
use grove_domain::worker::Worker;
use grove_store::Admission;
use grove_wire::limits;

type Answer = Result<(), String>;

/// By the limits of the api.
pub(super) struct ByTheApi;

impl Admission for ByTheApi {
    fn worker(&self, worker: &Worker) -> Answer {
        let registration = &worker.registration;
        at_most("driver", registration.driver.len(), limits::DRIVER, "bytes")?;
        at_most("driver_config", registration.driver_config.len(), limits::DRIVER_CONFIG, "bytes")?;
        match serde_json::from_str(&registration.driver_config) {
            Ok(serde_json::Value::Object(_)) => {}
            _ => return Err("driver_config: it must be an object".to_owned()),
        }
        capabilities("agent", worker.capabilities.agent())?;
        capabilities("admin", worker.capabilities.admin())?;
        let groups = worker.groups();
        at_most("groups", groups.len(), limits::GROUPS, "entries")?;
        for group in groups {
            at_most("groups", group.len(), limits::GROUP, "bytes")?;
        }
        at_most("host", worker.host.as_deref().map_or(0, str::len), limits::HOST, "bytes")?;
        at_most("notes", worker.notes.as_deref().map_or(0, str::len), limits::NOTES, "bytes")
    }

    fn request(&self, request: &Request) -> Answer {
        let Spec { wants, length, keys, heartbeat, away, idle, hints, idempotency, .. } = &*request.spec;
        match wants {
            Wants::Exact(wanted) => capabilities("wants", wanted.as_ref().unwrap_or(&BTreeMap::new()))?,
            Wants::Terms(terms) => {
                at_most("wants", terms.len(), limits::WANTS, "terms")?;
                for term in terms {
                    at_most("wants", term.as_str().len(), limits::WANT, "bytes")?;
                }
            }
        }
        at_most("keys", keys.len(), limits::KEYS, "lines")?;
        for key in keys {
            at_most("keys", key.len(), limits::KEY, "bytes")?;
            parse_public_line(key).map_err(|error| format!("keys: {error}"))?;
        }
        at_most("hints", hints.len(), limits::HINTS, "entries")?;
        for (key, value) in hints {
            at_most("hints", key.len().max(value.len()), limits::HINT, "bytes")?;
        }
        let (least, most) = (limits::HEARTBEAT_MIN_SECONDS, limits::HEARTBEAT_MAX_SECONDS);
        if heartbeat.is_some_and(|beat| seconds(beat).is_none_or(|beat| !(least..=most).contains(&beat))) {
            return Err("heartbeat: promise one every 1s to 1d".to_owned());
        }
        if away.is_some_and(|away| heartbeat.is_none() || seconds(away).is_none()) {
            return Err("away: it counts from the last heartbeat, and is no time before that".to_owned());
        }
        if idle.is_some_and(|idle| seconds(idle).is_none_or(|idle| idle < limits::IDLE_MIN_SECONDS)) {
            return Err("idle: what moves is counted by the minute: give 1m or more".to_owned());
        }
        if length.is_some_and(|length| seconds(length).is_none_or(|length| length == 0)) {
            return Err("length: a job takes some time".to_owned());
        }
        match idempotency.as_ref().map_or(1, |once| once.key.len()) {
            0 => Err("idempotency: its key is empty".to_owned()),
            length => at_most("idempotency", length, limits::IDEMPOTENCY_KEY, "bytes"),
        }
    }

    fn rule(&self, rule: &Rule) -> Answer {
        rule.check().map_err(|invalid| invalid.to_string())
    }

    fn limit(&self, limit: &Limit) -> Answer {
        let (name, most) = match &limit.scope {
            Scope::Farm => return Ok(()),
            Scope::Driver(name) => (name, limits::DRIVER),
            Scope::Host(name) => (name, limits::HOST),
        };
        if name.is_empty() || name.contains(char::is_control) {
            return Err("name: it must be a name, without control characters".to_owned());
        }
        at_most("name", name.len(), most, "bytes")
    }
}

/// None of a span that leads back.
fn seconds(span: SignedDuration) -> Option<u64> {
    u64::try_from(span.as_secs()).ok()
}

fn capabilities(field: &str, map: &BTreeMap<String, String>) -> Answer {
    at_most(field, map.len(), limits::CAPABILITIES, "entries")?;
    for (key, value) in map {
        at_most(&format!("{field} (a key)"), key.len(), limits::CAPABILITY_KEY, "bytes")?;
        at_most(field, value.len(), limits::CAPABILITY_VALUE, "bytes")?;
    }
    Ok(())
}

fn at_most(field: &str, length: usize, most: usize, unit: &str) -> Answer {
    if length <= most {
        return Ok(());
    }
    Err(format!("{field} holds {length} {unit}: at most {most} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_lead_back_are_none() {
        assert_eq!(seconds(SignedDuration::from_secs(-1)), None);
        assert_eq!(seconds(SignedDuration::from_secs(1)), Some(1));
    }
}
