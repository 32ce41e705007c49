//! Calls whose results are taken one by one, while the input is still being read.

use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use pool_shm::transfer;

use super::audit::Audit;
use super::core::Core;
use super::follow::Follow;
use super::gather::Each;
use super::progress::Progress;
use super::task::{Batch, CHUNKS_PER_WORKER, Sent, ValueCall};
use crate::atomic::Ordering;
use crate::dispatch::word::ClaimWord;
use crate::error::{PoolError, PoolErrorKind};
use crate::plain;
use crate::task::Sendable;

/// Results of a call, handed out one by one. Made by [`Pool::imap`](crate::Pool::imap) and
/// [`Pool::imap_unordered`](crate::Pool::imap_unordered).
///
/// # Guarantees
///
/// * Input is taken only while fewer items than the window are under way, so the input may be endless, and memory is bounded by
///   the window.
/// * A task that failed gives its error ([`PoolError::task`], with its index) in its place; the others go on.
/// * A panic of the input iterator comes out of `next` in the place of the item that it failed to give, and ends the results;
///   so does an item that cannot be encoded, as an error. The pool stays usable.
/// * Dropping it half read never blocks: tasks that have not begun never run; those that have are told
///   ([`Current::is_cancelled`](crate::Current::is_cancelled)) and left to finish.
#[derive(Debug)]
#[must_use = "an iterator takes no input before it is asked for results"]
pub struct Imap<I, R> {
    core: Arc<Core>,
    call: ValueCall,
    is_ordered: bool,
    /// None when it has ended.
    items: Option<I>,
    /// Index of the next item.
    index: u64,
    /// Items of the next chunk.
    chunk: u32,
    sent: VecDeque<Part>,
    /// Items in `sent`.
    under_way: u64,
    ready: VecDeque<Result<R, PoolError>>,
    /// What comes after the last result.
    end: Option<End>,
    result: PhantomData<fn() -> R>,
}

/// Some items that are on their way.
#[derive(Clone, Copy, Debug)]
struct Part {
    sent: Sent,
    /// Index of the first.
    base: u64,
}

/// Why there are no more results.
#[derive(Debug)]
enum End {
    Error(PoolError),
    Panic(Box<dyn Any + Send>),
}

impl<I, R> Imap<I, R> {
    pub(super) fn new(
        core: &Arc<Core>,
        call: Result<ValueCall, PoolError>,
        items: I,
        (is_ordered, total): (bool, Option<u64>),
    ) -> Self {
        let (call, end) = match call {
            Ok(call) => (call, None),
            Err(error) => (ValueCall::default(), Some(End::Error(error))),
        };
        let chunk = call.options.schedule.chunk().unwrap_or(1);
        Imap {
            core: Arc::clone(core),
            call,
            is_ordered,
            items: end.is_none().then_some(items),
            index: 0,
            chunk,
            sent: VecDeque::new(),
            under_way: 0,
            ready: VecDeque::new(),
            end,
            result: PhantomData,
        }
        .reporting(total)
    }

    fn reporting(self, total: Option<u64>) -> Self {
        if let Some(gauge) = self
            .call
            .options
            .progress
            .as_ref()
            .filter(|_| self.end.is_none())
        {
            gauge.expect(total);
            if gauge.tells() {
                self.core.courier.watch(&self.core, gauge);
            }
        }
        self
    }

    /// How far the stream is: tasks that have ended, whether their results were taken or not.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(|i: u64| i * i, 0..100);
    /// assert_eq!((squares.progress().done, squares.progress().total), (0, Some(100)));
    /// assert_eq!(squares.by_ref().count(), 100);
    /// assert_eq!(squares.progress().done, 100);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn progress(&self) -> Progress {
        let gauge = self.call.options.progress.as_ref();
        gauge.map_or(Progress::NONE, |gauge| self.core.progress_of(gauge))
    }

    /// Tells a last time how far it is.
    fn report_end(&self) {
        if let Some(gauge) = &self.call.options.progress {
            self.core.tell_last(gauge);
        }
    }

    fn end_by(&mut self, end: End) {
        self.items = None;
        self.end = Some(end);
    }

    /// Takes back what has not begun; the rest is forgotten when it is done.
    fn let_go(&mut self) {
        let mut book = self.core.book();
        // All before those that run are told: they could end, and others begin.
        self.sent
            .retain(|part| !self.core.withdraw(&mut book, part.sent.id));
        for part in self.sent.drain(..) {
            self.core.tell_cancelled(&mut book, part.sent.id);
            self.core.follow(&mut book, part.sent.id, Follow::Detach);
        }
        self.core.unlock(book);
        self.under_way = 0;
    }
}

