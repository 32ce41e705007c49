//! Any other system: files are refused at run time.

use super::{FileLock, Identity};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn shared_memory_dir() -> PathBuf {
    PathBuf::new()
}

pub(crate) fn open_file(_path: &Path, _write: bool, _follow: bool) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn create_unnamed(_dir: &Path) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn create_file(_path: &Path) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn link(_fd: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
    unsupported()
}

pub(crate) fn rename(_from: &Path, _to: &Path) -> io::Result<()> {
    unsupported()
}

pub(crate) fn unlink(_path: &Path) -> io::Result<()> {
    unsupported()
}

pub(crate) fn restrict(_fd: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn sync(_fd: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn lock(_fd: BorrowedFd<'_>, _lock: FileLock) -> io::Result<bool> {
    unsupported()
}

pub(crate) fn unlock(_fd: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn read_at(_fd: BorrowedFd<'_>, _offset: u64, _bytes: &mut [u8]) -> io::Result<usize> {
    unsupported()
}

pub(crate) fn identify_regular(_fd: BorrowedFd<'_>) -> io::Result<Option<Identity>> {
    unsupported()
}

pub(crate) fn identify_path(_path: &Path) -> io::Result<Option<Identity>> {
    unsupported()
}

pub(crate) fn owner(_fd: BorrowedFd<'_>) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn effective_user() -> u32 {
    0
}

pub(crate) fn name_of(_fd: BorrowedFd<'_>) -> String {
    String::new()
}

pub(crate) fn is_read_only(_error: &io::Error) -> bool {
    false
}

pub(crate) fn is_full(_error: &io::Error) -> bool {
    false
}

pub(crate) fn is_unsupported(_error: &io::Error) -> bool {
    false
}

pub(crate) fn start_time(_pid: u32) -> Option<u64> {
    None
}

pub(crate) fn pid_namespace() -> io::Result<u64> {
    unsupported()
}
