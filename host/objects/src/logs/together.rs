//! Short logs of tasks that have ended: those of one moment in one object, so that a farm that ends a thousand tasks a
//! second does not make a thousand files, or pay for as many requests to a bucket.
//!
//! Whoever comes alone is written at once; who comes while others are written, or right after, goes with the next.
//!
//! ```text
//! {"task":"0198…","bytes":93}
//! lines of that task, 93 bytes
//! {"task":"0198…","bytes":120}
//! …
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::piece::shard;
use crate::{Error, Objects};

/// From one writing to the next.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes beyond which an object takes no further log.
const ENOUGH: usize = 1 << 20;
/// Objects that are looked through at the same time.
const AT_ONCE: usize = 8;
/// What the names of these objects end with.
const SUFFIX: &str = ".together";

/// Those who wait to be written.
#[derive(Debug, Default)]
pub(super) struct Together {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<Turn>,
}

#[derive(Debug)]
struct Waiting {
    task: Uuid,
    lines: Bytes,
    done: oneshot::Sender<Result<(), String>>,
}

/// Of whoever writes for all.
#[derive(Debug, Default)]
struct Turn {
    last: Option<Instant>,
    written: u64,
}

/// What stands before the lines of a task.
#[derive(Serialize, Deserialize)]
struct Header {
    task: Uuid,
    bytes: usize,
}

impl Together {
    /// Writes the whole log of a task, with those of others. In a hurry it waits for nobody.
    pub(super) async fn put(
        &self,
        objects: &Objects,
        task: Uuid,
        lines: Bytes,
        hurry: &CancellationToken,
    ) -> Result<(), Error> {
        let (done, mut is_done) = oneshot::channel();
        self.waiting.lock().push(Waiting { task, lines, done });
        let mut turn = self.turn.lock().await;
        let result = match is_done.try_recv() {
            // Whoever wrote before took it along.
            Ok(result) => result,
            Err(_) => {
                if let Some(last) = turn.last {
                    tokio::select! {
                        () = sleep_until(last + PAUSE) => {}
                        () = hurry.cancelled() => {}
                    }
                }
                let all = std::mem::take(&mut *self.waiting.lock());
                turn.write(objects, all).await;
                turn.last = Some(Instant::now());
                is_done.try_recv().unwrap_or_else(|_| Err("nobody wrote it".to_owned()))
            }
        };
        result.map_err(Error::Store)
    }
}

impl Turn {
    /// Writes what waits, and tells everybody.
    async fn write(&mut self, objects: &Objects, all: Vec<Waiting>) {
        let mut shards: BTreeMap<Path, Vec<Waiting>> = BTreeMap::new();
        for one in all {
            shards.entry(shard(one.task)).or_default().push(one);
        }
        for (shard, all) in shards {
            let mut all = all.into_iter().peekable();
            while let Some(first) = all.peek().map(|one| one.task) {
                let (mut bytes, mut dones) = (Vec::new(), Vec::new());
                while bytes.len() < ENOUGH
                    && let Some(Waiting { task, lines, done }) = all.next()
                {
                    // A number and an id can always be written.
                    let header = serde_json::to_vec(&Header { task, bytes: lines.len() });
                    bytes.extend(header.unwrap_or_default());
                    bytes.push(b'\n');
                    bytes.extend(lines);
                    dones.push(done);
                }
                // Never the name of an earlier one, which may have failed only by what was heard of it.
                self.written += 1;
                let path = shard.clone().join(format!("{first}.{}{SUFFIX}", self.written));
                let result = objects.put_hastily(&path, bytes.into()).await.map_err(|error| match error {
                    Error::Store(text) => text,
                    other => other.to_string(),
                });
                for done in dones {
                    // Whoever no longer waits wants nothing.
                    let _ = done.send(result.clone());
                }
            }
        }
    }
}

/// The lines of a task, from those of the objects of its time that hold whole logs.
pub(super) async fn find(objects: &Objects, all: &[ObjectMeta], task: Uuid) -> Result<Option<Bytes>, Error> {
    let is_one = |path: &Path| path.filename().is_some_and(|name| name.ends_with(SUFFIX));
    let paths: Vec<Path> = all.iter().map(|object| object.location.clone()).filter(is_one).collect();
    let look = |(objects, path): (Objects, Path)| async move {
        match objects.get(&path).await {
            Ok(bytes) => Ok(lines(bytes, task)),
            // It was retired at this moment.
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let each: Vec<_> = paths.into_iter().map(|path| look((objects.clone(), path))).collect();
    let mut looks = stream::iter(each).buffer_unordered(AT_ONCE);
    while let Some(found) = looks.try_next().await? {
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The lines of a task among those of others.
fn lines(mut all: Bytes, task: Uuid) -> Option<Bytes> {
    while let Some(end) = all.iter().position(|byte| *byte == b'\n') {
        let header: Header = serde_json::from_slice(&all.split_to(end)).ok()?;
        all.advance(1);
        if header.bytes > all.len() {
            return None;
        }
        let lines = all.split_to(header.bytes);
        if header.task == task {
            return Some(lines);
        }
    }
    None
}
