//! Plugins in this very process: where they are, and a controller's part for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use grove_runtime::{
    CallContext, CallLimits, CancellationToken, Grants, Level, LogSink, Manifest, NoSecrets, Plugin, Runtime,
    Settings, Target, TaskHost,
};

/// A folder that `cargo xtask bench` names.
fn named(variable: &str) -> Result<PathBuf> {
    let folder = std::env::var_os(variable);
    Ok(folder.with_context(|| format!("{variable} names no folder; run `cargo xtask bench`"))?.into())
}

/// A runtime with this many slots and no cache.
pub(crate) fn runtime(slots: u32) -> Result<Runtime> {
    Ok(Runtime::new(Settings { slots, ..Settings::default() })?)
}

/// Loads a plugin that comes with the controller.
pub(crate) async fn plugin(runtime: &Runtime, folder: &str) -> Result<Plugin> {
    let folder = named("GROVE_BUNDLE")?.join(folder);
    let text = std::fs::read_to_string(folder.join("plugin.toml"))
        .with_context(|| format!("no plugin in {}; run `cargo xtask bench`", folder.display()))?;
    load(runtime, &text, folder).await
}

/// Loads a driver that was made to misbehave.
pub(crate) async fn hostile(runtime: &Runtime, name: &str) -> Result<Plugin> {
    let text = format!(
        "[plugin]\nname = \"{name}\"\nkind = \"driver\"\nversion = \"0.1.0\"\nworld = \"0.1.0\"\n\
         component = \"{name}.wasm\"\n[wants]\n"
    );
    load(runtime, &text, named("GROVE_GUESTS")?).await
}

async fn load(runtime: &Runtime, manifest: &str, folder: PathBuf) -> Result<Plugin> {
    let manifest = Manifest::parse(manifest, "plugin.toml")?;
    let file = folder.join(&manifest.component);
    let component =
        std::fs::read(&file).with_context(|| format!("no {}; run `cargo xtask bench`", file.display()))?;
    let grants = Grants::all_wanted(&manifest);
    Ok(runtime.load(manifest, component, &grants).await?)
}

/// A worker with this driver config.
pub(crate) fn target(config: &str) -> Target {
    Target {
        uuid: "0198c0de-0000-7000-8000-000000000001".to_owned(),
        capabilities: vec![("board".to_owned(), "rpi4".to_owned())],
        config: config.to_owned(),
    }
}

/// Limits that only a hang reaches.
pub(crate) fn patient() -> CallLimits {
    CallLimits { deadline: Duration::from_secs(600), running: Duration::from_secs(600) }
}

/// What a task gives a driver that works for it.
pub(crate) fn context(limits: CallLimits) -> CallContext {
    CallContext {
        cancel: CancellationToken::new(),
        limits,
        task: Arc::new(Deaf),
        ssh: None,
        secrets: Arc::new(NoSecrets),
        storage: None,
        label: "bench".to_owned(),
    }
}

/// Listens to nothing that a plugin says.
pub(crate) struct Deaf;

impl TaskHost for Deaf {
    fn progress<'a>(&'a self, _percent: u8, _note: &'a str) -> futures_util::future::BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn step<'a>(&'a self, _name: &'a str) -> futures_util::future::BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    fn log(&self, _level: Level, _line: &str) {}
}

impl LogSink for Deaf {
    fn log(&self, _level: Level, _line: &str) {}
}
