//! Schedules: how a call is cut into chunks, and who runs them.

use super::book::Book;
use super::core::Core;
use super::crew::Station;
use super::job::Span64;
use super::verbs::refuse;
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::dispatch::cut::Cut;
use crate::error::PoolError;

/// Results in place of one wave: small enough to stay in the processor's caches.
const WAVE_BYTES: usize = 2 << 20;
/// Items of one wave at most.
const WAVE_ITEMS: usize = 1 << 18;
/// Items of one wave whose results come through the streams.
const WAVE_STREAM_ITEMS: usize = 1 << 16;
/// The same for a call that is cut as a whole: its chunks are few, so what bounds it is the memory of its results.
const WHOLE_BYTES: usize = 64 << 20;
const WHOLE_ITEMS: usize = 1 << 22;

/// How a call is cut into chunks of tasks, and which worker gets which: OpenMP's words. See [`Job::schedule`](crate::Job::schedule).
///
/// Whatever the schedule, results come in order, and what a worker that dies had not begun is run by another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Schedule {
    /// Chunks of one size, fine enough to balance uneven tasks and coarse enough that claiming them costs nothing beside cheap ones:
    /// by the number of tasks, and by the time that the task was seen to take in earlier calls. Workers claim them as they come,
    /// and steal from each other at the end. Over blocks of arrays each worker that is ready begins with an equal share, the same
    /// one in each call over as many blocks, so it meets memory that it has mapped and may have in its caches.
    #[default]
    Auto,
    /// The tasks in equal consecutive parts, one for each worker that is ready when the call begins, in the order of their numbers;
    /// nobody takes another one's part while that one lives. For tasks that take equally long, and for workers that keep what
    /// they touched: the same worker gets the same items in the next call. A worker that is busy with something else holds its
    /// part up.
    ///
    /// Over more than 2²² items, or results of more than 64 MiB, that many items after the other are cut in this way. Over values
    /// the parts are equal, but whichever worker is free takes the next one; parts have at most 2²⁰ values.
    Static,
    /// Chunks of so many tasks, at least 1, for whoever comes next: what [`Job::chunk`](crate::Job::chunk) sets.
    Dynamic {
        /// Tasks of a chunk.
        chunk: u32,
    },
    /// Chunks that become smaller: each round of one chunk per worker takes half of the tasks that are left, down to chunks of
    /// `min_chunk`, at least 1. Few claims, and a balanced end.
    Guided {
        /// Tasks of the smallest chunk; the last may be smaller.
        min_chunk: u32,
    },
}

impl Schedule {
    /// The chunk that the user gave.
    pub(super) fn chunk(self) -> Option<u32> {
        match self {
            Schedule::Dynamic { chunk } => Some(chunk),
            _ => None,
        }
    }

    /// Whether the number of tasks has to be known before the first chunk is cut.
    pub(super) fn is_of_the_whole(self) -> bool {
        matches!(self, Schedule::Static | Schedule::Guided { .. })
    }

    pub(super) fn check(self) -> Result<(), PoolError> {
        match self {
            Schedule::Dynamic { chunk: 0 } => {
                refuse("chunk", "0", "a worker claims at least 1 task at a time")
            }
            Schedule::Guided { min_chunk: 0 } => refuse(
                "schedule",
                "Guided { min_chunk: 0 }",
                "a worker claims at least 1 task at a time",
            ),
            _ => Ok(()),
        }
    }

    /// The error of a call whose number of tasks is not known before it has read its input.
    pub(super) fn refuse_stream(self) -> Result<(), PoolError> {
        if !self.is_of_the_whole() {
            return Ok(());
        }
        let accepted = "it needs to know how many tasks there are, and this input does not say: collect it first and `map` it, or choose `Auto` or `Dynamic`";
        refuse("schedule", &format!("{self:?}"), accepted)
    }
}

/// Items of a wave of this call at most.
pub(super) fn wave_items(call: &Span64<'_>) -> u64 {
    let whole = call.options.schedule.is_of_the_whole();
    let (bytes, items) = if whole {
        (WHOLE_BYTES, WHOLE_ITEMS)
    } else {
        (WAVE_BYTES, WAVE_ITEMS)
    };
    let items = match call.in_place {
        Some(size) => (bytes / size.max(1)).min(items),
        None if whole => items,
        None => WAVE_STREAM_ITEMS,
    };
    items as u64
}

