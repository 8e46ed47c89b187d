//! What travels over HTTP v2: the types of every body, the codes of every problem, and the error that both ends speak of
//! it with. All that a client needs to know.
//!
//! Bodies of requests refuse unknown fields by name; a missing field and a default are the same. Answers may grow
//! fields at any time: a client ignores those it does not know.
//!
//! What must never happen here: I/O, a decision, a type of the domain, the store or the plugin contract.

pub mod error;
pub mod limits;
pub mod page;
pub mod problem;
pub mod span;

pub mod artifact;
pub mod event;
pub mod farm;
pub mod introspection;
pub mod job;
pub mod limit;
pub mod log;
pub mod mode;
pub mod plugin;
pub mod request;
pub mod rule;
pub mod service;
pub mod task;
pub mod worker;

pub use error::{Error, ErrorKind};
pub use jiff::Timestamp;
pub use page::Page;
pub use problem::{Code, Problem};
pub use span::Span;
pub use uuid::Uuid;
