//! Sockets of Linux, as pipes use them.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Descriptors that one message can carry.
pub(crate) const MOST_DESCRIPTORS: usize = 253;

/// Two connected sockets, closed on exec.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    Ok(pair?)
}

/// Ends one direction of a connection.
pub(crate) fn shut(fd: BorrowedFd<'_>, writing: bool) -> io::Result<()> {
    let how = if writing {
        Shutdown::Write
    } else {
        Shutdown::Read
    };
    Ok(rustix::net::shutdown(fd, how)?)
}

/// Sends some of the parts, with descriptors at the first byte, without waiting.
pub(crate) fn send(
    fd: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from(Errno::INVAL));
    }
    Ok(rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(fd, parts, &mut ancillary, flags)
    })?)
}

/// Receives some bytes without waiting, and the descriptors that come with them. `false`: some descriptors were lost, since this process may have no more.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<(usize, bool)> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(fd, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags)
    })?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    let whole = !received.flags.contains(ReturnFlags::CTRUNC);
    Ok((received.bytes, whole))
}

/// Waits until one of the sockets can be used, for reading or for `writing`, or has ended; says which. Ends in time, then none.
pub(crate) fn wait_ready(
    fds: &[BorrowedFd<'_>],
    writing: bool,
    deadline: Option<Instant>,
) -> io::Result<Vec<bool>> {
    let interest = if writing {
        PollFlags::OUT
    } else {
        PollFlags::IN
    };
    loop {
        let mut polled: Vec<PollFd<'_>> = fds
            .iter()
            .map(|fd| PollFd::from_borrowed_fd(*fd, interest))
            .collect();
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| timespec(left.min(Duration::from_secs(3600))));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        }
    }
}

/// What identifies an open socket among all of this machine.
pub(crate) fn socket_identity(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_ino)
}

/// A descriptor of another process, as one of this process.
pub(crate) fn fetch(pid: u32, fd: i32) -> io::Result<OwnedFd> {
    let number = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(
        pidfd.as_fd(),
        fd,
        PidfdGetfdFlags::empty(),
    )?)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}
