//! A descriptor whose file this process may have locked.

use crate::sys::{self, FileLock};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor; dropping it gives up the lock that was taken through it.
///
/// Closing it would not do: a lock belongs to the open file, and a process that
/// another thread is just starting has a copy of every descriptor between its
/// fork and its exec. The lock would last until the last copy is closed.
///
/// A process that is killed unlocks nothing; then closing has to do.
#[derive(Debug)]
pub(crate) struct LockedFile {
    fd: OwnedFd,
    /// The process that has locked: a fork of it has a copy of this value but
    /// must not unlock.
    locked_by: Option<u32>,
}

impl From<OwnedFd> for LockedFile {
    fn from(fd: OwnedFd) -> Self {
        LockedFile {
            fd,
            locked_by: None,
        }
    }
}

impl LockedFile {
    /// Locks the file for those that ask; `false` if it is locked otherwise.
    pub(crate) fn lock(&mut self, lock: FileLock) -> io::Result<bool> {
        let locked = sys::lock(self.fd.as_fd(), lock)?;
        if locked {
            self.locked_by = Some(std::process::id());
        }
        Ok(locked)
    }
}

impl AsFd for LockedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        if self.locked_by == Some(std::process::id())
            && let Err(error) = sys::unlock(self.fd.as_fd())
        {
            // It goes with the descriptor, as a rule in a moment.
            tracing::debug!(%error, "could not unlock a file");
        }
    }
}
