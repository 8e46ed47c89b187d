//! Which ports of the range are in use by tunnels.

use std::ops::RangeInclusive;

/// A rotating search: a port that was given back is the last to be given out again, so that a user who comes late with
/// an old address does not reach somebody else's board.
#[derive(Debug)]
pub(super) struct PortSpace {
    first: u16,
    in_use: Vec<bool>,
    used: usize,
    cursor: usize,
}

impl PortSpace {
    pub(super) fn new(range: RangeInclusive<u16>) -> PortSpace {
        let len = range.len();
        PortSpace { first: *range.start(), in_use: vec![false; len], used: 0, cursor: 0 }
    }

    /// Takes this very port; false when it is in use or outside of the range.
    pub(super) fn take(&mut self, port: u16) -> bool {
        let Some(slot) = self.slot(port).filter(|slot| !**slot) else { return false };
        *slot = true;
        self.used += 1;
        true
    }

    /// Takes the next free port.
    pub(super) fn take_next(&mut self) -> Option<u16> {
        let len = self.in_use.len();
        if self.used == len {
            return None;
        }
        let (before, after) = self.in_use.split_at_mut_checked(self.cursor)?;
        let found = match after.iter().position(|used| !used) {
            Some(at) => self.cursor + at,
            None => before.iter().position(|used| !used)?,
        };
        *self.in_use.get_mut(found)? = true;
        self.used += 1;
        self.cursor = (found + 1) % len;
        // Fits: the range is of u16.
        u16::try_from(found).ok().and_then(|offset| self.first.checked_add(offset))
    }

    pub(super) fn release(&mut self, port: u16) {
        if let Some(slot) = self.slot(port).filter(|slot| **slot) {
            *slot = false;
            self.used -= 1;
        }
    }

    fn slot(&mut self, port: u16) -> Option<&mut bool> {
        let offset = port.checked_sub(self.first)?;
        self.in_use.get_mut(usize::from(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotates_and_fills_up() {
        let mut ports = PortSpace::new(10..=12);
        assert_eq!(ports.take_next(), Some(10));
        ports.release(10);
        assert_eq!(ports.take_next(), Some(11));
        assert!(ports.take(12) && !ports.take(12) && !ports.take(13) && !ports.take(9));
        assert_eq!(ports.take_next(), Some(10));
        assert_eq!(ports.take_next(), None);
        ports.release(11);
        ports.release(11);
        assert_eq!(ports.take_next(), Some(11));
        assert_eq!(ports.take_next(), None);
    }
}
