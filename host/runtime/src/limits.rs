//! What one store may use, and how the end of a call is told apart.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline, WasmBacktrace};

use crate::error::Cause;
use crate::guest_log::{GuestLog, cut};

/// Time between two ticks of the epoch: running time is counted in these.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Most elements of all tables of a store together.
const TABLE_ELEMENTS: usize = 50_000;
const TABLES: usize = 64;
const MEMORIES: usize = 4;
const INSTANCES: usize = 200;
/// Most bytes a guest may pass to the host in one call.
pub(crate) const HOSTCALL_BYTES: usize = 8 << 20;
/// Most handles of resources a guest may hold.
pub(crate) const HANDLES: usize = 1000;
/// Longest text for people that is taken from a guest, in bytes.
pub(crate) const MAX_TEXT: usize = 2000;

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall time from the call to its answer.
    pub deadline: Duration,
    /// Time the guest itself may compute (counted in ticks of 1 ms); the plugin's `call_ms` bounds it further.
    pub running: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        CallLimits { deadline: Duration::from_secs(60), running: Duration::from_secs(5) }
    }
}

/// An end that the host itself put to a call; found again in the error that comes out of the engine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Stop(pub(crate) Cause);

/// The limits of one store, in its data.
pub(crate) struct Meter {
    memory: usize,
    memory_limit: usize,
    elements: usize,
    ticks: u64,
    running: Duration,
}

/// Data of a store that is metered.
pub(crate) trait Metered: Send + 'static {
    fn meter(&mut self) -> &mut Meter;
    fn log(&self) -> &Arc<GuestLog>;
}

impl Meter {
    pub(crate) fn new(memory_limit: usize) -> Meter {
        Meter { memory: 0, memory_limit, elements: 0, ticks: 0, running: Duration::MAX }
    }

    /// A new call starts with no time used.
    pub(crate) fn begin_call(&mut self, running: Duration) {
        self.ticks = 0;
        self.running = running;
    }

    fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        self.ticks += 1;
        if u128::from(self.ticks) * TICK.as_millis() > self.running.as_millis() {
            return Err(wasmtime::Error::new(Stop(Cause::RanTooLong(self.running))));
        }
        Ok(UpdateDeadline::Yield(1))
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_sub(current).saturating_add(desired);
        if total > self.memory_limit {
            return Err(wasmtime::Error::new(Stop(Cause::MemoryLimit(self.memory_limit))));
        }
        self.memory = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context("memory did not grow"))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.elements.saturating_sub(current).saturating_add(desired);
        if total > TABLE_ELEMENTS {
            let text = format!("more than {TABLE_ELEMENTS} table elements");
            return Err(wasmtime::Error::new(Stop(Cause::Limit(text))));
        }
        self.elements = total;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error.context("a table did not grow"))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

/// Puts every limit on a fresh store.
pub(crate) fn confine<T: Metered>(store: &mut Store<T>) {
    store.limiter(|data| data.meter());
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store: StoreContextMut<'_, T>| store.data_mut().meter().tick());
}

/// Tells what an error of the engine means.
pub(crate) fn cause_of(error: &wasmtime::Error, log: &GuestLog) -> Cause {
    if let Some(Stop(cause)) = error.downcast_ref::<Stop>() {
        return cause.clone();
    }
    let text = error.root_cause().to_string();
    // The engine has no type for this one; the conformance tests watch the text.
    if text.contains("fuel allocated for hostcalls") {
        return Cause::TooMuchData(format!("more than {} MiB in one call", HOSTCALL_BYTES >> 20));
    }
    let mut text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => text,
    };
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        let names: Vec<_> = trace.frames().iter().filter_map(|frame| frame.func_name()).take(4).collect();
        if !names.is_empty() {
            text = format!("{text} (in {})", names.join(" < "));
        }
    }
    let last_words = log.last_words();
    if !last_words.is_empty() {
        text = format!("{text}; its last words: {last_words}");
    }
    Cause::Trap(cut(&text, MAX_TEXT).to_owned())
}
