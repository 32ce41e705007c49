//! Mappings that a worker keeps between jobs.

use crate::array::Memory;
use crate::error::{Kind, ShmError};
use crate::segment::{FileSegment, FrozenSegment, Segment, SegmentFile, SegmentHandle, SegmentId};
use std::cell::RefCell;

/// How many segments are kept.
const KEPT: usize = 8;

/// How many of them are looked at whenever another one is mapped: a look takes
/// 2 microseconds, and somebody waits for what is being mapped.
const LOOKS: usize = 2;

/// Segments that a worker keeps mapped for the next job, the last eight that
/// were used.
///
/// Mapping afresh costs a page fault per page: a fill of pages that are there
/// but newly mapped runs at a quarter of the speed. What is kept holds no
/// memory for long: the owner of a [`SharedArray`](crate::SharedArray) takes
/// the memory out when it drops the array, anything that its process has
/// closed is let go when one of the next four segments is mapped, and a worker
/// that is idle for a second keeps only what was lent for writing.
#[derive(Debug, Default)]
pub struct LeaseCache {
    /// The one used last stands last.
    kept: Vec<Kept>,
    /// How often one was looked at, to see whether its lender still has it.
    looks: u64,
}

/// A mapping, and the handle by which it was lent.
#[derive(Debug)]
struct Kept {
    memory: Memory,
    handle: SegmentHandle,
    /// Lent for writing, so that its owner may want to freeze it.
    lent: bool,
    /// [`LeaseCache::looks`] when it was looked at last.
    looked: u64,
}

impl LeaseCache {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Lets one segment go, if it is kept. It is unmapped with this, unless
    /// something else in this process still uses it.
    pub fn release(&mut self, id: SegmentId) {
        self.kept.retain(|kept| kept.handle.id() != id);
    }

    /// Lets go of what was lent for writing: its owner may want to freeze it.
    /// What can be kept without being in anybody's way stays.
    ///
    /// A worker calls it before it turns to work that may take long.
    pub fn release_lent(&mut self) {
        self.kept.retain(|kept| !kept.lent);
    }

    /// Whether something is kept that was not lent for writing.
    #[must_use]
    pub fn has_arguments(&self) -> bool {
        self.kept.iter().any(|kept| !kept.lent)
    }

    /// Lets go of all that was not lent for writing: arrays that came as arguments, or were lent for reading. Those that are frozen take
    /// their memory as long as anybody has them mapped.
    ///
    /// A worker calls it when it has had nothing to do for a while.
    pub fn release_arguments(&mut self) {
        self.kept.retain(|kept| kept.lent);
    }

    /// Runs `f`; whatever is deserialised in it by this thread, frozen and raw
    /// arrays and segments, is kept like what is lent, and found again.
    ///
    /// A worker decodes the arguments of its tasks in it, so that an array
    /// that is an argument of every task is mapped once.
    ///
    /// ```
    /// use ndarray::Ix1;
    /// use pool_shm::{FrozenArray, LeaseCache, SharedArray};
    ///
    /// let array = SharedArray::from_elem(10, 1.0)?.freeze()?;
    /// let message = postcard::to_allocvec(&array)?;
    /// let mut cache = LeaseCache::default();
    /// for _task in 0..3 {
    ///     let array: FrozenArray<f64, Ix1> = cache.scope(|| postcard::from_bytes(&message))?;
    ///     assert_eq!(array.view().sum(), 10.0);
    /// }
    /// assert!(!cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let outer = CURRENT.replace(Some(std::mem::take(self)));
        let _back = Back { cache: self, outer };
        f()
    }

    /// The segment that `handle` names, kept or newly mapped: for reading if
    /// it is said to be `frozen`, for writing otherwise.
    pub(super) fn map(&mut self, handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
        self.keep(handle, frozen, !frozen && !handle.regular)
    }

    fn keep(
        &mut self,
        handle: &SegmentHandle,
        frozen: bool,
        lent: bool,
    ) -> Result<Memory, ShmError> {
        let mut kept = match self.take(handle, frozen) {
            Some(kept) => kept,
            None => self.add(handle, frozen)?,
        };
        kept.lent |= lent;
        kept.memory.file().check(handle)?;
        let memory = kept.memory.clone();
        self.kept.push(kept);
        Ok(memory)
    }

    fn take(&mut self, handle: &SegmentHandle, frozen: bool) -> Option<Kept> {
        // A file may have grown since it was mapped.
        let same = |kept: &Kept| {
            kept.handle.id() == handle.id()
                && kept.memory.is_frozen() == frozen
                && kept.memory.file().len() as u64 >= handle.len()
        };
        let at = self.kept.iter().position(same)?;
        Some(self.kept.remove(at))
    }

    /// Maps a segment and makes room for it.
    fn add(&mut self, handle: &SegmentHandle, frozen: bool) -> Result<Kept, ShmError> {
        let memory = map(handle, frozen)?;
        self.let_closed_go();
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        Ok(Kept {
            memory,
            handle: handle.clone(),
            lent: false,
            looked: self.looks,
        })
    }

    /// Looks at those that were not looked at for longest, and lets go of what
    /// its lender has closed.
    fn let_closed_go(&mut self) {
        for _ in 0..LOOKS.min(self.kept.len()) {
            self.looks += 1;
            let longest = (0..self.kept.len()).min_by_key(|at| self.kept[*at].looked);
            let Some(at) = longest else { return };
            if SegmentFile::is_kept(&self.kept[at].handle) {
                self.kept[at].looked = self.looks;
            } else {
                self.kept.remove(at);
            }
        }
    }
}

