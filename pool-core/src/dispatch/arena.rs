//! The pool's allocator for the arena: buddies (Knowlton, CACM 1965), all of its state in the pool's own memory.

use std::collections::BTreeSet;
use std::ops::Range;

use pool_shm::ShmError;

use super::control::Control;

/// Smallest block: two cache lines.
const MIN_ORDER: u32 = 8;
/// Memory is reserved in steps of this many bytes.
const GRANULE: usize = 1 << 20;

/// A block of the arena.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where it begins in the control segment.
    pub(crate) offset: usize,
    order: u32,
}

/// Which blocks are free.
#[derive(Debug)]
pub(crate) struct Arena {
    base: usize,
    top: u32,
    /// Free blocks, relative to `base`, by order.
    free: Vec<BTreeSet<usize>>,
    reserved: Vec<bool>,
}

/// The arena has no block of that size now.
#[derive(Debug)]
pub(crate) enum Exhausted {
    /// Blocks in use will come back.
    ForNow,
    /// It never will.
    TooLarge,
    /// The system has no memory.
    Memory(ShmError),
}

impl Arena {
    /// Over `len` bytes, a power of two, from `base` on.
    pub(crate) fn new((base, len): (usize, usize)) -> Arena {
        let top = len.ilog2();
        let mut free = vec![BTreeSet::new(); top as usize + 1];
        free[top as usize].insert(0);
        Arena {
            base,
            top,
            free,
            reserved: vec![false; len.div_ceil(GRANULE)],
        }
    }

    /// A block of at least `len` bytes with memory behind it. Its contents are arbitrary.
    pub(crate) fn allocate(&mut self, len: usize, control: &Control) -> Result<Span, Exhausted> {
        let order = len.max(1).next_power_of_two().ilog2().max(MIN_ORDER);
        if order > self.top {
            return Err(Exhausted::TooLarge);
        }
        let start = self.take(order).ok_or(Exhausted::ForNow)?;
        let span = Span {
            offset: self.base + start,
            order,
        };
        match self.reserve(start..start + (1 << order), control) {
            Ok(()) => Ok(span),
            Err(error) => {
                self.free(span);
                Err(Exhausted::Memory(error))
            }
        }
    }

    fn take(&mut self, order: u32) -> Option<usize> {
        let found = (order..=self.top).find(|order| !self.free[*order as usize].is_empty())?;
        let start = self.free[found as usize].pop_first()?;
        for half in (order..found).rev() {
            self.free[half as usize].insert(start + (1 << half));
        }
        Some(start)
    }

    fn reserve(&mut self, range: Range<usize>, control: &Control) -> Result<(), ShmError> {
        for granule in range.start / GRANULE..range.end.div_ceil(GRANULE) {
            if !self.reserved[granule] {
                let start = self.base + granule * GRANULE;
                control.segment().reserve(start..start + GRANULE)?;
                self.reserved[granule] = true;
            }
        }
        Ok(())
    }

    /// Takes a block back.
    pub(crate) fn free(&mut self, span: Span) {
        let (mut start, mut order) = (span.offset - self.base, span.order);
        while order < self.top && self.free[order as usize].remove(&(start ^ (1 << order))) {
            start &= !(1 << order);
            order += 1;
        }
        self.free[order as usize].insert(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_never_overlap_and_all_come_back(sizes in proptest::collection::vec(1usize..100_000, 1..200), keep in any::<u64>()) {
            let mut arena = Arena::new((1 << 20, 1 << 22));
            let mut held: Vec<(usize, u32)> = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let order = size.next_power_of_two().ilog2().max(MIN_ORDER);
                if let Some(start) = arena.take(order) {
                    prop_assert!(start.is_multiple_of(1 << order) && start + (1 << order) <= 1 << 22);
                    for (other, other_order) in &held {
                        prop_assert!(start + (1 << order) <= *other || other + (1 << other_order) <= start);
                    }
                    held.push((start, order));
                }
                if keep >> (i % 64) & 1 == 0 && let Some((start, order)) = held.pop() {
                    arena.free(Span { offset: arena.base + start, order });
                }
            }
            for (start, order) in held {
                arena.free(Span { offset: arena.base + start, order });
            }
            prop_assert_eq!(arena.take(22), Some(0));
        }
    }
}
