//! Numbers that look random, the same in each run.

/// Marsaglia's xorshift; begins with any number but 0.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Any bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        (self.bits() % sides as u64) as usize
    }
}
