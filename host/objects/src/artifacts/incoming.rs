//! An artifact on its way in.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use object_store::{ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::verify::{Known, hex};
use super::{Artifact, Claim, Expected, Inner, Kept, Put, place};
use crate::objects::timely;
use crate::{Error, Name};

/// Bytes of a part; a bucket takes no smaller ones.
const PART: usize = 5 << 20;
/// Parts that are written at the same time.
const PARTS: usize = 2;

/// An artifact on its way in; dropped, it was never there.
pub(super) struct Incoming {
    claim: Claim,
    /// Bytes that are held for it in its group.
    held: u64,
    size: u64,
    announced: Option<u64>,
    hash: Sha256,
    data: Uuid,
    written: bool,
}

impl Incoming {
    pub(super) fn begin(
        inner: Arc<Inner>,
        name: &Name,
        expected: &Expected,
        size: Option<u64>,
    ) -> Result<Self, Error> {
        let claim = Claim::of(inner, name, expected)?;
        let mut incoming = Self {
            claim,
            held: 0,
            size: 0,
            announced: size,
            hash: Sha256::new(),
            data: Uuid::now_v7(),
            written: false,
        };
        {
            let index = incoming.claim.inner.index.lock();
            let most = incoming.claim.inner.quotas.count;
            if index.kept.len() + index.busy.len() > most && !index.kept.contains_key(name) {
                return Err(Error::Full { most });
            }
        }
        incoming.hold(size.unwrap_or(0))?;
        Ok(incoming)
    }

    /// Makes sure that the group has room for so many bytes of it.
    fn hold(&mut self, bytes: u64) -> Result<(), Error> {
        let quotas = self.claim.inner.quotas;
        if bytes > quotas.artifact {
            return Err(Error::TooLarge { most: quotas.artifact });
        }
        let more = bytes.saturating_sub(self.held);
        if more == 0 {
            return Ok(());
        }
        let name = &self.claim.name;
        let mut index = self.claim.inner.index.lock();
        let used = index.held.get(name.group()).copied().unwrap_or(0);
        // What it takes the place of goes when it is there.
        let goes = index.kept.get(name).map_or(0, |kept| kept.artifact.size);
        if used.saturating_add(more) > quotas.group.saturating_add(goes) {
            return Err(Error::Quota { quota: quotas.group, used });
        }
        *index.held.entry(name.group().to_owned()).or_default() += more;
        self.held += more;
        Ok(())
    }

    pub(super) async fn read<E: StdError + Send + Sync + 'static>(
        &mut self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), Error> {
        self.claim.inner.objects.is_there()?;
        let store = self.claim.inner.objects.store().clone();
        let path = place(&self.claim.name, &self.data.simple().to_string());
        let upload = timely(store.put_multipart(&path)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let taken = self.take(&mut upload, &mut body).await;
        if let Err(error) = taken {
            // What stays behind is never seen.
            let _ = timely(upload.abort()).await;
            return Err(error);
        }
        self.written = true;
        timely(upload.finish()).await.map(drop)
    }

    async fn take<E: StdError + Send + Sync + 'static>(
        &mut self,
        upload: &mut WriteMultipart,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<(), Error> {
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| Error::Body(Box::new(error)))?;
            self.hold(self.size + chunk.len() as u64)?;
            self.size += chunk.len() as u64;
            self.hash.update(&chunk);
            timely(upload.wait_for_capacity(PARTS)).await?;
            upload.put(chunk);
        }
        if self.announced.is_some_and(|size| size != self.size) {
            return Err(Error::Body("it has another length than was said".into()));
        }
        Ok(())
    }

    /// It is there from now on.
    pub(super) async fn keep(
        mut self,
        expected: Option<&str>,
        now: Timestamp,
    ) -> Result<(Artifact, Put), Error> {
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        if expected.is_some_and(|expected| !expected.eq_ignore_ascii_case(&sha256)) {
            return Err(Error::Digest { came: sha256 });
        }
        let name = self.claim.name.clone();
        let before = {
            let mut index = self.claim.inner.index.lock();
            let same = index.kept.get_mut(&name).filter(|kept| kept.artifact.sha256 == sha256);
            same.map(|kept| {
                kept.used(now);
                kept.clone()
            })
        };
        // What came is the same: the file that is there is looked at while there is one to take its place.
        let mended = match &before {
            Some(kept) if self.claim.inner.verified(kept, false).await?.is_none() => {
                return Ok((kept.shown(), Put::Same));
            }
            Some(_) => true,
            None => false,
        };
        let before = self.claim.inner.index.lock().kept.get(&name).cloned();
        let artifact = Artifact { name, size: self.size, sha256, created: now, used: now, damage: None };
        let kept =
            Kept { artifact: artifact.clone(), data: self.data, touched: false, known: Known::nothing() };
        let objects = self.claim.inner.objects.clone();
        // A note that may have been written keeps what it tells of; the next start knows.
        self.written = false;
        objects.put(&kept.note_path(), kept.note()?).await?;
        self.claim.inner.index.lock().keep(kept);
        let Some(before) = before else { return Ok((artifact, Put::Created)) };
        if let Err(error) = objects.delete(&before.data_path()).await {
            tracing::warn!(%error, "what an artifact held before stays until the next start");
        }
        Ok((artifact, if mended { Put::Mended } else { Put::Replaced }))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let inner = &self.claim.inner;
        inner.index.lock().release(self.claim.name.group(), self.held);
        if self.written
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let objects = inner.objects.clone();
            let path = place(&self.claim.name, &self.data.simple().to_string());
            runtime.spawn(async move {
                // The next start removes it otherwise.
                let _ = objects.delete(&path).await;
            });
        }
    }
}
