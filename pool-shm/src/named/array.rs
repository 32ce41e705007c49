//! The array with a name.

use super::error::{NameError, failed};
use super::name::Name;
use super::stamp::{MOST_AXES, PAGE, Stamp};
use super::sweep::{read_stamp, this_process, unlink_if_same};
use crate::array::{Layout, Memory, Order, Placed, RawArray};
use crate::budget;
use crate::element::Element;
use crate::error::{Kind, ShmError, system};
use crate::segment::{
    FileAccess, FileSegment, LockedFile, SegmentFile, check_file_size, put_memory,
};
use crate::sys::{self, FileLock};
use ndarray::{Dimension, ShapeBuilder};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// An array in a segment that has a name: see [`named`](crate::named).
///
/// Its maker takes the name away when it drops it. The array itself is a
/// [`RawArray`] ([`raw`](Self::raw)): every process that knows the name may
/// write it, workers get it as an argument or in blocks.
///
/// NumPy attaches, reads and writes:
///
/// ```python
/// import numpy as np
/// from multiprocessing.shared_memory import SharedMemory
///
/// shm = SharedMemory(name="matrix", track=False)   # track: since Python 3.13
/// matrix = np.ndarray((3, 3), dtype=np.complex128, buffer=shm.buf)
/// matrix[0, 1] = 1j
/// del matrix                                       # before the segment is closed
/// shm.close()
/// ```
///
/// and makes one that [`attach_plain`](Self::attach_plain) attaches to.
///
/// Python before 3.13 has a "resource tracker", which removes the name at the
/// exit of a process that only attached. There, say
/// `resource_tracker.unregister(shm._name, "shared_memory")`
/// after attaching (`from multiprocessing import resource_tracker`).
pub struct NamedArray<T, D> {
    raw: RawArray<T, D>,
    file: Arc<SegmentFile>,
    name: Name,
    /// The process that takes the name away: a fork of it must not.
    owner: Option<u32>,
}

impl<T: Element, D: Dimension> NamedArray<T, D> {
    /// A new array of zeros under a name that nothing has, with memory behind
    /// all of it, column-major after `.f()`.
    ///
    /// # Errors
    ///
    /// `is_invalid_name`; `is_taken`; `is_out_of_memory`, also if `/dev/shm`
    /// is full; `is_invalid_shape` if it exceeds the address space, if it has
    /// no elements, or more than 64 axes; any other failure of the operating
    /// system.
    pub fn create(name: &str, shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        let name = Name::new(name)?;
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        layout.check_named(MOST_AXES)?;
        let bytes = layout.len() * size_of::<T>();
        let stamp = stamp::<T, D>(&layout, bytes)?;
        let (fd, len) = make(&name, bytes, &stamp)?;
        let file = Arc::new(SegmentFile::regular(fd, len)?);
        let array = Self::place(name, file, layout, Some(std::process::id()))?;
        // The name comes last, when everything else is there.
        let linked = sys::link(array.file.fd(), &array.name.path());
        linked.map_err(|e| failed(array.name.as_str(), "name a shared segment", e))?;
        Ok(array)
    }

    /// Attaches to the array that a process of this library made under this
    /// name, which tells its shape.
    ///
    /// # Errors
    ///
    /// `is_invalid_name`; `is_not_found`; `is_denied` if it belongs to another
    /// user; `is_mismatch` if it holds other elements or another number of
    /// axes, or bears no stamp; any other failure of the operating system.
    pub fn attach(name: &str) -> Result<Self, ShmError> {
        let name = Name::new(name)?;
        let (fd, len) = name.open()?;
        let no_stamp = || NameError::NoStamp {
            name: name.to_string(),
        };
        let stamp = read_stamp(fd.as_fd(), len).ok_or_else(no_stamp)?;
        if stamp.element != T::dtype().base().code() && stamp.element != T::dtype().code() {
            return Err(NameError::Mismatch {
                name: name.to_string(),
                asked: format!("elements {}", T::dtype()),
                found: format!("others (code {:x?})", stamp.element),
            }
            .into());
        }
        let shape: Option<Vec<usize>> = (stamp.shape.iter())
            .map(|&len| usize::try_from(len).ok())
            .collect();
        let order = if stamp.column_major {
            Order::ColumnMajor
        } else {
            Order::RowMajor
        };
        let layout = Layout::from_order(&shape.ok_or_else(no_stamp)?, order, size_of::<T>())?;
        if (layout.len() * size_of::<T>()) as u64 != stamp.bytes {
            return Err(no_stamp().into());
        }
        Self::attach_open(name, fd, len, layout)
    }

