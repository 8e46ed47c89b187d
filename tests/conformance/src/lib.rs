//! Plugins, good and hostile, against the runtime: whatever a guest does, it is named, contained and gone, and the
//! others go on. The guests are in `guests/`; this library builds them and plays the controller for them.
//!
//! What must never happen here: a guest that no test looks at; a test that passes because a guest was not built.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use grove_runtime::{
    CallContext, CallLimits, CancellationToken, Grants, Level, LoadError, LogSink, Manifest, NoSecrets,
    Plugin, Runtime, Settings, Target, TaskHost,
};
use parking_lot::Mutex;
use xtask::project::Project;

/// Deadline of calls that should not come near it: only there to end a hang.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The folder of built guests. Builds them first (once per process; cargo knows what is stale), unless `GROVE_GUESTS`
/// says where they already are.
pub fn guests() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        built(xtask::bundle::GUESTS, |project| {
            xtask::bundle::guests(project)?;
            Ok(project.built_guests())
        })
    });
    built.clone().map_err(|error| anyhow::anyhow!("the guests do not build: {error}"))
}

/// The folder of the plugins that come with the controller, one folder for each. Builds them first, unless
/// `GROVE_BUNDLE` says where they already are.
pub fn shipped() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        built(xtask::bundle::BUNDLE, |project| {
            xtask::bundle::plugins(project)?;
            Ok(project.bundle())
        })
    });
    built.clone().map_err(|error| anyhow::anyhow!("the plugins do not build: {error}"))
}

fn built(variable: &str, build: impl Fn(&Project) -> Result<PathBuf>) -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os(variable) {
        return Ok(folder.into());
    }
    Project::find().and_then(|project| build(&project)).map_err(|error| format!("{error:#}"))
}

/// The component of a guest.
pub fn component(name: &str) -> Result<Vec<u8>> {
    let path = guests()?.join(format!("{name}.wasm"));
    std::fs::read(&path)
        .with_context(|| format!("no guest {}; run `cargo xtask plugins --guests`", path.display()))
}

/// The manifest of a guest that wants these lines of TOML. Its kind is the first word of its name.
pub fn manifest(name: &str, wants: &str) -> Result<Manifest> {
    let kind = name.split('-').next().unwrap_or(name);
    let text = format!(
        "[plugin]\nname = \"{name}\"\nkind = \"{kind}\"\nversion = \"0.1.0\"\nworld = \"0.1.0\"\n\
         component = \"{name}.wasm\"\n[wants]\n{wants}\n"
    );
    Ok(Manifest::parse(&text, "plugin.toml")?)
}

/// A runtime with this many slots and no cache.
pub fn runtime(slots: u32) -> Result<Runtime> {
    Ok(Runtime::new(Settings { slots, ..Settings::default() })?)
}

/// The runtime that most tests share, so that each also sees that the others do not disturb it.
pub fn shared() -> &'static Runtime {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    #[expect(clippy::expect_used, reason = "there is nothing to test without a runtime")]
    SHARED.get_or_init(|| runtime(64).expect("the runtime starts"))
}

/// Loads a guest that wants and is granted these lines of TOML.
pub async fn load(name: &str, wants: &str) -> Result<Plugin> {
    let manifest = manifest(name, wants)?;
    let grants = Grants::all_wanted(&manifest);
    Ok(try_load(manifest, &grants).await??)
}

/// Loads a guest under these grants; the inner error is the runtime's.
pub async fn try_load(manifest: Manifest, grants: &Grants) -> Result<Result<Plugin, LoadError>> {
    let component = component(&manifest.name)?;
    Ok(shared().load(manifest, component, grants).await)
}

/// A worker with this driver config.
pub fn target(config: &str) -> Target {
    Target {
        uuid: "0198c0de-0000-7000-8000-000000000001".to_owned(),
        capabilities: vec![("board".to_owned(), "rpi4".to_owned())],
        config: config.to_owned(),
    }
}

/// Limits that only a hang reaches.
pub fn patient() -> CallLimits {
    CallLimits { deadline: PATIENCE, running: PATIENCE }
}

/// Limits for guests that compute without end.
pub fn short_run() -> CallLimits {
    CallLimits { deadline: PATIENCE, running: Duration::from_millis(50) }
}

/// A task, and what its driver told it. The store of a running call holds it: when nobody but the test has it any
/// more, the store is gone.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Log lines.
    pub lines: Mutex<Vec<(Level, String)>>,
    /// Steps begun.
    pub steps: Mutex<Vec<String>>,
    /// Progress told.
    pub progress: Mutex<Vec<(u8, String)>>,
}

impl Recorder {
    /// A task that nothing was told yet.
    pub fn new() -> Arc<Recorder> {
        Arc::default()
    }

    /// A context for this task.
    pub fn context(self: &Arc<Recorder>, limits: CallLimits) -> CallContext {
        CallContext {
            cancel: CancellationToken::new(),
            limits,
            task: self.clone(),
            ssh: None,
            secrets: Arc::new(NoSecrets),
            storage: None,
            label: "conformance".to_owned(),
        }
    }

    /// Whether a log line contains this.
    pub fn heard(&self, needle: &str) -> bool {
        self.lines.lock().iter().any(|(_, line)| line.contains(needle))
    }
}

impl TaskHost for Recorder {
    fn progress<'a>(&'a self, percent: u8, note: &'a str) -> BoxFuture<'a, ()> {
        self.progress.lock().push((percent, note.to_owned()));
        Box::pin(std::future::ready(()))
    }

    fn step<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        self.steps.lock().push(name.to_owned());
        Box::pin(std::future::ready(()))
    }

    fn log(&self, level: Level, line: &str) {
        self.lines.lock().push((level, line.to_owned()));
    }
}

impl LogSink for Recorder {
    fn log(&self, level: Level, line: &str) {
        self.lines.lock().push((level, line.to_owned()));
    }
}
