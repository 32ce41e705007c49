//! What a pool has done so far.

use std::time::Duration;

use super::Pool;
use super::book::{Book, JobBook};
use super::core::Core;
use crate::atomic::Ordering;
use crate::dispatch::word::ClaimWord;

/// What a pool has done since it was made. See [`Pool::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that were run to their end, with a result or an error of their own.
    pub tasks_done: u64,
    /// Tasks that ended with an error, by themselves or because their worker died. Those that were cancelled are not counted.
    pub tasks_failed: u64,
    /// How often a task was begun again because its worker died ([`Job::retries`](crate::Job::retries)).
    pub tasks_retried: u64,
    /// Tasks that have been handed in and that no worker has begun yet.
    pub tasks_waiting: u64,
    /// Workers that were started, replacements among them.
    pub workers_started: u64,
    /// Workers that died, or were killed because of a late task or initializer.
    pub workers_died: u64,
    /// Workers that were replaced because of [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker) or
    /// [`max_memory_per_worker`](crate::PoolBuilder::max_memory_per_worker).
    pub workers_recycled: u64,
    /// Workers that left because they had nothing to do, or because the pool was made smaller or stopped.
    pub workers_left: u64,
    /// Time that all workers together have spent in tasks and in claiming them. A call over integers or blocks is counted when a
    /// worker turns away from it: when nothing is left, or for something else.
    pub busy: Duration,
}

impl<S> Pool<S> {
    /// What the pool has done so far, from counters that workers and pool keep anyway: it costs the tasks nothing.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// pool.try_map(|i: u32| 6 / i, 0..4)?;
    /// let stats = pool.stats();
    /// assert_eq!((stats.tasks_done, stats.tasks_failed, stats.tasks_waiting), (4, 1, 0));
    /// assert_eq!((stats.workers_started, stats.workers_died), (2, 0));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }
}

impl Core {
    fn stats(&self) -> Stats {
        let mut guard = self.book();
        let book = &mut *guard;
        book.drain_all(&self.control); // errors that are on their way
        let counts = book.crew.counts;
        let (mut done, mut busy) = (counts.tasks_done, counts.busy_nanos);
        for slot in 0..book.places.len() {
            let report = &self.control.slot(slot).report;
            done = done.saturating_add(report.tasks_done.load(Ordering::Relaxed));
            busy = busy.saturating_add(report.busy.load(Ordering::Relaxed));
        }
        Stats {
            tasks_done: done,
            tasks_failed: counts.failed,
            tasks_retried: counts.retried,
            tasks_waiting: self.waiting(book),
            workers_started: counts.started,
            workers_died: counts.died,
            workers_recycled: counts.recycled,
            workers_left: counts.left,
            busy: Duration::from_nanos(busy),
        }
    }

    fn waiting(&self, book: &Book) -> u64 {
        let jobs = book.jobs.iter().enumerate();
        let jobs = jobs.filter_map(|(place, job)| Some((place, job.as_ref()?)));
        let items: u64 = jobs
            .map(|(place, job)| self.waiting_items(place, job))
            .sum();
        let table = self.control.tasks();
        let waits = |entry: Option<usize>| {
            entry.is_none_or(|entry| matches!(table.word(entry), ClaimWord::Free { .. }))
        };
        let tasks = book.tasks.values();
        let tasks = tasks.filter(|task| !task.done && waits(task.entry));
        let tasks = tasks.map(|task| u64::from(task.items.saturating_sub(task.next)));
        items + tasks.sum::<u64>()
    }

    /// Items of the chunks that nobody has claimed.
    fn waiting_items(&self, place: usize, job: &JobBook) -> u64 {
        let states = self.table_of(place, job).states;
        (0..)
            .zip(states)
            .map(
                |(chunk, state)| match ClaimWord::from_bits(state.load(Ordering::Relaxed)) {
                    ClaimWord::Free { first } => {
                        u64::from((job.range(chunk).len() as u32).saturating_sub(first))
                    }
                    _ => 0,
                },
            )
            .sum()
    }
}
