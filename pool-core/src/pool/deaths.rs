//! What a death costs: the account of a worker that is known to be dead.

use std::cell::Cell;
use std::time::Duration;

use super::book::{Book, JobBook, Outcome};
use super::core::Core;
use super::crew::Post;
use crate::atomic::Ordering;
use crate::current::SINGLE;
use crate::dispatch::claim::{ClaimTable, Lost};
use crate::dispatch::control::{JOBS, status};
use crate::dispatch::word::Owner;
use crate::error::{MissedDeadline, TaskError, WorkerDeath, WorkerExit};

/// A worker that is dead, and what it was doing.
#[derive(Debug)]
struct Dead {
    owner: Owner,
    /// Its number in the pool.
    worker: usize,
    pid: u32,
    exit: WorkerExit,
    /// The item that it had begun.
    begun: Option<u32>,
    /// It was killed because that item was late.
    is_late: bool,
    /// Items that fail, and that are begun again, because of this death.
    failed: Cell<u64>,
    retried: Cell<u64>,
}

impl Dead {
    /// The error of the item that it had begun, which may take `limit` and was begun `attempts` times.
    fn error(&self, index: u64, limit: Option<Duration>, attempts: u32) -> TaskError {
        self.failed.set(self.failed.get() + 1);
        let (worker, pid) = (self.worker, self.pid);
        match limit.filter(|_| self.is_late) {
            Some(limit) => TaskError::DeadlineExceeded(MissedDeadline {
                index: index & !SINGLE,
                limit,
                worker,
                pid,
                attempts,
            }),
            None => TaskError::WorkerDied(WorkerDeath {
                worker,
                pid,
                exit: self.exit,
                attempts,
            }),
        }
    }
}

impl Dead {
    fn note_retry(&self) {
        self.retried.set(self.retried.get() + 1);
    }
}

impl Core {
    /// Settles the account of the worker in `slot`, whose process has ended: its results that were published count, the item
    /// that it had begun fails or is repeated, everything else that it held is offered again.
    pub(super) fn bury(&self, book: &mut Book, slot: usize, exit: WorkerExit) {
        book.drain(&self.control, slot);
        let report = &self.control.slot(slot).report;
        let item = report.item.load(Ordering::Acquire); // SYNC: item-begun
        let place = &book.places[slot];
        let owner = Owner::new(slot, place.generation);
        let dead = Dead {
            owner,
            worker: place.post.worker,
            pid: place.pid,
            exit,
            begun: (item % 2 == 1).then_some(item / 2),
            // One that ended in another way while its item became late has a cause of its own.
            is_late: place.is_late && matches!(exit, WorkerExit::Signal(9) | WorkerExit::Unknown),
            failed: Cell::new(0),
            retried: Cell::new(0),
        };
        self.note_death(book, &dead);
        self.settle_jobs(book, &dead);
        self.settle_tasks(book, &dead);
        self.settle_revoked(book, slot);
        book.crew.counts.failed += dead.failed.get();
        book.crew.counts.retried += dead.retried.get();
        report.joined.store(0, Ordering::Release);
        report.item.store(0, Ordering::Relaxed);
        report.holds.store(0, Ordering::Relaxed);
        report.clock.reset();
        self.control.bell().forget(slot);
        self.control.stream_reader(slot).reset();
        let place = self.control.slot(slot);
        let position = place.stream.head.load(Ordering::Relaxed);
        place.taken_over.store(position, Ordering::Relaxed);
        self.control
            .slot(slot)
            .status
            .store(status::VACANT, Ordering::Relaxed);
        self.control.slot(slot).pid.store(0, Ordering::Relaxed);
        let tasks = report.tasks_done.swap(0, Ordering::Relaxed);
        let busy = report.busy.swap(0, Ordering::Relaxed);
        book.crew.note_work(dead.worker, tasks, busy);
        let place = &mut book.places[slot];
        place.pending.clear();
        place.post = Post::default();
        (place.target, place.alive, place.ready, place.corrupt) = (None, false, false, false);
        place.is_late = false;
        // It may have taken wake-ups with it that were meant for others.
        self.control.ring_all();
    }

