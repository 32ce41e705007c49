//! On which nodes Linux puts memory.

use std::io;

/// `MPOL_INTERLEAVE` of `linux/mempolicy.h`.
const INTERLEAVE: libc::c_long = 3;

/// Puts the pages of shared memory, mapped at `start`, that are yet to be made
/// on these nodes in turn.
pub(crate) fn interleave(start: usize, len: usize, nodes: &[u32]) -> io::Result<()> {
    let bits = libc::c_ulong::BITS;
    let highest = nodes.iter().copied().max().unwrap_or(0);
    let mut mask = vec![0 as libc::c_ulong; (highest / bits + 1) as usize];
    for node in nodes {
        mask[(node / bits) as usize] |= 1 << (node % bits);
    }
    // The kernel reads one bit less than it is told.
    let count = libc::c_ulong::from(highest) + 2;
    // SAFETY: it changes where pages come from, not what they hold, whatever
    // is mapped at `start`; the mask has `count - 1` bits at least.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            start,
            len,
            INTERLEAVE,
            mask.as_ptr(),
            count,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
