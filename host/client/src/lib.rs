//! Typed HTTP client of a farm: every call of v2, in the types of `grove-wire`.
//!
//! ```no_run
//! # async fn doc() -> Result<(), grove_client::Error> {
//! let farm = grove_client::Client::new("http://127.0.0.1:8487")?;
//! let mut workers = farm.workers(&grove_client::WorkersQuery::default());
//! while let Some(worker) = workers.next().await? {
//!     println!("{} {:?}", worker.uuid, worker.state);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every answer, list and wait has a limit. A call is made once: whether it may be made again is the caller's to
//! know ([`Error::is_transient`]); only [`Events`] connects again by itself, since that repeats nothing.
//!
//! What must never happen here: a server crate among the dependencies, a print, a look at the environment, a
//! decision about the farm.

mod artifacts;
mod events;
mod farm;
mod introspections;
mod jobs;
mod limits;
mod logs;
mod mode;
mod pages;
mod plugins;
mod requests;
mod rules;
mod services;
mod sse;
mod tasks;
mod transport;
mod workers;

pub use artifacts::{ArtifactsQuery, Download};
pub use events::{Events, EventsQuery};
pub use farm::{Export, ExportQuery, ImportQuery};
pub use grove_wire::{self as wire, Error, ErrorKind};
pub use introspections::IntrospectionsQuery;
pub use logs::TaskLog;
pub use pages::Pages;
pub use requests::{Order, RequestsQuery};
pub use tasks::TasksQuery;
pub use workers::WorkersQuery;

pub use reqwest::Body;

use reqwest::Method;
use transport::{Call, Transport};

/// A farm, seen from outside; cheap to clone, connections are shared.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client of the farm at `base_url`, like `http://farm.example:8487`; connects with the first call.
    pub fn new(base_url: &str) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(base_url)? })
    }

    /// The farm's base address, without a slash at its end.
    pub fn base_url(&self) -> String {
        self.transport.base()
    }

    /// Whether the farm's process lives.
    pub async fn health(&self) -> Result<(), Error> {
        self.transport.call(Method::GET, &["healthz"]).done().await
    }

    /// Whether users are served, and changes taken; else the error says why not.
    pub async fn ready(&self) -> Result<(), Error> {
        self.transport.call(Method::GET, &["readyz"]).done().await
    }

    /// A call of v2.
    fn v2(&self, method: Method, segments: &[&str]) -> Call<'_> {
        let segments: Vec<&str> = ["api", "v2"].iter().chain(segments).copied().collect();
        self.transport.call(method, &segments)
    }
}
