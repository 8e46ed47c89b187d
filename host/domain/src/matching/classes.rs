//! Waiting requests, by class, and the classes that are due a look.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::offers::{ConditionId, Offers};
use super::owners::OwnersId;
use super::slab::Slab;
use crate::id::RequestId;
use crate::request::{Request, Spec};

/// Number of a class.
pub(super) type ClassId = u32;

/// Place in the queue: lower comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    priority: u8,
    place: u64,
    pub(super) request: RequestId,
}

impl Rank {
    pub(super) fn of(request: &Request) -> Self {
        Self { priority: request.priority.get(), place: request.place, request: request.id }
    }
}

/// What the core filters the workers of a class by.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) owners: OwnersId,
    /// Conditions that must hold.
    pub(super) positive: Vec<ConditionId>,
    /// Conditions that must not hold.
    pub(super) negative: Vec<ConditionId>,
    /// One of the positive ones, if there is any.
    pub(super) anchor: Option<ConditionId>,
}

/// Requests of owners with the same groups that want the same.
#[derive(Debug)]
pub(super) struct Class {
    key: Key,
    pub(super) filter: Filter,
    /// Requests to look at.
    ready: BTreeSet<Rank>,
    /// Requests that were declined since the last news.
    parked: BTreeSet<Rank>,
    /// Where it is among the due classes; none when it is not due.
    filed: Option<Rank>,
    /// When there were last news.
    news_at: u64,
    /// The candidates that the last look at it showed, when there were more that it did not show.
    shown: Option<Box<[u32]>>,
    pub(super) seat: Seat,
}

/// What a class has in a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seat {
    /// Which round.
    pub(super) round: u64,
    /// Its candidate set.
    pub(super) set: u32,
    /// How many more demands make sense.
    pub(super) left: usize,
}

/// Equal for requests of one class.
#[derive(Clone, Debug)]
struct Key(Arc<Spec>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.owner.groups == other.0.owner.groups && self.0.wants == other.0.wants)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.owner.groups.hash(state);
        self.0.wants.hash(state);
    }
}

/// Where a request is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) class: ClassId,
    pub(super) rank: Rank,
    /// The latest round that had it as a demand; 0 = none.
    demanded_at: u64,
}

/// Waiting requests, by class.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: Slab<Class>,
    numbers: HashMap<Key, ClassId>,
    slots: HashMap<RequestId, Slot>,
    /// Classes that are due a look, under the first request to look at.
    due: BTreeSet<(Rank, ClassId)>,
    /// Classes without an anchor: every worker must be tried.
    unanchored: BTreeSet<ClassId>,
    /// Classes with requests that were parked although there was a worker for them.
    choosy: BTreeSet<ClassId>,
    /// Classes with parked requests to which not every candidate was shown.
    cut: BTreeSet<ClassId>,
    /// Whether a worker stopped being a candidate since the last round.
    candidate_left: bool,
}

impl Classes {
    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    pub(super) fn ids(&self) -> Vec<ClassId> {
        self.classes.iter().map(|(id, _)| id).collect()
    }

    pub(super) fn get(&self, class: ClassId) -> Option<&Class> {
        self.classes.get(class)
    }

    pub(super) fn spec(&self, class: ClassId) -> Option<Arc<Spec>> {
        self.classes.get(class).map(|class| class.key.0.clone())
    }

    pub(super) fn unanchored(&self) -> impl Iterator<Item = ClassId> {
        self.unanchored.iter().copied()
    }

    pub(super) fn slot(&self, request: RequestId) -> Option<&Slot> {
        self.slots.get(&request)
    }

    /// The class that `request` belongs to, if there is one.
    pub(super) fn find(&self, request: &Request) -> Option<ClassId> {
        self.numbers.get(&Key(request.spec.clone())).copied()
    }

    pub(super) fn add(&mut self, spec: Arc<Spec>, filter: Filter, offers: &mut Offers) -> ClassId {
        let key = Key(spec);
        let anchor = filter.anchor;
        let class = self.classes.insert(Class {
            key: key.clone(),
            filter,
            ready: BTreeSet::new(),
            parked: BTreeSet::new(),
            filed: None,
            news_at: 0,
            shown: None,
            seat: Seat::default(),
        });
        self.numbers.insert(key, class);
        self.hang(class, anchor, offers);
        class
    }

    /// Removes a class without requests; its filter is no longer used.
    pub(super) fn retire(&mut self, class: ClassId, offers: &mut Offers) -> Option<Filter> {
        self.undue(class);
        self.choosy.remove(&class);
        self.cut.remove(&class);
        let retired = self.classes.remove(class)?;
        self.numbers.remove(&retired.key);
        self.unhang(class, retired.filter.anchor, offers);
        Some(retired.filter)
    }

    /// Gives a class another filter; the former is no longer used.
    pub(super) fn refilter(&mut self, class: ClassId, filter: Filter, offers: &mut Offers) -> Option<Filter> {
        let anchor = filter.anchor;
        let former = std::mem::replace(&mut self.classes.get_mut(class)?.filter, filter);
        self.unhang(class, former.anchor, offers);
        self.hang(class, anchor, offers);
        Some(former)
    }

    fn hang(&mut self, class: ClassId, anchor: Option<ConditionId>, offers: &mut Offers) {
        match anchor {
            Some(anchor) => offers.hang(class, anchor),
            None => {
                self.unanchored.insert(class);
            }
        }
    }

    fn unhang(&mut self, class: ClassId, anchor: Option<ConditionId>, offers: &mut Offers) {
        match anchor {
            Some(anchor) => offers.unhang(class, anchor),
            None => {
                self.unanchored.remove(&class);
            }
        }
    }

