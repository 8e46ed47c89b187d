//! What policies and inspectors share: a store with nothing but limits and a log, and calls into it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Store};

use crate::bindings::policy;
use crate::engine::Identity;
use crate::error::{CallError, Cause};
use crate::guest_log::GuestLog;
use crate::host::{Level, LogSink};
use crate::limits::{CallLimits, Meter, Metered, confine};

/// Data of a policy's or inspector's store.
pub(crate) struct PureStore {
    meter: Meter,
    log: Arc<GuestLog>,
}

impl Metered for PureStore {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn log(&self) -> &Arc<GuestLog> {
        &self.log
    }
}

pub(crate) fn pure_linker(engine: &Engine) -> wasmtime::Result<Linker<PureStore>> {
    let mut linker = Linker::new(engine);
    // Policies' and inspectors' `log` are the same import.
    policy::grove::plugin::log::add_to_linker::<_, HasSelf<PureStore>>(&mut linker, |store| store)?;
    Ok(linker)
}

pub(crate) fn pure_store(engine: &Engine, identity: &Identity, sink: Arc<dyn LogSink>) -> Store<PureStore> {
    let log = GuestLog::new(Box::new(move |level, line| sink.log(level, line)));
    let mut store = Store::new(engine, PureStore { meter: Meter::new(identity.effective.memory), log });
    confine(&mut store);
    store
}

impl policy::grove::plugin::log::Host for PureStore {
    fn log(&mut self, at: policy::grove::plugin::log::Level, message: String) -> wasmtime::Result<()> {
        use policy::grove::plugin::log::Level as L;
        let level = match at {
            L::Trace => Level::Trace,
            L::Debug => Level::Debug,
            L::Info => Level::Info,
            L::Warn => Level::Warn,
            L::Error => Level::Error,
        };
        self.log.line(level, &message);
        Ok(())
    }
}

/// The shorter of the caller's and the grant's running time.
pub(crate) fn running_time(identity: &Identity, limits: CallLimits) -> Duration {
    limits.running.min(Duration::from_millis(identity.effective.call_ms))
}

/// An error of this plugin.
pub(crate) fn error(identity: &Identity, call: &'static str, cause: Cause) -> CallError {
    CallError { plugin: identity.name.clone(), kind: identity.manifest.kind, call, cause }
}