    /// Attaches to elements that begin at the first byte of a segment that any
    /// program made under this name, such as NumPy.
    ///
    /// ```python
    /// shm = SharedMemory(create=True, name="matrix", size=9 * 16)
    /// matrix = np.ndarray((3, 3), dtype=np.complex128, buffer=shm.buf)
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`attach`](Self::attach); `is_mismatch` if the segment is too
    /// short for the shape.
    pub fn attach_plain(name: &str, shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        let name = Name::new(name)?;
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        layout.check_named(usize::MAX)?;
        let (fd, len) = name.open()?;
        Self::attach_open(name, fd, len, layout)
    }

    fn attach_open(
        name: Name,
        fd: OwnedFd,
        found: u64,
        layout: Layout<D>,
    ) -> Result<Self, ShmError> {
        let need = layout.len() * size_of::<T>();
        if need as u64 > found {
            return Err(NameError::Short {
                name: name.to_string(),
                need: need as u64,
                found,
                what: format!("{} of shape {:?}", T::dtype(), layout.shape()),
            }
            .into());
        }
        Self::place(
            name,
            Arc::new(SegmentFile::regular(fd, need)?),
            layout,
            None,
        )
    }

    fn place(
        name: Name,
        file: Arc<SegmentFile>,
        layout: Layout<D>,
        owner: Option<u32>,
    ) -> Result<Self, ShmError> {
        let segment = FileSegment::map(Arc::clone(&file), FileAccess::Write)?;
        let placed = Placed::at(Memory::File(segment), 0, layout)?;
        Ok(NamedArray {
            raw: RawArray::from_placed(placed),
            file,
            name,
            owner,
        })
    }

    /// The array: its views and blocks, and what goes to workers.
    #[must_use]
    pub fn raw(&self) -> &RawArray<T, D> {
        &self.raw
    }

    /// Keeps the name after the array is dropped, by its maker: a later
    /// program attaches to it, and somebody [`remove`](crate::named::remove)s
    /// it one day. No sweep does.
    ///
    /// On what was attached to it changes nothing.
    ///
    /// # Errors
    ///
    /// A failure of the operating system to write the stamp; then the name
    /// goes with the array.
    pub fn leave(mut self) -> Result<(), ShmError> {
        if self.owner.is_none() {
            return Ok(());
        }
        let doing = "mark a shared segment as left";
        let len = sys::identify(self.file.fd())
            .map_err(|e| system(doing, e))?
            .len;
        let no_stamp = || NameError::NoStamp {
            name: self.name.to_string(),
        };
        let mut stamp = read_stamp(self.file.fd(), len).ok_or_else(no_stamp)?;
        stamp.left = true;
        self.file.write(len as usize - PAGE, &stamp.to_page())?;
        self.owner = None;
        Ok(())
    }

    /// Checks that the segment still is as long as the array: another program
    /// may have truncated it.
    ///
    /// # Errors
    ///
    /// `is_truncated`.
    pub fn check(&self) -> Result<(), ShmError> {
        self.file.check_length()
    }
}

impl<T, D> NamedArray<T, D> {
    /// The name, without a slash.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Whether this process takes the name away when it drops the array.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.owner == Some(std::process::id())
    }
}

/// What the stamp of a new array says.
fn stamp<T: Element, D: Dimension>(layout: &Layout<D>, bytes: usize) -> Result<Stamp, ShmError> {
    Ok(Stamp {
        maker: this_process()?,
        left: false,
        element: T::dtype().code(),
        bytes: bytes as u64,
        column_major: layout.is_column_major(),
        shape: layout.shape().iter().map(|&len| len as u64).collect(),
    })
}

/// A file for `bytes` bytes and the stamp, without a name yet, locked as long
/// as this process has it open.
fn make(name: &Name, bytes: usize, stamp: &Stamp) -> Result<(LockedFile, usize), ShmError> {
    let len = bytes
        .checked_next_multiple_of(PAGE)
        .and_then(|len| len.checked_add(PAGE))
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or(Kind::TooLarge { len: bytes as u64 })?;
    check_file_size(len as u64)?;
    budget::check(len as u64)?;
    // Told early: the memory of a large array takes a while.
    if sys::identify_path(&name.path()).is_ok() {
        let name = name.to_string();
        return Err(NameError::Taken { name }.into());
    }
    let failed = |source| failed(name.as_str(), "make a shared segment with a name", source);
    let fd = sys::create_unnamed(&sys::shared_memory_dir()).map_err(failed)?;
    sys::restrict(fd.as_fd()).map_err(failed)?;
    put_memory(fd.as_fd(), 0, len as u64)?;
    let page = stamp.to_page();
    let mut done = 0;
    while done < PAGE {
        let at = (len - PAGE + done) as u64;
        done += sys::write_at(fd.as_fd(), at, &page[done..]).map_err(failed)?;
    }
    let mut fd = LockedFile::from(fd);
    fd.lock(FileLock::Shared).map_err(failed)?;
    Ok((fd, len))
}

impl<T, D> Drop for NamedArray<T, D> {
    fn drop(&mut self) {
        if self.is_owner() {
            // If somebody has removed it already, all is done.
            unlink_if_same(&self.name, self.file.fd());
        }
    }
}

impl<T: Element, D: Dimension> fmt::Debug for NamedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedArray")
            .field("name", &self.name.as_str())
            .field("raw", &self.raw)
            .field("owner", &self.is_owner())
            .finish()
    }
}
