//! What the tests with processes share: children that are this very test binary, started again for the test `child` with a role in the environment, and a guard
//! for what they leave behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const ROLE: &str = "POOL_QUEUE_TEST_ROLE";
/// Ends a test that would hang for ever; no test depends on it otherwise.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(60);

/// The role of this process, if it is a child.
pub(crate) fn role<R: DeserializeOwned>() -> Option<R> {
    let role = std::env::var(ROLE).ok()?;
    let bytes: Vec<u8> = role.split(',').map(|byte| byte.parse().unwrap()).collect();
    Some(postcard::from_bytes(&bytes).unwrap())
}

/// A child that is killed when this is dropped, and reaped.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a child.
pub(crate) fn start(role: &impl Serialize) -> Killed {
    let bytes: Vec<String> = postcard::to_allocvec(role)
        .unwrap()
        .iter()
        .map(u8::to_string)
        .collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env(ROLE, bytes.join(","));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Killed(command.spawn().unwrap())
}

/// Checks that a test leaves no child, no descriptor and no name; one test at a time, since they share a process: every test of a file that
/// uses it has one, those of children excepted, which open nothing here.
pub(crate) struct Leftovers {
    before: (usize, Vec<String>),
    _turn: MutexGuard<'static, ()>,
}

impl Leftovers {
    pub(crate) fn watch() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            before: Self::now(),
            _turn: turn,
        }
    }

    fn now() -> (usize, Vec<String>) {
        let names = |path| {
            let mut names: Vec<String> = std::fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        (names("/proc/self/fd").len(), names("/dev/shm"))
    }

    fn children() -> String {
        std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok())
            .collect()
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ((descriptors, names), (before, names_before)) = (Self::now(), &self.before);
            assert_eq!(descriptors, *before, "descriptors");
            assert_eq!(names, *names_before, "names in /dev/shm");
            assert_eq!(Self::children(), "", "children");
        }
    }
}
