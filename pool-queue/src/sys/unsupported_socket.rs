//! Any other system: there are no pipes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// Descriptors that one message can carry.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Not here.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn shut(_fd: BorrowedFd<'_>, _writing: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn send(
    _fd: BorrowedFd<'_>,
    _parts: &[IoSlice<'_>],
    _descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn receive(
    _fd: BorrowedFd<'_>,
    _bytes: &mut [u8],
    _descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<(usize, bool)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn wait_ready(
    _fds: &[BorrowedFd<'_>],
    _writing: bool,
    _deadline: Option<Instant>,
) -> io::Result<Vec<bool>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn socket_identity(_fd: BorrowedFd<'_>) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
pub(crate) fn fetch(_pid: u32, _fd: i32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}
