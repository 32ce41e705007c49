//! The workers of a pool as its own process knows them, beyond the places that they have now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use pool_shm::transfer::Held;

use super::book::Gathered;
use super::info::WorkerEnd;
use crate::error::TaskError;

/// What the pool wants of its workers, and what became of those that are gone.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    /// How many workers there should be. Their numbers are below it.
    pub(crate) target: usize,
    /// Numbers of those that left because they had nothing to do. They come back when there is.
    pub(crate) away: BTreeSet<usize>,
    /// By number.
    records: Vec<Record>,
    pub(crate) counts: Counts,
    /// What exit hooks have returned and nobody has asked for yet.
    pub(crate) farewells: Vec<Farewell>,
}

/// What is known of the workers of one number that are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) end: Option<WorkerEnd>,
    pub(crate) tasks_done: u64,
}

/// Counts since the pool was made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: u64,
    pub(crate) died: u64,
    pub(crate) recycled: u64,
    pub(crate) left: u64,
    pub(crate) failed: u64,
    pub(crate) retried: u64,
    pub(crate) tasks_done: u64,
    pub(crate) busy_nanos: u64,
}

/// What the exit hook of a worker returned, encoded, or why there is nothing.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) worker: usize,
    pub(crate) pid: u32,
    pub(crate) result: Result<Vec<u8>, TaskError>,
    /// Keeps the segments that the result names.
    #[expect(dead_code, reason = "kept only to be dropped")]
    pub(crate) held: Vec<Arc<Held>>,
}

/// What the worker in a place is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Station {
    /// There is none.
    #[default]
    Vacant,
    Serving,
    /// It is to replace the one that serves under its number.
    StandingBy,
    /// It was told to leave, for this reason.
    Dismissed(WorkerEnd),
}

/// What the pool knows of a worker's life beside its process.
#[derive(Debug, Default)]
pub(crate) struct Post {
    /// The worker's number.
    pub(crate) worker: usize,
    pub(crate) station: Station,
    pub(crate) started: Option<Instant>,
    /// When it said that it leaves.
    pub(crate) leaving: Option<Instant>,
    /// It was killed because it took too long with this.
    pub(crate) late: Option<crate::error::Hook>,
    /// What its exit hook has sent.
    pub(crate) farewell: Gathered,
    /// When it was seen idle first, and how many tasks it had done then.
    pub(crate) idle: Option<(Instant, u64)>,
}

impl Crew {
    /// What is known of the workers of this number that are gone.
    pub(crate) fn record(&self, worker: usize) -> Record {
        self.records.get(worker).cloned().unwrap_or_default()
    }

    /// A worker is gone.
    pub(crate) fn note_end(&mut self, worker: usize, end: WorkerEnd) {
        self.record_mut(worker).end = Some(end);
        match end {
            WorkerEnd::Died(_) | WorkerEnd::LateInitializer => self.counts.died += 1,
            WorkerEnd::MaxTasks | WorkerEnd::MaxMemory => self.counts.recycled += 1,
            WorkerEnd::Idle | WorkerEnd::Resized | WorkerEnd::Closed => self.counts.left += 1,
        }
    }

    /// The account of a worker that is gone.
    pub(crate) fn note_work(&mut self, worker: usize, tasks: u64, busy_nanos: u64) {
        let record = self.record_mut(worker);
        record.tasks_done = record.tasks_done.saturating_add(tasks);
        self.counts.tasks_done = self.counts.tasks_done.saturating_add(tasks);
        self.counts.busy_nanos = self.counts.busy_nanos.saturating_add(busy_nanos);
    }

    fn record_mut(&mut self, worker: usize) -> &mut Record {
        if self.records.len() <= worker {
            self.records.resize_with(worker + 1, Record::default);
        }
        &mut self.records[worker]
    }
}
