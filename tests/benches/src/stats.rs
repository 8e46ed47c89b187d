//! Medians and other ranks.

use std::time::Duration;

/// The middle of what was measured.
pub(crate) fn median(figures: &[f64]) -> f64 {
    rank(figures, 0.5)
}

/// The figure that this share of all does not exceed.
pub(crate) fn rank(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
