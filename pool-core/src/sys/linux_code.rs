//! Letting go of code that is not needed while a process sleeps.
//!
//! A page of an executable file that a process has touched counts among its memory, in part, until it is let go, though the kernel can
//! map it again from its cache at once. Most of what a worker ever touches it needs only to start.

use std::ffi::c_void;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::mm::{Advice, madvise};

/// The pages of this process that hold code and constants as they stand in their files, those of the executable first. A part of the
/// address space in which anything was changed, as a debugger or a library that patches functions does, is left out.
pub(crate) fn unchanged_code() -> Vec<Range<usize>> {
    let mut unchanged = code();
    // Without `/proc` nobody can tell what was changed.
    let pagemap = File::open("/proc/self/pagemap").ok();
    let is_safe = |pages: &Range<usize>| is_unchanged(pagemap.as_ref()?, pages).ok();
    unchanged.retain(|pages| is_safe(pages) == Some(true));
    unchanged
}

/// Lets go of pages that [`unchanged_code`] has just found. They are mapped again as they are needed, so the executable's go last, and the
/// caller sleeps right after this.
pub(crate) fn forget_code(unchanged: &[Range<usize>]) {
    let size = rustix::param::page_size();
    for pages in unchanged.iter().rev() {
        let (start, len) = (pages.start * size, pages.len() * size);
        // SAFETY: these pages of read-only segments are, as was just read, what stands in the files that they are mapped from; the
        // kernel gives the same bytes again when they are touched.
        let _ = unsafe { madvise(start as *mut c_void, len, Advice::LinuxDontNeed) };
    }
}

/// Whether each page that is there comes from its file. An entry of the page map has a bit for "is there", one for "swapped", and one for
/// "of a file"; what was changed is of no file any more.
fn is_unchanged(pagemap: &File, pages: &Range<usize>) -> std::io::Result<bool> {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_FILE: u64 = 1 << 61;
    let mut bytes = vec![0; pages.len() * 8];
    pagemap.read_exact_at(&mut bytes, pages.start as u64 * 8)?;
    let (entries, _) = bytes.as_chunks::<8>();
    let is_plain = |entry: &[u8; 8]| {
        let entry = u64::from_ne_bytes(*entry);
        entry & SWAPPED == 0 && (entry & PRESENT == 0 || entry & OF_FILE != 0)
    };
    Ok(entries.iter().all(is_plain))
}

/// The pages of the segments of all loaded objects that are mapped without the right to write.
fn code() -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    let list: *mut Vec<Range<usize>> = &mut segments;
    // SAFETY: `visit` has the signature that the function wants and gets back the pointer to `segments`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), list.cast()) };
    segments
}

/// Adds the segments of one object.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `code` passes a pointer to its own variable, which nobody else uses during the call.
    let segments = unsafe { &mut *data.cast::<Vec<Range<usize>>>() };
    // SAFETY: the loader gives a valid description for the duration of this call.
    let info = unsafe { &*info };
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers that stay as they are while the object is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let size = rustix::param::page_size();
    let constant = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    segments.extend(constant.map(|header| {
        let start = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        let end = start.saturating_add(header.p_filesz as usize);
        start / size..end.div_ceil(size)
    }));
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_on_after_it_was_let_go() {
        let pages = code();
        let here = code as *const () as usize / rustix::param::page_size();
        assert!(pages.iter().any(|range| range.contains(&here)));
        let unchanged = unchanged_code();
        assert!(!unchanged.is_empty());
        forget_code(&unchanged);
        assert_eq!(code(), pages);
    }

    #[test]
    fn what_was_changed_is_told_from_what_stands_in_a_file() {
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let size = rustix::param::page_size();
        let changed = vec![1u8; 3 * size];
        let page = changed.as_ptr() as usize / size + 1;
        assert!(!is_unchanged(&pagemap, &(page..page + 1)).unwrap());
        let here = code as *const () as usize / size;
        assert!(is_unchanged(&pagemap, &(here..here + 1)).unwrap());
    }
}
