//! The table that is printed, line by line, as rows are measured.

/// Whether more is better.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    /// Ours is at least this.
    AtLeast(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// Ours / twin is at least this.
    RatioAtLeast(f64),
    /// Ours / twin is at most this.
    RatioAtMost(f64),
    /// Ours - twin is at most this.
    AddedAtMost(f64),
    /// Only to be known.
    None,
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The work.
    pub(crate) work: &'static str,
    /// Of all figures.
    pub(crate) unit: &'static str,
    /// Measured.
    pub(crate) ours: f64,
    /// Measured in the same run; none where the work has no physical part to measure alone.
    pub(crate) twin: Option<f64>,
    /// What ours should be.
    pub(crate) goal: Goal,
    /// What the controller of the same kind that we learned from needs, as measured once; empty = not measured.
    pub(crate) peer: &'static str,
}

pub(crate) struct Table;

impl Table {
    /// Prints the head.
    pub(crate) fn begin() -> Self {
        println!(
            "{:<66} {:>10} {:>10} {:>6} {:>12} {:>12} {:<8} {:>5}  goal",
            "work", "ours", "twin", "ratio", "goal", "peer", "unit", "load"
        );
        Self
    }

    /// Prints one line.
    pub(crate) fn line(&mut self, line: Line) {
        let Line { work, unit, ours, twin, goal, peer } = line;
        let ratio = twin.map(|twin| ours / twin);
        let (met, goal) = match goal {
            Goal::AtLeast(goal) => (Some(ours >= goal), format!(">= {}", figure(goal))),
            Goal::AtMost(goal) => (Some(ours <= goal), format!("<= {}", figure(goal))),
            Goal::RatioAtLeast(goal) => (ratio.map(|ratio| ratio >= goal), format!(">= {goal}x")),
            Goal::RatioAtMost(goal) => (ratio.map(|ratio| ratio <= goal), format!("<= {goal}x")),
            Goal::AddedAtMost(goal) => {
                (twin.map(|twin| ours - twin <= goal), format!("+ <= {}", figure(goal)))
            }
            Goal::None => (None, "-".to_owned()),
        };
        println!(
            "{work:<66} {:>10} {:>10} {:>6} {goal:>12} {peer:>12} {unit:<8} {:>5}  {}",
            figure(ours),
            twin.map_or_else(|| "-".to_owned(), figure),
            ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            load_average(),
            match met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            },
        );
    }
}

/// With as many digits as mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Of the last minute; ours is in it, too.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
