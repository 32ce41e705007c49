//! A segment's file, without a mapping: a sealed memfd, or a regular file.

use super::{LockedFile, SegmentHandle, SegmentId};
use crate::budget;
use crate::error::{Kind, ShmError, system};
use crate::sys;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A memfd that cannot shrink or grow, or the first `len` bytes of a regular
/// file.
///
/// Invariant: of a memfd, seals and length were checked, and neither can change
/// any more. A regular file was at least `len` bytes long when it was opened;
/// nobody keeps others from truncating it, so only what says so may map it.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    fd: LockedFile,
    id: SegmentId,
    len: usize,
    regular: bool,
}

impl SegmentFile {
    /// A new file of at least `len` bytes, rounded up to whole pages.
    pub(super) fn create(len: usize, reserve: bool) -> Result<Self, ShmError> {
        let page = sys::page_size();
        let len = len
            .max(1)
            .checked_next_multiple_of(page)
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(Kind::TooLarge { len: len as u64 })?;
        check_file_size(len as u64)?;
        if reserve {
            budget::check(len as u64)?;
        }
        let fd = sys::create("pool-shm").map_err(|e| system("make a shared segment", e))?;
        sys::set_len(fd.as_fd(), len as u64).map_err(|e| system("size a shared segment", e))?;
        if reserve {
            put_memory(fd.as_fd(), 0, len as u64)?;
        }
        sys::seal_size(fd.as_fd()).map_err(|e| system("seal a shared segment", e))?;
        let identity = sys::identify(fd.as_fd()).map_err(|e| system("identify a segment", e))?;
        Ok(SegmentFile {
            fd: fd.into(),
            id: id(identity),
            len,
            regular: false,
        })
    }

    /// A new file of at least `len` bytes in huge pages that were set aside.
    pub(super) fn create_huge(len: usize) -> Result<Self, ShmError> {
        let page = sys::huge_page_size().unwrap_or(usize::MAX);
        let len = len
            .max(1)
            .checked_next_multiple_of(page)
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(Kind::TooLarge { len: len as u64 })?;
        check_file_size(len as u64)?;
        let fd = sys::create_huge("pool-shm").map_err(|e| system("make a shared segment", e))?;
        sys::set_len(fd.as_fd(), len as u64).map_err(|e| system("size a shared segment", e))?;
        put_memory(fd.as_fd(), 0, len as u64)?;
        sys::seal_size(fd.as_fd()).map_err(|e| system("seal a shared segment", e))?;
        SegmentFile::from_fd(fd)
    }

    /// Checks that there is memory for all of it.
    pub(super) fn check_budget(&self) -> Result<(), ShmError> {
        budget::check(self.len as u64)
    }

    /// Takes the first `len` bytes of a regular file.
    pub(crate) fn regular(fd: impl Into<LockedFile>, len: usize) -> Result<Self, ShmError> {
        let fd = fd.into();
        let number = fd.as_fd().as_raw_fd();
        let identity = sys::identify_regular(fd.as_fd())
            .map_err(|e| system("identify a file", e))?
            .ok_or(Kind::NotRegular { fd: number })?;
        let file = SegmentFile {
            fd,
            id: id(identity),
            len,
            regular: true,
        };
        file.check_extent(identity.len)?;
        Ok(file)
    }

    /// Takes a descriptor from elsewhere after checking that it is a memfd
    /// that keeps its length.
    pub(crate) fn from_fd(fd: OwnedFd) -> Result<Self, ShmError> {
        let number = fd.as_raw_fd();
        let seals =
            sys::seals(fd.as_fd()).map_err(|source| Kind::NotMemory { fd: number, source })?;
        if !seals.size {
            return Err(Kind::NotSealed { fd: number }.into());
        }
        let identity = sys::identify(fd.as_fd()).map_err(|e| system("identify a segment", e))?;
        let len = usize::try_from(identity.len)
            .ok()
            .filter(|&len| isize::try_from(len).is_ok())
            .ok_or(Kind::TooLarge { len: identity.len })?;
        if len == 0 {
            return Err(mismatch("lengths", "more than 0 bytes", "0 bytes"));
        }
        Ok(SegmentFile {
            fd: fd.into(),
            id: id(identity),
            len,
            regular: false,
        })
    }

