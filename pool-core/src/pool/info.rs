//! What can be asked about workers.

use std::time::Duration;

use super::Pool;
use crate::atomic::Ordering;
use crate::sys;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It was started and has not said yet that it is ready.
    Starting,
    /// It waits for work.
    Idle,
    /// It runs a task.
    Busy,
    /// It has died and its replacement has not been started yet.
    Dead,
}

/// A worker as it was when [`Pool::workers`] looked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number in the pool, from 0; a replacement has the number of the worker that it replaces.
    pub id: usize,
    /// Its process id; this process's own for workers that are threads.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// Tasks that it and those that it replaced have done.
    pub tasks_done: u64,
    /// Time that the living threads of its process have spent on a processor; zero if it is gone.
    pub cpu_time: Duration,
    /// Bytes of memory that are mapped and present, shared pages counted in full.
    pub resident: u64,
    /// The same, each shared page divided by the number of processes that share it.
    pub proportional: u64,
    /// Bytes that only this process has.
    pub private: u64,
}

impl<S> Pool<S> {
    /// The workers, in the order of their numbers.
    ///
    /// Reads `/proc` for each: some 0.2 ms, and more for one that has much memory mapped, whose pages the kernel counts (30 ms for
    /// 1 GiB).
    pub fn workers(&self) -> Vec<WorkerInfo> {
        let places: Vec<(u32, bool, bool)> = {
            let book = self.core.book();
            book.places
                .iter()
                .map(|place| (place.pid, place.alive, place.ready))
                .collect()
        };
        places
            .into_iter()
            .enumerate()
            .map(|(id, (pid, alive, ready))| self.worker(id, pid, alive, ready))
            .collect()
    }

    fn worker(&self, id: usize, pid: u32, alive: bool, ready: bool) -> WorkerInfo {
        let report = &self.core.control.slot(id).report;
        let begun = report.item.load(Ordering::Relaxed) % 2 == 1;
        let state = match (alive, ready) {
            (false, _) => WorkerState::Dead,
            (true, false) => WorkerState::Starting,
            (true, true) if begun => WorkerState::Busy,
            (true, true) => WorkerState::Idle,
        };
        let pid = if pid == 0 { std::process::id() } else { pid };
        let usage = sys::usage(pid).unwrap_or_default();
        WorkerInfo {
            id,
            pid,
            state,
            tasks_done: report.tasks_done.load(Ordering::Relaxed),
            cpu_time: usage.cpu_time,
            resident: usage.resident,
            proportional: usage.proportional,
            private: usage.private,
        }
    }
}
