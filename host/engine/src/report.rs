//! What the engine tells of itself and its services.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::exit::{Exit, Panicked};
use crate::scope::Reporter;

/// What an engine and its services are doing.
#[derive(Clone, Debug)]
pub struct Report {
    /// The engine's own state.
    pub state: EngineState,
    /// The services, by name.
    pub services: Vec<ServiceReport>,
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// It keeps its services running.
    Started,
    /// It stops its services.
    Stopping,
    /// It has ended.
    Stopped,
}

/// What a service is doing.
#[derive(Clone, Debug)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its inputs, as they were declared.
    pub inputs: Vec<InputReport>,
    /// The inputs that are not started, when it waits.
    pub waits_for: Vec<String>,
    /// How many attempts have begun.
    pub attempts: u64,
    /// How many of them have started.
    pub starts: u64,
    /// How many of them were bounced.
    pub bounces: u64,
    /// Errors in a row, without a long run between them.
    pub recent_errors: u32,
    /// How the last attempt that did not end cleanly ended.
    pub last_error: Option<Exit>,
    /// When an attempt last started.
    pub last_start: Option<SystemTime>,
    /// When the next attempt begins, if that is known.
    pub next_start: Option<SystemTime>,
    /// What the service itself tells; not in watched reports.
    pub detail: Option<Detail>,
}

/// An input of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputReport {
    /// The input's name.
    pub name: String,
    /// What it is doing; `None`: nothing of that name is installed.
    pub state: Option<State>,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run, and will not before an input changes.
    Stopped,
    /// It waits for an input, or for the time of its next attempt.
    Waiting,
    /// An attempt has begun.
    Starting,
    /// An attempt has started.
    Started,
    /// An attempt is to stop, and has not ended yet.
    Stopping,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
        })
    }
}

/// What a service tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A text.
    Text(String),
    /// Keys and values.
    Pairs(Vec<(String, String)>),
    /// It told nothing: it panicked, or took too long.
    Failed(String),
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<K: Into<String>, V: Into<String>> From<Vec<(K, V)>> for Detail {
    fn from(pairs: Vec<(K, V)>) -> Self {
        Self::Pairs(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl Report {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&ServiceReport> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The graph in the language of graphviz: an arrow from each service to each of its inputs.
    pub fn to_dot(&self) -> String {
        let mut dot = "digraph services {\n".to_owned();
        for service in &self.services {
            let name = quoted(&service.name);
            // Writing into a String cannot fail.
            writeln!(dot, "  \"{name}\" [label=\"{name}\\n{}\"];", service.state).ok();
            for input in &service.inputs {
                writeln!(dot, "  \"{name}\" -> \"{}\";", quoted(&input.name)).ok();
            }
        }
        dot.push_str("}\n");
        dot
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A report whose details are still to be asked for.
pub(crate) struct Draft {
    pub(crate) report: Report,
    /// For each service, in order, who tells its details.
    pub(crate) reporters: Vec<Option<Reporter>>,
}

impl Draft {
    /// Asks all reporters at once, each in a task of its own, so that none can hold up more than its own detail.
    pub(crate) async fn finish(self, limit: Duration) -> Report {
        let Self { mut report, reporters } = self;
        let details = reporters.into_iter().map(|reporter| async move {
            let reporter = reporter?;
            let asked = AbortOnDropHandle::new(tokio::spawn(async move { reporter().await }));
            Some(match timeout(limit, asked).await {
                Ok(Ok(detail)) => detail,
                Ok(Err(error)) => Detail::Failed(match error.try_into_panic() {
                    Ok(panic) => Panicked::new(&*panic).to_string(),
                    Err(error) => error.to_string(),
                }),
                Err(_) => Detail::Failed(format!("took longer than {limit:?}")),
            })
        });
        for (service, detail) in report.services.iter_mut().zip(join_all(details).await) {
            service.detail = detail;
        }
        report
    }
}