    /// Puts a request into its class, which is due a look then.
    pub(super) fn put(&mut self, class: ClassId, rank: Rank) {
        let Some(entry) = self.classes.get_mut(class) else { return };
        entry.ready.insert(rank);
        self.slots.insert(rank.request, Slot { class, rank, demanded_at: 0 });
        self.file(class);
    }

    /// Removes a request; returns its class if that has none left.
    pub(super) fn remove(&mut self, request: RequestId) -> Option<ClassId> {
        let slot = self.slots.remove(&request)?;
        let class = self.classes.get_mut(slot.class)?;
        if !class.ready.remove(&slot.rank) {
            class.parked.remove(&slot.rank);
        }
        if class.ready.is_empty() && class.parked.is_empty() {
            return Some(slot.class);
        }
        self.refile(slot.class);
        None
    }

    /// There is something new for a class: all its requests are to be looked at.
    pub(super) fn news(&mut self, class: ClassId, now: u64) {
        let Some(entry) = self.classes.get_mut(class) else { return };
        entry.news_at = now;
        entry.shown = None;
        let (mut less, mut more) = (std::mem::take(&mut entry.parked), std::mem::take(&mut entry.ready));
        if less.len() > more.len() {
            std::mem::swap(&mut less, &mut more);
        }
        more.extend(less);
        entry.ready = more;
        self.choosy.remove(&class);
        self.cut.remove(&class);
        self.file(class);
    }

    /// Every request that was declined by choice is to be looked at again.
    pub(super) fn stir(&mut self, now: u64) {
        for class in std::mem::take(&mut self.choosy) {
            self.news(class, now);
        }
    }

    /// Parks a demand until there is news for its class, unless there was some since the round that demanded. `by_choice`:
    /// there is a worker for it.
    pub(super) fn park(&mut self, request: RequestId, by_choice: bool) {
        let Some(slot) = self.slots.get(&request) else { return };
        let Some(class) = self.classes.get_mut(slot.class) else { return };
        if slot.demanded_at == 0 || class.news_at > slot.demanded_at || !class.ready.remove(&slot.rank) {
            return;
        }
        class.parked.insert(slot.rank);
        if by_choice {
            self.choosy.insert(slot.class);
        }
        if class.shown.is_some() {
            self.cut.insert(slot.class);
        }
        let class = slot.class;
        self.refile(class);
    }

    /// A worker stopped being a candidate: classes to which it was shown, but others were not, want to see those.
    pub(super) fn candidate_left(&mut self) {
        self.candidate_left = true;
    }

    /// Before a round: classes whose shown candidates are no longer all free are due again.
    pub(super) fn recheck_cut(&mut self, free: &RoaringBitmap, now: u64) {
        if !std::mem::take(&mut self.candidate_left) {
            return;
        }
        let changed = |class: &ClassId| {
            let shown = self.classes.get(*class).and_then(|class| class.shown.as_deref());
            shown.is_some_and(|shown| shown.iter().any(|worker| !free.contains(*worker)))
        };
        for class in self.cut.iter().copied().filter(changed).collect::<Vec<_>>() {
            self.news(class, now);
        }
    }

    pub(super) fn any_due(&self) -> bool {
        !self.due.is_empty() || (self.candidate_left && !self.cut.is_empty())
    }

    /// Takes the class with the first request in the queue from those that are due.
    pub(super) fn take_due(&mut self) -> Option<(Rank, ClassId)> {
        let (rank, class) = self.due.pop_first()?;
        if let Some(class) = self.classes.get_mut(class) {
            class.filed = None;
        }
        Some((rank, class))
    }

    /// In a round, the class has this seat, and more candidates than `shown` when that is given.
    pub(super) fn seat(&mut self, class: ClassId, seat: Seat, shown: Option<&[u32]>) {
        if let Some(class) = self.classes.get_mut(class) {
            class.seat = seat;
            class.shown = shown.map(Into::into);
        }
    }

    /// The request of this rank is a demand of a round, and the next of its class has its turn after it.
    pub(super) fn demand(&mut self, class: ClassId, rank: Rank, round: u64) {
        if let Some(slot) = self.slots.get_mut(&rank.request) {
            slot.demanded_at = round;
        }
        let Some(entry) = self.classes.get_mut(class) else { return };
        entry.seat.left = entry.seat.left.saturating_sub(1);
        if entry.seat.left == 0 {
            return;
        }
        let after = (std::ops::Bound::Excluded(rank), std::ops::Bound::Unbounded);
        if let Some(next) = entry.ready.range(after).next().copied() {
            entry.filed = Some(next);
            self.due.insert((next, class));
        }
    }

    /// Makes a class due, under the first of its requests.
    pub(super) fn file(&mut self, class: ClassId) {
        let Some(entry) = self.classes.get_mut(class) else { return };
        let first = entry.ready.first().copied();
        if entry.filed == first {
            return;
        }
        if let Some(filed) = entry.filed {
            self.due.remove(&(filed, class));
        }
        entry.filed = first;
        if let Some(first) = first {
            self.due.insert((first, class));
        }
    }

    /// The first request of a class may be another: a class that is due is found under it.
    fn refile(&mut self, class: ClassId) {
        if self.classes.get(class).is_some_and(|class| class.filed.is_some()) {
            self.file(class);
        }
    }

    fn undue(&mut self, class: ClassId) {
        let Some(entry) = self.classes.get_mut(class) else { return };
        if let Some(filed) = entry.filed.take() {
            self.due.remove(&(filed, class));
        }
    }
}
