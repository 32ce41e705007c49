//! Other processes, as a test sees them: found in `/proc`, watched and signalled through a descriptor.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use std::{fs, io};

use crate::sys;

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// When it started, in clock ticks since boot; with `pid` it names a process for ever.
    pub started: u64,
    /// What it does.
    pub state: State,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It computes, or would if it had a processor.
    Running,
    /// It waits for something.
    Waiting,
    /// It is stopped by a signal or a debugger.
    Stopped,
    /// It has ended, and its parent has not asked for its exit status yet.
    Ended,
}

impl Status {
    /// The status of process `pid`.
    ///
    /// # Errors
    ///
    /// There is no such process, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("/proc/{pid}/stat: {text}"),
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in parentheses and may hold any character, a parenthesis too.
        let (pid, rest) = text.split_once(" (")?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid: pid.parse().ok()?,
            state: match *fields.first()? {
                "R" => State::Running,
                "T" | "t" => State::Stopped,
                "Z" | "X" => State::Ended,
                _ => State::Waiting,
            },
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Every process that can be seen, in order of pid; one that ends meanwhile is left out.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn all() -> io::Result<Vec<Status>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        found.extend(pid.and_then(|pid| Status::of(pid).ok()));
    }
    found.sort();
    Ok(found)
}

/// The children of `pid`, their children, and so on, ended ones too that still have an entry.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn descendants(pid: u32) -> io::Result<Vec<Status>> {
    Ok(descendants_among(pid, &all()?))
}

fn descendants_among(pid: u32, processes: &[Status]) -> Vec<Status> {
    let mut family = BTreeSet::from([pid]);
    let mut found = BTreeSet::new();
    loop {
        let children = processes
            .iter()
            .filter(|process| family.contains(&process.parent));
        let before = found.len();
        found.extend(children);
        if found.len() == before {
            return found.into_iter().collect();
        }
        family.extend(found.iter().map(|process: &Status| process.pid));
    }
}

/// One process, held by a descriptor, so that its number cannot come to mean another one.
#[derive(Debug)]
pub struct Process {
    status: Status,
    descriptor: OwnedFd,
}

impl Process {
    /// Takes hold of the process of `status`.
    ///
    /// # Errors
    ///
    /// It has ended and its entry is gone (`NotFound`), or the system has no descriptors for processes.
    pub fn open(status: Status) -> io::Result<Self> {
        let descriptor = sys::open_process(status.pid)?;
        // The number may have been given to a new process since.
        let is_same = Status::of(status.pid).is_ok_and(|now| now.started == status.started);
        if !is_same {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        Ok(Self { status, descriptor })
    }

    /// What `/proc` said of it when it was found.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Waits for its end, at most `limit`; tells whether it has ended.
    ///
    /// # Errors
    ///
    /// The system refuses to wait.
    pub fn wait(&self, limit: Duration) -> io::Result<bool> {
        sys::wait_exit(self.descriptor.as_fd(), limit)
    }

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    ///
    /// It has ended already, or belongs to somebody else.
    pub fn kill(&self) -> io::Result<()> {
        sys::kill(self.descriptor.as_fd())
    }

    /// Stops it where it is (SIGSTOP).
    ///
    /// # Errors
    ///
    /// It has ended already, or belongs to somebody else.
    pub fn stop(&self) -> io::Result<()> {
        sys::stop(self.descriptor.as_fd())
    }

    /// Lets a stopped one go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// It has ended already, or belongs to somebody else.
    pub fn resume(&self) -> io::Result<()> {
        sys::resume(self.descriptor.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::leftovers::Leftovers;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn a_name_with_spaces_and_parentheses_is_no_obstacle() {
        let text = "42 (a) Z (b) S 7 5 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 5 6\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(
            status,
            Status {
                pid: 42,
                parent: 7,
                group: 5,
                started: 9876,
                state: State::Waiting
            }
        );
        assert!(Status::parse("42 (a) Z 7").is_none());
        assert!(Status::parse("").is_none());
    }

    #[test]
    fn descendants_are_found_through_generations() {
        let process = |pid, parent| Status {
            pid,
            parent,
            group: 1,
            started: 1,
            state: State::Waiting,
        };
        let processes = [
            process(2, 1),
            process(3, 9),
            process(4, 2),
            process(9, 4),
            process(10, 8),
        ];
        let found: Vec<u32> = descendants_among(2, &processes)
            .iter()
            .map(|process| process.pid)
            .collect();
        assert_eq!(found, [3, 4, 9]);
    }

    #[test]
    fn a_child_is_found_stopped_and_killed() {
        let guard = Leftovers::watch();
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let found = descendants(std::process::id()).unwrap();
        let status = *found
            .iter()
            .find(|process| process.pid == child.id())
            .unwrap();
        let process = Process::open(status).unwrap();
        process.stop().unwrap();
        process.resume().unwrap();
        assert!(!process.wait(Duration::ZERO).unwrap());
        process.kill().unwrap();
        assert!(process.wait(LIMIT).unwrap());
        assert_eq!(Status::of(child.id()).unwrap().state, State::Ended);
        child.wait().unwrap();
        assert_eq!(
            Process::open(status).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        drop(process);
        drop(child);
        guard.assert_none();
    }
}
