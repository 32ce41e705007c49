//! What the tests share: children that play a part and are killed, and a board of counters on which they meet.

use pool_shm::Segment;
use pool_shm::sync::EventCount;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const PART: &str = "POOL_SHM_DEATHS_PART";
const ARGUMENT: &str = "POOL_SHM_DEATHS_ARGUMENT";
const COUNTERS: usize = 64;
/// Ends a deadlock; nothing that works comes near it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A part by its name; it gets its argument as text, for [`argument`].
pub(crate) type Part = (&'static str, fn(&str));

/// Plays the part that this process was started for, if it was.
pub(crate) fn play(parts: &[&[Part]]) {
    let Ok(name) = std::env::var(PART) else {
        return;
    };
    let text = std::env::var(ARGUMENT).unwrap();
    let part = parts.iter().copied().flatten().find(|part| part.0 == name);
    part.expect("there is such a part").1(&text);
}

/// The argument of a part.
pub(crate) fn argument<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// Never returns while the test lives: what a part does that waits to be killed.
pub(crate) fn until_killed() -> ! {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    process::exit(1)
}

/// A child. Dropping it kills it, and waits for its end.
#[derive(Debug)]
pub(crate) struct Child(process::Child);

impl Child {
    pub(crate) fn start(part: &str, argument: &impl Serialize) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "plays_its_part", "--nocapture"])
            .env(PART, part)
            .env(ARGUMENT, serde_json::to_string(argument).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Child(command.spawn().unwrap())
    }

    pub(crate) fn kill(self) {}
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Counters in shared memory, all 0 at first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Board(Segment);

impl Board {
    pub(crate) fn new() -> Board {
        Board(Segment::create(64 + 8 * COUNTERS).unwrap())
    }

    fn event(&self) -> &EventCount {
        self.0.get(0).unwrap()
    }

    fn counter(&self, i: usize) -> &AtomicU64 {
        self.0.get(64 + 8 * i).unwrap()
    }

    pub(crate) fn get(&self, i: usize) -> u64 {
        self.counter(i).load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self, i: usize) {
        self.counter(i).fetch_add(1, Ordering::SeqCst);
        self.event().notify_all();
    }

    /// Waits until the counter is at least `value`.
    pub(crate) fn wait(&self, i: usize, value: u64) {
        let deadline = Some(Instant::now() + LIMIT);
        let reached = || (self.get(i) >= value).then_some(());
        let waited = self.event().wait_until(deadline, reached);
        assert!(
            waited.is_some(),
            "counter {i} stays at {} instead of {value}",
            self.get(i)
        );
    }
}

/// Keeps three children at a part while it kills one after the other, `rounds` times; before each, the others must have got on.
///
/// The part's argument is `(subject, board, index)`, and it counts at counter 0 what it does.
pub(crate) fn kill_at_random<S: Serialize>(part: &str, subject: &S, board: &Board, rounds: usize) {
    let start = |i: usize| Child::start(part, &(subject, board, i));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut children: Vec<Child> = (0..3).map(start).collect();
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        board.wait(0, board.get(0) + 1 + random % 40);
        children[round % 3] = start(round % 3);
    }
    board.wait(0, board.get(0) + 10);
}

/// What this process had when the guard was made; at the end it must have the same. Only one exists at a time.
#[derive(Debug)]
pub(crate) struct Leftovers {
    before: (BTreeSet<PathBuf>, usize),
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Leftovers {
    pub(crate) fn watch() -> Leftovers {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Leftovers {
            before: held(),
            _turn: turn,
        }
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(held(), self.before, "left behind");
        }
    }
}

/// Segments that are open or mapped, and children.
fn held() -> (BTreeSet<PathBuf>, usize) {
    let list = |folder: &str| std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let files = list("/proc/self/fd").filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_segment = target.to_string_lossy().contains("memfd:");
        is_segment.then(|| entry.path())
    });
    let children = list("/proc/self/task").map(|entry| {
        let listed = std::fs::read_to_string(entry.path().join("children"));
        listed.unwrap_or_default().split_whitespace().count()
    });
    (files.collect(), children.sum())
}
