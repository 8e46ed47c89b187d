//! Files outside the store, as the controller and the plugin runtime ask for them.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use grove_control::clock::Clock;
use grove_control::ports::{Said, TaskLog, TaskLogs};
use grove_domain::id::TaskId;
use grove_domain::moment::Timestamp;
use grove_objects::{Artifacts, Error, Kind, Logs, Name};
use grove_runtime::{StorageError, StorageHost, StoredInfo};

/// Kept logs as the controller's logs of tasks.
pub(crate) struct KeptLogs(pub(crate) Logs);

impl TaskLogs for KeptLogs {
    fn begin(&self, task: TaskId) -> Arc<dyn TaskLog> {
        Arc::new(KeptLog(self.0.begin(task.0)))
    }
}

struct KeptLog(grove_objects::TaskLog);

impl TaskLog for KeptLog {
    fn say(&self, at: Timestamp, said: Said<'_>) {
        match said {
            Said::Line { level, line } => self.0.say(at, Kind::Log, level, line),
            Said::Step(name) => self.0.say(at, Kind::Step, "info", name),
            Said::Progress { percent, note } => {
                self.0.say(at, Kind::Progress, "info", &format!("{percent}% {note}"));
            }
            Said::Failed(why) => self.0.say(at, Kind::End, "error", &format!("failed: {why}")),
            Said::Cancelled => self.0.say(at, Kind::End, "warn", "cancelled"),
            Said::Done => self.0.say(at, Kind::End, "info", "done"),
        }
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Artifacts as the drivers' storage.
pub(crate) struct KeptArtifacts {
    pub(crate) artifacts: Artifacts,
    pub(crate) clock: Arc<dyn Clock>,
}

impl StorageHost for KeptArtifacts {
    fn stat<'a>(&'a self, group: &'a str, key: &'a str) -> BoxFuture<'a, Result<StoredInfo, StorageError>> {
        let found = name(group, key).and_then(|name| {
            let found = self.artifacts.stat(&name, self.clock.now()).map_err(refused)?;
            Ok(StoredInfo { size: found.size, sha256: found.sha256 })
        });
        std::future::ready(found).boxed()
    }

    fn read<'a>(
        &'a self,
        group: &'a str,
        key: &'a str,
        sha256: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Vec<u8>, StorageError>> {
        async move {
            let name = name(group, key)?;
            let now = self.clock.now();
            let found = self.artifacts.stat(&name, now).map_err(refused)?;
            if found.sha256 != sha256 {
                return Err(StorageError::Changed);
            }
            let (read, body) = self.artifacts.read(&name, range, now).await.map_err(refused)?;
            if read.sha256 != sha256 {
                return Err(StorageError::Changed);
            }
            let bytes = body.try_fold(Vec::new(), async |mut bytes, piece| {
                bytes.extend_from_slice(&piece);
                Ok(bytes)
            });
            bytes.await.map_err(refused)
        }
        .boxed()
    }
}

/// What can be no name names nothing.
fn name(group: &str, key: &str) -> Result<Name, StorageError> {
    Name::new(group, key).map_err(|_| StorageError::NotFound)
}

fn refused(error: Error) -> StorageError {
    match error {
        Error::NotFound => StorageError::NotFound,
        error => StorageError::Unavailable(error.to_string()),
    }
}
