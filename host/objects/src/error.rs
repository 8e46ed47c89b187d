//! Why something could not be done with objects.

use crate::Damage;

/// Why something could not be done with objects; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing of this name.
    #[error("there is nothing of this name")]
    NotFound,
    /// It holds more than is taken.
    #[error("it holds more than {most} bytes")]
    TooLarge {
        /// Most bytes of one object.
        most: u64,
    },
    /// Its group would hold more than it may.
    #[error("its group may hold {quota} bytes, and holds {used} already")]
    Quota {
        /// Bytes that a group may hold.
        quota: u64,
        /// Bytes that it holds, and that are on their way to it.
        used: u64,
    },
    /// As many objects are kept as may be.
    #[error("as many as {most} are kept already")]
    Full {
        /// Most objects.
        most: usize,
    },
    /// Something of this name is being written or removed.
    #[error("it is being changed at this moment")]
    Busy,
    /// What is there is not what the caller expects.
    #[error("{}", current.as_ref().map_or_else(|| "there is nothing of this name".to_owned(), |sha256| format!("it holds {sha256} now")))]
    Unexpected {
        /// What is there, as SHA-256 in hexadecimal.
        current: Option<String>,
    },
    /// Its file is not what was brought.
    #[error("{damage}")]
    Damaged {
        /// What is wrong with it.
        damage: Damage,
    },
    /// What was sent is not what it was said to be.
    #[error("what came has the SHA-256 {came}")]
    Digest {
        /// In hexadecimal.
        came: String,
    },
    /// The sender broke off.
    #[error("what was sent breaks off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is kept was not looked through yet.
    #[error("what is kept is still being looked through")]
    NotReady,
    /// Where objects are kept does not answer, or refuses.
    #[error("the place for objects: {0}")]
    Store(String),
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => Self::Store(error.to_string()),
        }
    }
}
