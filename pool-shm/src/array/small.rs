//! Small arrays, many in one segment.
//!
//! A segment of its own costs an array a descriptor, a map and a page at
//! least; ten thousand arrays would be more than a process may have open. So
//! arrays of at most [`LARGEST`] bytes are blocks of *slabs*: segments cut into
//! blocks of one size. Which blocks are in use is private memory of the process
//! that made the slab. Nobody else ever gives a block away or takes it back, so
//! a process that is killed leaves nothing to repair: its slabs go with the last
//! map.
//!
//! An array that is to outlive its owner here (frozen, given away or made raw)
//! moves to a segment of its own first.

use crate::error::ShmError;
use crate::segment::{Segment, SegmentId};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::DATA_OFFSET;

/// Arrays of more bytes than this have a segment of their own.
pub(super) const LARGEST: usize = 64 << 10;

/// The smallest slab and the largest, in bytes; between them, a new slab is
/// half as large as all of its kind together.
const SLAB: (usize, usize) = (16 << 10, 8 << 20);

/// A slab has this many blocks at least.
const FEWEST: usize = 4;

/// A place for the header and the elements of one array, all zeros at first.
/// Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Block {
    slab: Segment,
    /// The size of the slab's blocks.
    size: usize,
    index: usize,
    /// The process to which it belongs: a fork has a copy of this value only.
    pid: u32,
}

impl Block {
    /// A block for an array of `bytes` bytes, [`LARGEST`] at most.
    pub(super) fn new(bytes: usize) -> Result<Self, ShmError> {
        let size = DATA_OFFSET + class(bytes);
        let (slab, index, used) = arena().take(size)?;
        let block = Block {
            slab,
            size,
            index,
            pid: std::process::id(),
        };
        if used {
            block.clear()?;
        }
        Ok(block)
    }

    /// The segment in which it lies.
    pub(super) fn segment(&self) -> &Segment {
        &self.slab
    }

    /// Where the header belongs, in bytes.
    pub(super) fn offset(&self) -> usize {
        self.index * self.size
    }

    /// Makes all of it zero again. Nobody else looks at it: it belongs to no
    /// array.
    fn clear(&self) -> Result<(), ShmError> {
        const ZEROS: [u64; 512] = [0; 512];
        let words = self.size / 8;
        let cells = self.slab.cells::<u64>(self.offset(), words)?;
        for at in (0..words).step_by(ZEROS.len()) {
            cells.write_from(at, &ZEROS[..ZEROS.len().min(words - at)]);
        }
        Ok(())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        let empty = arena().give_back(self.size, self.slab.id(), self.index);
        // Workers may keep it mapped, but no memory.
        if empty && self.slab.has_lessees() {
            self.slab.file().discard();
        }
    }
}

/// The bytes of elements that a block for `bytes` bytes holds: a multiple of 64
/// of which at most a fifth is too much, but for the smallest.
fn class(bytes: usize) -> usize {
    let least = bytes.next_multiple_of(DATA_OFFSET).max(DATA_OFFSET);
    // Four classes between a power of two and the next.
    let step = (least.next_power_of_two() / 8).max(DATA_OFFSET);
    least.next_multiple_of(step)
}

/// The slabs of this process.
#[derive(Debug)]
struct Arena {
    pid: u32,
    /// Slabs by the size of their blocks; each has a block in use.
    slabs: BTreeMap<usize, Vec<Slab>>,
}

#[derive(Debug)]
struct Slab {
    segment: Segment,
    /// How many blocks it has.
    blocks: usize,
    /// Those that were used and are free again.
    free: Vec<usize>,
    /// How many, from the first on, were ever used.
    touched: usize,
}

static ARENA: Mutex<Arena> = Mutex::new(Arena {
    pid: 0,
    slabs: BTreeMap::new(),
});

/// The slabs of this process. Every change leaves them whole, so a panic
/// elsewhere does not matter.
fn arena() -> MutexGuard<'static, Arena> {
    let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = std::process::id();
    if arena.pid != pid {
        // The first call, or the first in a fork: what the copy speaks of
        // belongs to the parent.
        arena.pid = pid;
        arena.slabs.clear();
    }
    arena
}

