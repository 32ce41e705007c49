//! Descriptors, futexes, child processes and signals of Linux, as the pool's own process uses them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use rustix::thread::futex;

use super::{Ask, Usage};
use crate::error::WorkerExit;

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Sleeps while `word` is `expected`, at most `timeout`; may return at any time.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let timeout = timeout.map(timespec);
    // Every outcome (woken, the value has changed, interrupted, timed out) is for the caller to find out by looking again.
    let _ = futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref());
}

/// Wakes up to `count` sleepers of `word`, in any process.
pub(crate) fn futex_wake(word: &AtomicU32, count: u32) {
    // The kernel takes the number as signed: one that is negative there wakes a single sleeper.
    let count = count.min(i32::MAX as u32);
    // Fails only for an address that is not mapped; `word` is.
    let _ = futex::wake(word, futex::Flags::empty(), count);
}

/// Nanoseconds of the monotonic clock, which is the same in every process. Read without a system call.
pub(crate) fn now_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// A descriptor that becomes readable when process `pid` ends.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Which limit an error of starting a process comes from, and what can be done.
pub(crate) fn limit_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            ": a pool holds a descriptor for each worker and some twenty more; raise the limit of open files (`ulimit -n`) or use fewer workers"
        }
        Some(libc::EAGAIN) => {
            ": the limit of processes is reached (`ulimit -u`, or pids.max of the cgroup); raise it or use fewer workers"
        }
        _ => "",
    }
}

/// Sends SIGKILL to the process; one that is gone already is no error.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

/// Sends the signal; a process that is gone already is no error.
pub(crate) fn ask(pidfd: BorrowedFd<'_>, what: Ask) {
    let signal = match what {
        Ask::Interrupt => Signal::INT,
        Ask::Terminate => Signal::TERM,
    };
    let _ = rustix::process::pidfd_send_signal(pidfd, signal);
}

/// Names of the threads of this process other than the calling one.
pub(crate) fn other_threads() -> Vec<String> {
    /// A thread that was joined may still be on its way out of the kernel.
    const LOOKS: u32 = 50;
    let own = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    let look = || -> Vec<String> {
        let threads = std::fs::read_dir("/proc/self/task").map(|entries| {
            let others = entries
                .flatten()
                .filter(|entry| entry.file_name().to_str() != Some(own.as_str()));
            let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm"));
            others
                .filter_map(|entry| Some(name(entry.path()).ok()?.trim_end().to_owned()))
                .collect()
        });
        threads.unwrap_or_else(|error| vec![format!("unknown: /proc/self/task: {error}")])
    };
    let mut threads = look();
    for _ in 0..LOOKS {
        if threads.is_empty() {
            break;
        }
        let _ = poll_readable(&[], Some(Duration::from_millis(1)));
        threads = look();
    }
    threads
}

/// A file in memory, without a name, that no child inherits.
pub(crate) fn memory_file(name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create(
        name,
        rustix::fs::MemfdFlags::CLOEXEC,
    )?)
}

/// Takes the exit of a child that has ended, or that is about to.
pub(crate) fn reap_child(pidfd: BorrowedFd<'_>) -> WorkerExit {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return exit_of(status.exit_status(), status.terminating_signal()),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return WorkerExit::Unknown,
        }
    }
}

/// The same by number, for the process that forked it.
pub(crate) fn reap_pid(pid: u32) -> WorkerExit {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    loop {
        match rustix::process::waitpid(pid, WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return exit_of(status.exit_status(), status.terminating_signal());
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return WorkerExit::Unknown,
        }
    }
}

fn exit_of(code: Option<i32>, signal: Option<i32>) -> WorkerExit {
    match (code, signal) {
        (_, Some(signal)) => WorkerExit::Signal(signal),
        (Some(code), None) => WorkerExit::Code(code),
        (None, None) => WorkerExit::Unknown,
    }
}

