//! Whether what an artifact holds is still what was brought. A file may be lost or changed behind our back.
//!
//! Its size is looked at with every read. Its digest is computed once for each look that its file has: a place tells by
//! which (the time and the size of a file, the ETag of a bucket) when that is another one, and after a start none is known.

use std::fmt::Write;
use std::sync::Arc;

use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::{Artifacts, Inner, Kept};
use crate::objects::timely;
use crate::{Error, Name};

/// What is wrong with the file of an artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It is not there.
    Lost,
    /// It has another size.
    Size,
    /// It holds something else.
    Content,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lost => "its file is not there",
            Self::Size => "its file has another size than what was brought",
            Self::Content => "its file holds something else than what was brought",
        })
    }
}

/// What is known of the file of an artifact.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Known {
    /// The look with which its digest was right.
    whole: Option<String>,
    pub(super) damage: Option<Damage>,
}

impl Known {
    /// It was just written.
    pub(super) fn nothing() -> Self {
        Self::default()
    }

    pub(super) fn lost() -> Self {
        Self { whole: None, damage: Some(Damage::Lost) }
    }

    /// Whether a file that looks like this need not be read.
    pub(super) fn holds(&self, meta: &ObjectMeta) -> bool {
        self.whole.as_ref() == Some(&look(meta))
    }
}

/// What tells a file from another one in its place.
fn look(meta: &ObjectMeta) -> String {
    let tag = meta.e_tag.as_deref().unwrap_or_default();
    format!("{tag} {} {}", meta.last_modified.timestamp_micros(), meta.size)
}

impl Artifacts {
    /// Reads all of an artifact, and holds it against its digest; what is wrong with it.
    ///
    /// # Errors
    /// There is none, or it cannot be read now.
    pub async fn verify(&self, name: &Name) -> Result<Option<Damage>, Error> {
        let kept = self.index()?.kept.get(name).cloned().ok_or(Error::NotFound)?;
        self.inner.verified(&kept, true).await
    }
}

impl Inner {
    /// Whether an artifact is whole, as far as that is not known (or `anew`): what is wrong with it. It is read once for
    /// all who ask at the same time, and to its end when they leave: the next would begin again.
    pub(super) async fn verified(self: &Arc<Self>, kept: &Kept, anew: bool) -> Result<Option<Damage>, Error> {
        let (inner, kept) = (self.clone(), kept.clone());
        let verifying = tokio::spawn(async move {
            let one = inner.verifying.lock().entry(kept.data).or_default().clone();
            let known = one.lock().await;
            let now = inner.index.lock().kept.get(&kept.artifact.name).cloned();
            let kept = now.filter(|now| now.data == kept.data).unwrap_or(kept);
            let verified = inner.verify(&kept, anew).await;
            drop(known);
            let mut verifying = inner.verifying.lock();
            // This one, and the one of the map.
            if Arc::strong_count(&one) <= 2 {
                verifying.remove(&kept.data);
            }
            verified
        });
        verifying.await.unwrap_or_else(|error| Err(Error::Store(error.to_string())))
    }

    async fn verify(&self, kept: &Kept, anew: bool) -> Result<Option<Damage>, Error> {
        let (damage, whole) = match timely(self.objects.store().head(&kept.data_path())).await {
            Err(Error::NotFound) => (Some(Damage::Lost), None),
            Err(error) => return Err(error),
            Ok(meta) if meta.size != kept.artifact.size => (Some(Damage::Size), None),
            Ok(meta) if !anew && kept.known.holds(&meta) => return Ok(None),
            Ok(meta) => match self.digest(kept).await {
                Ok(digest) if digest == kept.artifact.sha256 => (None, Some(look(&meta))),
                Ok(_) => (Some(Damage::Content), None),
                // Removed, or cut short, at this moment.
                Err(Error::NotFound) => (Some(Damage::Lost), None),
                Err(error) => return Err(error),
            },
        };
        let mut index = self.index.lock();
        if let Some(now) = index.kept.get_mut(&kept.artifact.name).filter(|now| now.data == kept.data) {
            if now.known.damage != damage
                && let Some(damage) = damage
            {
                let (group, key) = (kept.artifact.name.group(), kept.artifact.name.key());
                tracing::error!(group, key, "an artifact is damaged: {damage}; bring it again");
            }
            now.known = Known { whole, damage };
        }
        Ok(damage)
    }

    async fn digest(&self, kept: &Kept) -> Result<String, Error> {
        let mut body = timely(self.objects.store().get(&kept.data_path())).await?.into_stream();
        let mut sha = Sha256::new();
        while let Some(piece) = timely(body.try_next()).await? {
            sha.update(&piece);
        }
        Ok(hex(&sha.finalize()))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
