//! The durable truth of a farm: every worker, request, job and task, and the history of what happened to them.
//!
//! A transaction is data: a [`Batch`] of rows and events. One writer thread takes every batch that waits, writes them
//! as one SQLite transaction with one fsync, and then tells each caller, in order. Reads have connections of their own
//! and never wait for writes.
//!
//! ```text
//!   caller ──commit(batch, done)──▶ queue ──▶ writer thread ──fsync──▶ done(Ok | Err), in order
//!   caller ──load()───────────────▶ queue ──▶      "         begins a new epoch
//!   caller ──tasks(), events()────▶ reader connections (a bounded pool)
//! ```
//!
//! A row of revision r replaces revision r - 1 and nothing else. When a batch fails, everything that was written with
//! it is rolled back, and every later batch of its epoch is refused: they were decided on something that is not stored.
//! [`Store::load`] begins the next epoch.
//!
//! What must never happen here: an acknowledged batch that is not on disk; a batch of which a part is stored; a second
//! process on the same folder; a decision about the farm (that is `control`'s); a row that breaks the schema's
//! constraints, which restate the farm's invariants as the last line of defence.

mod error;
pub use error::{CommitError, OpenError, StoreError};

mod damage;
pub use damage::Check;

mod schema;

mod rows;

mod queue;
mod writer;
pub use writer::{Pruned, Retention};

mod reader;
pub use reader::MAX_PAGE;

mod transfer;
pub use transfer::{
    About, Admission, Admitted, Components, Contents, Copied, Export, ExportError, Header, ImportError,
    MAX_LINE, MissingComponent, Replaced, Settled, Staged, TableChange, copy, restore,
};

mod begin;
pub use begin::{Begin, RESTORING};

mod open;
pub use open::{DATABASE, Settings, lock};

mod store;
pub use store::{Left, Store};

pub use grove_domain::change::{Batch, Change, Loaded};
pub use grove_domain::history::{EventQuery, IntrospectionQuery, TaskQuery};
