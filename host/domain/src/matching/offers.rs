//! What workers offer, and which of the conditions in use they meet.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::classes::ClassId;
use super::slab::Slab;
use crate::capability::Map;
use crate::wants::{Condition, Test, Wanted, offered_elements, offers_range};

/// Number of a condition in use.
pub(super) type ConditionId = u32;

/// A condition in use.
#[derive(Debug)]
struct Use {
    condition: Arc<Condition>,
    /// Registered workers that meet it.
    workers: RoaringBitmap,
    /// Classes that refer to it, each as often as it does.
    users: usize,
    /// Classes that hang on it.
    anchored: BTreeSet<ClassId>,
}

/// One capability: who offers which value, and which conditions ask for it.
#[derive(Debug, Default)]
struct Key {
    /// Workers by the whole text of their value.
    values: HashMap<Arc<str>, RoaringBitmap>,
    /// Values that are lists (or have blanks around them), under each of their elements.
    lists: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// Values that offer a range.
    ranges: BTreeSet<Arc<str>>,
    /// Conditions all of whose wanted values are texts, under each of these.
    by_text: HashMap<Box<str>, Vec<ConditionId>>,
    /// All other conditions.
    others: BTreeSet<ConditionId>,
    /// Those of the others that classes hang on.
    other_anchors: BTreeSet<ConditionId>,
}

/// What workers offer, by capability.
#[derive(Debug, Default)]
pub(super) struct Offers {
    keys: HashMap<Box<str>, Key>,
    uses: Slab<Use>,
    numbers: HashMap<Arc<Condition>, ConditionId>,
}

impl Offers {
    /// The worker's offers were `former` and are `offers` now.
    pub(super) fn update(&mut self, dense: u32, former: Option<&Map>, offers: &Map) {
        for (key, value) in former.into_iter().flatten() {
            if offers.get(key) != Some(value) {
                self.withdraw(dense, key, value);
            }
        }
        for (key, value) in offers {
            if former.is_none_or(|former| former.get(key) != Some(value)) {
                self.offer(dense, key, value);
            }
        }
    }

    fn offer(&mut self, dense: u32, key: &str, value: &str) {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.into(), Key::default());
        }
        let Some(entry) = self.keys.get_mut(key) else { return };
        entry.offer(dense, value);
        for number in entry.concerned(value) {
            if let Some(asked) = self.uses.get_mut(number)
                && asked.condition.holds(Some(value))
            {
                asked.workers.insert(dense);
            }
        }
    }

    fn withdraw(&mut self, dense: u32, key: &str, value: &str) {
        let Some(entry) = self.keys.get_mut(key) else { return };
        entry.withdraw(dense, value);
        for number in entry.concerned(value) {
            if let Some(asked) = self.uses.get_mut(number) {
                asked.workers.remove(dense);
            }
        }
        self.drop_unused(key);
    }

    fn drop_unused(&mut self, key: &str) {
        if self.keys.get(key).is_some_and(Key::is_unused) {
            self.keys.remove(key);
        }
    }

    /// Registers one more use of `condition`.
    pub(super) fn acquire(&mut self, condition: Arc<Condition>) -> ConditionId {
        if let Some(number) = self.numbers.get(&condition)
            && let Some(asked) = self.uses.get_mut(*number)
        {
            asked.users += 1;
            return *number;
        }
        let mut workers = self.meeting(&condition);
        workers.optimize();
        let asked = Use { condition: condition.clone(), workers, users: 1, anchored: BTreeSet::new() };
        let number = self.uses.insert(asked);
        if !self.keys.contains_key(&condition.key) {
            self.keys.insert(condition.key.clone(), Key::default());
        }
        if let Some(key) = self.keys.get_mut(&condition.key) {
            match wanted_texts(&condition) {
                Some(texts) => {
                    for text in texts {
                        key.by_text.entry(text.into()).or_default().push(number);
                    }
                }
                None => {
                    key.others.insert(number);
                }
            }
        }
        self.numbers.insert(condition, number);
        number
    }

    /// Ends one use of each of `conditions`.
    pub(super) fn release(&mut self, conditions: impl Iterator<Item = ConditionId>) {
        for number in conditions {
            let Some(asked) = self.uses.get_mut(number) else { continue };
            asked.users -= 1;
            if asked.users == 0
                && let Some(asked) = self.uses.remove(number)
            {
                self.forget(number, &asked.condition);
            }
        }
    }

    fn forget(&mut self, number: ConditionId, condition: &Arc<Condition>) {
        self.numbers.remove(condition);
        let Some(key) = self.keys.get_mut(&condition.key) else { return };
        match wanted_texts(condition) {
            Some(texts) => {
                for text in texts {
                    if let Some(numbers) = key.by_text.get_mut(text) {
                        numbers.retain(|other| *other != number);
                        if numbers.is_empty() {
                            key.by_text.remove(text);
                        }
                    }
                }
            }
            None => {
                key.others.remove(&number);
            }
        }
        self.drop_unused(&condition.key);
    }

    /// Registered workers that meet a condition, in use or not.
    pub(super) fn meeting(&self, condition: &Arc<Condition>) -> RoaringBitmap {
        if let Some(asked) = self.numbers.get(condition).and_then(|number| self.uses.get(*number)) {
            return asked.workers.clone();
        }
        let Some(key) = self.keys.get(&condition.key) else { return RoaringBitmap::new() };
        let mut workers = RoaringBitmap::new();
        let mut look = |value: &str, offered: &RoaringBitmap| {
            if condition.holds(Some(value)) {
                workers |= offered;
            }
        };
        match wanted_texts(condition) {
            // Only these values can meet it.
            Some(texts) => {
                for text in texts {
                    let listed = key.lists.get(text).into_iter().flatten().map(|value| &**value);
                    for value in std::iter::once(text).chain(listed) {
                        if let Some(offered) = key.values.get(value) {
                            look(value, offered);
                        }
                    }
                }
                for value in &key.ranges {
                    if let Some(offered) = key.values.get(value) {
                        look(value, offered);
                    }
                }
            }
            None => key.values.iter().for_each(|(value, offered)| look(value, offered)),
        }
        workers
    }

    /// Registered workers that meet a condition in use.
    pub(super) fn workers(&self, condition: ConditionId) -> Option<&RoaringBitmap> {
        self.uses.get(condition).map(|asked| &asked.workers)
    }

    /// Whether a worker meets all of `positive` and none of `negative`.
    pub(super) fn satisfy(&self, positive: &[ConditionId], negative: &[ConditionId], dense: u32) -> bool {
        let meets =
            |number: &ConditionId| self.workers(*number).is_some_and(|workers| workers.contains(dense));
        positive.iter().all(meets) && !negative.iter().any(meets)
    }

    /// The condition that leads to a class with the fewest detours: one that a worker's own values lead to directly
    /// before any other, then the one that the fewest workers meet.
    pub(super) fn choose_anchor(&self, positive: &[ConditionId]) -> Option<ConditionId> {
        let cost = |number: &ConditionId| {
            let asked = self.uses.get(*number)?;
            Some((wanted_texts(&asked.condition).is_none(), asked.workers.len()))
        };
        positive.iter().copied().min_by_key(|number| cost(number).unwrap_or((true, u64::MAX)))
    }

    pub(super) fn hang(&mut self, class: ClassId, anchor: ConditionId) {
        let Some(asked) = self.uses.get_mut(anchor) else { return };
        asked.anchored.insert(class);
        if let Some(key) = self.keys.get_mut(&asked.condition.key)
            && key.others.contains(&anchor)
        {
            key.other_anchors.insert(anchor);
        }
    }

    pub(super) fn unhang(&mut self, class: ClassId, anchor: ConditionId) {
        let Some(asked) = self.uses.get_mut(anchor) else { return };
        asked.anchored.remove(&class);
        if asked.anchored.is_empty()
            && let Some(key) = self.keys.get_mut(&asked.condition.key)
        {
            key.other_anchors.remove(&anchor);
        }
    }

    /// Classes whose anchor the worker meets; some may come twice.
    pub(super) fn anchored(&self, dense: u32, offers: &Map) -> Vec<ClassId> {
        let mut classes = Vec::new();
        for (key, value) in offers {
            let Some(key) = self.keys.get(key.as_str()) else { continue };
            let direct = key.concerned_by_text(value);
            for number in direct.into_iter().chain(key.other_anchors.iter().copied()) {
                if let Some(asked) = self.uses.get(number)
                    && !asked.anchored.is_empty()
                    && asked.workers.contains(dense)
                {
                    classes.extend(&asked.anchored);
                }
            }
        }
        classes
    }
}

