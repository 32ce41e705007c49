//! Processes of Linux, addressed by descriptors that never mean another process, and the identity of files.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal, setrlimit,
};

/// Whether two names are of the same device and inode.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (std::fs::metadata(one)?, std::fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Limits the private memory of this process and of all that it starts, in bytes.
pub(crate) fn limit_private_memory(bytes: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    Ok(setrlimit(Resource::Data, limit)?)
}

/// A descriptor of the process `pid`, closed on exec; `NotFound` if there is none.
pub(crate) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH => io::Error::from(io::ErrorKind::NotFound),
        other => other.into(),
    })
}

/// Waits until the process has ended, at most `limit`; tells whether it has.
pub(crate) fn wait_exit(process: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let limit =
        Timespec::try_from(limit).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Sends SIGKILL.
pub(crate) fn kill(process: BorrowedFd<'_>) -> io::Result<()> {
    Ok(pidfd_send_signal(process, Signal::KILL)?)
}

/// Sends SIGSTOP.
pub(crate) fn stop(process: BorrowedFd<'_>) -> io::Result<()> {
    Ok(pidfd_send_signal(process, Signal::STOP)?)
}

/// Sends SIGCONT.
pub(crate) fn resume(process: BorrowedFd<'_>) -> io::Result<()> {
    Ok(pidfd_send_signal(process, Signal::CONT)?)
}
