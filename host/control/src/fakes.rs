//! A farm's surroundings in memory, to be told what to do: for tests here and in the rooms above.

mod drivers;
mod inspectors;
mod policy;
mod rest;
mod store;

use std::sync::Arc;

use grove_domain::id::{InstanceId, TaskId, Uuid};
use grove_domain::moment::Timestamp;

pub use drivers::{Behaviour, FakeDrivers};
pub use inspectors::{FakeInspectors, Inspection};
pub use policy::{FakePolicies, Mood};
pub use rest::{FakeKeys, FakeLogs, FakeTunnels, TokioClock};
pub use store::MemoryStore;

use crate::dispatcher::Parts;
use crate::settings::Settings;

/// All of it, with handles to meddle with.
#[derive(Clone)]
pub struct Fakes {
    /// The store.
    pub store: MemoryStore,
    /// The drivers: `fake`.
    pub drivers: FakeDrivers,
    /// The inspectors: `fake`.
    pub inspectors: FakeInspectors,
    /// The keys.
    pub keys: FakeKeys,
    /// The tunnels.
    pub tunnels: FakeTunnels,
    /// The policies.
    pub policies: FakePolicies,
    /// The logs of tasks.
    pub logs: FakeLogs,
    /// The clock: follows tokio's, which tests may pause.
    pub clock: TokioClock,
}

impl Fakes {
    /// Fresh surroundings, at 2026-01-01T00:00:00Z.
    #[expect(clippy::new_without_default, reason = "reads a clock")]
    pub fn new() -> Self {
        Self {
            store: MemoryStore::default(),
            drivers: FakeDrivers::default(),
            inspectors: FakeInspectors::default(),
            keys: FakeKeys::default(),
            tunnels: FakeTunnels::default(),
            policies: FakePolicies::default(),
            logs: FakeLogs::default(),
            clock: TokioClock::new(),
        }
    }

    /// What a controller is put together from. Called again, it ends the earlier controller's life as `kill -9` would:
    /// its store, drivers and tunnels do nothing any more.
    pub fn parts(&self, settings: Settings) -> Parts {
        let mut counter = 0u64;
        let drivers = self.drivers.next_life();
        let store = self.store.next_life();
        let life = store.life();
        Parts {
            store: Arc::new(store),
            drivers: Arc::new(drivers),
            inspectors: Arc::new(self.inspectors.next_life()),
            keys: Arc::new(self.keys.clone()),
            tunnels: Arc::new(self.tunnels.next_life()),
            policies: Arc::new(self.policies.clone()),
            logs: Arc::new(self.logs.clone()),
            clock: Arc::new(self.clock.clone()),
            new_task_id: Box::new(move |_: Timestamp| {
                counter += 1;
                TaskId(Uuid::from_u64_pair(life, counter))
            }),
            instance: InstanceId(Uuid::from_u64_pair(0, life)),
            settings,
        }
    }

    /// The parts of a second controller, which starts on the same store while the first still runs.
    pub fn rival_parts(&self, settings: Settings) -> Parts {
        let store = self.store.same_life();
        let life = store.life();
        let mut counter = 0u64;
        Parts {
            store: Arc::new(store),
            drivers: Arc::new(self.drivers.same_life()),
            inspectors: Arc::new(self.inspectors.same_life()),
            keys: Arc::new(self.keys.clone()),
            tunnels: Arc::new(self.tunnels.same_life()),
            policies: Arc::new(self.policies.clone()),
            logs: Arc::new(self.logs.clone()),
            clock: Arc::new(self.clock.clone()),
            new_task_id: Box::new(move |_: Timestamp| {
                counter += 1;
                TaskId(Uuid::from_u64_pair(life, counter + (1 << 32)))
            }),
            instance: InstanceId(Uuid::from_u64_pair(1, life)),
            settings,
        }
    }
}
