//! `grove serve`: puts the rooms together and runs them until it is told to stop.

mod adapters;
pub(crate) mod backup;
pub(crate) mod config;
mod files;
pub(crate) mod house;
mod plugins;
mod services;
mod transfer;

use std::fmt::{Debug, Write as _};
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use grove_store::Begin;

use config::Config;
use house::{House, Port};

use crate::escape::Escaping;

/// What a controller calls itself with to have a component compiled: not for people.
pub(crate) const COMPILE: &str = "compile-component";

/// Run the controller
#[derive(Debug, clap::Args)]
#[group(id = "serve")]
pub(crate) struct Args {
    /// Configuration file (TOML); every setting has a default
    #[arg(long, env = "GROVE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to serve HTTP on [default: 127.0.0.1:8487]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder of everything durable [default: $XDG_STATE_HOME/grove]
    #[arg(long, env = "GROVE_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder with one folder per plugin, beside or in place of the built-in ones
    #[arg(long, env = "GROVE_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Host that users connect to for tunnels [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Begin a new farm in a folder in which one was lost; what is left of that stays
    #[arg(long, conflicts_with = "restore")]
    new: bool,
    /// Make the farm of a backup first, in a state folder that holds none
    #[arg(long, value_name = "DIR")]
    restore: Option<PathBuf>,
    /// Serve beyond this machine although nobody is asked who they are
    #[arg(long)]
    insecure_listen: bool,
}

impl Args {
    /// File and flags together, checked.
    pub(crate) fn config(self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(advertise) = self.advertise {
            config.advertise = advertise;
        }
        config.state = self.state.or(config.state);
        config.plugins.folder = self.plugins.or(config.plugins.folder);
        config.insecure_listen |= self.insecure_listen;
        if self.new {
            config.begin = Begin::Anew;
        }
        config.check()?;
        Ok(config)
    }
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let from = args.restore.clone();
    let config = args.config()?;
    log_to_stderr();
    if let Some(from) = from {
        backup::restore(&from, &config.state()?)?;
    }
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let stop = stop_on_signal()?;
        outlive_terminals()?;
        let house = House::start(config, Port::IsWaitedFor).await?;
        tokio::select! {
            ready = house.ready() => say_ready(ready?)?,
            () = stop.cancelled() => {}
        }
        house.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    });
    // Everything that was decided is stored. Keys that are being generated for the stock are not waited for.
    runtime.shutdown_background();
    served
}

/// The runtime of everything but guests.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().context("failed to start threads")
}

/// Lines for the operator; `GROVE_LOG` says which (`info` by default).
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GROVE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // The terminal may be gone, and saying so there would break whoever said something.
    let subscriber = tracing_subscriber::fmt().log_internal_errors(false);
    let subscriber = subscriber.fmt_fields(escaped()).with_env_filter(filter);
    let subscriber = subscriber.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    // Set already only when this process served before.
    let _ = subscriber.try_init();
}

/// What boards, plugins and users wrote steers neither the terminal that shows the log nor whoever reads it by lines.
fn escaped() -> impl for<'writer> FormatFields<'writer> + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| match field.name() {
        "message" => write!(Escaping(writer), "{value:?}"),
        name => write!(Escaping(writer), "{name}={value:?}"),
    };
    debug_fn(field).delimited(" ")
}

/// Only what is amiss, for a terminal that has other things to show.
pub(crate) fn log_only_warnings() {
    let subscriber = tracing_subscriber::fmt().log_internal_errors(false);
    let subscriber = subscriber.fmt_fields(escaped()).with_max_level(tracing::Level::WARN);
    let subscriber = subscriber.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    // Set already only when this process served before.
    let _ = subscriber.try_init();
}

/// The one line that says where: whoever started the controller can wait for it.
fn say_ready(address: SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "grove: listening on http://{address}")
        .and_then(|()| out.flush())
        .context("failed to say where the controller listens")
}

/// SIGHUP does not end a controller, be it sent by whoever wants a configuration to be read again or by a terminal that is
/// closed.
fn outlive_terminals() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::warn!(
                "SIGHUP: nothing was changed, and the farm goes on; the configuration is read when `grove serve` starts, so \
                 restart it to have it read again"
            );
        }
    });
    Ok(())
}

/// Fires at the first SIGTERM or SIGINT; the second ends the process at once, and nothing acknowledged is lost.
pub(crate) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let stop = CancellationToken::new();
    let fired = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        fired.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log that is kept.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_others_wrote_steers_no_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(escaped())
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let dirt = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\nforged";
        tracing::subscriber::with_default(subscriber.finish(), || {
            let _span = tracing::info_span!("task", worker = %dirt).entered();
            tracing::warn!(code = dirt, cause = %dirt, error = ?dirt, "it said {dirt}");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line = log.strip_suffix('\n').unwrap();
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        let shown = r"\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\nforged";
        assert!(
            line.contains(&format!("cause={shown}")) && line.contains(&format!("it said {shown}")),
            "{line}"
        );
    }
}
