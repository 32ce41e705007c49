//! Any other system: compiles, and says at run time that it is not supported.

use super::{DescriptorLimit, Identity, Seals};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn create(_name: &str) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn set_len(_fd: BorrowedFd<'_>, _len: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn reserve(_fd: BorrowedFd<'_>, _offset: u64, _len: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn seal_size(_fd: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn seal_write(_fd: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn discard(_fd: BorrowedFd<'_>, _offset: u64, _len: u64) -> io::Result<()> {
    unsupported()
}

pub(crate) fn writers(_ino: u64) -> Vec<String> {
    Vec::new()
}

pub(crate) fn write_at(_fd: BorrowedFd<'_>, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
    unsupported()
}

pub(crate) fn seals(_fd: BorrowedFd<'_>) -> io::Result<Seals> {
    unsupported()
}

pub(crate) fn identify(_fd: BorrowedFd<'_>) -> io::Result<Identity> {
    unsupported()
}

pub(crate) fn identify_peer(_pid: u32, _fd: i32) -> io::Result<Identity> {
    unsupported()
}

pub(crate) fn open_peer(_pid: u32, _fd: i32, _write: bool) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn copy_peer(_pid: u32, _fd: i32) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn process_exists(_pid: u32) -> bool {
    false
}

pub(crate) fn file_size_limit() -> Option<u64> {
    None
}

pub(crate) fn page_size() -> usize {
    4096
}

pub(crate) fn descriptor_limit(_error: &io::Error) -> Option<DescriptorLimit> {
    None
}
