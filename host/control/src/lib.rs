//! The controller: it turns what happens into decisions, and decisions into effects.
//!
//! One dispatcher linearizes all decisions. Who may talk to whom:
//!
//! ```text
//!   api ──command──▶ dispatcher ──batch──▶ store (one writer, group commit)
//!    ▲                 ▲   ▲                  │ committed, in order
//!    │ answer          │   │                  ▼
//!    └──────────── publisher ◀────────────────┘
//!                      │ effects
//!                      ▼
//!   runner (one task per worker at most) ──result──▶ dispatcher
//!   matcher session (policy)             ──plan────▶ dispatcher
//!   processor (inspectors, rules)        ──findings▶ dispatcher
//! ```
//!
//! What must never happen here: a decision outside the dispatcher; an effect before the commit of its decision; a
//! lock held across an await; knowledge of SQL, WebAssembly, ssh or HTTP (those come in as the traits of [`ports`]).

pub mod clock;
pub mod ports;
pub mod settings;

pub mod farm;
pub mod inventory;
pub mod refusal;

mod controller;
pub use controller::{Answer, Begin, Controller, Created, Want};

mod command;
mod dispatcher;
pub use dispatcher::{NewTaskId, Parts};
mod feed;
mod live;
mod matching;
mod processor;
mod publisher;
mod registering;
mod runner;
mod runs;
mod supervisor;
mod timers;
mod warning;

pub use feed::Feed;
pub use matching::why::Reason;
pub use registering::Registering;
pub use settings::Settings;
pub use warning::Warning;

#[cfg(feature = "fakes")]
pub mod fakes;