    /// Says what it was doing to whoever traces the pool.
    fn note_death(&self, book: &Book, dead: &Dead) {
        if let Some(doing) = self.doing(book, dead.owner.slot()) {
            tracing::warn!(
                worker = dead.owner.slot(),
                pid = dead.pid,
                exit = %dead.exit,
                job = &*doing.name,
                task = doing.index,
                late = dead.is_late,
                "a worker has ended in a task"
            );
        }
    }

    fn settle_jobs(&self, book: &mut Book, dead: &Dead) {
        for place in 0..JOBS {
            let Some(job) = &mut book.jobs[place] else {
                continue;
            };
            let table = self.table_of(place, job);
            if let Lost::Chunk(chunk) = table.settle_dead(dead.owner) {
                settle_chunk(job, &table, chunk, dead);
            }
            table.offer_again();
        }
    }

    fn settle_tasks(&self, book: &mut Book, dead: &Dead) {
        let table = self.control.tasks();
        for entry in table.held_by(dead.owner) {
            table.vacate(entry);
            let Some(id) = book.entries.remove(&entry) else {
                continue;
            };
            let Some(task) = book.tasks.get_mut(&id) else {
                continue;
            };
            task.entry = None;
            let next = match &task.outcome {
                Outcome::Streamed(gathered) => gathered.len(),
                Outcome::InPlace { failed, .. } => {
                    begun_or_next(dead.begun, failed).unwrap_or(task.next)
                }
            };
            if next != task.next {
                (task.next, task.attempts) = (next, 0);
            }
            if dead.begun == Some(next) && next < task.items {
                task.attempts += 1;
                if task.attempts > task.retries {
                    let index = task.base + u64::from(next);
                    let error = dead.error(index, task.limit, task.attempts);
                    match &mut task.outcome {
                        Outcome::Streamed(gathered) => gathered.push_error(error),
                        Outcome::InPlace { failed, .. } => failed.push((next, error)),
                    }
                    (task.next, task.attempts) = (next + 1, 0);
                } else {
                    dead.note_retry();
                }
            }
            task.done = task.next >= task.items;
            if task.done {
                self.note_done(book, id);
            } else if !self.publish(book, id) {
                book.backlog.push_front(id);
            }
        }
    }
}

/// The item that a dead worker had begun, or the one behind it if its error is already there: that one is not run again.
fn begun_or_next(begun: Option<u32>, failed: &[(u32, TaskError)]) -> Option<u32> {
    begun.map(|item| item + u32::from(failed.iter().any(|(failed, _)| *failed == item)))
}

/// The chunk that a dead worker held.
fn settle_chunk(job: &mut JobBook, table: &ClaimTable<'_>, chunk: u32, dead: &Dead) {
    let range = job.range(chunk);
    let resumed = job.resumed.get(&chunk).copied().unwrap_or(0);
    let begun = dead.begun.filter(|item| range.contains(item));
    // Results that came through the stream are there; one in place is there if the worker had gone on to the next item.
    let mut next = match &job.gathered {
        Some(gathered) => range.start + gathered[chunk as usize].len(),
        None => begun_or_next(begun, &job.failed).unwrap_or(range.start + resumed),
    };
    if begun == Some(next) {
        let attempts = job.attempts.entry(next).or_default();
        *attempts += 1;
        if *attempts > job.retries {
            let index = job.first_index + u64::from(next);
            let error = dead.error(index, job.limit, *attempts);
            match &mut job.gathered {
                Some(gathered) => gathered[chunk as usize].push_error(error),
                None => job.failed.push((next, error)),
            }
            next += 1;
        } else {
            table.note_repeated(next, *attempts);
            dead.note_retry();
        }
    }
    if job.cancelled || next >= range.end {
        table.give_up(chunk);
    } else {
        job.resumed.insert(chunk, next - range.start);
        table.release(chunk, next - range.start);
    }
}