impl Core {
    /// How a wave of `items` is cut, if chunks of one length have `len`, and to which slots its chunks are dealt.
    pub(super) fn cut(
        &self,
        book: &Book,
        call: &Span64<'_>,
        items: u32,
        len: u32,
    ) -> (Cut, Vec<usize>) {
        let workers = self.control.orders().workers.load(Ordering::Relaxed);
        match call.options.schedule {
            Schedule::Auto if !call.plan.is_empty() => {
                // Blocks: whoever had one in the last call has its memory mapped and maybe in its caches, so everybody begins with
                // the same ones again. Who has finished steals, as ever.
                (Cut::even(items, len), self.ready_slots(book))
            }
            Schedule::Auto | Schedule::Dynamic { .. } => (Cut::even(items, len), Vec::new()),
            Schedule::Guided { min_chunk } => (Cut::falling(items, workers, min_chunk), Vec::new()),
            Schedule::Static => {
                let ready = self.ready_slots(book);
                // If none is ready now, whoever comes takes one part after the other.
                let parts = if ready.is_empty() {
                    workers
                } else {
                    ready.len() as u32
                };
                (Cut::parts(items, parts), ready)
            }
        }
    }

    /// The slots of the workers that serve and say that they are ready, by the workers' numbers. One that dies, or says that it
    /// leaves, is taken note of when the job is in the book, and its part offered to all.
    fn ready_slots(&self, book: &Book) -> Vec<usize> {
        let is_ready = |slot: usize| {
            self.control.slot(slot).status.load(Ordering::Acquire) == status::READY // SYNC: slot-status
        };
        let places = book.places.iter().enumerate();
        let mut ready: Vec<(usize, usize)> = places
            .filter(|(_, place)| place.alive && place.post.station == Station::Serving)
            .filter(|(slot, _)| is_ready(*slot))
            .map(|(slot, place)| (place.post.worker, slot))
            .collect();
        ready.sort_unstable();
        ready.into_iter().map(|(_, slot)| slot).collect()
    }

    /// A worker has said that it leaves, and claims nothing any more: what was dealt to it is for whoever comes.
    pub(super) fn offer_dealt_again(&self, book: &Book) {
        let jobs = book.jobs.iter().enumerate();
        let dealt = jobs.filter_map(|(place, job)| Some((place, job.as_ref()?)));
        let mut any = false;
        for (place, job) in dealt.filter(|(_, job)| job.cut.is_dealt()) {
            self.table_of(place, job).offer_again();
            any = true;
        }
        if any {
            self.control.ring_all();
        }
    }
}

/// The chunks of a call over so many values, one after the other.
#[derive(Debug)]
pub(super) struct Plan {
    cut: Cut,
    next: u32,
    /// Values of the last chunk that did not fit.
    left: u32,
}

impl Plan {
    /// None if the chunks need no plan.
    pub(super) fn of(
        schedule: Schedule,
        (least, most): (usize, Option<usize>),
        workers: usize,
    ) -> Result<Option<Plan>, PoolError> {
        if !schedule.is_of_the_whole() {
            return Ok(None);
        }
        let exact = u32::try_from(least).ok();
        let Some(items) = exact.filter(|_| most == Some(least)) else {
            return schedule.refuse_stream().map(|()| None);
        };
        let cut = match schedule {
            Schedule::Guided { min_chunk } => Cut::falling(items, workers as u32, min_chunk),
            _ => Cut::parts(items, workers as u32),
        };
        Ok(Some(Plan {
            cut,
            next: 0,
            left: 0,
        }))
    }

    /// Values of the next chunk. One, if the input has more than it said.
    pub(super) fn next(&mut self) -> u32 {
        if self.left == 0 {
            self.left = self.cut.range(self.next).len().max(1) as u32;
            self.next += 1;
        }
        self.left
    }

    /// So many were taken.
    pub(super) fn took(&mut self, values: u32) {
        self.left = self.left.saturating_sub(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(plan: &mut Plan, mut values: u32, fit: u32) -> Vec<u32> {
        let mut chunks = Vec::new();
        while values > 0 {
            let chunk = plan.next().min(fit).min(values);
            plan.took(chunk);
            values -= chunk;
            chunks.push(chunk);
        }
        chunks
    }

    #[test]
    fn values_are_taken_in_the_planned_chunks_whatever_fits() {
        let plan = || {
            Plan::of(Schedule::Static, (10, Some(10)), 3)
                .unwrap()
                .unwrap()
        };
        assert_eq!(chunks(&mut plan(), 10, 100), [3, 3, 4]);
        assert_eq!(chunks(&mut plan(), 10, 2), [2, 1, 2, 1, 2, 2]);
        // An input that lied.
        assert_eq!(chunks(&mut plan(), 12, 100), [3, 3, 4, 1, 1]);
        assert_eq!(chunks(&mut plan(), 4, 100), [3, 1]);
    }

    #[test]
    fn a_number_that_is_not_known_is_refused() {
        let guided = Schedule::Guided { min_chunk: 1 };
        for hint in [(0, None), (3, Some(4)), (usize::MAX, Some(usize::MAX))] {
            assert!(Plan::of(guided, hint, 2).unwrap_err().is_option());
            assert!(Plan::of(Schedule::Auto, hint, 2).unwrap().is_none());
        }
    }
}
