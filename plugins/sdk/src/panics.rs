//! A panic traps the instance and its text would be lost: say it to the log first.

use std::sync::Once;

static HOOK: Once = Once::new();

/// Sends the text of every later panic to the controller's log. Costs nothing when called again.
pub fn to_log() {
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| crate::log::error(panic))));
}
