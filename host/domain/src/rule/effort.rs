//! How much rules may look at.

/// Values that all rules together may look at in one inventory: those on the way count too, and a text that a pattern is
/// looked for in counts once more for every 64 bytes.
pub const MAX_EFFORT: usize = 1_000_000;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Effort(usize);

/// More was to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the rules look at more than {MAX_EFFORT} values of this inventory: let this one, or those before it, name fewer"
)]
pub(super) struct TooMuch;

impl Effort {
    pub(super) fn new() -> Self {
        Self(MAX_EFFORT)
    }

    pub(super) fn spend(&mut self, values: usize) -> Result<(), TooMuch> {
        self.0 = self.0.checked_sub(values).ok_or(TooMuch)?;
        Ok(())
    }
}
