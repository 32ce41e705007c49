//! Any other system: a pool cannot be made there, and says so.

use std::convert::Infallible;
use std::ffi::{c_char, c_int};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{Ask, Constructor, Image, Usage};
use crate::error::WorkerExit;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "pools of processes run on 64-bit Linux only",
    ))
}

pub(crate) fn futex_wait(_word: &AtomicU32, _expected: u32, _timeout: Option<Duration>) {
    std::thread::yield_now();
}

pub(crate) fn futex_wake(_word: &AtomicU32, _count: u32) {}

pub(crate) fn now_nanos() -> u64 {
    0
}

pub(crate) fn pidfd_open(_pid: u32) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn limit_hint(_error: &io::Error) -> &'static str {
    ""
}

pub(crate) fn kill(_pidfd: BorrowedFd<'_>) {}

pub(crate) fn ask(_pidfd: BorrowedFd<'_>, _what: Ask) {}

pub(crate) fn other_threads() -> Vec<String> {
    vec!["unknown".to_owned()]
}

pub(crate) fn memory_file(_name: &str) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn heed_interrupts() {}

pub(crate) fn set_variable(_name: &str, _value: &str) {}

pub(crate) fn close_copies(_copies: &[BorrowedFd<'_>]) {}

pub(crate) fn fork_alone(_copy: impl FnOnce() -> Infallible) -> io::Result<u32> {
    unsupported()
}

pub(crate) fn reap_child(_pidfd: BorrowedFd<'_>) -> WorkerExit {
    WorkerExit::Unknown
}

pub(crate) fn reap_pid(_pid: u32) -> WorkerExit {
    WorkerExit::Unknown
}

pub(crate) fn poll_readable(
    _descriptors: &[BorrowedFd<'_>],
    _timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    unsupported()
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn eventfd_kick(_fd: BorrowedFd<'_>) {}

pub(crate) fn eventfd_clear(_fd: BorrowedFd<'_>) {}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    unsupported()
}

pub(crate) fn set_name(_name: &str, _tail: &str) {}

pub(crate) fn write_byte(_socket: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(crate) fn read_byte(_socket: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    unsupported()
}

pub(crate) fn send_with_fds(
    _socket: BorrowedFd<'_>,
    _bytes: &[u8],
    _fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    unsupported()
}

pub(crate) fn receive_with_fds(
    _socket: BorrowedFd<'_>,
    _limit: usize,
) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    unsupported()
}

pub(crate) fn prefer_huge_pages<T>(_memory: &mut [std::mem::MaybeUninit<T>]) {}

pub(crate) fn usage(_pid: u32) -> Option<Usage> {
    None
}

pub(crate) fn image() -> &'static Image {
    static NONE: Image = Image {
        base: 0,
        read_only: Vec::new(),
        identity: 0,
        dynamic: None,
    };
    &NONE
}

pub(crate) fn run_later_constructors(
    _own: Constructor,
    _argc: c_int,
    _argv: *const *const c_char,
    _envp: *const *const c_char,
) {
}

pub(crate) fn is_privileged() -> bool {
    true
}

pub(crate) fn worker_signals() {}

pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn arm_lifeline(_pipe: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn die_with_parent(_parent: u32) {}

pub(crate) fn close_others(_kept: &[BorrowedFd<'_>]) {}

/// # Safety
///
/// None is needed: it does nothing.
pub(crate) unsafe fn fork() -> io::Result<Option<u32>> {
    unsupported()
}

pub(crate) fn unchanged_code() -> Vec<std::ops::Range<usize>> {
    Vec::new()
}

pub(crate) fn forget_code(_unchanged: &[std::ops::Range<usize>]) {}

pub(crate) fn own_memory() -> io::Result<u64> {
    unsupported()
}

pub(crate) fn processors() -> Vec<usize> {
    Vec::new()
}

pub(crate) fn pin(_processor: usize) -> io::Result<()> {
    unsupported()
}

pub(crate) fn set_nice(_nice: i32) -> io::Result<()> {
    unsupported()
}

pub(crate) fn exit_now(code: i32) -> ! {
    std::process::exit(code)
}

pub(crate) fn kill_self() -> ! {
    std::process::abort()
}
