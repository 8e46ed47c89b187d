//! Artifacts: files that users bring, by cache group and key.
//!
//! Each is two objects: what it holds, under a name of its own, and a note about it, whose replacement is the moment
//! at which it is there, is another one, or is gone. The notes are in memory too, read at the start.

mod incoming;
mod on_disk;
mod verify;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error as StdError;
use std::ops::{Bound, Range};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{GetOptions, GetRange};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use on_disk::OnDisk;
pub use verify::Damage;
use verify::Known;

use crate::objects::timely;
use crate::{Error, Name, Objects};

/// Below this are all artifacts.
const PLACE: &str = "artifacts";
/// The last segment of a note.
const NOTE: &str = "note";
/// Notes that are read at the same time.
const AT_ONCE: usize = 16;

/// What an artifact holds, piece by piece.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

/// Bounds on artifacts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Bytes of one artifact.
    pub artifact: u64,
    /// Bytes of all artifacts of one group.
    pub group: u64,
    /// Artifacts.
    pub count: usize,
    /// One that nobody used for so long is removed.
    pub unused: SignedDuration,
    /// Bytes of all artifacts: beyond it those go that were not used the longest.
    pub total: u64,
}

/// An artifact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Artifact {
    /// Group and key.
    pub name: Name,
    /// Bytes.
    pub size: u64,
    /// What it holds, as SHA-256 in hexadecimal.
    pub sha256: String,
    /// When it came.
    pub created: Timestamp,
    /// When it was last sent, asked for, or read.
    pub used: Timestamp,
    /// What is known to be wrong with it.
    pub damage: Option<Damage>,
}

/// What must be there for a change to be made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Expected {
    /// Whatever is there, or nothing.
    #[default]
    Any,
    /// An artifact.
    Some,
    /// No artifact.
    None,
    /// An artifact that holds exactly this, as SHA-256 in hexadecimal.
    Sha256(String),
}

impl Expected {
    fn check(&self, current: Option<&Kept>) -> Result<(), Error> {
        let current = current.map(|kept| &kept.artifact.sha256);
        let holds = match (self, current) {
            (Self::Any, _) | (Self::Some, Some(_)) | (Self::None, None) => true,
            (Self::Sha256(sha256), Some(current)) => sha256 == current,
            (Self::Some | Self::Sha256(_), None) | (Self::None, Some(_)) => false,
        };
        if holds { Ok(()) } else { Err(Error::Unexpected { current: current.cloned() }) }
    }
}

/// What became of an artifact that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It is new.
    Created,
    /// It took the place of another one.
    Replaced,
    /// It was there already.
    Same,
    /// It was there, and its file was damaged.
    Mended,
}

/// The artifacts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Artifacts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: Objects,
    quotas: Quotas,
    index: Mutex<Index>,
    /// What holds each artifact that is being verified, by its data.
    verifying: Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct Index {
    ready: bool,
    kept: BTreeMap<Name, Kept>,
    /// Bytes of each group: kept, and on their way.
    held: HashMap<String, u64>,
    /// Names that are being changed.
    busy: HashSet<Name>,
}

#[derive(Clone, Debug)]
struct Kept {
    artifact: Artifact,
    /// The last segment of what it holds.
    data: Uuid,
    /// Used since the note was written.
    touched: bool,
    known: Known,
}

/// The note about an artifact, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    group: String,
    key: String,
    size: u64,
    sha256: String,
    created: String,
    used: String,
    data: Uuid,
}

impl Artifacts {
    /// The artifacts in `objects`. Until they are [loaded](Self::load) nothing can be had or brought.
    pub fn new(objects: Objects, quotas: Quotas) -> Self {
        Self {
            inner: Arc::new(Inner { objects, quotas, index: Mutex::default(), verifying: Mutex::default() }),
        }
    }

    /// The bounds.
    pub fn quotas(&self) -> Quotas {
        self.inner.quotas
    }

