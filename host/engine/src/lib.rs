//! Keeps a set of services running that need each other.
//!
//! A *service* is an async function with a name, the names of its inputs, and at most one output. The engine starts
//! services in an order that works out whatever order they are installed in, hands outputs on to those who declared
//! that they need them, starts again what broke, and stops what must not run any longer, dependents first. It replaces
//! the hand-written start and stop order of a program, and the half of its error handling that reads "and if that
//! breaks later, then all of this has to be set up again".
//!
//! ```
//! use std::sync::Arc;
//! use std::time::SystemTime;
//!
//! use grove_engine::{Config, Engine, Environment, Key, Output, Scope, Service, State};
//!
//! trait Store: Send + Sync {
//!     fn read(&self) -> String;
//! }
//!
//! struct Disk;
//!
//! impl Store for Disk {
//!     fn read(&self) -> String {
//!         "data".to_owned()
//!     }
//! }
//!
//! /// Whoever gives it and whoever takes it agree on its type.
//! const STORE: Key<dyn Store> = Key::new("store");
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = Environment::new(|| SystemTime::UNIX_EPOCH, || 0.5);
//! let engine = Engine::start(Config::default(), environment)?;
//!
//! // It may be installed before what it needs: without that it ends as missing, and is started when the store is.
//! let server = Service::new("server", |scope: Scope| async move {
//!     let store = scope.get(&STORE)?;
//!     assert_eq!(store.read(), "data");
//!     scope.started(Output::none());
//!     scope.stop().cancelled().await;
//!     Ok(())
//! });
//! engine.install(server.needs(&STORE)).await?;
//!
//! let store = Service::new(STORE.name(), |scope: Scope| async move {
//!     scope.started(Output::of(&STORE, Arc::new(Disk)));
//!     scope.stop().cancelled().await;
//!     // Here nobody uses the store any longer.
//!     Ok(())
//! });
//! engine.install(store).await?;
//!
//! # tokio::time::sleep(std::time::Duration::from_secs(1)).await;
//! let report = engine.report().await;
//! assert!(report.services.iter().all(|service| service.state == State::Started));
//!
//! engine.kill();
//! engine.wait().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The life of a service
//!
//! Each *attempt* is one call of the service's function. It sees its inputs as they were when it began. It *starts* when
//! it says [`Scope::started`], and ends when the function returns, which decides what is next:
//!
//! | it ends with | what follows |
//! | --- | --- |
//! | `Ok`, [`Exit::Missing`] | nothing until an input starts or ends (if it had started) |
//! | an error, a panic, [`Exit::Aborted`] | a new attempt after the error delay |
//! | [`Exit::Bounce`], or anything after it was asked to stop | a new attempt after the bounce delay |
//! | [`Exit::Uninstall`] | it is taken out |
//! | any end that is fatal by [`Config::is_fatal`] | the engine stops, with that as its error |
//!
//! Whenever a started service ends, its running dependents are *bounced*: asked to stop, and started again. Whenever one
//! starts, those of its dependents are bounced that run without it, and those are started that do not run. Theirs follow
//! in the same way.
//!
//! # What is guaranteed
//!
//! - **One at a time.** No service has two attempts at once. Each attempt has a number and exactly one end, whatever it
//!   does: returning, panicking, or being aborted. What an attempt says after its end is not heard.
//! - **Dependents first.** When a service is bounced, replaced or uninstalled by request, or the engine is killed, a
//!   service that has started is asked to stop only when all its running dependents, and theirs, have ended.
//!   So until [`Scope::stop`] fires, nobody loses what the service gives; when it fires, nobody uses it. One that has not
//!   started is asked at once.
//! - **No return among leftovers.** A service that ended by itself is started again only when all dependents that were
//!   bounced because of that, and theirs, have ended. None begins while one of its inputs is about to stop.
//! - **An end in time.** An attempt that goes on for longer than [`Config::kill_deadline`] after its stop fired is
//!   aborted, and its end is an error ([`Overdue`]). When the engine is killed, the same time is for all together: at half
//!   of it those are asked that still wait for their dependents, at its end all are aborted, and a second later those are
//!   left behind that block their thread. (Without a kill, one that blocks its thread stays "stopping": it is never
//!   started twice.)
//! - **Delays have limits.** Errors and bounces in a row back off exponentially, jitter included up to
//!   [`Config::max_delay`], or the service's own [`Service::max_delay`]; a run longer than [`Config::reset_after`]
//!   forgets them. Changes of inputs within [`Config::settle`] bounce a dependent once. No wish for a stop, restart or
//!   removal is lost to another.
//! - **Nobody waits for nothing.** A service that ended for want of inputs, and was not bounced of late, begins as soon as
//!   the last of them has started.
//! - **Refusals change nothing.** A name that is taken, a cycle, one service too many, or an engine that stops: the wish
//!   is refused with the reason, and everything is as before.
//! - **Reports always work,** while the engine stops and after its end, too. Slow reporters delay only who asked; one that
//!   panics is named in the report, and its service goes on.
//! - **The worst end wins.** [`EngineHandle::wait`] returns the worst fatal end by the rule of the config, to any number
//!   of waiters, once all services have ended. A mistake of the engine itself comes before it; it never panics because of
//!   a service.
//!
//! What is *not* guaranteed: an output is an `Arc`, and whoever keeps it beyond the end of its attempt, in a task left
//! behind for example, keeps what is in it. A service that declares an input but never asks for it is bounced all the
//! same. Between a service's unexpected end and the end of its dependents, these hold the output of what has ended.
//!
//! # What must never happen here
//!
//! Knowledge of what services do; a clock, a random number or a log line that was not injected (time is tokio's, so that
//! tests may pause it); a lock across an await; a wait within the loop; work for all services at a single event, but for a
//! report or the engine's end.

mod key;
pub use key::{Key, Output};

mod exit;
pub use exit::{Exit, InputError, Missing, Misuse, Overdue, Panicked, Why};

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
