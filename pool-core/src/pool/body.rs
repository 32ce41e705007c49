//! What runs a worker: a process, or a thread of this one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::thread::JoinHandle;

use crate::error::WorkerExit;
use crate::start::fork_server::ForkServer;
use crate::sys;

#[derive(Debug)]
pub(super) enum Body {
    Process(Process),
    Thread(JoinHandle<()>),
}

/// A worker process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// Started by this process itself, so that it can reap it.
    pub(super) child: Option<Child>,
}

impl Body {
    /// Its process id; this process's own for a thread.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Body::Process(process) => process.pid,
            Body::Thread(_) => std::process::id(),
        }
    }

    /// Becomes readable when it ends; there is none of a thread.
    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Body::Process(process) => Some(process.pidfd.as_fd()),
            Body::Thread(_) => None,
        }
    }

    /// Ends it at once, if it is a process.
    pub(super) fn kill(&self) {
        if let Some(pidfd) = self.pidfd() {
            sys::kill(pidfd);
        }
    }

    /// Waits for the end of a process that was killed, so that the only thing to wait for is the kernel.
    pub(super) fn await_end(&self) {
        if let Some(pidfd) = self.pidfd() {
            while !sys::poll_readable(&[pidfd], None).is_ok_and(|ended| ended[0]) {}
        }
    }

    /// How it ended, which it has; of a thread the end is waited for.
    pub(super) fn reap(self, server: Option<&ForkServer>) -> WorkerExit {
        match (self, server) {
            (Body::Process(process), _) if process.child.is_some() => {
                sys::reap_child(process.pidfd.as_fd())
            }
            (Body::Process(process), Some(server)) => server.reap(process.pid),
            (Body::Process(_), None) => WorkerExit::Unknown,
            (Body::Thread(thread), _) => match thread.join() {
                Ok(()) => WorkerExit::Code(0),
                Err(_) => WorkerExit::Unknown,
            },
        }
    }
}
