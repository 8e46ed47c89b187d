//! A piece of a log as it is kept: lines of JSON, under its task and the numbers of its first and its last.
//!
//! Pieces of tasks that were made within the same four seconds are in one folder: enough that no task needs a folder of its
//! own, and few enough that a look through them is short.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Kind, Line, PLACE};

/// How many of a task's digits name its folder: its milliseconds but for the last three, which are 4096.
const SHARD: usize = 9;

/// Which lines a piece holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) task: Uuid,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A line, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    n: u64,
    at: String,
    kind: String,
    level: Arc<str>,
    text: Arc<str>,
}

impl Piece {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut parts = path.filename()?.split('.');
        let (task, first, last) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { task: task.parse().ok()?, first: first.parse().ok()?, last: last.parse().ok()? })
    }

    pub(super) fn path(self) -> Path {
        shard(self.task).join(format!("{}.{:012}.{:012}", self.task.hyphenated(), self.first, self.last))
    }
}

/// Where the pieces of a task's log are, among those of others of its time.
pub(super) fn shard(task: Uuid) -> Path {
    let mut digits = task.simple().to_string();
    digits.truncate(SHARD);
    Path::from_iter([PLACE, &digits])
}

impl Kind {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Step => "step",
            Self::Progress => "progress",
            Self::End => "end",
            Self::Lost => "lost",
        }
    }

    /// The kind of that word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Log, Self::Step, Self::Progress, Self::End, Self::Lost]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// The lines of a piece. What cannot be read is passed over.
pub(super) fn lines(bytes: &[u8]) -> Vec<Line> {
    let read = |line: &[u8]| {
        let kept: Kept = serde_json::from_slice(line).ok()?;
        let (at, kind) = (kept.at.parse().ok()?, Kind::from_name(&kept.kind)?);
        Some(Line { n: kept.n, at, kind, level: kept.level, text: kept.text })
    };
    bytes.split(|byte| *byte == b'\n').filter_map(read).collect()
}

/// The other way.
pub(super) fn bytes<'a>(lines: impl Iterator<Item = &'a Line>) -> Bytes {
    let mut bytes = Vec::new();
    for Line { n, at, kind, level, text } in lines {
        let (at, kind) = (at.to_string(), kind.name().to_owned());
        let kept = Kept { n: *n, at, kind, level: level.clone(), text: text.clone() };
        // Numbers and texts can always be written.
        if serde_json::to_writer(&mut bytes, &kept).is_ok() {
            bytes.push(b'\n');
        }
    }
    bytes.into()
}