    /// Reads what is kept, and removes what no note tells of, and what was left half done. Nobody else may write at the same time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn load(&self) -> Result<(), Error> {
        if self.inner.index.lock().ready {
            return Ok(());
        }
        let objects = &self.inner.objects;
        objects.clean().await?;
        let (notes, data): (Vec<_>, Vec<_>) = objects
            .list(&Path::from(PLACE))
            .await?
            .into_iter()
            .map(|object| object.location)
            .partition(|path| path.filename() == Some(NOTE));
        let read = stream::iter(notes).map(async |path| Ok::<_, Error>((objects.get(&path).await?, path)));
        let notes: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut index = Index { ready: true, ..Index::default() };
        let mut untold: HashSet<Path> = data.into_iter().collect();
        for (bytes, path) in notes {
            match Kept::read(&bytes).filter(|kept| kept.note_path() == path) {
                Some(kept) if untold.remove(&kept.data_path()) => index.keep(kept),
                // What it holds was written before the note was: it was lost since.
                Some(kept) => {
                    tracing::error!(%path, "the file of an artifact is not there; bring it again");
                    index.keep(Kept { known: Known::lost(), ..kept });
                }
                None => tracing::warn!(%path, "this is no note about an artifact; it is left alone"),
            }
        }
        for path in untold {
            objects.delete(&path).await?;
        }
        *self.inner.index.lock() = index;
        Ok(())
    }

    /// How many there are, and their bytes.
    pub fn usage(&self) -> (usize, u64) {
        let index = self.inner.index.lock();
        (index.kept.len(), index.kept.values().map(|kept| kept.artifact.size).sum())
    }

    /// Artifacts after this one, of this group or of all that `may` names, sorted by name.
    ///
    /// # Errors
    /// When they are not loaded yet.
    pub fn list(
        &self,
        group: Option<&str>,
        may: impl Fn(&str) -> bool,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Artifact>, Error> {
        let index = self.index()?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let artifacts = index.kept.range((from, Bound::Unbounded)).map(|(_, kept)| kept.shown());
        let wanted = artifacts.filter(|artifact| {
            group.is_none_or(|group| artifact.name.group() == group) && may(artifact.name.group())
        });
        Ok(wanted.take(limit).collect())
    }

    /// One artifact; that counts as a use of it.
    ///
    /// # Errors
    /// When there is none.
    pub fn stat(&self, name: &Name, now: Timestamp) -> Result<Artifact, Error> {
        let mut index = self.index()?;
        let kept = index.kept.get_mut(name).ok_or(Error::NotFound)?;
        kept.used(now);
        Ok(kept.shown())
    }

    /// One artifact with these bytes of it, as far as it has them. Its file is what was brought: else it is damaged.
    ///
    /// # Errors
    /// When there is none, it is damaged, or it cannot be read now.
    pub async fn read(
        &self,
        name: &Name,
        range: Range<u64>,
        now: Timestamp,
    ) -> Result<(Artifact, Body), Error> {
        let kept = {
            let mut index = self.index()?;
            let kept = index.kept.get_mut(name).ok_or(Error::NotFound)?;
            kept.used(now);
            kept.clone()
        };
        let range = range.start..range.end.min(kept.artifact.size);
        if let Some(damage) = self.inner.verified(&kept, false).await? {
            return Err(Error::Damaged { damage });
        }
        if range.is_empty() {
            return Ok((kept.artifact, stream::empty().boxed()));
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let got = timely(self.inner.objects.store().get_opts(&kept.data_path(), options)).await?;
        if got.meta.size != kept.artifact.size {
            return Err(Error::Damaged { damage: Damage::Size });
        }
        Ok((kept.artifact, got.into_stream().map_err(Error::from).boxed()))
    }

    /// Takes in an artifact, whole or not at all. `size` and `sha256`, where they are known, are held against what
    /// comes. What is there already in the same form stays, unless it is damaged.
    ///
    /// # Errors
    /// When it breaks off, is too large, or cannot be written, and when what is there is not what was `expected`.
    pub async fn put<E: StdError + Send + Sync + 'static>(
        &self,
        name: &Name,
        expected: &Expected,
        size: Option<u64>,
        sha256: Option<&str>,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        now: Timestamp,
    ) -> Result<(Artifact, Put), Error> {
        let mut incoming = incoming::Incoming::begin(self.inner.clone(), name, expected, size)?;
        incoming.read(body).await?;
        incoming.keep(sha256, now).await
    }

    /// Removes an artifact. Whoever reads it at this moment may not come to its end.
    ///
    /// # Errors
    /// When there is none, it is not what was `expected`, or it cannot be removed now.
    pub async fn remove(&self, name: &Name, expected: &Expected) -> Result<(), Error> {
        let _claim = Claim::of(self.inner.clone(), name, expected)?;
        let kept = self.index()?.kept.get(name).cloned().ok_or(Error::NotFound)?;
        self.inner.objects.delete(&kept.note_path()).await?;
        self.inner.index.lock().drop_kept(name);
        // Of one that stays behind no note tells: the next start removes it.
        self.inner.objects.delete(&kept.data_path()).await
    }

    /// Writes down what was used, and removes what nobody uses any more, and what is beyond the bounds; how many went.
    ///
    /// # Errors
    /// When something cannot be written or removed now; the next time goes on with it.
    pub async fn retire(&self, now: Timestamp) -> Result<usize, Error> {
        let (touched, old) = {
            let mut index = self.index()?;
            let mut touched = Vec::new();
            for kept in index.kept.values_mut().filter(|kept| kept.touched) {
                kept.touched = false;
                touched.push(kept.clone());
            }
            (touched, self.inner.too_many(&index, now))
        };
        for kept in touched {
            // One that is being changed gets a new note anyhow.
            if let Ok(_claim) = Claim::of(self.inner.clone(), &kept.artifact.name, &Expected::Any)
                && self.index()?.kept.get(&kept.artifact.name).is_some_and(|now| now.data == kept.data)
            {
                self.inner.objects.put(&kept.note_path(), kept.note()?).await?;
            }
        }
        let mut removed = 0;
        for name in old {
            match self.remove(&name, &Expected::Any).await {
                Ok(()) => removed += 1,
                Err(Error::NotFound | Error::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    fn index(&self) -> Result<parking_lot::MutexGuard<'_, Index>, Error> {
        let index = self.inner.index.lock();
        if index.ready { Ok(index) } else { Err(Error::NotReady) }
    }
}

impl Inner {
    /// The names of those that are to go.
    fn too_many(&self, index: &Index, now: Timestamp) -> Vec<Name> {
        let mut all: Vec<&Artifact> = index.kept.values().map(|kept| &kept.artifact).collect();
        all.sort_by_key(|artifact| artifact.used);
        let mut bytes: u64 = all.iter().map(|artifact| artifact.size).sum();
        let mut old = Vec::new();
        for artifact in all {
            if bytes <= self.quotas.total && now.duration_since(artifact.used) <= self.quotas.unused {
                break;
            }
            bytes = bytes.saturating_sub(artifact.size);
            old.push(artifact.name.clone());
        }
        old
    }
}

impl Index {
    fn keep(&mut self, kept: Kept) {
        let name = kept.artifact.name.clone();
        self.drop_kept(&name);
        *self.held.entry(name.group().to_owned()).or_default() += kept.artifact.size;
        self.kept.insert(name, kept);
    }

    fn drop_kept(&mut self, name: &Name) {
        if let Some(kept) = self.kept.remove(name) {
            self.release(name.group(), kept.artifact.size);
        }
    }

    fn release(&mut self, group: &str, bytes: u64) {
        if let Some(held) = self.held.get_mut(group) {
            *held = held.saturating_sub(bytes);
            if *held == 0 {
                self.held.remove(group);
            }
        }
    }
}

impl Kept {
    fn read(bytes: &[u8]) -> Option<Self> {
        let note: Note = serde_json::from_slice(bytes).ok()?;
        let artifact = Artifact {
            name: Name::new(&note.group, &note.key).ok()?,
            size: note.size,
            sha256: note.sha256,
            created: note.created.parse().ok()?,
            used: note.used.parse().ok()?,
            damage: None,
        };
        Some(Self { artifact, data: note.data, touched: false, known: Known::nothing() })
    }

    fn note(&self) -> Result<Bytes, Error> {
        let Artifact { name, size, sha256, created, used, damage: _ } = &self.artifact;
        let note = Note {
            group: name.group().to_owned(),
            key: name.key().to_owned(),
            size: *size,
            sha256: sha256.clone(),
            created: created.to_string(),
            used: used.to_string(),
            data: self.data,
        };
        serde_json::to_vec(&note).map(Bytes::from).map_err(|error| Error::Store(error.to_string()))
    }

    fn shown(&self) -> Artifact {
        Artifact { damage: self.known.damage, ..self.artifact.clone() }
    }

    fn used(&mut self, now: Timestamp) {
        self.artifact.used = self.artifact.used.max(now);
        self.touched = true;
    }

    fn note_path(&self) -> Path {
        place(&self.artifact.name, NOTE)
    }

    fn data_path(&self) -> Path {
        place(&self.artifact.name, &self.data.simple().to_string())
    }
}

fn place(name: &Name, last: &str) -> Path {
    // Segments hold nothing that a path would change.
    Path::from(format!("{PLACE}/{}/{last}", name.segments()))
}

/// The right to change what has a name: one at a time, so that what was expected stays true.
#[derive(Debug)]
struct Claim {
    inner: Arc<Inner>,
    name: Name,
}

impl Claim {
    fn of(inner: Arc<Inner>, name: &Name, expected: &Expected) -> Result<Self, Error> {
        {
            let mut index = inner.index.lock();
            if !index.ready {
                return Err(Error::NotReady);
            }
            if index.busy.contains(name) {
                return Err(Error::Busy);
            }
            expected.check(index.kept.get(name))?;
            index.busy.insert(name.clone());
        }
        Ok(Self { inner, name: name.clone() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inner.index.lock().busy.remove(&self.name);
    }
}