thread_local! {
    /// The cache of the scope that this thread is in.
    static CURRENT: RefCell<Option<LeaseCache>> = const { RefCell::new(None) };
}

/// Ends a scope, also when what runs in it panics.
struct Back<'a> {
    cache: &'a mut LeaseCache,
    outer: Option<LeaseCache>,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        let inner = CURRENT.replace(self.outer.take());
        *self.cache = inner.unwrap_or_default();
    }
}

/// The segment that a deserialised `handle` names, through the cache of the
/// scope that this thread is in, if it is in one.
///
/// It gives memory only, never a regular file: see [`attach_any`].
pub(crate) fn attach(handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
    if handle.regular {
        return Err(Kind::Unexpected.into());
    }
    attach_any(handle, frozen)
}

/// As [`attach`]; regular files too, for reading or for writing.
pub(crate) fn attach_any(handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
    CURRENT.with_borrow_mut(|cache| match cache {
        Some(cache) => cache.keep(handle, frozen, false),
        None => map(handle, frozen),
    })
}

fn map(handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
    Ok(if handle.regular {
        Memory::File(FileSegment::attach(handle, !frozen)?)
    } else if frozen {
        Memory::Frozen(FrozenSegment::attach(handle)?)
    } else {
        Memory::Writable(Segment::attach(handle)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AxisChunks, Blocks, FrozenArray, SharedArray};
    use ndarray::{Axis, Ix1};

    #[test]
    fn the_last_eight_are_kept() {
        let mut cache = LeaseCache::default();
        let segments: Vec<_> = (0..9).map(|_| Segment::create(1).unwrap()).collect();
        for segment in &segments[..8] {
            cache.map(&segment.handle(), false).unwrap();
        }
        cache.map(&segments[0].handle(), false).unwrap();
        cache.map(&segments[8].handle(), false).unwrap();
        let kept: Vec<_> = cache.kept.iter().map(|kept| kept.handle.id()).collect();
        assert!(kept.contains(&segments[0].id()));
        assert!(!kept.contains(&segments[1].id()));
        assert_eq!(kept.len(), 8);
        cache.release(segments[8].id());
        assert_eq!(cache.kept.len(), 7);
        cache.release_lent();
        assert!(cache.is_empty());
    }

    #[test]
    fn what_the_lender_has_closed_goes_when_something_new_comes() {
        type Rows<'a> = AxisChunks<'a, f64, Ix1>;
        let mut cache = LeaseCache::default();
        let frozen = || SharedArray::<f64, _>::zeros(9).unwrap().freeze().unwrap();
        let [first, second, third] = [(); 3].map(|()| frozen());
        let lend = |cache: &mut LeaseCache, array: &FrozenArray<f64, Ix1>| {
            let plan = array.axis_chunks(Axis(0), 2).plan().unwrap().1;
            Rows::attach(&plan, cache).unwrap();
            cache.kept.len()
        };
        let counts = [&first, &first, &second].map(|array| lend(&mut cache, array));
        assert_eq!(counts, [1, 1, 2]);
        // In one process the cache itself would keep the descriptor; a lender
        // that has gone is one whose handle leads nowhere.
        cache.kept[0].handle.fd = 1_000_000;
        assert_eq!(lend(&mut cache, &third), 2);
    }

    #[test]
    fn what_the_lender_has_closed_goes_within_four_others() {
        for gone in 0..KEPT {
            let mut cache = LeaseCache::default();
            let segments: Vec<_> = (0..12).map(|_| Segment::create(1).unwrap()).collect();
            let (first, next) = segments.split_at(KEPT);
            for segment in first {
                cache.map(&segment.handle(), false).unwrap();
            }
            cache.kept[gone].handle.fd = 1_000_000;
            let id = cache.kept[gone].handle.id();
            for segment in next {
                cache.map(&segment.handle(), false).unwrap();
            }
            assert!(cache.kept.iter().all(|kept| kept.handle.id() != id));
        }
    }

    #[test]
    fn a_scope_keeps_what_is_deserialised_in_it() {
        let array = SharedArray::from_elem(9, 2.0).unwrap().freeze().unwrap();
        let message = postcard::to_allocvec(&array).unwrap();
        let read = || postcard::from_bytes::<FrozenArray<f64, Ix1>>(&message);
        let (mut cache, mut inner) = (LeaseCache::default(), LeaseCache::default());
        cache.scope(|| inner.scope(|| read().unwrap()));
        assert!(cache.is_empty() && !inner.is_empty());
        inner.release_lent();
        assert!(!inner.is_empty());
        inner.clear();
        assert!(cache.scope(read).is_ok());
        drop(array);
        // Only the cache has it now.
        assert!(read().is_ok());
        cache.clear();
        assert!(read().is_err());
        let panics = || cache.scope(|| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert!(CURRENT.with_borrow(Option::is_none));
    }
}
