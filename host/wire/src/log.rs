//! Lines of tasks.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The driver said it.
    Log,
    /// A step begins.
    Step,
    /// How far the step is.
    Progress,
    /// How the task ended.
    End,
    /// Lines were lost here: there was no room for them.
    Lost,
}

/// A line of a task's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place in the log, from 1 on.
    pub n: u64,
    /// When it was said.
    pub at: Timestamp,
    /// What it is.
    pub kind: LineKind,
    /// How grave: debug, info, warn, error.
    pub level: String,
    /// What was said.
    pub text: String,
}

/// As it is shown to people, in one line.
impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.kind {
            LineKind::Log | LineKind::Lost => self.level.as_str(),
            LineKind::Step => "step",
            LineKind::Progress => "progress",
            LineKind::End => "end",
        };
        write!(f, "{:.3}  {word:<8}  {}", self.at, self.text)
    }
}
