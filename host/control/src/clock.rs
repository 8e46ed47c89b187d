//! Time, as an input.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use grove_domain::moment::{SignedDuration, Timestamp, after};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock, UTC. It may step back and forth: it says when something happened, not how long it took.
    fn now(&self) -> Timestamp;

    /// How long this process has run, by a clock that never steps: for spans of time, whatever people or NTP do to the
    /// other.
    fn running(&self) -> Duration;
}

/// Tells whether the wall clock can be trusted to say what is too old: only one that has run for a while without a step, so
/// that one that is wrong for a moment makes nobody forget anything.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// What the wall clock is ahead of the one that never steps.
    ahead: Timestamp,
    /// Since when without a step.
    since: Duration,
}

impl Settled {
    /// Without a step for so long; or for as long as things are kept, where that is less.
    const AFTER: Duration = Duration::from_secs(3600);
    /// Smaller differences between two looks are no steps.
    const STEP: SignedDuration = SignedDuration::from_secs(10);

    /// From now on.
    pub fn new(clock: &dyn Clock) -> Self {
        let since = clock.running();
        Self { ahead: ahead(clock), since }
    }

    /// The time, where it can be trusted to say what is older than `keep`. Steps between two looks are seen.
    pub fn now(&mut self, clock: &dyn Clock, keep: SignedDuration) -> Option<Timestamp> {
        let (before, running) = (std::mem::replace(&mut self.ahead, ahead(clock)), clock.running());
        if self.ahead.duration_since(before).abs() > Self::STEP {
            self.since = running;
        }
        let after = Duration::try_from(keep).unwrap_or_default().min(Self::AFTER);
        (running.saturating_sub(self.since) >= after).then(|| clock.now())
    }
}

/// When the process started, by the wall clock as it is.
fn ahead(clock: &dyn Clock) -> Timestamp {
    after(clock.now(), -SignedDuration::try_from(clock.running()).unwrap_or_default())
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn running(&self) -> Duration {
        // Counted from the first look.
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
