//! How far a call is: counted from the claim words and slots in shared memory when somebody looks, so tasks do nothing for it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::book::{Book, JobBook, TaskBook};
use super::core::Core;
use crate::dispatch::word::{ClaimWord, Owner};

/// A callback is not called more often than this.
const LEAST: Duration = Duration::from_millis(1);
/// A job of more chunks than this is counted by what its workers say, not chunk by chunk.
const MANY: u32 = 4096;
/// A total that is not known.
const UNKNOWN: u64 = u64::MAX;

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tasks that have ended, with a result or an error. While workers run it may lag behind by the chunks that they have claimed.
    pub done: u64,
    /// How many tasks the call has; none if its input does not say.
    pub total: Option<u64>,
}

impl Progress {
    pub(super) const NONE: Progress = Progress {
        done: 0,
        total: None,
    };
}

/// The account of one call, and whom to tell.
pub(crate) struct Gauge {
    total: AtomicU64,
    /// Ended tasks that the book does not know any more.
    settled: AtomicU64,
    pub(super) interval: Duration,
    reporter: Mutex<Option<Reporter>>,
}

struct Reporter {
    callback: Box<dyn FnMut(Progress) + Send>,
    /// What it was told last: it never goes back.
    told: u64,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauge")
            .field("total", &self.total)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl Gauge {
    /// That tells nobody.
    pub(super) fn silent() -> Arc<Gauge> {
        Gauge::with(Duration::ZERO, None)
    }

    pub(super) fn new(interval: Duration, callback: Box<dyn FnMut(Progress) + Send>) -> Arc<Gauge> {
        Gauge::with(interval, Some(Reporter { callback, told: 0 }))
    }

    fn with(interval: Duration, reporter: Option<Reporter>) -> Arc<Gauge> {
        Arc::new(Gauge {
            total: AtomicU64::new(UNKNOWN),
            settled: AtomicU64::new(0),
            interval: interval.max(LEAST),
            reporter: Mutex::new(reporter),
        })
    }

    /// The call has so many tasks.
    pub(super) fn expect(&self, total: Option<u64>) {
        self.total
            .store(total.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// So many tasks have ended that the book forgets now; it is locked.
    pub(super) fn settle(&self, tasks: u64) {
        self.settled.fetch_add(tasks, Ordering::Relaxed);
    }

    fn progress(&self, done: u64) -> Progress {
        let total = self.total.load(Ordering::Relaxed);
        Progress {
            done,
            total: (total != UNKNOWN).then_some(total),
        }
    }

    fn reporter(&self) -> std::sync::MutexGuard<'_, Option<Reporter>> {
        self.reporter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is somebody to be told.
    pub(super) fn tells(&self) -> bool {
        self.reporter().is_some()
    }

    /// Whether there is nobody to be told any more.
    pub(super) fn is_over(&self) -> bool {
        // Locked: it is being told right now.
        self.reporter
            .try_lock()
            .is_ok_and(|reporter| reporter.is_none())
    }

    /// Tells a last time, of a call that has ended.
    pub(super) fn finish(&self, done: u64) {
        self.tell(|| Some(done), true);
    }

    /// Tells how far the call is. A callback that panics is not called again.
    fn tell(&self, count: impl FnOnce() -> Option<u64>, last: bool) {
        let mut slot = self.reporter();
        let Some(reporter) = &mut *slot else { return };
        // Counted under the lock: whoever tells the last time knows that nobody else looks at the pool for this call any more.
        let Some(done) = count() else { return };
        reporter.told = reporter.told.max(done);
        let progress = self.progress(reporter.told);
        let told = catch_unwind(AssertUnwindSafe(|| (reporter.callback)(progress)));
        if told.is_err() {
            tracing::warn!("a callback for progress has panicked and is not called again");
        }
        if last || told.is_err() {
            let over = slot.take();
            drop(slot);
            // It may hold anything.
            if catch_unwind(AssertUnwindSafe(|| drop(over))).is_err() {
                tracing::warn!("a callback for progress has panicked when it was dropped");
            }
        }
    }
}

/// Courier: tells how far a call is, unless it has ended or its pool is gone.
pub(super) fn tell(core: &Weak<Core>, gauge: &Arc<Gauge>) {
    let count = || {
        let core = core.upgrade()?;
        let book = core.book();
        Some(core.count(&book, gauge))
    };
    gauge.tell(count, false);
}

impl Core {
    /// Has the courier tell how far the call is, until it ends: when what is returned is dropped.
    pub(super) fn report<'a>(self: &'a Arc<Self>, gauge: Option<&Arc<Gauge>>) -> Reporting<'a> {
        let gauge = gauge.cloned();
        if let Some(gauge) = &gauge {
            self.courier.watch(self, gauge);
        }
        Reporting { core: self, gauge }
    }

    /// How far a call is now.
    pub(super) fn progress_of(&self, gauge: &Arc<Gauge>) -> Progress {
        let book = self.book();
        gauge.progress(self.count(&book, gauge))
    }

    /// Tells a last time how far a call is.
    pub(super) fn tell_last(&self, gauge: &Arc<Gauge>) {
        gauge.tell(|| Some(self.count(&self.book(), gauge)), true);
    }

    fn count(&self, book: &Book, gauge: &Arc<Gauge>) -> u64 {
        let is_its = |other: &Option<Arc<Gauge>>| {
            other
                .as_ref()
                .is_some_and(|other| Arc::ptr_eq(other, gauge))
        };
        let jobs = book.jobs.iter().enumerate();
        let in_jobs = jobs
            .filter_map(|(place, job)| Some((place, job.as_ref()?)))
            .filter(|(_, job)| is_its(&job.gauge))
            .map(|(place, job)| self.ended_in_job(place, job));
        let tasks = book.tasks.values().filter(|task| is_its(&task.gauge));
        let in_tasks = tasks.map(|task| self.ended_in_task(task));
        gauge.settled.load(Ordering::Relaxed) + in_jobs.chain(in_tasks).sum::<u64>()
    }

    /// Items of a job that have ended.
    pub(super) fn ended_in_job(&self, place: usize, job: &JobBook) -> u64 {
        let table = self.table_of(place, job);
        if job.chunks > MANY && !job.cancelled {
            // So many chunks have one length.
            let done = u64::from(table.completed()) * job.range(0).len() as u64;
            return done.min(job.items.into());
        }
        let ended = |chunk: u32| {
            let range = job.range(chunk);
            let resumed = job.resumed.get(&chunk).copied().unwrap_or(0);
            match table.word(chunk) {
                ClaimWord::Done(_) => range.len() as u32,
                ClaimWord::Void if !job.cancelled => range.len() as u32,
                ClaimWord::Claimed(owner) => self
                    .item_of(owner)
                    .filter(|item| range.contains(item))
                    .map_or(resumed, |item| resumed.max(item - range.start)),
                _ => resumed,
            }
        };
        (0..job.chunks).map(|chunk| u64::from(ended(chunk))).sum()
    }

    fn ended_in_task(&self, task: &TaskBook) -> u64 {
        if task.done {
            return task.items.into();
        }
        let ended = match task.entry.map(|entry| self.control.tasks().word(entry)) {
            Some(ClaimWord::Done(_)) => task.items,
            Some(ClaimWord::Claimed(owner)) => self
                .item_of(owner)
                .filter(|item| (task.next..task.items).contains(item))
                .unwrap_or(task.next),
            _ => task.next,
        };
        ended.into()
    }

    /// The item that a worker says it is at.
    fn item_of(&self, owner: Owner) -> Option<u32> {
        let slot = self.control.slots().get(owner.slot())?;
        let item = slot.report.item.load(crate::atomic::Ordering::Relaxed);
        (item % 2 == 1).then_some(item / 2)
    }
}

/// Tells a last time how far a call is, when it has ended.
#[derive(Debug)]
pub(super) struct Reporting<'a> {
    core: &'a Core,
    gauge: Option<Arc<Gauge>>,
}

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        if let Some(gauge) = &self.gauge {
            self.core.tell_last(gauge);
        }
    }
}
