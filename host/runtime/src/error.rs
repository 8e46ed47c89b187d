//! What can go wrong, in the words of the person who has to act on it.

use std::sync::Arc;

use crate::grants::Refusal;
use crate::manifest::Kind;

/// Why the runtime could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engines could not be made.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// Threads could not be made.
    #[error("the threads for plugins do not start: {0}; check the limit on processes")]
    Threads(#[source] std::io::Error),
    /// The folder for compiled code is unusable.
    #[error("the folder for compiled plugins is not usable: {0}; it must be ours alone and writable")]
    Cache(#[source] std::io::Error),
}

/// Why a plugin was not loaded. Nothing of it ran.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component is too big.
    #[error("plugin `{plugin}`: the component has {size} bytes and at most {limit} are taken; strip it")]
    TooLarge {
        /// The plugin.
        plugin: String,
        /// Bytes it has.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are no component that this engine can compile.
    #[error("plugin `{plugin}`: {component} is not a usable component: {text}")]
    Compile {
        /// The plugin.
        plugin: String,
        /// Name of the file.
        component: String,
        /// What the compiler says.
        text: String,
    },
    /// Compiling it took more than it may, or broke off.
    #[error("plugin `{plugin}`: {component} was not compiled: {text}")]
    Expensive {
        /// The plugin.
        plugin: String,
        /// Name of the file.
        component: String,
        /// Why, and what to do.
        text: String,
    },
    /// It imports what it may not have.
    #[error("plugin `{plugin}` imports `{import}`, but {}", refusal.of(plugin))]
    Import {
        /// The plugin.
        plugin: String,
        /// The import, as the component names it.
        import: String,
        /// Why it is refused and what to do.
        refusal: Refusal,
    },
    /// Imports or exports do not have the types of the contract.
    #[error("plugin `{plugin}` is no {kind} of grove:plugin {}: {text}", crate::manifest::WORLD)]
    Contract {
        /// The plugin.
        plugin: String,
        /// The kind its manifest claims.
        kind: Kind,
        /// What is missing or different.
        text: String,
    },
    /// A plugin of another kind was asked for.
    #[error("plugin `{plugin}` is of kind {is}, and a plugin of kind {wanted} is needed here")]
    Kind {
        /// The plugin.
        plugin: String,
        /// What it is.
        is: Kind,
        /// What was asked for.
        wanted: Kind,
    },
    /// The runtime ended meanwhile.
    #[error("plugin `{plugin}` was not loaded: the runtime is stopping")]
    Stopping {
        /// The plugin.
        plugin: String,
    },
}

/// A call into a plugin that gave no answer of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{plugin}`: {call}: {cause}")]
pub struct CallError {
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// The call, in the words of the contract.
    pub call: &'static str,
    /// What happened.
    pub cause: Cause,
}

/// What ended a call. All but [`Cause::Failure`] and [`Cause::NotAsked`] also end the instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The plugin answered with a failure. Its instance lives on.
    #[error("{0}")]
    Failure(Failure),
    /// A newer state cancelled the task.
    #[error("cancelled")]
    Cancelled,
    /// The wall-time deadline of the call passed.
    #[error("no answer within {} ms", .0.as_millis())]
    DeadlineExceeded(std::time::Duration),
    /// The guest computed longer than it may.
    #[error("computed for more than {} ms", .0.as_millis())]
    RanTooLong(std::time::Duration),
    /// The guest trapped, or answered against the rules of components.
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest wanted more memory than it may have (bytes).
    #[error("wanted more than its {} MiB of memory; grant more memory_mib if it really needs it", .0 >> 20)]
    MemoryLimit(usize),
    /// The guest wanted bigger tables or more instances, handles or steps than it may have.
    #[error("went over a limit: {0}")]
    Limit(String),
    /// The guest passed more data to the controller than one call may.
    #[error("passed too much data: {0}")]
    TooMuchData(String),
    /// The guest answered what is no answer to the question.
    #[error("{0}")]
    Nonsense(String),
    /// The guest was not asked, because of what it would have been asked about.
    #[error("not asked: {0}")]
    NotAsked(String),
    /// No free slot for an instance before the deadline.
    #[error("no free slot among {0} for another plugin instance; fewer tasks at once, or more slots")]
    PoolExhausted(usize),
    /// The instance ended in an earlier call; make a new one.
    #[error("the instance has ended in an earlier call")]
    Ended,
    /// A fault of the controller itself.
    #[error("fault in the controller: {0}")]
    Internal(String),
}

/// A plugin's own word for why it could not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to do about it.
    pub kind: FailureKind,
    /// For people; bounded in length.
    pub text: String,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The board: may be retried, or taken out of service.
    Device,
    /// The worker's driver config: do not retry.
    Config,
    /// What is around the board: retry with back-off.
    Environment,
    /// The driver cannot do this.
    Unsupported,
    /// The driver stopped because it was asked to.
    Stopped,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let about = match self.kind {
            FailureKind::Device => "the device",
            FailureKind::Config => "the driver config",
            FailureKind::Environment => "the environment",
            FailureKind::Unsupported => "unsupported",
            FailureKind::Stopped => "stopped as asked",
        };
        if self.text.is_empty() { f.write_str(about) } else { write!(f, "{about}: {}", self.text) }
    }
}

impl CallError {
    /// The plugin's own failure, if that is what it was.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.cause {
            Cause::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether the plugin broke its limits or trapped: worth an event that names it.
    pub fn is_misbehaviour(&self) -> bool {
        matches!(
            self.cause,
            Cause::RanTooLong(_)
                | Cause::Trap(_)
                | Cause::MemoryLimit(_)
                | Cause::Limit(_)
                | Cause::TooMuchData(_)
                | Cause::Nonsense(_)
        )
    }
}
