//! Where objects are: a folder, or a bucket.

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};

use crate::Error;
use crate::connector::Connector;

/// Longest that one answer of the place is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most objects that a list may hold.
const MAX_LIST: usize = 2_000_000;

/// Where objects are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backend {
    /// A folder of this machine that is nobody else's.
    Folder(PathBuf),
    /// A bucket.
    S3(S3),
    /// Memory, for tests.
    Memory,
}

/// A bucket that speaks S3.
#[derive(Clone, PartialEq, Eq)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with; no other controller uses it.
    pub prefix: String,
    /// Where it is, when it is not Amazon's: `https://s3.example`.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Who asks: the id of the key and the key. Without: what the machine itself is allowed.
    pub key: Option<(String, String)>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Where objects are; cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The same, but what is put into it may be gone after a power failure of the first moments.
    hasty: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

impl Objects {
    /// Opens it. A bucket is not asked yet.
    ///
    /// # Errors
    /// When the folder is not there, or the bucket cannot be named so.
    pub fn open(backend: Backend) -> Result<Self, Error> {
        match backend {
            Backend::Folder(folder) => {
                let hasty = LocalFileSystem::new_with_prefix(&folder)?.with_automatic_cleanup(true);
                let store = hasty.clone().with_fsync(true);
                Ok(Self { store: Arc::new(store), hasty: Arc::new(hasty), folder: Some(folder) })
            }
            Backend::S3(s3) => Ok(Self::of(bucket(s3)?)),
            Backend::Memory => Ok(Self::of(Arc::new(InMemory::new()))),
        }
    }

    pub(crate) fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self { hasty: store.clone(), store, folder: None }
    }

    /// Removes what earlier writers, who were killed, left half done in the folder; how many files. For a start: who
    /// writes at the same time would lose what they write. What is left half done in a bucket is the bucket's to
    /// remove, by its own rule.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) async fn clean(&self) -> Result<usize, Error> {
        let Some(folder) = self.folder.clone() else { return Ok(0) };
        let work = move || {
            let mut removed = 0;
            remove_parts(&folder, &mut removed).map(|()| removed)
        };
        let removed =
            tokio::task::spawn_blocking(work).await.map_err(|error| Error::Store(error.to_string()))?;
        removed.map_err(|error| Error::Store(error.to_string()))
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// A folder that is away is not made anew: the real one may come back in its place.
    pub(crate) fn is_there(&self) -> Result<(), Error> {
        match &self.folder {
            Some(folder) if !folder.is_dir() => {
                Err(Error::Store(format!("{} is not there", folder.display())))
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        self.is_there()?;
        timely(self.store.put(path, PutPayload::from_bytes(bytes))).await.map(drop)
    }

    /// Without waiting for the disk: for what is worth less than that.
    pub(crate) async fn put_hastily(&self, path: &Path, bytes: Bytes) -> Result<(), Error> {
        self.is_there()?;
        timely(self.hasty.put(path, PutPayload::from_bytes(bytes))).await.map(drop)
    }

    pub(crate) async fn get(&self, path: &Path) -> Result<Bytes, Error> {
        timely(async { self.store.get(path).await?.bytes().await }).await
    }

    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Error> {
        match timely(self.store.delete(path)).await {
            Err(Error::NotFound) => Ok(()),
            other => other,
        }
    }

    /// All objects below, in no order.
    pub(crate) async fn list(&self, below: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let mut found = Vec::new();
        self.each(below, |object| {
            if found.len() >= MAX_LIST {
                return Err(Error::Store(format!("more than {MAX_LIST} objects below {below}")));
            }
            found.push(object);
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Shows every object below, however many they are.
    pub(crate) async fn each(
        &self,
        below: &Path,
        mut show: impl FnMut(ObjectMeta) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut list = self.store.list(Some(below));
        while let Some(object) = timely(list.try_next()).await? {
            show(object)?;
        }
        Ok(())
    }
}

/// Also of a place that never answers.
pub(crate) async fn timely<T>(work: impl Future<Output = object_store::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Store(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

fn bucket(s3: S3) -> Result<Arc<dyn ObjectStore>, Error> {
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: PATIENCE / 2 };
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(Connector)
        .with_retry(retry)
        // Not every bucket knows how.
        .with_disable_bulk_delete(true)
        .with_bucket_name(s3.bucket)
        .with_region(s3.region);
    if let Some(endpoint) = s3.endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    if let Some((id, key)) = s3.key {
        builder = builder.with_access_key_id(id).with_secret_access_key(key);
    }
    let store = builder.build()?;
    let prefix = Path::parse(&s3.prefix).map_err(|error| Error::Store(error.to_string()))?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// Files that are written are named `NAME#NUMBER` until they are whole; no segment of ours holds a `#`.
fn remove_parts(folder: &FilePath, removed: &mut usize) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // A folder goes with the last file in it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            remove_parts(&entry.path(), removed)?;
            // One that holds nothing goes, too; whoever is about to write into it makes it again.
            let _ = std::fs::remove_dir(entry.path());
        } else if entry.file_name().to_string_lossy().contains('#') {
            match std::fs::remove_file(entry.path()) {
                Ok(()) => *removed += 1,
                // Whoever wrote it is done.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
