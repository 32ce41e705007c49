//! Other processes: found in `/proc`, held by descriptors.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use std::{fs, process};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{LIMIT, Leftovers};

/// A process, held so that its number cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// Takes hold of it; none if it is gone.
    pub(crate) fn open(pid: u32) -> Option<Process> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let descriptor = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        Some(Process { pid, descriptor })
    }

    /// Takes hold of a descendant of this test; none if it is gone, or its number is somebody else's by now.
    pub(crate) fn of_ours(pid: u32) -> Option<Process> {
        let process = Process::open(pid)?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mark = Leftovers::mark().as_bytes();
        let is_ours = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark);
        is_ours.then_some(process)
    }

    /// Sends a signal; one that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.descriptor, signal);
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Whether it ends within `limit`.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).unwrap();
        let mut polled = [PollFd::from_borrowed_fd(
            self.descriptor.as_fd(),
            PollFlags::IN,
        )];
        loop {
            match poll(&mut polled, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready.unwrap() > 0,
            }
        }
    }

    /// Waits for its end.
    pub(crate) fn await_end(&self) {
        assert!(
            self.ends_within(LIMIT),
            "process {} does not end: {:?}",
            self.pid,
            fs::read_to_string(format!("/proc/{}/status", self.pid))
        );
    }
}

/// State and parent of a process; none if it is gone.
pub(crate) fn state_of(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: u32) -> bool {
    state_of(pid).is_some_and(|(state, _)| state == 'T')
}

/// Kills whatever was started by this test and is stopped.
pub(crate) fn kill_stopped() {
    for pid in marked(Leftovers::mark()) {
        if is_stopped(pid)
            && let Some(process) = Process::of_ours(pid)
        {
            process.kill();
        }
    }
}

/// The parent of a process.
pub(crate) fn parent_of(pid: u32) -> u32 {
    state_of(pid).unwrap().1
}

/// Processes other than this one whose environment holds `mark`, and children of this one that nobody waited for.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let ours = process::id();
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != ours);
    let is_marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has_mark = environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes());
        match state_of(*pid) {
            Some(('Z', parent)) => parent == ours,
            Some((_, parent)) => has_mark || parent == ours,
            None => false,
        }
    };
    pids.filter(is_marked).collect()
}