impl Key {
    fn is_unused(&self) -> bool {
        self.values.is_empty() && self.by_text.is_empty() && self.others.is_empty()
    }

    fn offer(&mut self, dense: u32, value: &str) {
        if let Some(workers) = self.values.get_mut(value) {
            workers.insert(dense);
            return;
        }
        let value: Arc<str> = value.into();
        for element in listed_elements(&value) {
            self.lists.entry(element.into()).or_default().insert(value.clone());
        }
        if offers_range(&value) {
            self.ranges.insert(value.clone());
        }
        self.values.insert(value, RoaringBitmap::from_iter([dense]));
    }

    fn withdraw(&mut self, dense: u32, value: &str) {
        let Some(workers) = self.values.get_mut(value) else { return };
        workers.remove(dense);
        if !workers.is_empty() {
            return;
        }
        for element in listed_elements(value) {
            if let Some(values) = self.lists.get_mut(element) {
                values.remove(value);
                if values.is_empty() {
                    self.lists.remove(element);
                }
            }
        }
        self.ranges.remove(value);
        self.values.remove(value);
    }

    /// Conditions that a worker with this value may meet: no other can hold for it. Some may come twice.
    fn concerned(&self, value: &str) -> Vec<ConditionId> {
        let mut numbers = self.concerned_by_text(value);
        numbers.extend(&self.others);
        numbers
    }

    fn concerned_by_text(&self, value: &str) -> Vec<ConditionId> {
        if offers_range(value) {
            // A wanted number may lie within what is offered.
            return self.by_text.values().flatten().copied().collect();
        }
        let texts = std::iter::once(value).chain(listed_elements(value));
        texts.filter_map(|text| self.by_text.get(text)).flatten().copied().collect()
    }
}

/// The elements of a value that is a list or has blanks around it; none for any other.
fn listed_elements(value: &str) -> impl Iterator<Item = &str> {
    offered_elements(value).filter(move |element| element.len() != value.len())
}

/// The texts that a condition wants, when it wants nothing but texts.
fn wanted_texts(condition: &Condition) -> Option<Vec<&str>> {
    match &condition.test {
        Test::Present => None,
        Test::Any(wanted) => wanted
            .iter()
            .map(|wanted| match wanted {
                Wanted::Whole(text) | Wanted::Text(text, _) => Some(&**text),
                Wanted::Range(_) => None,
            })
            .collect(),
    }
}
