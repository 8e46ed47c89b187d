//! Who hears what happens: the place for logs and metrics.

use std::time::Duration;

use crate::engine::Refused;
use crate::exit::Exit;

/// Hears what happens in an engine, in order. Called from the engine's loop: it must be quick and must not panic, and
/// need implement only what it cares for. `()` hears nothing.
pub trait Observer: Send + Sync + 'static {
    /// An attempt begins.
    fn starting(&self, _service: &str, _attempt: u64) {}
    /// An attempt has started.
    fn started(&self, _service: &str, _attempt: u64) {}
    /// An attempt ended: once for each that began.
    fn stopped(&self, _service: &str, _attempt: u64, _exit: &Exit) {}
    /// A service that ended will be started again after this delay.
    fn restarting(&self, _service: &str, _delay: Duration) {}
    /// A service did not stop within this time, and is aborted.
    fn overdue(&self, _service: &str, _after: Duration) {}
    /// A wish about a service was refused.
    fn refused(&self, _service: &str, _reason: &Refused) {}
    /// This end of a service stops the engine.
    fn fatal(&self, _service: &str, _exit: &Exit) {}
}

impl Observer for () {}
