//! A segment mapped for reading and writing.

use super::map::Map;
use super::registry::Registry;
use super::{SegmentFile, SegmentHandle, SegmentId};
use crate::array::Memory;
use crate::cells::Cells;
use crate::error::{Kind, ShmError, mapping};
use crate::lease::{self, Lessee};
use crate::shared::Shared;
use crate::sys;
use crate::transfer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A piece of memory that processes share: a memfd of fixed length, mapped for
/// reading and writing.
///
/// A new segment holds zeros. It has no name; it lives as long as any process
/// has it open. Its length is rounded up to whole pages (0 bytes give one
/// page) and never changes: nobody can shrink it under a reader. Clones are
/// the same mapping, and a process maps each segment once, whatever it
/// attaches. Descriptors are not inherited by programs that are executed.
///
/// What lies in it may change at any time by the hand of another process.
/// [`get`](Self::get) and [`slice`](Self::slice) give references to atomics
/// ([`Shared`]); [`cells`](Self::cells) copies plain data in and out.
///
/// Serialising gives the handle (see [`transfer`] about keeping it alive),
/// deserialising attaches.
///
/// ```
/// use pool_shm::Segment;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let ours = Segment::create(4096)?;
/// let theirs = Segment::attach(&ours.handle())?; // normally in another process
/// ours.get::<AtomicU64>(64)?.store(7, Ordering::Release);
/// assert_eq!(theirs.get::<AtomicU64>(64)?.load(Ordering::Acquire), 7);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// ```
/// let segment = pool_shm::Segment::create(1000)?;
/// let numbers = segment.cells::<f64>(0, 10)?;
/// numbers.write_from(2, &[1.5, 2.5]);
/// assert_eq!(numbers.get(3), 2.5);
/// assert_eq!(numbers.get(4), 0.0);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segment {
    mapping: Arc<Mapping>,
}

impl Segment {
    /// Makes a segment of at least `len` bytes with memory behind all of it.
    ///
    /// # Errors
    ///
    /// `is_out_of_memory` if the system, the cgroup or a resource limit does
    /// not leave `len` bytes; `is_out_of_descriptors`; any other failure of
    /// the operating system.
    pub fn create(len: usize) -> Result<Segment, ShmError> {
        Segment::map(Arc::new(SegmentFile::create(len, true)?))
    }

