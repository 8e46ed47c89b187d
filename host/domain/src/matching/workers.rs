//! Registered workers under dense numbers, and which of them may be given away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::order::Order;
use super::slab::Slab;
use crate::capability::Map;
use crate::id::WorkerId;
use crate::limit::Scope;
use crate::worker::{State, Worker};

/// What matching needs to know of a worker.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: WorkerId,
    pub(super) state: State,
    pub(super) offers: Arc<Map>,
    pub(super) groups: Arc<[String]>,
    /// Its driver, and its host if it has one.
    scopes: Vec<Scope>,
    /// Capabilities and groups, counted together.
    pub(super) weight: u32,
}

/// What a put has changed.
pub(super) struct Put {
    pub(super) dense: u32,
    pub(super) former_offers: Option<Arc<Map>>,
    pub(super) offers_changed: bool,
    pub(super) groups_changed: bool,
    pub(super) became_free: bool,
    pub(super) left_free: bool,
}

/// A driver or host on whose workers no task can start.
#[derive(Debug)]
struct Shut {
    /// Rounds that were held before.
    rounds: u64,
    /// Workers that there was news of since.
    missed: RoaringBitmap,
}

/// Registered workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    entries: Slab<Entry>,
    numbers: HashMap<WorkerId, u32>,
    idle: RoaringBitmap,
    /// Idle, and on no driver or host that is shut.
    free: RoaringBitmap,
    /// Registered workers of each driver and host.
    members: HashMap<Scope, RoaringBitmap>,
    shut: BTreeMap<Scope, Shut>,
    order: Order,
}

impl Workers {
    pub(super) fn put(&mut self, worker: &Worker) -> Put {
        let moved = self
            .numbers
            .get(&worker.id)
            .is_none_or(|dense| self.entries.get(*dense).is_none_or(|entry| !is_of(worker, &entry.scopes)));
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
                    became_free: false,
                    left_free: false,
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
                    scopes: Vec::new(),
                    weight: (offers.len() + groups.len()) as u32,
                });
                self.numbers.insert(worker.id, dense);
                Put {
                    dense,
                    former_offers: None,
                    offers_changed: true,
                    groups_changed: true,
                    became_free: false,
                    left_free: false,
                }
            }
        };
        if moved {
            self.leave(put.dense);
            self.join(put.dense, worker);
        }
        let was_idle = self.idle.contains(put.dense);
        if put.offers_changed || put.groups_changed {
            self.order.invalidate();
        }
        if idle {
            self.idle.insert(put.dense);
        } else {
            self.idle.remove(put.dense);
        }
        let (was_free, is_free) = (self.free.contains(put.dense), idle && self.is_open(put.dense));
        if is_free {
            self.free.insert(put.dense);
        } else {
            self.free.remove(put.dense);
        }
        let news = !was_idle || moved || put.offers_changed || put.groups_changed;
        if idle && !is_free && news {
            self.miss(put.dense);
        }
        Put { became_free: is_free && !was_free, left_free: was_free && !is_free, ..put }
    }

    fn join(&mut self, dense: u32, worker: &Worker) {
        let Some(entry) = self.entries.get_mut(dense) else { return };
        entry.scopes = scopes_of(worker).collect();
        for scope in &entry.scopes {
            self.members.entry(scope.clone()).or_default().insert(dense);
        }
    }

    fn leave(&mut self, dense: u32) {
        let Some(entry) = self.entries.get_mut(dense) else { return };
        for scope in std::mem::take(&mut entry.scopes) {
            if let Some(members) = self.members.get_mut(&scope) {
                members.remove(dense);
                if members.is_empty() {
                    self.members.remove(&scope);
                }
            }
        }
    }

    /// The driver or host that keeps an idle worker from being given away.
    pub(super) fn shut_by(&self, dense: u32) -> Option<&Scope> {
        if self.shut.is_empty() {
            return None;
        }
        self.entries.get(dense)?.scopes.iter().find(|scope| self.shut.contains_key(scope))
    }

    fn is_open(&self, dense: u32) -> bool {
        self.shut_by(dense).is_none()
    }

    /// There is news of a worker that cannot be given away: it is to be looked at once it can.
    fn miss(&mut self, dense: u32) {
        let Some(entry) = self.entries.get(dense) else { return };
        for scope in &entry.scopes {
            if let Some(shut) = self.shut.get_mut(scope) {
                shut.missed.insert(dense);
            }
        }
    }

    /// There is news of every worker.
    pub(super) fn miss_all(&mut self) {
        for (scope, shut) in &mut self.shut {
            if let Some(members) = self.members.get(scope) {
                shut.missed |= members & &self.idle;
            }
        }
    }

    /// Workers of this driver or host are not given away. `rounds`: how many were held so far.
    pub(super) fn shut(&mut self, scope: &Scope, rounds: u64) {
        if self.shut.contains_key(scope) {
            return;
        }
        if let Some(members) = self.members.get(scope) {
            self.free -= members;
        }
        self.shut.insert(scope.clone(), Shut { rounds, missed: RoaringBitmap::new() });
    }

    /// They are given away again. Those that a round may have left out.
    pub(super) fn open(&mut self, scope: &Scope, rounds: u64) -> RoaringBitmap {
        let Some(shut) = self.shut.remove(scope) else { return RoaringBitmap::new() };
        let idle = self.members.get(scope).map(|members| members & &self.idle).unwrap_or_default();
        let (mut opened, mut others) = (RoaringBitmap::new(), Vec::new());
        for dense in idle {
            if self.is_open(dense) {
                opened.insert(dense);
            } else {
                others.push(dense);
            }
        }
        self.free |= &opened;
        if rounds != shut.rounds {
            others.into_iter().for_each(|dense| self.miss(dense));
            return opened;
        }
        others.into_iter().filter(|dense| shut.missed.contains(*dense)).for_each(|dense| self.miss(dense));
        opened & shut.missed
    }

    /// The number and the offers that it had.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<(u32, Arc<Map>)> {
        let dense = self.numbers.remove(&worker)?;
        self.leave(dense);
        let entry = self.entries.remove(dense)?;
        self.idle.remove(dense);
        self.free.remove(dense);
        for shut in self.shut.values_mut() {
            shut.missed.remove(dense);
        }
        self.order.invalidate();
        Some((dense, entry.offers))
    }

    pub(super) fn dense(&self, worker: WorkerId) -> Option<u32> {
        self.numbers.get(&worker).copied()
    }

    pub(super) fn get(&self, dense: u32) -> Option<&Entry> {
        self.entries.get(dense)
    }

    /// Those that may be given away.
    pub(super) fn free(&self) -> &RoaringBitmap {
        &self.free
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

fn scopes_of(worker: &Worker) -> impl Iterator<Item = Scope> {
    let driver = Scope::Driver(worker.registration.driver.clone());
    std::iter::once(driver).chain(worker.host.clone().map(Scope::Host))
}

fn is_of(worker: &Worker, scopes: &[Scope]) -> bool {
    let names = std::iter::once(worker.registration.driver.as_str()).chain(worker.host.as_deref());
    names.eq(scopes.iter().map(Scope::name))
}
