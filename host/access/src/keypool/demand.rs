//! How many pairs will be wanted soon, by how many were wanted lately.

use std::time::Duration;

/// For how long what was taken counts: the stock is what is taken in so much time, at the rate of late.
const SPAN: Duration = Duration::from_secs(120);

/// What was taken, the less the longer ago it was. At a steady rate it is what is taken in a [`SPAN`].
#[derive(Default)]
pub(super) struct Demand {
    taken: f64,
    /// When that was so; times are counted from the beginning of the pool.
    at: Duration,
}

impl Demand {
    pub(super) fn taken(&mut self, now: Duration) {
        self.taken = self.still(now) + 1.0;
        self.at = now;
    }

    /// Pairs that will be taken in the next span, if all goes on as it did.
    pub(super) fn expected(&self, now: Duration) -> usize {
        // Far below what a number of pairs can be; from a float it is cut off at both ends.
        self.still(now).round() as usize
    }

    fn still(&self, now: Duration) -> f64 {
        let ago = now.saturating_sub(self.at);
        self.taken * (-ago.as_secs_f64() / SPAN.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After so many seconds in which a pair was taken every `every` milliseconds.
    fn after(seconds: u64, every: u64) -> (Demand, Duration) {
        let mut demand = Demand::default();
        let end = Duration::from_secs(seconds);
        let mut now = Duration::ZERO;
        while now < end {
            demand.taken(now);
            now += Duration::from_millis(every);
        }
        (demand, end)
    }

    #[test]
    fn a_steady_rate_is_what_is_taken_in_a_span() {
        for (every, in_a_span) in [(100, 1200), (1000, 120), (10_000, 12)] {
            let (demand, now) = after(3600, every);
            let expected = demand.expected(now);
            assert!(expected.abs_diff(in_a_span) <= 1 + in_a_span / 50, "every {every} ms: {expected}");
        }
    }

    #[test]
    fn a_burst_is_forgotten() {
        let (demand, now) = after(10, 100);
        let at_once = demand.expected(now);
        assert!((90..=100).contains(&at_once), "{at_once}");
        assert_eq!(demand.expected(now + 10 * SPAN), 0);
        let soon = demand.expected(now + SPAN);
        assert!(soon < at_once / 2 && soon > at_once / 4, "{soon}");
    }

    #[test]
    fn nothing_is_expected_at_first_and_a_clock_that_stands_adds_up() {
        let mut demand = Demand::default();
        assert_eq!(demand.expected(Duration::from_secs(9)), 0);
        for _ in 0..7 {
            demand.taken(Duration::from_secs(9));
        }
        assert_eq!(demand.expected(Duration::from_secs(9)), 7);
        assert_eq!(demand.expected(Duration::from_secs(1)), 7, "a time before the last one is no time ago");
    }
}