    /// Makes a segment of at least `len` bytes with no memory behind it yet.
    ///
    /// Call [`reserve`](Self::reserve) for each part before it is used: a
    /// write to a part that was not reserved ends the process if there is no
    /// memory left.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub fn create_sparse(len: usize) -> Result<Segment, ShmError> {
        Segment::map(Arc::new(SegmentFile::create(len, false)?))
    }

    /// As [`create`](Self::create), for an array, which will be used as a
    /// whole: in huge pages, if they can be had (see [`super::map`]).
    pub(crate) fn create_gathered(len: usize) -> Result<Segment, ShmError> {
        let huge = sys::huge_page_length().unwrap_or(usize::MAX);
        if len < huge {
            return Segment::create(len);
        }
        let segment = Segment::create_sparse(len)?;
        segment.check_budget()?;
        let made = segment.gather();
        segment.mapping.file.fill(made)?;
        Ok(segment)
    }

    /// Makes its memory, of which there is none yet, in huge pages, as far as
    /// that can be had; how many bytes, from the start on.
    pub(crate) fn gather(&self) -> usize {
        let made = self.mapping.map.gather(self.file());
        self.mapping.gathered.store(made, Ordering::Relaxed);
        made
    }

    /// How many bytes, from the start on, this process has gathered in huge pages.
    pub(crate) fn gathered(&self) -> usize {
        self.mapping.gathered.load(Ordering::Relaxed)
    }

    /// Makes a segment of huge pages that were set aside.
    pub(crate) fn create_huge(len: usize) -> Result<Segment, ShmError> {
        Segment::map(Arc::new(SegmentFile::create_huge(len)?))
    }

    /// Checks that there is memory for all of it.
    pub(crate) fn check_budget(&self) -> Result<(), ShmError> {
        self.mapping.file.check_budget()
    }

    /// Makes every page, and maps it here.
    pub(crate) fn populate(&self) -> Result<(), ShmError> {
        let need = self.len() as u64;
        let populated = self.mapping.map.make_pages(0..self.len());
        Ok(populated.map_err(|source| Kind::NoSpace { need, source })?)
    }

    /// Asks for huge pages, where there are none yet.
    pub(crate) fn advise_huge(&self) -> std::io::Result<()> {
        self.mapping.map.wish_huge()
    }

    /// Puts memory behind a range of bytes. What is there stays.
    ///
    /// # Errors
    ///
    /// `is_out_of_bounds`, or `is_out_of_memory` as for
    /// [`create`](Self::create); then nothing has changed.
    pub fn reserve(&self, range: Range<usize>) -> Result<(), ShmError> {
        let reserved = self.mapping.file.reserve(range.clone());
        let Err(error) = reserved else { return Ok(()) };
        if error.is_out_of_memory() || error.is_out_of_bounds() {
            return Err(error);
        }
        // The descriptor may have been closed by somebody else's code; the mapping does not need it.
        let touched = self.mapping.map.make_pages(range);
        touched.map_err(|_| error)
    }

    /// Maps the segment that a handle names, or finds it if this process has
    /// it already.
    ///
    /// Everything that the handle says is checked against what is there.
    ///
    /// # Errors
    ///
    /// `is_gone` if the process that made the handle has ended or has closed
    /// the segment; `is_denied` if this process may not open it;
    /// `is_mismatch` if it is something else, or not sealed; `is_frozen` if
    /// it was sealed against writing; or a failure of the operating system.
    pub fn attach(handle: &SegmentHandle) -> Result<Segment, ShmError> {
        if let Some(mapping) = MAPPED.find(handle.id()) {
            mapping.file.check(handle)?;
            return Ok(Segment { mapping });
        }
        Segment::map(crate::transfer::reach(handle)?)
    }

    /// Maps the segment behind a descriptor that was received.
    ///
    /// # Errors
    ///
    /// `is_mismatch` if it is not a memfd that is sealed against shrinking and
    /// growing; `is_frozen`; or a failure of the operating system.
    pub fn from_fd(fd: OwnedFd) -> Result<Segment, ShmError> {
        Segment::map(Arc::new(SegmentFile::from_fd(fd)?))
    }

    /// The length in bytes: what was asked for, rounded up to whole pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mapping.file.len()
    }

    /// Whether the length is 0, which it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What identifies this segment on this machine.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.mapping.file.id()
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.mapping.file.fd()
    }

    /// A handle by which other processes can attach, as long as this process
    /// keeps the segment.
    #[must_use]
    pub fn handle(&self) -> SegmentHandle {
        self.mapping.file.handle()
    }

    /// Where the segment is mapped in this process, aligned to a page.
    ///
    /// Valid for [`len`](Self::len) bytes while a clone of this value lives.
    /// Other processes may write there at any time: make no reference to it
    /// unless something excludes them.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.map.as_ptr()
    }

    /// A reference to the `T` at `offset` bytes.
    ///
    /// # Errors
    ///
    /// `is_out_of_bounds` if it does not lie in the segment or is not aligned.
    pub fn get<T: Shared>(&self, offset: usize) -> Result<&T, ShmError> {
        let start = self.locate::<T>(offset, 1)?;
        // SAFETY: `locate` has checked that one aligned `T` lies here, the
        // mapping lives as long as `self`, and `T: Shared` allows any bits and
        // any writer.
        Ok(unsafe { &*start })
    }

    /// A reference to the `len` values of `T` from `offset` bytes on.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn slice<T: Shared>(&self, offset: usize, len: usize) -> Result<&[T], ShmError> {
        let start = self.locate::<T>(offset, len)?;
        // SAFETY: as in `get`, for `len` values.
        Ok(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// The `len` values of plain data from `offset` bytes on, to be copied in
    /// and out.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn cells<T: bytemuck::Pod>(
        &self,
        offset: usize,
        len: usize,
    ) -> Result<Cells<'_, T>, ShmError> {
        let start = self.locate::<T>(offset, len)?;
        // SAFETY: `locate` has checked that `len` aligned values lie here, and
        // the mapping lives as long as `self`, which the result borrows.
        Ok(unsafe { Cells::new(start.cast_mut(), len) })
    }

    /// Where `count` values of `T` from `offset` bytes on lie, if they lie in
    /// the segment and are aligned.
    pub(crate) fn locate<T>(&self, offset: usize, count: usize) -> Result<*const T, ShmError> {
        check_range::<T>(self.len(), offset, count)?;
        Ok(self.as_ptr().wrapping_add(offset).cast_const().cast())
    }

    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        &self.mapping.file
    }

    /// Remembers somebody who may have the segment mapped, until it is given
    /// back. Remembering the same one again changes nothing.
    pub(crate) fn add_lessee(&self, lessee: &Weak<dyn Lessee>) {
        let mut lessees = self.lessees();
        if !lessees.iter().any(|known| Weak::ptr_eq(known, lessee)) {
            lessees.retain(|known| known.strong_count() > 0);
            lessees.push(Weak::clone(lessee));
        }
    }

    /// Whether somebody may have the segment mapped.
    pub(crate) fn has_lessees(&self) -> bool {
        !self.lessees().is_empty()
    }

    /// Forgets all lessees and gives them to the caller.
    pub(crate) fn take_lessees(&self) -> Vec<Weak<dyn Lessee>> {
        std::mem::take(&mut self.lessees())
    }

    fn lessees(&self) -> MutexGuard<'_, Vec<Weak<dyn Lessee>>> {
        let lessees = self.mapping.lessees.lock();
        lessees.unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps `file`, or finds the mapping that this process has already.
    pub(crate) fn map(file: Arc<SegmentFile>) -> Result<Segment, ShmError> {
        let mapping = MAPPED.find_or_map(file.id(), || Mapping::new(file))?;
        Ok(Segment { mapping })
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        transfer::collect(self.file());
        self.handle().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = SegmentHandle::deserialize(deserializer)?;
        match lease::attach(&handle, false).map_err(ShmError::into_serde)? {
            Memory::Writable(segment) => Ok(segment),
            Memory::Frozen(_) | Memory::File(_) => {
                unreachable!("it was asked for writing, and `attach` gives no files")
            }
        }
    }
}

