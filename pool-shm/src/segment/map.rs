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
//! the time in which the kernel moves other pages aside to find huge ones. So
//! where it begins to do that and takes long, the rest comes in small pages. The
//! time alone would say nothing: in a virtual machine memory that its host has
//! yet to find takes as long, in pages of either size.

use super::SegmentFile;
use crate::sys;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// Huge pages are gathered this many at a time, between looks at the clock.
const STEP: usize = 8;

/// A huge page that takes more than this many nanoseconds of this thread is slow:
/// clearing takes 0.1 to 0.4 ms.
const SLOW: u64 = 1_500_000;

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
        let (mut made, mut compactions) = (0, None);
        while made < whole {
            let end = whole.min(made + STEP * huge);
            let began = sys::thread_time();
            if let Err(error) = gather_step(file, start, made..end, huge) {
                tracing::debug!(segment = %file.id(), made, %error, "no more huge pages");
                break;
            }
            let pages = ((end - made) / huge) as u64;
            made = end;
            if sys::thread_time() - began <= pages * SLOW {
                continue;
            }
            let now = sys::compactions();
            if compactions.replace(now).is_some_and(|last| last != now) {
                tracing::debug!(segment = %file.id(), made, "huge pages are hard to find");
                break;
            }
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
    sys::gather(start + range.start, range.len())
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped it, and whoever uses the memory borrows from
        // this value or keeps it alive.
        unsafe { sys::unmap(self.start.as_ptr(), self.len) };
    }
}
