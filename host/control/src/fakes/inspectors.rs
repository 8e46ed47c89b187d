//! An inspector that does what the test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_domain::id::{Uuid, WorkerId};
use grove_domain::introspection::{Change, View};
use grove_domain::inventory::Value;
use grove_domain::plugin::Digest;
use grove_domain::worker::Registration;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::inventory;
use crate::ports::{Blame, Enrolment, Inspected, Inspectors};

/// Its name.
const NAME: &str = "fake-inspector";

/// What an inspector does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Inspection {
    /// Concludes at once.
    #[default]
    Instant,
    /// Concludes after this long.
    After(Duration),
    /// Says that it cannot.
    Fail(String),
    /// Works until it is stopped.
    Hang,
    /// What adapts it panics.
    Panic,
}

/// One inspector, [`NAME`]. It leaves an inventory as it is. Each text or number at its top is a capability; `fail` is
/// why the run is to fail; a board that nobody registered is the worker of its `uuid`, with the driver that it names.
#[derive(Clone, Default)]
pub struct FakeInspectors {
    shared: Arc<Mutex<Shared>>,
    life: CancellationToken,
}

#[derive(Default)]
struct Shared {
    inspection: Inspection,
    version: Option<Digest>,
    asked: usize,
    active: usize,
    most_active: usize,
    alive: CancellationToken,
}

impl FakeInspectors {
    /// From now on it does this.
    pub fn behave(&self, inspection: Inspection) {
        self.shared.lock().inspection = inspection;
    }

    /// From now on this version of it is at work.
    pub fn version(&self, version: Option<Digest>) {
        self.shared.lock().version = version;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.lock().asked
    }

    /// How many inventories it is at work on.
    pub fn active(&self) -> usize {
        self.shared.lock().active
    }

    /// The most that it was ever at work on at the same time.
    pub fn most_active(&self) -> usize {
        self.shared.lock().most_active
    }

    /// The same inspector for the next life; what the life before it asked is never answered.
    pub(super) fn next_life(&self) -> Self {
        let mut shared = self.shared.lock();
        shared.alive.cancel();
        shared.active = 0;
        shared.alive = CancellationToken::new();
        Self { shared: self.shared.clone(), life: shared.alive.clone() }
    }

    /// The same inspector for somebody who lives at the same time.
    pub(super) fn same_life(&self) -> Self {
        let life = self.shared.lock().alive.clone();
        Self { shared: self.shared.clone(), life }
    }

    fn ask<T: Send + 'static>(
        &self,
        cancel: CancellationToken,
        answer: impl FnOnce(Option<Digest>) -> Result<T, Vec<Blame>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Vec<Blame>>> {
        let life = self.life.clone();
        if life.is_cancelled() {
            return std::future::pending().boxed();
        }
        let (inspection, version) = {
            let mut shared = self.shared.lock();
            shared.asked += 1;
            shared.active += 1;
            shared.most_active = shared.most_active.max(shared.active);
            (shared.inspection.clone(), shared.version)
        };
        let active = Active(self.clone());
        async move {
            let _active = active;
            tokio::select! {
                biased;
                () = life.cancelled() => std::future::pending().await,
                () = cancel.cancelled() => Err(blame("stopped")),
                () = work(&inspection) => match inspection {
                    Inspection::Fail(reason) => {
                        Err(vec![Blame { inspector: NAME.to_owned(), version, reason }])
                    }
                    _ => answer(version),
                },
            }
        }
        .boxed()
    }
}

impl Inspectors for FakeInspectors {
    fn names(&self) -> Vec<String> {
        vec![NAME.to_owned()]
    }

    fn inspect(
        &self,
        raw: Arc<str>,
        _worker: View,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Inspected, Vec<Blame>>> {
        self.ask(cancel, move |version| {
            let conclusions = top(&raw)?.into_iter().filter_map(|(key, value)| match key.as_str() {
                "fail" => Some(Change::Fail(value.text()?)),
                "uuid" | "driver" => None,
                _ => Some(Change::SetCapability(key, value.text()?)),
            });
            let changes = conclusions.map(|change| (NAME.to_owned(), change)).collect();
            let by = version.map(|version| (NAME.to_owned(), version)).into_iter().collect();
            Ok(Inspected { inventory: raw, changes, by })
        })
    }

    fn unknown(
        &self,
        raw: Arc<str>,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<Option<Enrolment>, Vec<Blame>>> {
        self.ask(cancel, move |_| {
            let top = top(&raw)?;
            let Some(id) = top.get("uuid").and_then(Value::text) else { return Ok(None) };
            let id = Uuid::try_parse(&id).map_err(|error| blame(&error.to_string()))?;
            let driver = top.get("driver").and_then(Value::text).unwrap_or_else(|| "fake".to_owned());
            let registration =
                Registration { driver, driver_config: "{}".to_owned(), capabilities: Arc::default() };
            Ok(Some(Enrolment { inspector: NAME.to_owned(), worker: WorkerId(id), registration }))
        })
    }
}

async fn work(inspection: &Inspection) {
    match inspection {
        Inspection::Instant | Inspection::Fail(_) => {}
        Inspection::After(wait) => tokio::time::sleep(*wait).await,
        Inspection::Hang => std::future::pending().await,
        #[expect(clippy::panic, reason = "it was told to")]
        Inspection::Panic => panic!("an inspector's adapter that panics"),
    }
}

fn top(raw: &str) -> Result<BTreeMap<String, Value>, Vec<Blame>> {
    match inventory::read(raw) {
        Ok(Value::Map(map)) => Ok(map),
        Ok(_) => Ok(BTreeMap::new()),
        Err(reason) => Err(blame(&reason)),
    }
}

fn blame(reason: &str) -> Vec<Blame> {
    vec![Blame { inspector: NAME.to_owned(), version: None, reason: reason.to_owned() }]
}

/// An inventory that is worked on.
struct Active(FakeInspectors);

impl Drop for Active {
    fn drop(&mut self) {
        // The next life counts anew.
        if !self.0.life.is_cancelled() {
            let mut shared = self.0.shared.lock();
            shared.active = shared.active.saturating_sub(1);
        }
    }
}