    /// Opens what `handle` names and checks that it is what `handle` says.
    pub(crate) fn open(handle: &SegmentHandle) -> Result<Self, ShmError> {
        let fd = reach(handle)?;
        let file = if handle.regular {
            let len = usize::try_from(handle.len)
                .ok()
                .filter(|&len| isize::try_from(len).is_ok())
                .ok_or(Kind::TooLarge { len: handle.len })?;
            SegmentFile::regular(fd, len)?
        } else {
            SegmentFile::from_fd(fd)?
        };
        file.check(handle)?;
        Ok(file)
    }

    /// Whether the process that made `handle` still keeps the segment for it.
    pub(crate) fn is_kept(handle: &SegmentHandle) -> bool {
        let shown = sys::identify_peer(handle.pid, handle.fd);
        let found = shown.or_else(|_| {
            let copy = sys::copy_peer(handle.pid, handle.fd)?;
            sys::identify(copy.as_fd())
        });
        found.is_ok_and(|found| check_identity(handle, found).is_ok())
    }

    /// Checks that `handle` means this file.
    pub(crate) fn check(&self, handle: &SegmentHandle) -> Result<(), ShmError> {
        if self.regular != handle.regular {
            let kind = |regular| if regular { "a regular file" } else { "a memfd" };
            return Err(mismatch("kinds", kind(handle.regular), kind(self.regular)));
        }
        check_identity(
            handle,
            sys::Identity {
                dev: self.id.dev,
                ino: self.id.ino,
                len: self.len as u64,
            },
        )
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Checks that a regular file still has all that is mapped of it.
    pub(crate) fn check_length(&self) -> Result<(), ShmError> {
        if !self.regular {
            return Ok(());
        }
        let identity = sys::identify(self.fd()).map_err(|e| system("identify a file", e))?;
        self.check_extent(identity.len)
    }

    fn check_extent(&self, found: u64) -> Result<(), ShmError> {
        let need = self.len as u64;
        if found < need {
            let name = sys::name_of(self.fd());
            return Err(Kind::Truncated { name, need, found }.into());
        }
        Ok(())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it is sealed against writing.
    pub(crate) fn is_frozen(&self) -> Result<bool, ShmError> {
        if self.regular {
            let source = io::ErrorKind::InvalidInput.into();
            let fd = self.fd().as_raw_fd();
            return Err(Kind::NotMemory { fd, source }.into());
        }
        let seals = sys::seals(self.fd()).map_err(|e| system("read a segment's seals", e))?;
        Ok(seals.write)
    }

    /// A handle that is good while this process keeps the file. The process is
    /// asked for each time, since it may be a fork of the one that made it.
    pub(crate) fn handle(&self) -> SegmentHandle {
        SegmentHandle {
            pid: std::process::id(),
            fd: self.fd().as_raw_fd(),
            id: self.id,
            len: self.len as u64,
            regular: self.regular,
        }
    }

    /// Gives the memory back; what is read afterwards is zero. Whoever has the
    /// file mapped keeps a mapping without memory.
    pub(crate) fn discard(&self) {
        // It is a help to others, not a promise: at worst the memory goes with
        // the last mapping.
        if let Err(error) = sys::discard(self.fd(), 0, self.len as u64) {
            tracing::debug!(segment = %self.id, %error, "could not give memory back");
        }
    }

    /// Makes everything from `offset` on zero.
    pub(crate) fn clear_from(&self, offset: usize) -> Result<(), ShmError> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        for at in (offset..self.len).step_by(ZEROS.len()) {
            self.write(at, &ZEROS[..ZEROS.len().min(self.len - at)])?;
        }
        Ok(())
    }

    /// Copies `bytes` to `offset` through the kernel, which for memory that was
    /// never touched takes half the time of a copy through a mapping: there
    /// are no page faults, and no page is cleared first.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), ShmError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = (offset + done) as u64;
            done += sys::write_at(self.fd(), at, &bytes[done..])
                .map_err(|e| system("write to a shared segment", e))?;
        }
        Ok(())
    }

    /// Puts memory behind all that has none. The first `made` bytes have, and
    /// [`check_budget`](Self::check_budget) has admitted all.
    pub(super) fn fill(&self, made: usize) -> Result<(), ShmError> {
        if made == self.len {
            return Ok(());
        }
        put_memory(self.fd(), made as u64, (self.len - made) as u64)
    }

    /// Puts memory behind a part of the file.
    pub(super) fn reserve(&self, range: Range<usize>) -> Result<(), ShmError> {
        if range.start > range.end || range.end > self.len {
            return Err(Kind::OutOfBounds {
                offset: range.start,
                count: range.end.saturating_sub(range.start),
                size: 1,
                len: self.len,
            }
            .into());
        }
        if range.is_empty() {
            return Ok(());
        }
        budget::check(range.len() as u64)?;
        put_memory(self.fd(), range.start as u64, range.len() as u64)
    }
}

