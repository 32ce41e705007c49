//! What a worker process does to itself: signals, descriptors, its tie to the pool's life, forking, leaving.

use std::convert::Infallible;
use std::ffi::{c_char, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::Signal;

use super::{Constructor, image};

/// Runs the constructors of the executable that come after `own`, as the loader would have done.
pub(crate) fn run_later_constructors(
    own: Constructor,
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    let later = image()
        .constructors()
        .iter()
        .skip_while(|address| **address != own as usize)
        .skip(1);
    for address in later
        .copied()
        .filter(|address| *address != 0 && *address != usize::MAX)
    {
        // SAFETY: the entries of the array are addresses of functions of this signature.
        let constructor = unsafe { std::mem::transmute::<usize, Constructor>(address) };
        constructor(argc, argv, envp);
    }
}

/// Whether the program runs with more rights than its caller; the environment is then not to be believed.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: reads a number that the kernel gave at the start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Signals as a worker has them: none blocked, SIGINT and SIGPIPE ignored.
pub(crate) fn worker_signals() {
    for (signal, action) in [
        (libc::SIGINT, libc::SIG_IGN),
        (libc::SIGPIPE, libc::SIG_IGN),
        (libc::SIGCHLD, libc::SIG_DFL),
    ] {
        // SAFETY: installs no function, only "ignore" or "default", for signals that exist.
        unsafe { libc::signal(signal, action) };
    }
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: `none` is large enough for a signal set, which this call fills.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: `none` is a valid set; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// SIGINT ends this process again.
pub(crate) fn heed_interrupts() {
    // SAFETY: installs no function, only "default", for a signal that exists.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}

/// Sets a variable in the environment of this process, which has one thread.
pub(crate) fn set_variable(name: &str, value: &str) {
    // SAFETY: called by a fresh copy of a process, before anything else is run in it: there is no other thread to read it.
    unsafe { std::env::set_var(name, value) };
}

/// Takes standard input, which is the socket that the pool hands its message over by, and puts `/dev/null` in its place.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let taken = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(null)?;
    Ok(taken)
}

/// Ties this process to the one that holds the other end of `pipe`: SIGKILL when that end is closed, whatever this process
/// does then, be it busy or stopped. The returned descriptor has to stay open.
pub(crate) fn arm_lifeline(pipe: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    // The owner of signals belongs to the open file, not to the descriptor: each process needs an opening of its own.
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let own = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    control(
        own.as_fd(),
        libc::F_SETOWN,
        rustix::process::getpid().as_raw_pid(),
    )?;
    control(own.as_fd(), F_SETSIG, Signal::KILL.as_raw())?;
    let flags = control(own.as_fd(), libc::F_GETFL, 0)?;
    control(own.as_fd(), libc::F_SETFL, flags | libc::O_ASYNC)?;
    // The other end may have been closed before the signal was armed.
    let ended = super::poll_readable(&[own.as_fd()], Some(std::time::Duration::ZERO))?;
    if ended[0] {
        exit_now(0);
    }
    Ok(own)
}

/// Which signal tells of input; the same number on every architecture of Linux.
const F_SETSIG: c_int = 10;

fn control(fd: BorrowedFd<'_>, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: the commands used here take an integer and touch no memory of ours.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// SIGKILL for this process when the thread that made it ends. `parent` is the process that made it: if it is gone already,
/// so are we.
pub(crate) fn die_with_parent(parent: u32) {
    // Fails only for a signal that does not exist.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid() as u32);
    if now != parent {
        exit_now(0);
    }
}

/// Closes every descriptor above standard error except `kept`.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if number > first {
            close_range(first, number - 1);
        }
        first = first.max(number + 1);
    }
    close_range(first, u32::MAX);
}

/// Closes descriptors that only the process has to hold from which this one was copied.
pub(crate) fn close_copies(copies: &[BorrowedFd<'_>]) {
    for fd in copies {
        close_range(fd.as_raw_fd() as u32, fd.as_raw_fd() as u32);
    }
}

fn close_range(first: u32, last: u32) {
    // SAFETY: called once by a process that was just started or forked and uses none of these descriptors again: the values
    // that own them are in memory of the process it was copied from, and are never dropped here.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

/// Copies this process. `None` in the copy.
///
/// # Safety
///
/// The process has one thread only, and the copy must never return from the function that called this: values it drops may
/// refer to things of the original.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    // SAFETY: there is one thread only, so no lock can be held by another one in the copy.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid as u32)),
    }
}

/// Copies this process, if it has no other thread, and runs `copy` in the copy; the copy's process id.
pub(crate) fn fork_alone(copy: impl FnOnce() -> Infallible) -> io::Result<u32> {
    let others = super::other_threads();
    if !others.is_empty() {
        return Err(io::Error::other(format!(
            "{} other threads run",
            others.len()
        )));
    }
    // SAFETY: there is one thread, as was just seen, and only it could start another. The copy never returns: `copy` gives no value,
    // and a panic of it ends the process.
    match unsafe { fork() }? {
        Some(pid) => Ok(pid),
        None => match catch_unwind(AssertUnwindSafe(copy)) {
            Ok(never) => match never {},
            Err(_) => std::process::abort(),
        },
    }
}

/// Bytes of memory that the calling process has for itself: shared arrays are not counted, nor what it has only read of its
/// executable.
pub(crate) fn own_memory() -> io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let mut pages = statm.split_ascii_whitespace().map(str::parse::<u64>);
    let (_, resident, shared) = (pages.next(), pages.next(), pages.next());
    match (resident, shared) {
        (Some(Ok(resident)), Some(Ok(shared))) => {
            Ok(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
        }
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// The processors that the calling thread may use.
pub(crate) fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    set.map_or_else(
        |_| Vec::new(),
        |set| {
            (0..rustix::thread::CpuSet::MAX_CPU)
                .filter(|processor| set.is_set(*processor))
                .collect()
        },
    )
}

/// Lets the calling thread run on this processor alone.
pub(crate) fn pin(processor: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    if processor >= rustix::thread::CpuSet::MAX_CPU {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    set.set(processor);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Sets the niceness of the calling thread.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    Ok(rustix::process::setpriority_process(None, nice)?)
}

/// Ends this process at once: no destructors, no `atexit`.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// The process dies here, as by `kill -9`.
pub(crate) fn kill_self() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    exit_now(1)
}
