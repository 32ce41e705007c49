//! A guard for what tests leave behind, and waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ends a test that would hang for ever; no test depends on it otherwise.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(120);

/// Checks that a test leaves no child and no descriptor; one test at a time, since they share a process.
pub(crate) struct Leftovers {
    descriptors: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Leftovers {
    pub(crate) fn watch() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            descriptors: descriptors(std::process::id()),
            _turn: turn,
        }
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let now = descriptors(std::process::id());
            assert_eq!(now, self.descriptors, "descriptors");
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            let children: String = tasks
                .filter_map(|task| {
                    std::fs::read_to_string(task.unwrap().path().join("children")).ok()
                })
                .collect();
            assert_eq!(children, "", "children");
        }
    }
}

/// How many descriptors a process has.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

/// The memory of a process that is its own, in KiB.
pub(crate) fn private_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    };
    of("Private_Clean:") + of("Private_Dirty:")
}

/// Asks until the answer is what is expected: for what the manager notices by itself.
pub(crate) fn until<T: PartialEq + std::fmt::Debug>(expected: T, mut ask: impl FnMut() -> T) {
    let begin = Instant::now();
    loop {
        let found = ask();
        if found == expected {
            return;
        }
        assert!(
            begin.elapsed() < FOR_EVER,
            "it is {found:?} and not {expected:?}"
        );
        std::thread::yield_now();
    }
}