/// Opens the descriptor that `handle` names, if it is what `handle` says.
fn reach(handle: &SegmentHandle) -> Result<OwnedFd, ShmError> {
    // Looked at before it is opened: opening a stranger's pipe or terminal
    // could do something to it.
    let seen = match sys::identify_peer(handle.pid, handle.fd) {
        Ok(seen) => seen,
        Err(hidden) => return copy(handle).map_err(|_| absent(handle, hidden)),
    };
    check_identity(handle, seen)?;
    let opened = match sys::open_peer(handle.pid, handle.fd, true) {
        // A file that may only be read is enough for those who read it.
        Err(error) if handle.regular && sys::is_read_only(&error) => {
            sys::open_peer(handle.pid, handle.fd, false)
        }
        opened => opened,
    };
    opened.or_else(|error| copy(handle).map_err(|_| absent(handle, error)))
}

/// Gets the descriptor itself: `/proc` may be hidden, or not be mounted.
fn copy(handle: &SegmentHandle) -> io::Result<OwnedFd> {
    let fd = sys::copy_peer(handle.pid, handle.fd)?;
    let found = sys::identify(fd.as_fd())?;
    check_identity(handle, found).map_err(io::Error::other)?;
    Ok(fd)
}

fn id(identity: sys::Identity) -> SegmentId {
    SegmentId {
        dev: identity.dev,
        ino: identity.ino,
    }
}

/// Past the limit the kernel does not return an error: it sends SIGXFSZ.
pub(crate) fn check_file_size(need: u64) -> Result<(), ShmError> {
    match sys::file_size_limit() {
        Some(limit) if need > limit => Err(Kind::FileSizeLimit { need, limit }.into()),
        _ => Ok(()),
    }
}

pub(crate) fn put_memory(fd: BorrowedFd<'_>, offset: u64, need: u64) -> Result<(), ShmError> {
    sys::reserve(fd, offset, need).map_err(|source| {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory => {
                Kind::NoSpace { need, source }
            }
            _ => system("reserve the memory of a shared segment", source),
        }
        .into()
    })
}

fn check_identity(handle: &SegmentHandle, found: sys::Identity) -> Result<(), ShmError> {
    if id(found) != handle.id {
        return Err(Kind::Reused {
            pid: handle.pid,
            fd: handle.fd,
            asked: handle.id.to_string(),
            found: id(found).to_string(),
        }
        .into());
    }
    // Of a regular file the handle says how much is used, not its length.
    if found.len != handle.len && !handle.regular {
        let [asked, found] = [handle.len, found.len].map(|len| format!("{len} bytes"));
        return Err(mismatch("lengths", &asked, &found));
    }
    Ok(())
}

fn mismatch(what: &'static str, asked: &str, found: &str) -> ShmError {
    Kind::Mismatch {
        what,
        of: "segment",
        asked: asked.to_owned(),
        found: found.to_owned(),
    }
    .into()
}

/// Why a peer's descriptor could not be opened.
fn absent(handle: &SegmentHandle, source: io::Error) -> ShmError {
    let (id, pid) = (handle.id.to_string(), handle.pid);
    match source.kind() {
        io::ErrorKind::NotFound => Kind::Gone {
            id,
            pid,
            alive: sys::process_exists(pid),
        },
        io::ErrorKind::PermissionDenied => Kind::Denied { id, pid, source },
        _ => system("open a segment of another process", source),
    }
    .into()
}
