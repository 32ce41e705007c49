//! What the pool asks of the operating system. Everything above this module is portable; `unsupported.rs` has the same functions
//! as the files of Linux.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux_code;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux_image;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux_worker;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use {linux::*, linux_code::*, linux_image::*, linux_worker::*};

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
mod unsupported;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) use unsupported::*;

use std::ffi::{c_char, c_int};
use std::ops::Range;
use std::time::Duration;

/// The path under which this program can be executed again, also after its file was replaced.
pub(crate) const SELF_EXE: &str = "/proc/self/exe";

/// A function of the section of constructors: what the C library passes to each.
pub(crate) type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// What a process can be asked to do by a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// The main executable of this process.
#[derive(Debug)]
pub(crate) struct Image {
    /// Where the executable was loaded: what an address is relative to.
    pub(crate) base: usize,
    /// Address ranges that nothing in this process can write any more.
    pub(crate) read_only: Vec<Range<usize>>,
    /// A digest of the GNU build id, or of the program headers where the linker made none.
    pub(crate) identity: u64,
    /// Where the loader's directions are.
    dynamic: Option<Range<usize>>,
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_time: Duration,
    /// Bytes that are mapped and present.
    pub(crate) resident: u64,
    /// The same, each shared page divided by the number of processes that share it.
    pub(crate) proportional: u64,
    /// Bytes that only this process has.
    pub(crate) private: u64,
}
