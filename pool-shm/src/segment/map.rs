//! A whole segment, mapped where huge pages can be used.
//!
//! A huge page saves the page faults of its 512 small ones, and as many entries
//! to take down when it is unmapped: for what workers write and then freeze,
//! these are most of the time. The kernel gives shared memory huge pages by
//! itself only where the administrator says so
//! (`transparent_hugepage/shmem_enabled`), which is off nearly everywhere. But
//! since Linux 6.1 a process may ask for them where it wants them
//! (`MADV_COLLAPSE`), for any memory whose place in the file and in the address
//! space are multiples of a huge page. So a large segment begins at one, in each
//! process that maps it, and the pages of a new array are made as huge ones
//! ([`Map::gather`]).
//!
//! Making them costs clearing them. That is not lost: what is reserved with
//! small pages is cleared too, at each page's first touch. What can be lost is
//! time in which the kernel moves other pages aside to find huge ones, or, in a
//! virtual machine, in which the host finds memory that the guest had reported as
//! free (2.5 s for a GiB were seen, where clearing takes 0.2 s; it reports large
//! pieces only, so small pages may be had at once). So the time is watched, and
//! after a few slow huge pages the rest comes in small ones.

use super::SegmentFile;
use crate::sys;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// At most so many huge pages are gathered by one call. The first calls are for
/// fewer, so that what is slow is noticed early.
const STEP: usize = 32;

/// What a huge page may take, in nanoseconds of this thread: clearing takes 0.1 to
/// 0.4 ms.
const FAIR: u64 = 500_000;

/// What all of a segment's may take beyond that, and how much more for each of
/// them: 20 ms for a GiB, whose small pages take some hundreds.
const PATIENCE: (u64, u64) = (10_000_000, 20_000);

/// A mapping of all of a segment, ended on drop.
#[derive(Debug)]
pub(super) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a pointer to memory that any thread may use; those who make
// references from it vouch for them.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps a memfd, for writing or only for reading.
    pub(super) fn new(file: &SegmentFile, write: bool) -> io::Result<Map> {
        let len = file.len();
        let huge = sys::huge_page_length().filter(|huge| len >= *huge);
        let start = sys::map_shared(file.fd(), len, huge.unwrap_or(1), write)?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Map { start, len })
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Makes every page in which bytes of `range` lie, and maps it here.
    pub(super) fn make_pages(&self, range: Range<usize>) -> io::Result<()> {
        let first = range.start - range.start % sys::page_size();
        sys::make_pages(self.start.addr().get() + first, range.end - first)
    }

    /// Asks for huge pages, where there are none yet.
    pub(super) fn wish_huge(&self) -> io::Result<()> {
        sys::wish_huge(self.start.addr().get(), self.len)
    }

    /// Makes the pages of `file`, which has none yet and is mapped here, as huge
    /// ones, as far as that can be had in good time. How many bytes were made,
    /// from the start on; the caller reserves the rest.
    pub(super) fn gather(&self, file: &SegmentFile) -> usize {
        let Some(huge) = sys::huge_page_length() else {
            return 0;
        };
        let start = self.start.addr().get();
        if !start.is_multiple_of(huge) {
            return 0;
        }
        let whole = self.len - self.len % huge;
        let mut patience = PATIENCE.0 + PATIENCE.1 * (whole / huge) as u64;
        let mut made = 0;
        while made < whole {
            let end = whole.min(made + made.clamp(huge, STEP * huge));
            let began = sys::thread_time();
            if let Err(error) = gather_step(file, start, made..end, huge) {
                tracing::debug!(segment = %file.id(), made, %error, "no more huge pages");
                break;
            }
            let fair = FAIR * ((end - made) / huge) as u64;
            made = end;
            let late = (sys::thread_time() - began).saturating_sub(fair);
            if late > patience {
                tracing::debug!(segment = %file.id(), made, "huge pages are slow to be had");
                break;
            }
            patience -= late;
        }
        made
    }
}

/// Makes the huge pages of one range. The kernel gathers nothing out of
/// nothing, so each gets one small page first.
fn gather_step(
    file: &SegmentFile,
    start: usize,
    range: Range<usize>,
    huge: usize,
) -> io::Result<()> {
    for at in range.clone().step_by(huge) {
        sys::reserve(file.fd(), at as u64, sys::page_size() as u64)?;
    }
    let gather = || sys::gather(start + range.start, range.len());
    match gather() {
        // Somebody looked at one of the pages at this moment.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => gather(),
        done => done,
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped it, and whoever uses the memory borrows from
        // this value or keeps it alive.
        unsafe { sys::unmap(self.start.as_ptr(), self.len) };
    }
}
