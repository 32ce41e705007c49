//! Memory files of Linux: made, reserved, sealed and told apart, and the limits that `/proc` tells.

use super::{DescriptorLimit, Identity, Seals};
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A new memfd of length zero, closed on exec, not executable where the kernel
/// knows that (Linux 6.3).
pub(crate) fn create(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // An older kernel does not know the flag and must be asked without it.
        Err(Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        other => Ok(other?),
    }
}

/// Sets the length in bytes.
pub(crate) fn set_len(fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::ftruncate(fd, len)
    })?)
}

/// Puts memory behind `len` bytes at `offset`, or fails and changes nothing.
pub(crate) fn reserve(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, len)
    })?)
}

/// Forbids any change of the length, for everybody and for ever.
pub(crate) fn seal_size(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(
        fd,
        SealFlags::SHRINK | SealFlags::GROW,
    )?)
}

/// Forbids any write, for everybody and for ever; `EBUSY` while it is mapped
/// for writing anywhere.
pub(crate) fn seal_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE)?)
}

/// Takes the memory behind `len` bytes at `offset` away; they read as zero.
pub(crate) fn discard(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(fd, flags, offset, len)
    })?)
}

/// Writes some of `bytes` at `offset` and says how many.
pub(crate) fn write_at(fd: BorrowedFd<'_>, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::pwrite(fd, bytes, offset)
    })?)
}

/// The seals in force; `EINVAL` for what is no memfd.
pub(crate) fn seals(fd: BorrowedFd<'_>) -> io::Result<Seals> {
    let seals = rustix::fs::fcntl_get_seals(fd)?;
    Ok(Seals {
        size: seals.contains(SealFlags::SHRINK | SealFlags::GROW),
        write: seals.contains(SealFlags::WRITE),
    })
}

/// What `fd` refers to.
pub(crate) fn identify(fd: BorrowedFd<'_>) -> io::Result<Identity> {
    Identity::try_from(&rustix::fs::fstat(fd)?)
}

/// What descriptor number `fd` of process `pid` refers to.
pub(crate) fn identify_peer(pid: u32, fd: i32) -> io::Result<Identity> {
    Identity::try_from(&rustix::fs::stat(peer_path(pid, fd))?)
}

/// Opens descriptor number `fd` of process `pid` anew, for reading and, if
/// `write`, for writing.
pub(crate) fn open_peer(pid: u32, fd: i32, write: bool) -> io::Result<OwnedFd> {
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    Ok(rustix::io::retry_on_intr(|| {
        rustix::fs::open(peer_path(pid, fd), flags, Mode::empty())
    })?)
}

/// A copy of descriptor number `fd` of process `pid`, got without `/proc`. It
/// is the same open file, opened for whatever `pid` has opened it for. The
/// kernel asks for more rights than opening it anew does (those of a debugger).
pub(crate) fn copy_peer(pid: u32, fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::BADF.into());
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let flags = PidfdGetfdFlags::empty();
    Ok(rustix::process::pidfd_getfd(process, fd, flags)?)
}

/// Whether `/proc` shows a process `pid`.
pub(crate) fn process_exists(pid: u32) -> bool {
    rustix::fs::stat(format!("/proc/{pid}")).is_ok()
}

/// The largest file that this process may make, in bytes, if there is a limit.
pub(crate) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Which limit on open files `error` speaks of, if it does.
pub(crate) fn descriptor_limit(error: &io::Error) -> Option<DescriptorLimit> {
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some(DescriptorLimit::Process),
        Errno::NFILE => Some(DescriptorLimit::System),
        _ => None,
    }
}

/// The processes, as far as `/proc` shows them, that have the memfd of inode
/// `ino` mapped for writing: `name (pid 17)`.
pub(crate) fn writers(ino: u64) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps"));
            maps.is_ok_and(|maps| maps.lines().any(|line| is_writable_map(line, ino)))
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            format!("{} (pid {pid})", name.unwrap_or_default().trim())
        })
        .collect()
}

/// Whether a line `addresses permissions offset device inode path` of a
/// process's maps is a shared writable one of the memfd `ino`.
fn is_writable_map(line: &str, ino: u64) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let permissions = fields.next().unwrap_or_default();
    let inode = fields.nth(2).and_then(|inode| inode.parse().ok());
    let path = fields.next().unwrap_or_default();
    permissions.contains('w') && inode == Some(ino) && path.starts_with("/memfd:")
}

fn peer_path(pid: u32, fd: i32) -> String {
    format!("/proc/{pid}/fd/{fd}")
}

impl TryFrom<&Stat> for Identity {
    type Error = io::Error;

    fn try_from(stat: &Stat) -> io::Result<Self> {
        let len = u64::try_from(stat.st_size).map_err(io::Error::other)?;
        Ok(Identity {
            dev: stat.st_dev,
            ino: stat.st_ino,
            len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing handles.
    #[test]
    fn a_descriptor_below_zero_is_an_error() {
        assert!(copy_peer(std::process::id(), -5).is_err());
        assert!(copy_peer(0, 1).is_err());
    }
}
