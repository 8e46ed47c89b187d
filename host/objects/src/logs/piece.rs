//! A piece of a log as it is kept: lines of JSON, under the numbers of its first and its last.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::{Kind, Line};

/// Which lines a piece holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
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
        let (first, last) = path.filename()?.split_once('-')?;
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()? })
    }

    pub(super) fn path(self, folder: &Path) -> Path {
        folder.clone().join(format!("{:012}-{:012}", self.first, self.last))
    }
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
