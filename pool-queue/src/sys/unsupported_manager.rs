//! Any other system: everything is an error that says so.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use super::{Event, Interest, Peer};

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "managers need Linux")
}

pub(crate) fn peer(_socket: BorrowedFd<'_>) -> io::Result<Peer> {
    Err(unsupported())
}

pub(crate) fn abstract_name(_name: &str) -> io::Result<SocketAddr> {
    Err(unsupported())
}

pub(crate) fn own_user() -> u32 {
    0
}

pub(crate) fn wait_readable(
    _descriptors: &[BorrowedFd<'_>],
    _timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    Err(unsupported())
}

pub(crate) fn wait_writable(
    _descriptor: BorrowedFd<'_>,
    _timeout: Option<Duration>,
) -> io::Result<bool> {
    Err(unsupported())
}

#[derive(Debug)]
pub(crate) struct Poller;

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        Err(unsupported())
    }

    pub(crate) fn add(&self, _fd: impl AsFd, _token: u64, _interest: Interest) -> io::Result<()> {
        Err(unsupported())
    }

    pub(crate) fn change(
        &self,
        _fd: impl AsFd,
        _token: u64,
        _interest: Interest,
    ) -> io::Result<()> {
        Err(unsupported())
    }

    pub(crate) fn remove(&self, _fd: impl AsFd) -> io::Result<()> {
        Err(unsupported())
    }

    pub(crate) fn wait(
        &self,
        _events: &mut Vec<Event>,
        _timeout: Option<Duration>,
    ) -> io::Result<()> {
        Err(unsupported())
    }
}

pub(crate) fn bell() -> io::Result<OwnedFd> {
    Err(unsupported())
}

pub(crate) fn ring(_bell: BorrowedFd<'_>) {}

pub(crate) fn silence(_bell: BorrowedFd<'_>) {}
