//! The one owner of an array's memory.

use super::small::{self, Block};
use super::{Layout, Memory, Placed};
use crate::element::Element;
use crate::error::ShmError;
use crate::lease::Lessee;
use crate::segment::{Segment, SegmentFile, SegmentId};
use ndarray::Dimension;
use std::sync::{Arc, Weak};

/// An array may take a segment of which up to one part in so many is too much.
const SPARE: usize = 8;

/// The right to use a segment's memory, which exists once in all processes.
///
/// On drop the memory is given back even if somebody who had borrowed blocks
/// still has it mapped.
#[derive(Debug)]
pub(crate) struct Owner {
    segment: Segment,
    /// The process that owns: a fork of it has a copy of this value but does
    /// not own.
    pid: u32,
}

impl Owner {
    /// Becomes the owner. The caller vouches that there is no other.
    pub(crate) fn new(segment: Segment) -> Self {
        Owner {
            segment,
            pid: std::process::id(),
        }
    }

    /// A new segment for an array of this layout, all zeros, and its owner.
    pub(crate) fn create<T: Element, D: Dimension>(
        layout: Layout<D>,
    ) -> Result<(Self, Placed<T, D>), ShmError> {
        let bytes = layout.len() * size_of::<T>();
        let segment = Segment::create_gathered(bytes.saturating_add(super::DATA_OFFSET))?;
        let placed = place(&segment, 0, layout)?;
        Ok((Owner::new(segment), placed))
    }

    /// Whether the segment is large enough for an array of so many bytes, and
    /// not much larger.
    pub(super) fn suits(&self, bytes: usize) -> bool {
        let end = bytes.saturating_add(super::DATA_OFFSET);
        let len = self.segment.len();
        end <= len && len - end <= len / SPARE
    }

    /// Describes a new array in the segment, which [`suits`](Self::suits) it; its
    /// elements are what stands there.
    ///
    /// Those to whom the array before was lent stay lessees: they may have the
    /// segment mapped, which is what makes it worth having.
    pub(super) fn reuse<T: Element, D: Dimension>(
        &self,
        layout: Layout<D>,
    ) -> Result<Placed<T, D>, ShmError> {
        // What the array before has left behind the end of this one is nobody's
        // business.
        let end = layout.len() * size_of::<T>() + super::DATA_OFFSET;
        self.segment.file().clear_from(end)?;
        place(&self.segment, 0, layout)
    }

    /// Makes everybody who borrowed blocks unmap the segment, ends this
    /// process's own mapping, and gives what is left. `placed` is taken since
    /// it would keep the mapping.
    pub(crate) fn unmap<T, D>(self, placed: Placed<T, D>) -> (Arc<SegmentFile>, Lessees) {
        drop(placed);
        self.unmap_all()
    }

    /// As [`unmap`](Self::unmap), when no `Placed` is left.
    pub(super) fn unmap_all(self) -> (Arc<SegmentFile>, Lessees) {
        let lessees = Lessees(self.segment.take_lessees());
        lessees.release(self.segment.id());
        (Arc::clone(self.segment.file()), lessees)
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Gives up the right; the memory stays for whoever has it.
    pub(crate) fn disown(self) {
        self.segment.take_lessees();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.segment.has_lessees() && self.pid == std::process::id() {
            self.segment.file().discard();
        }
    }
}

/// The memory that an array has for itself: a segment, or a block of one.
#[derive(Debug)]
pub(super) enum Owned {
    Segment(Owner),
    Block(#[expect(dead_code, reason = "it is there to be dropped")] Block),
}

impl Owned {
    /// Memory for an array of this layout, all zeros: a block if it is small.
    pub(super) fn create<T: Element, D: Dimension>(
        layout: Layout<D>,
    ) -> Result<(Self, Placed<T, D>), ShmError> {
        let bytes = layout.len() * size_of::<T>();
        if bytes > small::LARGEST {
            let (owner, placed) = Owner::create(layout)?;
            return Ok((Owned::Segment(owner), placed));
        }
        let block = Block::new(bytes)?;
        let placed = place(block.segment(), block.offset(), layout)?;
        Ok((Owned::Block(block), placed))
    }
}

/// Describes a new array in memory that nobody else knows of.
pub(super) fn place<T: Element, D: Dimension>(
    segment: &Segment,
    array: usize,
    layout: Layout<D>,
) -> Result<Placed<T, D>, ShmError> {
    let memory = Memory::Writable(segment.clone());
    let bytes = layout.len() * size_of::<T>();
    memory.header(array)?.fill(T::dtype(), bytes);
    Placed::new(memory, array, layout)
}

/// Those who may have an array's segment mapped because it was lent to them.
#[derive(Debug)]
pub(crate) struct Lessees(Vec<Weak<dyn Lessee>>);

impl Lessees {
    /// Asks all of them to unmap; returns when they have.
    pub(crate) fn release(&self, id: SegmentId) {
        for lessee in self.0.iter().filter_map(Weak::upgrade) {
            lessee.release(id);
        }
    }

    /// Hands them to a mapping made anew.
    pub(crate) fn give_to(&self, segment: &Segment) {
        for lessee in &self.0 {
            segment.add_lessee(lessee);
        }
    }
}
