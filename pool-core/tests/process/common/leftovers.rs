//! A guard: what was there at the start is all that is there at the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::processes::{Process, marked, state_of};

/// The variable that marks descendants of a test.
const MARK: &str = "POOL_CORE_TESTS_OF";
static TURN: Mutex<()> = Mutex::new(());

/// What this process and its surroundings held when the guard was made. Only one exists at a time.
#[derive(Debug)]
pub(crate) struct Leftovers {
    before: Held,
    _turn: MutexGuard<'static, ()>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    /// Processes, each with its state.
    processes: BTreeSet<(u32, char)>,
    descriptors: BTreeSet<(u32, PathBuf)>,
    names: BTreeSet<PathBuf>,
}

impl Leftovers {
    pub(crate) fn watch() -> Leftovers {
        // A test that failed under its guard leaves the lock poisoned; it guards no data.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        fs::create_dir_all(&surroundings().temporary).unwrap();
        Leftovers {
            before: held(),
            _turn: turn,
        }
    }

    /// The mark that all processes which come from this one carry in their environment.
    pub(crate) fn mark() -> &'static str {
        &surroundings().mark
    }

    /// Nothing is left, at once.
    pub(crate) fn assert_none(self) {
        let growth = held().without(&self.before);
        assert!(growth == Held::default(), "left behind: {growth:#?}");
        // Fails if it holds something of a test that failed.
        let _ = fs::remove_dir(&surroundings().temporary);
    }

    /// The same once the processes that are there have ended: for those that nobody is there to wait for.
    pub(crate) fn assert_none_after_end(self) {
        for (pid, _) in held().without(&self.before).processes {
            if let Some(process) = Process::open(pid) {
                process.await_end();
            }
        }
        self.assert_none();
    }
}

impl Held {
    fn without(self, before: &Held) -> Held {
        let known = |pid: u32| before.processes.iter().any(|(known, _)| *known == pid);
        Held {
            processes: self
                .processes
                .into_iter()
                .filter(|(pid, _)| !known(*pid))
                .collect(),
            descriptors: &self.descriptors - &before.descriptors,
            names: &self.names - &before.names,
        }
    }
}

fn held() -> Held {
    let processes = marked(&surroundings().mark);
    Held {
        processes: processes
            .into_iter()
            .filter_map(|pid| Some((pid, state_of(pid)?.0)))
            .collect(),
        descriptors: descriptors(),
        names: names("/dev/shm".into())
            .chain(names(surroundings().temporary.clone()))
            .collect(),
    }
}

fn names(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// Open descriptors and their targets, without the one that lists them.
fn descriptors() -> BTreeSet<(u32, PathBuf)> {
    let target = |number: u32| fs::read_link(format!("/proc/self/fd/{number}")).ok();
    let numbers: Vec<u32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers
        .into_iter()
        .filter_map(|number| Some((number, target(number)?)))
        .collect()
}

struct Surroundings {
    mark: String,
    temporary: PathBuf,
}

/// Marks this process's descendants, and gives them and it a folder of their own for temporary files.
fn surroundings() -> &'static Surroundings {
    static ONCE: OnceLock<Surroundings> = OnceLock::new();
    ONCE.get_or_init(|| {
        let pid = std::process::id();
        // A process that a test has started carries that test's mark.
        let mark = std::env::var(MARK).unwrap_or_else(|_| pid.to_string());
        let name = format!("pool-core-tests-{mark}");
        let given = std::env::temp_dir();
        let temporary = if given.ends_with(&name) {
            given
        } else {
            given.join(name)
        };
        // SAFETY: called under the lock of the first test; no other thread reads the environment meanwhile.
        unsafe { std::env::set_var("TMPDIR", &temporary) };
        // SAFETY: as above.
        unsafe { std::env::set_var(MARK, &mark) };
        Surroundings {
            mark: format!("{MARK}={mark}"),
            temporary,
        }
    })
}