/// The writable mappings of this process.
static MAPPED: Registry<Mapping> = Registry::new();

/// One writable mapping, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    map: Map,
    gathered: AtomicUsize,
    file: Arc<SegmentFile>,
    /// Who may have the segment mapped because parts of it were lent.
    lessees: Mutex<Vec<Weak<dyn Lessee>>>,
}

impl Mapping {
    fn new(file: Arc<SegmentFile>) -> Result<Self, ShmError> {
        if file.is_frozen()? {
            let id = file.id().to_string();
            return Err(Kind::Frozen { id }.into());
        }
        let map = Map::new(&file, true).map_err(|e| mapping(file.len(), e))?;
        Ok(Mapping {
            map,
            gathered: AtomicUsize::new(0),
            file,
            lessees: Mutex::default(),
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        MAPPED.forget(self.file.id());
    }
}

/// Checks that `count` aligned values of `T` from `offset` on lie in `len`
/// bytes that start aligned to a page.
pub(crate) fn check_range<T>(len: usize, offset: usize, count: usize) -> Result<(), ShmError> {
    let size = size_of::<T>();
    let end = count
        .checked_mul(size)
        .and_then(|bytes| bytes.checked_add(offset));
    if end.is_none_or(|end| end > len) {
        return Err(Kind::OutOfBounds {
            offset,
            count,
            size,
            len,
        }
        .into());
    }
    if !offset.is_multiple_of(align_of::<T>()) {
        return Err(Kind::Misaligned {
            offset,
            align: align_of::<T>(),
            type_name: std::any::type_name::<T>(),
        }
        .into());
    }
    Ok(())
}