/// Waits until one of `descriptors` is readable, or at its end; which are.
pub(crate) fn poll_readable(
    descriptors: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = descriptors
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = timeout.map(timespec);
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {
            Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
        }
        Err(error) => Err(error.into()),
    }
}

/// A counter to wake a thread that polls.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(
        0,
        EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
    )?)
}

/// Makes the counter readable.
pub(crate) fn eventfd_kick(fd: BorrowedFd<'_>) {
    // Fails only when the counter is full, and then it is readable.
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// Makes it unreadable again.
pub(crate) fn eventfd_clear(fd: BorrowedFd<'_>) {
    let _ = rustix::io::read(fd, &mut [0u8; 8]);
}

/// The read and the write end of a pipe that no child inherits.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Two connected sockets that keep message boundaries.
pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Names this thread, and a process with one thread with it, for `ps` and the like. There is room for 15 bytes: the front of
/// `name` is cut.
pub(crate) fn set_name(name: &str, tail: &str) {
    const ROOM: usize = 15;
    let front = name.bytes().filter(|byte| *byte != 0);
    let front = front.take(ROOM.saturating_sub(tail.len()));
    let short: Vec<u8> = front.chain(tail.bytes()).take(ROOM).collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        // Only for those who look: without a name it works as well.
        let _ = rustix::thread::set_name(&short);
    }
}

/// Sends one byte.
pub(crate) fn write_byte(socket: BorrowedFd<'_>) -> io::Result<()> {
    rustix::io::write(socket, &[1])
        .map(|_| ())
        .map_err(io::Error::from)
}

/// Takes one byte; none if the other end was closed.
pub(crate) fn read_byte(socket: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = rustix::io::read(socket, &mut byte)?;
    Ok((count == 1).then_some(byte[0]))
}

/// Sends one message with descriptors.
pub(crate) fn send_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other(format!(
            "{} descriptors do not fit into one message",
            fds.len()
        )));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[io::IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Receives one message with descriptors.
pub(crate) fn receive_with_fds(
    socket: BorrowedFd<'_>,
    limit: usize,
) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
    let mut bytes = vec![0; limit];
    let mut space = vec![std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if message
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::other(
            "a message or its descriptors were cut: is the limit of open files reached?",
        ));
    }
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    bytes.truncate(message.bytes);
    Ok((bytes, fds))
}

/// Asks for huge pages behind memory that is about to be filled: fewer page faults.
pub(crate) fn prefer_huge_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    const HUGE: usize = 2 << 20;
    let range = memory.as_mut_ptr_range();
    let start = range.start.cast::<u8>().align_offset(HUGE);
    let len = size_of_val(memory).saturating_sub(start) / HUGE * HUGE;
    if len > 0 {
        let start = range.start.cast::<u8>().wrapping_add(start).cast();
        // SAFETY: the range lies within memory that the caller holds exclusively; the advice changes only how it is backed.
        let advised = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxHugepage) };
        // Only an advice: without it the memory is as good, only slower to fill for the first time.
        let _ = advised;
    }
}

/// What the kernel says of process `pid`; none if it is gone.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    // Nanoseconds on a processor; the ticks in `stat` are 10 ms each.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let nanos = threads.filter_map(|thread| {
        let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat
            .split_ascii_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    let cpu_time = Duration::from_nanos(nanos.sum());
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let sum = |names: &[&str]| -> u64 {
        let lines = rollup.lines().filter_map(|line| line.split_once(':'));
        let matching = lines.filter(|(name, _)| names.contains(name));
        matching
            .filter_map(|(_, value)| value.split_ascii_whitespace().next()?.parse::<u64>().ok())
            .sum::<u64>()
            * 1024
    };
    Some(Usage {
        cpu_time,
        resident: sum(&["Rss"]),
        proportional: sum(&["Pss"]),
        private: sum(&["Private_Clean", "Private_Dirty"]),
    })
}
