//! A guard for tests of processes: what was there at the start is all that is there at the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, fs, io};

use crate::process::{self, Process, State, Status};

/// Ends a deadlock; nothing that works comes near it.
const LIMIT: Duration = Duration::from_secs(60);

static TURN: Mutex<()> = Mutex::new(());

/// What this process and its surroundings held when the guard was made.
///
/// The guard sees the whole process, so only one exists at a time: a second [`watch`](Self::watch) waits for the first to go. Every test
/// of a test binary that starts processes or opens descriptors needs one, or it disturbs those that have one.
///
/// ```no_run
/// use pool_examples::leftovers::Leftovers;
///
/// let guard = Leftovers::watch();
/// let status = std::process::Command::new("true").status()?;
/// assert!(status.success());
/// guard.assert_none();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Leftovers {
    processes: BTreeSet<(u32, u64)>,
    descriptors: BTreeSet<(u32, PathBuf)>,
    names: BTreeSet<PathBuf>,
    _turn: MutexGuard<'static, ()>,
}

/// What has come since the guard was made and is still there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// Processes that this one started, directly or not, also when their parent has gone; and children whose exit status nobody took.
    pub processes: Vec<Status>,
    /// Open descriptors of this process and what they refer to.
    pub descriptors: Vec<(u32, PathBuf)>,
    /// Names in `/dev/shm`.
    pub names: Vec<PathBuf>,
}

impl Leftovers {
    /// Records the processes, descriptors and names that are there now, once no other guard is alive in this process.
    ///
    /// # Panics
    ///
    /// `/proc` cannot be read.
    pub fn watch() -> Self {
        // A test that failed under its guard leaves the lock poisoned; it guards no data.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let family = family().expect("the processes can be listed in /proc");
        Self {
            processes: family
                .iter()
                .map(|process| (process.pid, process.started))
                .collect(),
            descriptors: descriptors().expect("the descriptors can be listed in /proc/self/fd"),
            names: names(),
            _turn: turn,
        }
    }

    /// What has come and stays.
    ///
    /// A process that is about to end is waited for, by its end and not by a time; a minute only ends a deadlock.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn growth(&self) -> io::Result<Growth> {
        let mut staying = Vec::new();
        for process in self.new_processes()? {
            if !has_ended(process)? {
                staying.push(process);
            }
        }
        // Those that have ended by now must have been reaped, unless whoever reaps them is not us.
        let ours = std::process::id();
        let unreaped = self
            .new_processes()?
            .into_iter()
            .filter(|process| process.state == State::Ended && process.parent == ours);
        staying.extend(unreaped);
        Ok(Growth {
            processes: staying,
            descriptors: descriptors()?
                .difference(&self.descriptors)
                .cloned()
                .collect(),
            names: names().difference(&self.names).cloned().collect(),
        })
    }

    /// Ends the guard's watch.
    ///
    /// # Panics
    ///
    /// Something was left, which the message lists; or `/proc` cannot be read.
    pub fn assert_none(self) {
        let growth = self
            .growth()
            .expect("the processes and descriptors can be listed in /proc");
        assert!(growth == Growth::default(), "left behind:{growth}");
    }

    fn new_processes(&self) -> io::Result<Vec<Status>> {
        let known = |process: &Status| self.processes.contains(&(process.pid, process.started));
        Ok(family()?
            .into_iter()
            .filter(|process| !known(process))
            .collect())
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in &self.processes {
            let state = if process.state == State::Ended {
                "ended, never waited for"
            } else {
                "alive"
            };
            write!(
                f,
                "\n  process {} of parent {}, {state}",
                process.pid, process.parent
            )?;
        }
        for (number, target) in &self.descriptors {
            write!(f, "\n  descriptor {number}: {}", target.display())?;
        }
        for name in &self.names {
            write!(f, "\n  {}", name.display())?;
        }
        Ok(())
    }
}

/// Our descendants, and processes of our group that run our program: descendants whose parent has gone.
fn family() -> io::Result<Vec<Status>> {
    let ours = Status::of(std::process::id())?;
    let mut family: BTreeSet<Status> = process::descendants(ours.pid)?.into_iter().collect();
    let program = fs::read_link("/proc/self/exe")?;
    let is_orphan = |process: &Status| {
        process.group == ours.group
            && process.pid != ours.pid
            && fs::read_link(format!("/proc/{}/exe", process.pid))
                .is_ok_and(|other| other == program)
    };
    family.extend(process::all()?.into_iter().filter(is_orphan));
    Ok(family.into_iter().collect())
}

fn has_ended(process: Status) -> io::Result<bool> {
    if process.state == State::Ended {
        return Ok(true);
    }
    match Process::open(process) {
        Ok(process) => process.wait(LIMIT),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Open descriptors and their targets, without the one that lists them.
fn descriptors() -> io::Result<BTreeSet<(u32, PathBuf)>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // The descriptor of this very listing is gone when it is asked for once more below.
        found.extend(number.zip(fs::read_link(entry.path()).ok()));
    }
    found.retain(|(number, target)| {
        fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|now| now == *target)
    });
    Ok(found)
}

/// Names in `/dev/shm`, none where there is no such directory.
fn names() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(Path::new("/dev/shm")).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_that_nobody_waited_for_is_found() {
        let guard = Leftovers::watch();
        let mut child = Command::new("true").spawn().unwrap();
        let growth = guard.growth().unwrap();
        assert_eq!(
            growth
                .processes
                .iter()
                .map(|process| process.pid)
                .collect::<Vec<_>>(),
            [child.id()]
        );
        assert!(
            growth.to_string().contains("ended, never waited for"),
            "{growth}"
        );
        child.wait().unwrap();
        guard.assert_none();
    }

    #[test]
    fn an_open_descriptor_is_found() {
        let guard = Leftovers::watch();
        let file = File::open("/proc/self/status").unwrap();
        let growth = guard.growth().unwrap();
        assert_eq!(growth.descriptors.len(), 1, "{growth}");
        assert!(growth.descriptors[0].1.ends_with("status"), "{growth}");
        drop(file);
        guard.assert_none();
    }

    /// Not a test by itself: the orphan of the next one, which runs until its input ends.
    #[test]
    fn orphan() {
        if std::env::var_os("LEFTOVERS_ORPHAN").is_some() {
            std::io::stdin().lock().lines().for_each(drop);
        }
    }

    #[test]
    fn an_orphan_is_found_and_its_end_waited_for() {
        let guard = Leftovers::watch();
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "exec 3<&0; \"$0\" --exact leftovers::tests::orphan <&3 &",
            ])
            .arg(std::env::current_exe().unwrap())
            .env("LEFTOVERS_ORPHAN", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        // Its first line tells that the orphan runs our program by now.
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        shell.wait().unwrap();
        let found = guard.new_processes().unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_ne!(found[0].parent, std::process::id());
        drop(input);
        output.read_to_string(&mut String::new()).unwrap();
        drop(output);
        guard.assert_none();
    }
}
