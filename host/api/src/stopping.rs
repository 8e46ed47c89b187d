//! That something is served no more, though it may be again.

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

/// Fires, and can be made anew.
#[derive(Debug, Default)]
pub(crate) struct Stopping(ArcSwap<CancellationToken>);

impl Stopping {
    /// What fires when the service that is given now ends.
    pub(crate) fn token(&self) -> CancellationToken {
        CancellationToken::clone(&self.0.load())
    }

    pub(crate) fn fire(&self) {
        self.0.load().cancel();
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.0.load().is_cancelled()
    }

    /// It is served again.
    pub(crate) fn renew(&self) {
        if self.has_fired() {
            self.0.store(CancellationToken::new().into());
        }
    }
}
