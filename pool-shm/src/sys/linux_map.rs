//! Mappings that begin where a huge page can, and the gathering of pages into huge ones.

use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::OnceLock;

/// `MADV_COLLAPSE` of `linux/mman.h` (Linux 6.1).
const COLLAPSE: libc::c_int = 25;

/// The length in bytes of the huge pages that the kernel can make of small
/// ones; none if it cannot.
pub(crate) fn huge_page_length() -> Option<usize> {
    static LENGTH: OnceLock<Option<usize>> = OnceLock::new();
    *LENGTH.get_or_init(|| {
        let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").ok()?;
        let length: usize = text.trim().parse().ok()?;
        let pages = super::page_size()..=1 << 30;
        (length.is_power_of_two() && pages.contains(&length)).then_some(length)
    })
}

/// Maps the first `len` bytes of a file, shared, at a multiple of `align` bytes
/// if there is such a place.
pub(crate) fn map_shared(
    fd: BorrowedFd<'_>,
    len: usize,
    align: usize,
    write: bool,
) -> io::Result<*mut u8> {
    let access = if write {
        ProtFlags::READ | ProtFlags::WRITE
    } else {
        ProtFlags::READ
    };
    let place = ptr::without_provenance_mut(free_place(len, align).unwrap_or(0));
    // SAFETY: without `FIXED` the place is a wish: the kernel maps where
    // nothing is mapped, so no memory that is in use changes.
    let start = unsafe { rustix::mm::mmap(place, len, access, MapFlags::SHARED, fd, 0) }?;
    Ok(start.cast())
}

/// An address at a multiple of `align` from which on `len` bytes were free a
/// moment ago.
fn free_place(len: usize, align: usize) -> Option<usize> {
    let room = len.checked_add(align)?;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the place, so no memory that is in use changes.
    let found =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), flags) };
    let found = found.ok()?;
    // SAFETY: it was mapped a moment ago and nobody else knows of it.
    unsafe { rustix::mm::munmap(found, room) }.ok()?;
    found.addr().checked_next_multiple_of(align)
}

/// Ends a mapping.
///
/// # Safety
///
/// [`map_shared`] has made it, of `len` bytes, and nobody uses it any more.
pub(crate) unsafe fn unmap(start: *mut u8, len: usize) {
    // SAFETY: the caller vouches for it.
    let ended = unsafe { rustix::mm::munmap(start.cast(), len) };
    if let Err(error) = ended {
        tracing::debug!(%error, "could not end a mapping");
    }
}

/// Makes pages of shared memory that is mapped at `start`, and maps them.
pub(crate) fn make_pages(start: usize, len: usize) -> io::Result<()> {
    advise(start, len, Advice::LinuxPopulateWrite)
}

/// Asks for huge pages where there are none yet.
pub(crate) fn wish_huge(start: usize, len: usize) -> io::Result<()> {
    advise(start, len, Advice::LinuxHugepage)
}

fn advise(start: usize, len: usize, advice: Advice) -> io::Result<()> {
    let start = ptr::without_provenance_mut(start);
    // SAFETY: the two kinds of advice that come here change no byte of what is
    // mapped, whatever that is.
    Ok(unsafe { rustix::mm::madvise(start, len, advice) }?)
}

/// Puts what is mapped at `start` into huge pages: what is there is copied, the
/// rest made, all zeros. A huge page that has nothing at all is refused.
pub(crate) fn gather(start: usize, len: usize) -> io::Result<()> {
    let start: *mut libc::c_void = ptr::without_provenance_mut(start);
    // SAFETY: it changes which pages hold the bytes, not the bytes, whatever is
    // mapped there.
    let result = unsafe { libc::madvise(start, len, COLLAPSE) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The time that this thread has run so far, in nanoseconds.
pub(crate) fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
