//! Models of the protocols: every interleaving of small cases, within a bound of preemptions. `README.md` one folder up has the
//! arguments that they check.
//!
//! The futex of the models never times out and never wakes without cause, so a lost wake-up is a deadlock, which loom reports.

mod claim;
mod clock;
mod join;
mod order;
mod park;
mod shutdown;
mod stream;
mod tasks;

use loom::sync::{Condvar, Mutex};

use super::claim::{ClaimTable, JobWords, Line};
use super::park::Futex;
use crate::atomic::{AtomicU32, Ordering};
use crossbeam::utils::CachePadded;

/// Checks `body` in every interleaving with at most `preemptions` of them.
fn check(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// The kernel's side of a futex: compare and sleep in one step.
#[derive(Debug)]
struct Kernel {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Kernel {
    fn new() -> Kernel {
        Kernel {
            lock: Mutex::new(()),
            woken: Condvar::new(),
        }
    }
}

impl Futex for Kernel {
    fn wait(&self, word: &AtomicU32, expected: u32) {
        let guard = self.lock.lock().expect("loom never poisons");
        if word.load(Ordering::Relaxed) == expected {
            drop(self.woken.wait(guard).expect("loom never poisons"));
        }
    }

    fn wake(&self, _word: &AtomicU32) {
        let _guard = self.lock.lock().expect("loom never poisons");
        self.woken.notify_all();
    }
}

/// A futex word with its kernel: what somebody in the pool's process sleeps on.
#[derive(Debug)]
struct Event {
    word: AtomicU32,
    kernel: Kernel,
}

impl Event {
    fn new() -> Event {
        Event {
            word: AtomicU32::new(0),
            kernel: Kernel::new(),
        }
    }

    fn seen(&self) -> u32 {
        self.word.load(Ordering::Acquire)
    }

    fn signal(&self) {
        self.word.fetch_add(1, Ordering::Release);
        self.kernel.wake(&self.word);
    }

    fn wait(&self, seen: u32) {
        self.kernel.wait(&self.word, seen);
    }
}

/// The memory of a job's claims.
#[derive(Debug)]
struct Job {
    states: Vec<AtomicU32>,
    lines: Vec<CachePadded<Line>>,
    used: AtomicU32,
    words: JobWords,
}

impl Job {
    fn new(chunks: usize, workers: usize) -> Job {
        Job {
            states: (0..chunks).map(|_| AtomicU32::new(0)).collect(),
            lines: (0..workers).map(|_| CachePadded::default()).collect(),
            used: AtomicU32::new(workers as u32),
            words: JobWords::default(),
        }
    }

    fn table(&self) -> ClaimTable<'_> {
        ClaimTable {
            states: &self.states,
            lines: &self.lines,
            used: &self.used,
            words: &self.words,
        }
    }
}
