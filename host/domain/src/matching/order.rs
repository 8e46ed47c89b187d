//! The order of candidates: least capable first, ties by uuid.

use super::slab::Slab;
use super::workers::Entry;

/// Every worker's place in the order. Found anew, in one sort, when workers changed and a round needs it.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Place of each dense number; of numbers not in use, anything.
    places: Vec<u32>,
    /// Dense number at each place.
    numbers: Vec<u32>,
    valid: bool,
    /// A set of places, all zero between uses.
    scratch: Vec<u64>,
}

/// Sets below this are sorted by comparison, larger ones through a set of places.
const SMALL: usize = 48;

impl Order {
    pub(super) fn invalidate(&mut self) {
        self.valid = false;
    }

    pub(super) fn refresh(&mut self, workers: &Slab<Entry>) {
        if self.valid {
            return;
        }
        let mut sorted: Vec<_> =
            workers.iter().map(|(dense, entry)| (entry.weight, entry.id, dense)).collect();
        sorted.sort_unstable();
        self.numbers.clear();
        self.numbers.extend(sorted.iter().map(|(_, _, dense)| dense));
        self.places.clear();
        self.places.resize(workers.end() as usize, 0);
        for (place, dense) in self.numbers.iter().enumerate() {
            if let Some(slot) = self.places.get_mut(*dense as usize) {
                *slot = place as u32;
            }
        }
        self.scratch.clear();
        self.scratch.resize(self.numbers.len().div_ceil(64), 0);
        self.valid = true;
    }

    /// Puts distinct, registered `workers` in order.
    pub(super) fn sort(&mut self, workers: &mut Vec<u32>) {
        let place = |dense: u32| self.places.get(dense as usize).copied().unwrap_or(u32::MAX);
        if workers.len() < SMALL {
            workers.sort_unstable_by_key(|dense| place(*dense));
            return;
        }
        for dense in workers.iter() {
            let place = place(*dense) as usize;
            if let Some(word) = self.scratch.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        workers.clear();
        for (at, word) in self.scratch.iter_mut().enumerate() {
            while *word != 0 {
                let place = at * 64 + word.trailing_zeros() as usize;
                workers.extend(self.numbers.get(place));
                *word &= *word - 1;
            }
        }
    }
}
