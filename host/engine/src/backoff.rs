//! How long to wait before the next start.

use std::time::Duration;

/// What a delay is at most when no limit is given: far beyond any patience, far below any overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Exponential back-off with jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// By what each further time multiplies the delay; 0 or 1: it stays.
    pub(crate) factor: f64,
    /// No delay is longer; zero: no limit.
    pub(crate) max: Duration,
}

impl Backoff {
    /// The delay before the start after the `times`th trouble in a row; `random` is from 0 to 1 and moves the delay by
    /// up to a tenth either way. No trouble counts as the first: a delay is never below its base but for jitter.
    pub(crate) fn delay(&self, base: Duration, times: u32, random: f64) -> Duration {
        if base.is_zero() {
            return base;
        }
        let exponent = i32::try_from(times.saturating_sub(1)).unwrap_or(i32::MAX);
        let growth = if self.factor > 0.0 { self.factor.powi(exponent) } else { 1.0 };
        let jitter = 0.9 + 0.2 * random.clamp(0.0, 1.0);
        let limit = if self.max.is_zero() { LONGEST } else { self.max.min(LONGEST) };
        // Compared as a float: what is infinite here has no Duration.
        let seconds = base.as_secs_f64() * growth * jitter;
        if seconds < limit.as_secs_f64() { Duration::from_secs_f64(seconds) } else { limit }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn delay(factor: f64, max: u64, times: u32, random: f64) -> f64 {
        Backoff { factor, max: Duration::from_secs(max) }.delay(SECOND, times, random).as_secs_f64()
    }

    #[test]
    fn doubles_up_to_the_limit() {
        let delays: Vec<f64> = (1..6).map(|times| delay(2.0, 10, times, 0.5)).collect();
        assert_eq!(delays, [1.0, 2.0, 4.0, 8.0, 10.0]);
    }

    #[test]
    fn no_trouble_does_not_divide() {
        assert_eq!(delay(2.0, 10, 0, 0.5), 1.0);
    }

    #[test]
    fn without_a_factor_it_stays() {
        assert_eq!(delay(0.0, 10, 9, 0.5), 1.0);
        assert_eq!(delay(1.0, 10, 9, 0.5), 1.0);
    }

    #[test]
    fn jitter_is_a_tenth_either_way_and_never_beyond_the_limit() {
        assert_eq!(delay(2.0, 10, 2, 0.0), 1.8);
        assert_eq!(delay(2.0, 10, 2, 1.0), 2.2);
        assert_eq!(delay(2.0, 2, 2, 1.0), 2.0);
    }

    #[test]
    fn no_delay_stays_none() {
        assert_eq!(Backoff { factor: 2.0, max: SECOND }.delay(Duration::ZERO, u32::MAX, 1.0), Duration::ZERO);
    }

    #[test]
    fn never_overflows_and_never_shrinks() {
        let mut last = 0.0;
        for times in 0..5000 {
            let next = delay(2.0, 0, times, 0.5);
            assert!(next >= last && next <= LONGEST.as_secs_f64(), "{times}: {next} after {last}");
            last = next;
        }
        assert_eq!(delay(2.0, 0, u32::MAX, 0.5), LONGEST.as_secs_f64());
    }

    proptest! {
        #[test]
        fn stays_within_its_bounds(
            base in 1u64..u64::MAX, max in 0u64..u64::MAX, times: u32, factor in 1.0f64..1e300, random: f64
        ) {
            let backoff = Backoff { factor, max: Duration::from_nanos(max) };
            let delay = backoff.delay(Duration::from_nanos(base), times, random);
            prop_assert!(delay <= LONGEST);
            if max > 0 {
                prop_assert!(delay <= backoff.max);
            }
            if delay < LONGEST.min(if max > 0 { backoff.max } else { LONGEST }) {
                prop_assert!(delay.as_secs_f64() >= Duration::from_nanos(base).as_secs_f64() * 0.899);
            }
        }
    }
}
