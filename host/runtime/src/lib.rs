//! The WebAssembly boundary: loads plugins (policies, drivers, inspectors), runs them within limits, and ends them at
//! once when asked. The only room that knows wasmtime.
//!
//! ```text
//! plugin.toml + component ── Runtime::load ──> Plugin ── open ──> session or instance ── calls
//!        manifest ∩ grants decide over every import before anything runs
//! ```
//!
//! Guests run on threads and under a clock of their own. A call ends by its answer, by a trap, at a limit, at its
//! deadline, or by cancellation; in each case but the first its store is dropped before the caller hears of it.
//!
//! What must never happen here: a guest entered again after a trap or a cancelled call; an import linked that was not
//! granted; compiled code trusted that does not verify; a type of wasmtime or of the generated bindings in the public
//! API; knowledge of other rooms of the controller; a guest or a compiler on the server's threads.

mod manifest;

mod grants;
mod tcp;

mod cache;
mod compiler;
mod engine;
mod guests;
mod limits;
mod ticker;

mod error;
mod guest_log;
mod host;

mod driver;
mod driver_call;
mod driver_store;

mod inspector;
pub mod policy;
mod policy_call;
mod pure;

mod bindings;

pub use compiler::{CompileLimits, Compiler, compile};
pub use driver::{
    Abilities, Access, CallContext, DriverCall, DriverInstance, DriverPlugin, DriverReply, Health, Info,
    PowerAction, Session, Target,
};
pub use engine::{Plugin, Runtime, Settings};
pub use error::{CallError, Cause, Failure, FailureKind, LoadError, StartError};
pub use grants::{DEFAULT_CALL_MS, DEFAULT_MEMORY_MIB, Effective, Grants, Refusal};
pub use host::{
    Level, LogSink, NoSecrets, SecretHost, SshError, SshHost, SshOutput, SshTarget, StorageError,
    StorageHost, StoredInfo, TaskHost,
};
pub use inspector::{
    Finding, InspectorPlugin, InspectorSession, MAX_DEPTH, MAX_FINDINGS, MAX_INVENTORY, MAX_KEY, MAX_VALUE,
    Registration, WorkerView,
};
pub use limits::CallLimits;
pub use manifest::{Kind, MAX_MANIFEST, Manifest, ManifestError, WORLD, Wants};
pub use policy::{PolicyInfo, PolicyPlugin, PolicySession};
pub use tcp::{TcpRule, TcpRuleError};
pub use tokio_util::sync::CancellationToken;
