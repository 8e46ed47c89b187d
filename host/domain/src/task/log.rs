//! The last lines of a task's log: a bounded part of its status.

use std::collections::VecDeque;

use crate::moment::Timestamp;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogLevel {
    /// Something broke.
    Error,
    /// Something is odd.
    Warn,
    /// Worth knowing.
    Info,
    /// For who looks for a fault.
    Debug,
}

impl LogLevel {
    /// Every level.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}

/// The last lines, oldest first: never more than [`Self::LINES`], none longer than [`Self::BYTES`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogTail {
    lines: VecDeque<LogLine>,
}

impl LogTail {
    /// Most lines.
    pub const LINES: usize = 50;
    /// Most bytes of a line; the rest is cut.
    pub const BYTES: usize = 512;

    /// Adds a line; the oldest goes where there is no room.
    pub fn push(&mut self, mut line: LogLine) {
        if line.text.len() > Self::BYTES {
            line.text.truncate(line.text.floor_char_boundary(Self::BYTES));
        }
        if self.lines.len() >= Self::LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &LogLine> {
        self.lines.iter()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl FromIterator<LogLine> for LogTail {
    fn from_iter<I: IntoIterator<Item = LogLine>>(lines: I) -> Self {
        let mut tail = Self::default();
        lines.into_iter().for_each(|line| tail.push(line));
        tail
    }
}
