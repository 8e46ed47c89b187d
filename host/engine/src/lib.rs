//! x
mod key;
pub use key::{Key, Output};

mod exit;
pub use exit::{Exit, InputError, Misuse, Missing, Overdue, Panicked, Why};

mod service;
pub use service::Service;

mod scope;
pub use scope::Scope;

mod observer;
pub use observer::Observer;

mod config;
pub use config::{Config, ConfigError, Environment, Filter, IsFatal, Worst};

mod engine;
pub use engine::{Engine, EngineHandle, Error, Fatal, Refused};

mod report;
pub use report::{Detail, EngineState, InputReport, Report, ServiceReport, State};

mod graph;
pub use graph::{Cycle, validate};

mod backoff;
mod record;
mod supervisor;
mod timers;
