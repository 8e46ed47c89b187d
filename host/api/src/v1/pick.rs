//! One page out of a list: in one pass, holding at most two pages.

use std::cmp::Ordering;

/// Which part of a sorted list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    /// Items after the anchor, else before it.
    pub(super) forward: bool,
    /// Largest first.
    pub(super) descending: bool,
    /// At most so many.
    pub(super) limit: usize,
}

impl Window {
    /// Whether the page begins at the small end: items are best passed in ascending order then, else in descending.
    pub(super) fn begins_small(self) -> bool {
        // Going backward through one order is going forward through the other.
        self.forward != self.descending
    }
}

/// A page.
#[derive(Debug)]
pub(super) struct Picked<T> {
    /// The items, in the list's order.
    pub(super) items: Vec<T>,
    /// Matching items, in all.
    pub(super) total: usize,
    /// Matching items beyond this page in its direction.
    pub(super) remaining: usize,
}

/// The page of `matching` next to `anchor` when sorted by `compare`.
pub(super) fn pick<T: Copy>(
    matching: impl Iterator<Item = T>,
    anchor: Option<T>,
    window: Window,
    compare: impl Fn(T, T) -> Ordering,
) -> Picked<T> {
    let in_order = |a: T, b: T| if window.descending { compare(b, a) } else { compare(a, b) };
    // Nearest to the anchor, or to the end where the page begins, comes first.
    let nearest = |a: &T, b: &T| if window.forward { in_order(*a, *b) } else { in_order(*b, *a) };
    let mut items: Vec<T> = Vec::new();
    let (mut total, mut beyond) = (0, 0);
    // Once there is a page, only what belongs before its last item can still be on it.
    let mut last: Option<T> = None;
    for item in matching {
        total += 1;
        if anchor.is_some_and(|anchor| nearest(&item, &anchor) != Ordering::Greater) {
            continue;
        }
        beyond += 1;
        if last.is_some_and(|last| nearest(&item, &last) != Ordering::Less) {
            continue;
        }
        items.push(item);
        if items.len() >= window.limit.saturating_mul(2).max(64) {
            let (_, nth, _) = items.select_nth_unstable_by(window.limit - 1, nearest);
            last = Some(*nth);
            items.truncate(window.limit);
        }
    }
    items.sort_unstable_by(nearest);
    items.truncate(window.limit);
    if !window.forward {
        items.reverse();
    }
    Picked { total, remaining: beyond - items.len(), items }
}

/// The same for a list that holds everything in ascending order: the places of the page.
pub(super) fn places(len: usize, anchor: Option<usize>, window: Window) -> (std::ops::Range<usize>, usize) {
    if window.begins_small() {
        let start = anchor.map_or(0, |place| place + 1);
        let end = start.saturating_add(window.limit).min(len);
        (start..end, len - end)
    } else {
        let end = anchor.unwrap_or(len);
        let start = end.saturating_sub(window.limit);
        (start..end, start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the words of the specification: sort everything, find the anchor, cut.
    fn naive(all: &[u16], anchor: Option<u16>, window: Window, wanted: impl Fn(u16) -> bool) -> Picked<u16> {
        let mut work: Vec<u16> = all.iter().copied().filter(|n| wanted(*n) || Some(*n) == anchor).collect();
        work.sort_unstable();
        if window.descending {
            work.reverse();
        }
        let total = work.iter().filter(|n| wanted(**n)).count();
        let place = anchor.map(|anchor| work.iter().position(|n| *n == anchor).unwrap());
        if window.forward {
            let after = &work[place.map_or(0, |place| place + 1)..];
            let items = after[..after.len().min(window.limit)].to_vec();
            Picked { total, remaining: after.len() - items.len(), items }
        } else {
            let before = &work[..place.unwrap_or(work.len())];
            let items = before[before.len() - before.len().min(window.limit)..].to_vec();
            Picked { total, remaining: before.len() - items.len(), items }
        }
    }

    proptest! {
        #[test]
        fn a_page_is_what_sorting_everything_gives(
            all in proptest::collection::btree_set(0..500_u16, 0..300),
            anchor in any::<Option<prop::sample::Index>>(),
            forward: bool,
            descending: bool,
            limit in 1..200_usize,
            modulus in 1..4_u16,
        ) {
            let all: Vec<u16> = all.into_iter().collect();
            let anchor = anchor.filter(|_| !all.is_empty()).map(|index| *index.get(&all));
            let window = Window { forward, descending, limit };
            let wanted = |n: u16| n.is_multiple_of(modulus);
            let want = naive(&all, anchor, window, wanted);
            let got = pick(all.iter().copied().filter(|n| wanted(*n)), anchor, window, |a, b| a.cmp(&b));
            prop_assert_eq!((&got.items, got.total, got.remaining), (&want.items, want.total, want.remaining));

            let want = naive(&all, anchor, window, |_| true);
            let place = anchor.map(|anchor| all.binary_search(&anchor).unwrap());
            let (places, remaining) = places(all.len(), place, window);
            let mut items = all[places].to_vec();
            if descending {
                items.reverse();
            }
            prop_assert_eq!((items, remaining), (want.items, want.remaining));
        }
    }
}
