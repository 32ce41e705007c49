//! Who has a segment mapped, and how much memory that is.

use crate::AtomicArray;
use crate::array::{ArrayPart, ArrayPartMut, FrozenArray, LockedArray, RawArray, SharedArray};
use crate::element::Element;
use crate::error::{ShmError, system};
use crate::file::{FileAccess, FileArray};
use crate::segment::Segment;
use crate::sys::{self, ProcessMapping};
use ndarray::Dimension;
use std::fmt;
use std::os::fd::BorrowedFd;

/// What lies in a segment or in a file, so that [`usage`] can tell about it:
/// segments and arrays.
pub trait Resident: sealed::Sealed {}

mod sealed {
    use std::os::fd::BorrowedFd;

    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Sealed {
        #[doc(hidden)]
        fn descriptor(&self) -> BorrowedFd<'_>;
    }
}

/// The memory behind a segment and the processes that have it mapped.
///
/// Small arrays may lie in one segment with others; then it is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The length of the segment, or of the file, in bytes.
    pub length: u64,
    /// How many bytes of memory are behind it, mapped or not; for a file, of
    /// the disk.
    pub allocated: u64,
    /// The processes that have it mapped, as far as this user may see them.
    pub processes: Vec<ProcessUsage>,
}

/// What one process has mapped of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessUsage {
    /// The process id.
    pub pid: u32,
    /// The name of the program, cut to 15 bytes by the kernel.
    pub name: String,
    /// Bytes of addresses.
    pub mapped: u64,
    /// Bytes of memory that the process has touched and that are there.
    pub resident: u64,
    /// The same, each page divided by the number of its users: over all
    /// processes, these add up to the memory in use.
    pub proportional: u64,
    /// Bytes of `resident` in huge pages.
    pub huge: u64,
    /// Whether it may write.
    pub writable: bool,
}

impl Usage {
    /// The memory that all these processes use together, in bytes.
    #[must_use]
    pub fn proportional(&self) -> u64 {
        self.processes.iter().map(|p| p.proportional).sum()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {} allocated", self.length, self.allocated)?;
        for p in &self.processes {
            let access = if p.writable { "writes" } else { "reads" };
            write!(
                f,
                "\n{} (pid {}) {access}: {} bytes mapped, {} resident, {} proportional, {} huge",
                p.name, p.pid, p.mapped, p.resident, p.proportional, p.huge
            )?;
        }
        Ok(())
    }
}

/// Asks the kernel who has the segment of an array mapped, and how much memory
/// that is.
///
/// It reads `/proc/*/smaps`, which takes milliseconds per process: it is for
/// finding out where memory is, not for every call.
///
/// ```
/// let mut array = pool_shm::SharedArray::<f64, _>::zeros(100_000)?;
/// array.view_mut().fill(1.0);
/// let usage = pool_shm::usage(&array)?;
/// assert!(usage.allocated >= 800_000);
/// let this = usage.processes.iter().find(|p| p.pid == std::process::id());
/// assert!(this.is_some_and(|p| p.resident >= 800_000));
/// println!("{usage}");
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// # Errors
///
/// A failure of the operating system to tell about the segment. Processes that
/// this user may not look into are left out.
pub fn usage(of: &impl Resident) -> Result<Usage, ShmError> {
    let failed = |e| system("ask about a segment's memory", e);
    let fd = of.descriptor();
    let identity = sys::identify(fd).map_err(failed)?;
    let mappings = sys::mappings(identity.dev, identity.ino);
    Ok(Usage {
        length: identity.len,
        allocated: sys::allocated(fd).map_err(failed)?,
        processes: mappings.into_iter().map(process).collect(),
    })
}

fn process(mapping: ProcessMapping) -> ProcessUsage {
    ProcessUsage {
        pid: mapping.pid,
        name: mapping.name,
        mapped: mapping.mapped,
        resident: mapping.resident,
        proportional: mapping.proportional,
        huge: mapping.huge,
        writable: mapping.writable,
    }
}

impl Resident for Segment {}
impl sealed::Sealed for Segment {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

macro_rules! resident {
    ($($array:ty $(, $access:ident: $bound:path)?;)*) => {$(
        impl<T: Element, D: Dimension $(, $access: $bound)?> Resident for $array {}
        impl<T: Element, D: Dimension $(, $access: $bound)?> sealed::Sealed for $array {
            fn descriptor(&self) -> BorrowedFd<'_> {
                self.placed().memory().file().fd()
            }
        }
    )*};
}

resident! {
    SharedArray<T, D>;
    FrozenArray<T, D>;
    RawArray<T, D>;
    LockedArray<T, D>;
    AtomicArray<T, D>;
    ArrayPart<'_, T, D>;
    ArrayPartMut<'_, T, D>;
    FileArray<T, D, A>, A: FileAccess;
}
