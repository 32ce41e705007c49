//! Files and names of Linux.

use super::{FileLock, Identity};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where POSIX shared memory has its names.
pub(crate) fn shared_memory_dir() -> PathBuf {
    PathBuf::from("/dev/shm")
}

/// Opens an existing file, for reading and, if `write`, for writing; neither
/// waits for a pipe nor follows a symbolic link at the end unless `follow`.
pub(crate) fn open_file(path: &Path, write: bool, follow: bool) -> io::Result<OwnedFd> {
    let mut flags = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    flags |= if write { OFlags::RDWR } else { OFlags::RDONLY };
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::open(path, flags, Mode::empty())
    })?)
}

/// A new file in `dir` without a name, for [`link`].
pub(crate) fn create_unnamed(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::open(dir, flags, Mode::from_raw_mode(0o666))
    })?)
}

/// A new file with a name that nothing has yet.
pub(crate) fn create_file(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))
    })?)
}

/// Gives a file made by [`create_unnamed`] a name that nothing has yet.
pub(crate) fn link(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        unnamed,
        CWD,
        path,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

/// Gives a file another name, which nothing has yet.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

/// Takes a name away.
pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::unlink(path)?)
}

/// Lets only the owner read and write the file.
pub(crate) fn restrict(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fchmod(fd, Mode::RUSR | Mode::WUSR)?)
}

/// Waits until the file, or the directory, is on the disk.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(fd))?)
}

/// Locks the file for those that ask; `false` if it is locked otherwise. The
/// lock ends by [`unlock`], or when the last copy of the descriptor is closed.
pub(crate) fn lock(fd: BorrowedFd<'_>, lock: FileLock) -> io::Result<bool> {
    let operation = match lock {
        FileLock::Shared => FlockOperation::NonBlockingLockShared,
        FileLock::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| rustix::fs::flock(fd, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives up the lock, whoever else has a copy of the descriptor.
pub(crate) fn unlock(fd: BorrowedFd<'_>) -> io::Result<()> {
    let operation = FlockOperation::NonBlockingUnlock;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::flock(fd, operation)
    })?)
}

/// Reads some bytes at `offset` and says how many.
pub(crate) fn read_at(fd: BorrowedFd<'_>, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::pread(fd, &mut *bytes, offset)
    })?)
}

/// What `fd` refers to, if it is a regular file.
pub(crate) fn identify_regular(fd: BorrowedFd<'_>) -> io::Result<Option<Identity>> {
    regular(&rustix::fs::fstat(fd)?)
}

/// What `path` names, if it is a regular file.
pub(crate) fn identify_path(path: &Path) -> io::Result<Option<Identity>> {
    regular(&rustix::fs::lstat(path)?)
}

fn regular(stat: &rustix::fs::Stat) -> io::Result<Option<Identity>> {
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(None);
    }
    Identity::try_from(stat).map(Some)
}

/// The user that a file belongs to.
pub(crate) fn owner(fd: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::fs::fstat(fd)?.st_uid)
}

/// The user whose rights this process has.
pub(crate) fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The path by which the kernel knows a descriptor.
pub(crate) fn name_of(fd: BorrowedFd<'_>) -> String {
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    path.map_or_else(
        |_| format!("of descriptor {}", fd.as_raw_fd()),
        |path| path.display().to_string(),
    )
}

/// Whether a file could be opened for reading only.
pub(crate) fn is_read_only(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::TXTBSY)
    )
}

/// Whether there is no room: on the disk, by a quota or by the largest file
/// that there may be.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}

/// Whether the file system does not know what it was asked for.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::ISDIR | Errno::NOLCK | Errno::INVAL)
    )
}

/// When process `pid` was started, in ticks since the system was; `None` if
/// there is no such process, or if it has ended and waits to be reaped.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// A number of the namespace in which this process's ids mean something.
pub(crate) fn pid_namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}