impl Arena {
    /// A block of this size: its slab, its number, and whether it was used
    /// before.
    fn take(&mut self, size: usize) -> Result<(Segment, usize, bool), ShmError> {
        let slabs = self.slabs.entry(size).or_default();
        // The first ones are filled first, so that the last ones fall empty.
        let at = match slabs.iter().position(Slab::has_room) {
            Some(at) => at,
            None => {
                let slab = Slab::new(size, slabs.iter().map(|slab| slab.segment.len()).sum())?;
                slabs.push(slab);
                slabs.len() - 1
            }
        };
        let slab = &mut slabs[at];
        let (index, used) = match slab.free.pop() {
            Some(index) => (index, true),
            None => {
                slab.touched += 1;
                (slab.touched - 1, false)
            }
        };
        Ok((slab.segment.clone(), index, used))
    }

    /// Takes a block back. Whether its slab has no other in use and is gone.
    fn give_back(&mut self, size: usize, id: SegmentId, index: usize) -> bool {
        let Some(slabs) = self.slabs.get_mut(&size) else {
            return false;
        };
        let Some(at) = slabs.iter().position(|slab| slab.segment.id() == id) else {
            return false;
        };
        slabs[at].free.push(index);
        let empty = slabs[at].free.len() == slabs[at].touched;
        if empty {
            slabs.remove(at);
        }
        empty
    }
}

impl Slab {
    /// A slab of blocks of `size` bytes, beside others of `others` bytes.
    fn new(size: usize, others: usize) -> Result<Self, ShmError> {
        let len = (others / 2).clamp(SLAB.0, SLAB.1);
        let segment = Segment::create(len.max(FEWEST * size))?;
        Ok(Slab {
            blocks: segment.len() / size,
            segment,
            free: Vec::new(),
            touched: 0,
        })
    }

    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.touched < self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn classes_hold_what_is_asked_and_little_more() {
        for bytes in (0..=LARGEST).step_by(8) {
            let class = class(bytes);
            assert!(class >= bytes && class.is_multiple_of(DATA_OFFSET));
            assert!(class <= bytes + bytes / 4 + DATA_OFFSET, "{bytes}: {class}");
        }
        assert_eq!((class(0), class(65), class(LARGEST)), (64, 128, LARGEST));
        let classes: HashSet<_> = (0..=LARGEST).map(class).collect();
        assert!(classes.len() < 50);
    }

    /// The number of slabs of a size, which no other test uses.
    fn slabs(size: usize) -> usize {
        arena().slabs.get(&size).map_or(0, Vec::len)
    }

    #[test]
    fn blocks_never_overlap_and_slabs_come_and_go() {
        let bytes = 40_000;
        let size = DATA_OFFSET + class(bytes);
        let mut blocks: Vec<_> = (0..500).map(|_| Block::new(bytes).unwrap()).collect();
        let place = |block: &Block| (block.segment().id(), block.offset());
        let places: HashSet<_> = blocks.iter().map(place).collect();
        assert_eq!(places.len(), 500);
        for block in &blocks {
            assert!(block.offset() + size <= block.segment().len());
        }
        assert!(slabs(size) < 20);
        // The first slab has a hole, which is filled first, with zeros.
        let hole = blocks.remove(1);
        let place_of_hole = place(&hole);
        let cells = hole
            .segment()
            .cells::<u64>(hole.offset(), size / 8)
            .unwrap();
        (0..size / 8).for_each(|i| cells.set(i, 7));
        drop(hole);
        let again = Block::new(bytes).unwrap();
        assert_eq!(place(&again), place_of_hole);
        let cells = again
            .segment()
            .cells::<u64>(again.offset(), size / 8)
            .unwrap();
        assert!((0..size / 8).all(|i| cells.get(i) == 0));
        drop(blocks);
        assert_eq!(slabs(size), 1);
        drop(again);
        assert_eq!(slabs(size), 0);
    }
}
