//! All that follows from an inventory: conclusions, folded.

use super::Change;
use crate::capability::{MAX_CAPABILITIES, MAX_KEY, MAX_VALUE, Map, is_reserved};

/// Labels of one worker.
pub const MAX_LABELS: usize = 256;

/// All that follows from an inventory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Capabilities found.
    pub capabilities: Map,
    /// Remarks.
    pub labels: Map,
    /// Who concluded each capability last: `inspector/NAME` or `rule/UUID`.
    pub by: Map,
}

/// What remains of conclusions, each with who came to it, in order: a later one takes the place of an earlier one.
///
/// # Errors
/// Who failed the run and why, or whose conclusion cannot be.
pub fn findings(changes: impl IntoIterator<Item = (String, Change)>) -> Result<Findings, String> {
    let mut found = Findings::default();
    for (by, change) in changes {
        check(&change).map_err(|reason| format!("{by}: {reason}"))?;
        match change {
            Change::SetCapability(key, value) => {
                found.by.insert(key.clone(), by.clone());
                found.capabilities.insert(key, value);
            }
            Change::UnsetCapability(key) => {
                found.by.remove(&key);
                found.capabilities.remove(&key);
            }
            Change::Label(key, value) => {
                found.labels.insert(key, value);
            }
            Change::Fail(reason) => return Err(format!("{by}: {reason}")),
        }
        if found.capabilities.len() > MAX_CAPABILITIES {
            return Err(format!("{by}: more than {MAX_CAPABILITIES} capabilities were found"));
        }
        if found.labels.len() > MAX_LABELS {
            return Err(format!("{by}: more than {MAX_LABELS} labels were set"));
        }
    }
    Ok(found)
}

fn check(change: &Change) -> Result<(), String> {
    match change {
        Change::SetCapability(key, value) => capability_key(key).and_then(|()| self::value(key, value)),
        Change::UnsetCapability(key) => capability_key(key),
        Change::Label(key, value) => name(key).and_then(|()| self::value(key, value)),
        Change::Fail(_) => Ok(()),
    }
}

/// Whether there can be a capability of that name, which is not the core's own.
pub(crate) fn capability_key(key: &str) -> Result<(), String> {
    name(key)?;
    if is_reserved(key) { Err(format!("{key} is the farm's own capability")) } else { Ok(()) }
}

/// Whether there can be a label of that name.
pub(crate) fn name(key: &str) -> Result<(), String> {
    match key.len() {
        0 => Err("a name is empty".to_owned()),
        1..=MAX_KEY => Ok(()),
        len => Err(format!("a name has {len} bytes: at most {MAX_KEY} are accepted")),
    }
}

fn value(key: &str, value: &str) -> Result<(), String> {
    let len = value.len();
    if len > MAX_VALUE {
        Err(format!("the value of {key} has {len} bytes: at most {MAX_VALUE} are accepted"))
    } else {
        Ok(())
    }
}
