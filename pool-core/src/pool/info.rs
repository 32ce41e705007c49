//! What can be asked about workers.

use std::time::{Duration, Instant};

use super::Pool;
use super::book::{Book, Place};
use super::core::Core;
use super::crew::Station;
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::error::WorkerExit;
use crate::sys;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It was started and has not said yet that it is ready.
    Starting,
    /// It is ready to replace the worker of its number, which runs its last tasks.
    StandingBy,
    /// It waits for work.
    Idle,
    /// It runs a task.
    Busy,
    /// It runs no more tasks, but may be in its exit hook.
    Leaving,
    /// It left because it had nothing to do, and comes back when there is work.
    Away,
    /// It has ended and its replacement has not been started yet.
    Dead,
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEnd {
    /// Its process ended by itself, or was killed.
    Died(WorkerExit),
    /// Its initializer took too long ([`PoolBuilder::initializer_timeout`](crate::PoolBuilder::initializer_timeout)).
    LateInitializer,
    /// It had run as many tasks as it may ([`PoolBuilder::max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker)).
    MaxTasks,
    /// It had more memory than it may
    /// ([`PoolBuilder::max_memory_per_worker`](crate::PoolBuilder::max_memory_per_worker)).
    MaxMemory,
    /// It had nothing to do for long enough ([`PoolBuilder::idle_timeout`](crate::PoolBuilder::idle_timeout)).
    Idle,
    /// The pool was made smaller ([`Pool::resize`]).
    Resized,
    /// The pool was stopped.
    Closed,
}

/// A task that a worker was running.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentTask {
    /// The name of its job, or of the function if the job has none.
    pub name: String,
    /// Its index, as in [`Current::index`](crate::Current::index).
    pub index: u64,
}

/// A worker as it was when [`Pool::workers`] looked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its number in the pool, from 0; a replacement has the number of the worker that it replaces.
    pub id: usize,
    /// Its process id; this process's own for workers that are threads; 0 for one that is not there, or that is
    /// being started.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// The task that it is running.
    pub task: Option<CurrentTask>,
    /// Tasks that it and those that it replaced have done.
    pub tasks_done: u64,
    /// How long ago it was started; zero if it is gone.
    pub age: Duration,
    /// Time that the living threads of its process have spent on a processor; zero if it is gone.
    pub cpu_time: Duration,
    /// Bytes of memory that are mapped and present, shared pages counted in full.
    pub resident: u64,
    /// The same, each shared page divided by the number of processes that share it.
    pub proportional: u64,
    /// Bytes that only this process has.
    pub private: u64,
    /// Why the worker of this number that was there before ended; none if there was none.
    pub last_end: Option<WorkerEnd>,
}

impl<S> Pool<S> {
    /// The workers, in the order of their numbers. While one is being replaced there are two of the same number: one that stands by
    /// or serves, and one that leaves.
    ///
    /// Reads `/proc` for each: some 0.2 ms, and more for one that has much memory mapped, whose pages the kernel counts (30 ms for
    /// 1 GiB).
    ///
    /// ```
    /// use pool_core::{Pool, WorkerState};
    ///
    /// let pool = Pool::new(2)?;
    /// pool.map(|i: u32| i + 1, 0..10)?;
    /// let workers = pool.workers();
    /// assert_eq!(workers.iter().map(|worker| worker.tasks_done).sum::<u64>(), 10);
    /// assert!(workers.iter().all(|worker| worker.task.is_none() && worker.last_end.is_none()));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn workers(&self) -> Vec<WorkerInfo> {
        let mut workers = self.core.sketches();
        for info in &mut workers {
            let usage = match info.state {
                WorkerState::Dead | WorkerState::Away => None,
                _ if info.pid == 0 => None,
                _ => sys::usage(info.pid),
            };
            let usage = usage.unwrap_or_default();
            info.cpu_time = usage.cpu_time;
            info.resident = usage.resident;
            info.proportional = usage.proportional;
            info.private = usage.private;
        }
        workers
    }
}

impl Core {
    /// What the book knows of the workers, in the order of their numbers.
    fn sketches(&self) -> Vec<WorkerInfo> {
        let book = self.book();
        let places = book.places.iter().enumerate();
        let there = places.filter(|(_, place)| place.post.station != Station::Vacant);
        let mut workers: Vec<WorkerInfo> = there
            .map(|(slot, place)| self.sketch(&book, slot, place))
            .collect();
        for worker in 0..book.crew.target {
            if !workers.iter().any(|info| info.id == worker) {
                workers.push(absent(&book, worker));
            }
        }
        workers.sort_by_key(|info| info.id);
        workers
    }

    fn sketch(&self, book: &Book, slot: usize, place: &Place) -> WorkerInfo {
        let slot_words = self.control.slot(slot);
        let begun = slot_words.report.item.load(Ordering::Relaxed) % 2 == 1;
        let word = slot_words.status.load(Ordering::Relaxed);
        // The worker may have said so without the watcher having read it.
        let ready = place.ready || word == status::READY;
        let state = match (place.post.station, ready) {
            _ if matches!(word, status::LEAVING | status::GONE) => WorkerState::Leaving,
            (_, false) => WorkerState::Starting,
            (Station::StandingBy, true) => WorkerState::StandingBy,
            _ if begun => WorkerState::Busy,
            _ => WorkerState::Idle,
        };
        let doing = (state == WorkerState::Busy).then(|| self.doing(book, slot));
        let mut info = absent(book, place.post.worker);
        info.pid = place.pid;
        info.state = state;
        info.task = doing.flatten().map(|doing| CurrentTask {
            name: doing.name.to_string(),
            index: doing.index,
        });
        // Those that it replaces while they live have a count of their own.
        info.tasks_done += slot_words.report.tasks_done.load(Ordering::Relaxed);
        info.age = place.post.started.map_or(Duration::ZERO, |started| {
            Instant::now().duration_since(started)
        });
        info
    }
}

/// A worker that is not there.
fn absent(book: &Book, worker: usize) -> WorkerInfo {
    let record = book.crew.record(worker);
    let away = book.crew.away.contains(&worker);
    WorkerInfo {
        id: worker,
        pid: 0,
        state: if away {
            WorkerState::Away
        } else {
            WorkerState::Dead
        },
        task: None,
        tasks_done: record.tasks_done,
        age: Duration::ZERO,
        cpu_time: Duration::ZERO,
        resident: 0,
        proportional: 0,
        private: 0,
        last_end: record.end,
    }
}