impl<I, R> Imap<I, R>
where
    I: Iterator<Item: Sendable>,
    R: Sendable,
{
    /// Takes input and sends it while the window has room.
    fn fill(&mut self) {
        let workers = u64::from(
            self.core
                .control
                .orders()
                .workers
                .load(Ordering::Relaxed)
                .max(1),
        );
        while self.items.is_some() {
            let most = match self.call.options.window {
                None if self.sent.len() as u64 >= CHUNKS_PER_WORKER as u64 * workers => return,
                None => self.chunk,
                Some(window) => {
                    let left =
                        u64::from(window).saturating_sub(self.under_way + self.ready.len() as u64);
                    // Every worker gets a part of the window.
                    let share = (u64::from(window) / (2 * workers)).max(1);
                    left.min(share).min(self.chunk.into()) as u32
                }
            };
            if most == 0 {
                return;
            }
            let (batch, exports) = transfer::export(|| self.take_batch(most));
            if batch.is_empty() {
                return;
            }
            let size = plain::size::<R>();
            match self
                .core
                .submit(&self.call, self.index, batch, exports, size)
            {
                Ok(sent) => {
                    let base = self.index;
                    self.sent.push_back(Part { sent, base });
                    self.index += u64::from(sent.items);
                    self.under_way += u64::from(sent.items);
                }
                Err(error) => self.end_by(End::Error(error)),
            }
            self.chunk = self.core.next_chunk(&self.call, self.chunk);
        }
    }

    /// Takes and encodes items, at most `most`. What the input or an encoder does wrong comes after them.
    fn take_batch(&mut self, most: u32) -> Batch {
        let mut batch = Batch::default();
        while !batch.is_full(most)
            && let Some(items) = &mut self.items
        {
            let index = self.index + batch.len() as u64;
            let before = batch.mark();
            let pushed = catch_unwind(AssertUnwindSafe(|| {
                items.next().map(|item| batch.push(&item, index))
            }));
            match pushed {
                Ok(Some(Ok(()))) => continue,
                Ok(Some(Err(error))) => self.end_by(End::Error(error)),
                Ok(None) => self.items = None,
                Err(payload) => self.end_by(End::Panic(payload)),
            }
            batch.back_to(before);
        }
        batch
    }

    /// Waits for results, and puts them into `ready`.
    fn receive(&mut self) -> Result<(), PoolError> {
        let position = if self.is_ordered {
            self.core.await_task(self.sent[0].sent.id)?;
            0
        } else {
            let ids: Vec<u64> = self.sent.iter().map(|part| part.sent.id).collect();
            self.core.await_first(&ids)?
        };
        let Some(Part { sent, base }) = self.sent.remove(position) else {
            return Ok(());
        };
        self.under_way -= u64::from(sent.items);
        let mut results = Each::<R>(Vec::with_capacity(sent.items as usize));
        self.core.hand_out_task(sent.id, &mut results);
        let job = &self.call.options.name;
        let with_index = |(index, result): (u64, Result<R, _>)| {
            let job = job.clone();
            result.map_err(|error| PoolErrorKind::Task { index, job, error }.into())
        };
        self.ready.extend((base..).zip(results.0).map(with_index));
        Ok(())
    }
}

impl<I, R> Iterator for Imap<I, R>
where
    I: Iterator<Item: Sendable>,
    R: Sendable,
{
    type Item = Result<R, PoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // Before input is asked for, which may take its time.
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.fill();
            if self.sent.is_empty() {
                self.report_end();
                return match self.end.take()? {
                    End::Error(error) => Some(Err(error)),
                    End::Panic(payload) => resume_unwind(payload),
                };
            }
            if let Err(error) = self.receive() {
                // The pool is gone, and with it whatever was under way.
                self.let_go();
                (self.items, self.end) = (None, None);
                self.report_end();
                return Some(Err(error));
            }
        }
    }
}

impl<I, R> std::iter::FusedIterator for Imap<I, R>
where
    I: Iterator<Item: Sendable>,
    R: Sendable,
{
}

impl<I, R> Drop for Imap<I, R> {
    fn drop(&mut self) {
        self.let_go();
        self.report_end();
    }
}

impl Core {
    /// Waits until one of these tasks is done; its position.
    fn await_first(&self, ids: &[u64]) -> Result<usize, PoolError> {
        let mut slept = false;
        let mut audit = Audit::new();
        loop {
            let event = self.control.event();
            let mut book = self.book();
            if slept {
                book.count_sleeper(ids, false);
            }
            self.reap(&mut book);
            let is_done = |id: &u64| book.tasks.get(id).is_none_or(|task| task.done);
            if let Some(position) = ids.iter().position(is_done) {
                self.publish_backlog(&mut book);
                self.unlock(book);
                return Ok(position);
            }
            if let Some(failure) = &book.failure
                && book.buried
            {
                return Err(failure.error());
            }
            book.drain_all(&self.control);
            self.publish_backlog(&mut book);
            book.count_sleeper(ids, true);
            slept = true;
            let entries: Vec<usize> = ids
                .iter()
                .filter_map(|id| book.tasks.get(id)?.entry)
                .collect();
            self.unlock(book);
            let table = self.control.tasks();
            let is_done = |entry: &usize| matches!(table.word(*entry), ClaimWord::Done(_));
            self.wait(
                Audit::limit(None),
                || self.control.event() != event || entries.iter().any(is_done),
                || {
                    for entry in &entries {
                        table.announce_sleep(*entry);
                    }
                },
            );
            self.audit(&mut audit, self.nearness_of(ids), || {
                self.offer_tasks_again()
            });
        }
    }
}
