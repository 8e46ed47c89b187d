//! Where the command line takes the time from.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the command line's clock adapter")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
