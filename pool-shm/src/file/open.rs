//! Opening a file that is there.

use super::error::{FileProblem, error, system};
use super::npy::{self, Npy};
use crate::array::{Layout, Memory, Order, Placed};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::{FileAccess, FileSegment, LockedFile, SegmentFile};
use crate::sys::{self, FileLock};
use ndarray::Dimension;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

/// Opens a `.npy` file of this element type and number of axes.
pub(super) fn npy<T: Element, D: Dimension>(
    path: &Path,
    access: FileAccess,
) -> Result<(FileSegment, Placed<T, D>), ShmError> {
    let fd = open(path, access)?;
    let npy = read_header(path, fd.as_fd())?;
    let write = access == FileAccess::Write;
    let checked = npy.check_type(T::dtype(), write);
    checked.map_err(|problem| error(path, problem))?;
    let order = if npy.column_major {
        Order::ColumnMajor
    } else {
        Order::RowMajor
    };
    let layout = Layout::from_order(&npy.shape, order, size_of::<T>())?;
    place(path, fd, access, npy.offset, layout)
}

/// Opens a file whose elements are said to begin at `offset`.
pub(super) fn raw<T: Element, D: Dimension>(
    path: &Path,
    access: FileAccess,
    offset: u64,
    layout: Layout<D>,
) -> Result<(FileSegment, Placed<T, D>), ShmError> {
    place(path, open(path, access)?, access, offset, layout)
}

/// Opens and locks.
fn open(path: &Path, access: FileAccess) -> Result<LockedFile, ShmError> {
    let write = access == FileAccess::Write;
    let failed = |source| system(path, "open it", 0, source);
    let fd = sys::open_file(path, write, true).map_err(failed)?;
    let mut fd = LockedFile::from(fd);
    if sys::identify_regular(fd.as_fd()).map_err(failed)?.is_none() {
        return Err(error(path, FileProblem::NotRegular));
    }
    let (lock, why) = if write {
        (FileLock::Exclusive, "uses it")
    } else {
        (FileLock::Shared, "writes it")
    };
    match fd.lock(lock) {
        Ok(true) => {}
        Ok(false) => return Err(error(path, FileProblem::Locked(why))),
        // It is a help against mistakes; without it the caller's promise stands alone.
        Err(error) => tracing::debug!(path = %path.display(), %error, "could not lock a file"),
    }
    Ok(fd)
}

fn read_header(path: &Path, fd: BorrowedFd<'_>) -> Result<Npy, ShmError> {
    let mut bytes = vec![0; npy::LONGEST];
    let mut filled = 0;
    while filled < bytes.len() {
        let read = sys::read_at(fd, filled as u64, &mut bytes[filled..])
            .map_err(|source| system(path, "read it", 0, source))?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    npy::parse(&bytes[..filled]).map_err(|problem| error(path, problem))
}

fn place<T: Element, D: Dimension>(
    path: &Path,
    fd: LockedFile,
    access: FileAccess,
    offset: u64,
    layout: Layout<D>,
) -> Result<(FileSegment, Placed<T, D>), ShmError> {
    let found = sys::identify(fd.as_fd()).map_err(|e| system(path, "read its length", 0, e))?;
    let bytes = (layout.len() * size_of::<T>()) as u64;
    let need = offset.saturating_add(bytes);
    if need > found.len || need == 0 {
        let problem = FileProblem::Short {
            need: need.max(1),
            found: found.len,
        };
        return Err(error(path, problem));
    }
    let align = align_of::<T>();
    if !offset.is_multiple_of(align as u64) {
        return Err(error(path, FileProblem::Misaligned { offset, align }));
    }
    if access == FileAccess::Write && bytes > 0 {
        fill_holes(path, fd.as_fd(), offset, bytes)?;
    }
    // It is not longer than the file, but a file may be longer than memory.
    let len = usize::try_from(need).map_err(|_| crate::error::Kind::TooLarge { len: need })?;
    let segment = FileSegment::map(Arc::new(SegmentFile::regular(fd, len)?), access)?;
    let placed = Placed::at(Memory::File(segment.clone()), offset, layout)?;
    Ok((segment, placed))
}

/// A file may have holes: parts that were never written and have no room on
/// the disk. A store to one, mapped, ends the process if the disk is full.
fn fill_holes(path: &Path, fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), ShmError> {
    match sys::reserve(fd, offset, bytes) {
        Err(source) if sys::is_unsupported(&source) => {
            tracing::debug!(path = %path.display(), %source, "could not reserve room for a file");
            Ok(())
        }
        reserved => reserved.map_err(|e| system(path, "reserve room for it", bytes, e)),
    }
}
