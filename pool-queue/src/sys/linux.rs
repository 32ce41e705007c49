//! Processes of Linux.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use std::fs;

/// When a process started, in ticks since the machine did; `None` if there is no such process, or `/proc` does not show it.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything, also spaces and parentheses: what follows the last one is well-formed.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Whether the process of this number that started at `start` (0: whenever) still runs. What cannot be found out counts as alive.
pub(crate) fn is_alive(pid: u32, start: u64) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return false,
        Err(_) => return start_time(pid).is_none_or(|found| start == 0 || found == start),
    };
    // The descriptor means whatever process has the number now: is it the one that is meant?
    if start != 0 && start_time(pid).is_some_and(|found| found != start) {
        return false;
    }
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Readable once all its threads have ended, also while nobody has waited for it.
    !matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_another_of_its_number_does_not() {
        let pid = std::process::id();
        let start = start_time(pid).unwrap();
        assert!(is_alive(pid, start) && is_alive(pid, 0));
        assert!(!is_alive(pid, start + 1));
        assert!(!is_alive(0, 0) && !is_alive(u32::MAX, 0));
    }

    #[test]
    fn a_process_that_has_ended_is_dead_also_before_it_was_waited_for() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let id = rustix::process::WaitId::Pid(Pid::from_child(&child));
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(id, options).unwrap();
        assert!(!is_alive(pid, 0));
        child.wait().unwrap();
        assert!(!is_alive(pid, 0));
    }
}
