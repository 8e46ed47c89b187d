//! The SDK that Grove's own plugins are written with. A policy is one method that scores a worker for a request; a
//! driver is the calls that its board supports; an inspector says what an inventory means. What is generated from the contract, how a plan is made, how panics
//! reach the controller's log: all that is here.
//!
//! Must never happen here: a clock, randomness or I/O on the path of a policy or an inspector (the same calls must give
//! the same answers), and credentials of any kind (the controller logs in, a plugin never does).
//!
//! ```
//! use grove_plugin::policy::{Policy, Request, Score, Worker, export_policy};
//!
//! /// Boards with the label of the request's owner first.
//! #[derive(Default)]
//! struct OwnBoardsFirst;
//!
//! impl Policy for OwnBoardsFirst {
//!     fn score(&self, request: &Request, worker: &Worker) -> Option<Score> {
//!         let own = worker.capability("owner") == Some(&request.owner);
//!         Some(Score::new(i64::from(own)))
//!     }
//! }
//!
//! export_policy!(OwnBoardsFirst);
//! # fn main() {}
//! ```

#[doc(hidden)]
pub mod bindings;

pub mod driver;
pub mod inspector;
pub mod log;
#[doc(hidden)]
pub mod panics;
pub mod policy;
mod settings;

pub use bindings::policy::grove::plugin::types::{Info, Pair};
pub use settings::Settings;

/// Who the plugin says it is: taken from the crate that calls the export macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    () => {
        $crate::about(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
    };
}

/// The plugin's name is its crate's, without the word that says its kind.
#[doc(hidden)]
pub fn about(package: &str, version: &str, summary: &str) -> Info {
    let kinds = ["policy-", "driver-", "inspector-"];
    let name = kinds.iter().find_map(|kind| package.strip_prefix(kind)).unwrap_or(package);
    Info { name: name.to_owned(), version: version.to_owned(), summary: summary.to_owned() }
}
