//! Registered workers under dense numbers.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::order::Order;
use super::slab::Slab;
use crate::capability::Map;
use crate::id::WorkerId;
use crate::worker::{State, Worker};

/// What matching needs to know of a worker.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: WorkerId,
    pub(super) state: State,
    pub(super) offers: Arc<Map>,
    pub(super) groups: Arc<[String]>,
    /// Capabilities and groups, counted together.
    pub(super) weight: u32,
}

/// What a put has changed.
pub(super) struct Put {
    pub(super) dense: u32,
    pub(super) former_offers: Option<Arc<Map>>,
    pub(super) offers_changed: bool,
    pub(super) groups_changed: bool,
    pub(super) became_idle: bool,
    pub(super) left_idle: bool,
}

/// Registered workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    entries: Slab<Entry>,
    numbers: HashMap<WorkerId, u32>,
    idle: RoaringBitmap,
    order: Order,
}

impl Workers {
    pub(super) fn put(&mut self, worker: &Worker) -> Put {
        let offers = worker.capabilities.effective();
        let groups = worker.groups();
        let idle = worker.state == State::Idle;
        let number = self.numbers.get(&worker.id).copied();
        let put = match number.and_then(|dense| Some((dense, self.entries.get_mut(dense)?))) {
            Some((dense, entry)) => {
                let offers_changed = !Arc::ptr_eq(&entry.offers, offers) && entry.offers != *offers;
                let groups_changed = *entry.groups != *groups;
                let put = Put {
                    dense,
                    former_offers: offers_changed.then(|| entry.offers.clone()),
                    offers_changed,
                    groups_changed,
                    became_idle: idle && entry.state != State::Idle,
                    left_idle: !idle && entry.state == State::Idle,
                };
                entry.state = worker.state;
                entry.offers = offers.clone();
                if groups_changed {
                    entry.groups = groups.into();
                }
                entry.weight = (offers.len() + groups.len()) as u32;
                put
            }
            None => {
                let dense = self.entries.insert(Entry {
                    id: worker.id,
                    state: worker.state,
                    offers: offers.clone(),
                    groups: groups.into(),
                    weight: (offers.len() + groups.len()) as u32,
                });
                self.numbers.insert(worker.id, dense);
                Put {
                    dense,
                    former_offers: None,
                    offers_changed: true,
                    groups_changed: true,
                    became_idle: idle,
                    left_idle: false,
                }
            }
        };
        if put.offers_changed || put.groups_changed {
            self.order.invalidate();
        }
        if idle {
            self.idle.insert(put.dense);
        } else {
            self.idle.remove(put.dense);
        }
        put
    }

    /// The number and the offers that it had.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<(u32, Arc<Map>)> {
        let dense = self.numbers.remove(&worker)?;
        let entry = self.entries.remove(dense)?;
        self.idle.remove(dense);
        self.order.invalidate();
        Some((dense, entry.offers))
    }

    pub(super) fn dense(&self, worker: WorkerId) -> Option<u32> {
        self.numbers.get(&worker).copied()
    }

    pub(super) fn get(&self, dense: u32) -> Option<&Entry> {
        self.entries.get(dense)
    }

    pub(super) fn idle(&self) -> &RoaringBitmap {
        &self.idle
    }

    /// Every registered worker, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.entries.iter()
    }

    /// Before [`Self::sort`]: finds the order of workers as they are now.
    pub(super) fn refresh_order(&mut self) {
        self.order.refresh(&self.entries);
    }

    /// Puts distinct, registered `workers` in order: least capable first, ties by uuid.
    pub(super) fn sort(&mut self, workers: &mut Vec<u32>) {
        self.order.sort(workers);
    }
}
