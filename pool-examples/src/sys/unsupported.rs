//! Any other system: every call says that it is not there.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

pub(crate) fn is_same_file(_one: &Path, _other: &Path) -> io::Result<bool> {
    Err(unsupported())
}

pub(crate) fn limit_private_memory(_bytes: u64) -> io::Result<()> {
    Err(unsupported())
}

pub(crate) fn open_process(_pid: u32) -> io::Result<OwnedFd> {
    Err(unsupported())
}

pub(crate) fn wait_exit(_process: BorrowedFd<'_>, _limit: Duration) -> io::Result<bool> {
    Err(unsupported())
}

pub(crate) fn kill(_process: BorrowedFd<'_>) -> io::Result<()> {
    Err(unsupported())
}

pub(crate) fn stop(_process: BorrowedFd<'_>) -> io::Result<()> {
    Err(unsupported())
}

pub(crate) fn resume(_process: BorrowedFd<'_>) -> io::Result<()> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::from(io::ErrorKind::Unsupported)
}
