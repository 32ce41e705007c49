//! Tasks of the table: calls over values, cut into chunks that each carry their encoded arguments.

use std::collections::VecDeque;
use std::sync::MutexGuard;
use std::time::Instant;

use pool_shm::transfer::{self, Exports};

use super::audit::Audit;
use super::book::{Arguments, Book, Gathered, Outcome, TaskBook};
use super::collect::{decode_result, no_result};
use super::core::Core;
use super::deadline::nanos;
use super::follow::Followers;
use super::gather::{Each, Gather};
use super::schedule::Plan;
use super::verbs::Options;
use crate::atomic::Ordering;
use crate::codec;
use crate::current::SINGLE;
use crate::dispatch::tasks::INLINE_BYTES;
use crate::dispatch::word::ClaimWord;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::plain;
use crate::task::Sendable;
use crate::worker::IN_SEGMENT;

/// A chunk of a call over values is closed once its arguments have this many bytes.
const CHUNK_BYTES: usize = 32 << 10;
/// A chunk of a plan is closed only here: its length is what the user asked for.
const PLANNED_BYTES: usize = 1 << 30;
/// Items of such a chunk at most.
const CHUNK_ITEMS: u32 = 4096;
/// The same if the user gave the number.
const GIVEN_CHUNK_ITEMS: u32 = 1 << 20;
/// What a chunk should take once the cost of the task is known.
const CHUNK_NANOS: f64 = 50_000.0;
/// Chunks that are on their way for each worker.
pub(super) const CHUNKS_PER_WORKER: usize = 4;

/// Encoded arguments on their way into a task.
#[derive(Debug, Default)]
pub(super) struct Batch {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
}

impl Batch {
    pub(super) fn push<A: Sendable>(&mut self, argument: &A, index: u64) -> Result<(), PoolError> {
        self.offsets.push(self.bytes.len() as u32);
        let encoded = codec::append(argument, &mut self.bytes);
        encoded.map_err(|message| PoolErrorKind::EncodeArgument { index, message })?;
        Ok(())
    }

    /// One argument.
    pub(super) fn of<A: Sendable>(argument: &A) -> Result<Batch, PoolError> {
        let mut batch = Batch::default();
        batch.push(argument, 0)?;
        Ok(batch)
    }

    /// Takes items until there are `most`, or `bytes`, or no more. The first has index `index`.
    fn fill<A: Sendable>(
        items: &mut impl Iterator<Item = A>,
        (most, bytes): (u32, usize),
        index: u64,
    ) -> Result<Batch, PoolError> {
        let mut batch = Batch::default();
        while (batch.len() as u32) < most
            && batch.bytes.len() < bytes
            && let Some(argument) = items.next()
        {
            batch.push(&argument, index + batch.offsets.len() as u64)?;
        }
        Ok(batch)
    }

    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Where the batch ends now.
    pub(super) fn mark(&self) -> (usize, usize) {
        (self.offsets.len(), self.bytes.len())
    }

    /// Takes back what was added since the mark.
    pub(super) fn back_to(&mut self, (items, bytes): (usize, usize)) {
        self.offsets.truncate(items);
        self.bytes.truncate(bytes);
    }

    pub(super) fn is_full(&self, items: u32) -> bool {
        self.offsets.len() as u32 >= items || self.bytes.len() >= CHUNK_BYTES
    }

    /// The arguments as the worker reads them: a table of offsets first if there are several.
    fn into_bytes(self) -> (u32, Vec<u8>) {
        let items = self.offsets.len() as u32;
        if items == 1 {
            return (items, self.bytes);
        }
        let mut bytes = Vec::with_capacity(self.offsets.len() * 4 + self.bytes.len());
        bytes.extend(self.offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        bytes.extend_from_slice(&self.bytes);
        (items, bytes)
    }
}

/// How a call over values is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueCall {
    pub(crate) descriptor: u64,
    pub(crate) options: Options,
}

/// A task that is on its way: its identity in the book, and how many items it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) id: u64,
    pub(super) items: u32,
}

/// The chunks of a call that are on their way. Those that are left when the call ends early are withdrawn, or their results
/// dropped when they come.
struct Window<'a> {
    core: &'a Core,
    sent: VecDeque<Sent>,
}

impl Core {
    /// Runs a task for every value of `items` and hands the results to `gather`, in order.
    pub(crate) fn run_values<A, R, G>(
        &self,
        call: &ValueCall,
        items: impl Iterator<Item = A>,
        gather: &mut G,
    ) -> Result<(), PoolError>
    where
        A: Sendable,
        R: Sendable,
        G: Gather<R>,
    {
        let workers = self.control.orders().workers.load(Ordering::Relaxed).max(1) as usize;
        let mut items = items.fuse().peekable();
        let mut window = Window {
            core: self,
            sent: VecDeque::new(),
        };
        let mut plan = Plan::of(call.options.schedule, items.size_hint(), workers)?;
        let (mut index, mut chunk) = (0, self.first_chunk(call, items.size_hint(), workers));
        loop {
            while window.sent.len() < CHUNKS_PER_WORKER * workers
                && items.peek().is_some()
                && !gather.has_enough()
            {
                let size = match &mut plan {
                    Some(plan) => (plan.next().min(GIVEN_CHUNK_ITEMS), PLANNED_BYTES),
                    None => (chunk, CHUNK_BYTES),
                };
                let (batch, exports) = transfer::export(|| Batch::fill(&mut items, size, index));
                let sent = self.submit(call, index, batch?, exports, plain::size::<R>())?;
                index += u64::from(sent.items);
                window.sent.push_back(sent);
                match &mut plan {
                    Some(plan) => plan.took(sent.items),
                    None => chunk = self.next_chunk(call, chunk),
                }
            }
            let Some(sent) = window.sent.front().copied() else {
                return Ok(());
            };
            self.await_task(sent.id)?;
            window.sent.pop_front();
            self.hand_out_task(sent.id, gather);
            if gather.has_enough() {
                self.settle(&mut window, gather)?;
            }
        }
    }

    /// Runs one task.
    pub(crate) fn run_one<A: Sendable, R: Sendable>(
        &self,
        call: &ValueCall,
        argument: &A,
    ) -> Result<R, PoolError> {
        let (sent, index) = self.submit_single(call, argument)?;
        let mut window = Window {
            core: self,
            sent: VecDeque::from([sent]),
        };
        self.await_task(sent.id)?;
        window.sent.clear();
        let mut result = Each(Vec::with_capacity(1));
        self.hand_out_task(sent.id, &mut result);
        let result = result.0.pop().unwrap_or(Err(TaskError::Cancelled));
        let job = call.options.name.clone();
        result.map_err(|error| PoolErrorKind::Task { index, job, error }.into())
    }

    /// Sends a single task; the number that the pool gives it.
    pub(super) fn submit_single<A: Sendable>(
        &self,
        call: &ValueCall,
        argument: &A,
    ) -> Result<(Sent, u64), PoolError> {
        let (batch, exports) = transfer::export(|| Batch::of(argument));
        let batch = batch?;
        let book = self.book();
        let number = book.next_single;
        let sent = self.submit_to(book, call, SINGLE | number, batch, exports, None);
        Ok((sent?, number))
    }

    /// After an error: takes back what has not begun, and waits for what has, whose errors may come first by index.
    fn settle<R: Sendable, G: Gather<R>>(
        &self,
        window: &mut Window<'_>,
        gather: &mut G,
    ) -> Result<(), PoolError> {
        for sent in std::mem::take(&mut window.sent) {
            let withdrawn = self.withdraw(&mut self.book(), sent.id);
            if !withdrawn {
                self.await_task(sent.id)?;
                self.hand_out_task(sent.id, gather);
            }
        }
        Ok(())
    }

    /// Items of the first chunks: one, until the task's cost is known or can be guessed from many items.
    fn first_chunk(
        &self,
        call: &ValueCall,
        (least, _): (usize, Option<usize>),
        workers: usize,
    ) -> u32 {
        if let Some(chunk) = call.options.schedule.chunk() {
            return chunk.clamp(1, GIVEN_CHUNK_ITEMS);
        }
        let even = (least / (8 * workers)).max(1) as u32;
        self.known_chunk(call).min(even).min(CHUNK_ITEMS)
    }

    /// Items of the chunk after one of `chunk`: what the user gave, or more and more, as far as the task's cost is known to allow.
    pub(super) fn next_chunk(&self, call: &ValueCall, chunk: u32) -> u32 {
        if call.options.schedule.chunk().is_some() {
            return chunk;
        }
        chunk.saturating_mul(2).clamp(1, self.known_chunk(call))
    }

    /// Items of a chunk by what is known of the task's cost.
    fn known_chunk(&self, call: &ValueCall) -> u32 {
        let known = self.book().costs.get(&call.descriptor).copied();
        known
            .map_or(1, |cost| (CHUNK_NANOS / cost.max(1.0)) as u32)
            .clamp(1, CHUNK_ITEMS.min(self.most_at_once))
    }

    /// Sends a chunk of a call, whose first item has index `base`.
    pub(super) fn submit(
        &self,
        call: &ValueCall,
        base: u64,
        batch: Batch,
        exports: Exports,
        in_place: Option<usize>,
    ) -> Result<Sent, PoolError> {
        self.submit_to(self.book(), call, base, batch, exports, in_place)
    }

    fn submit_to(
        &self,
        mut book: MutexGuard<'_, Book>,
        call: &ValueCall,
        base: u64,
        batch: Batch,
        exports: Exports,
        in_place: Option<usize>,
    ) -> Result<Sent, PoolError> {
        self.admit_thread()?;
        let (items, bytes) = batch.into_bytes();
        if let Some(failure) = &book.failure {
            return Err(failure.error());
        }
        let arguments = book
            .store_arguments(bytes, &self.control)
            .map_err(PoolErrorKind::Memory)?;
        // One small result travels inside the entry of its task.
        let span = in_place.filter(|_| items > 1).and_then(|size| {
            let span = book.arena.allocate(items as usize * size, &self.control);
            span.ok()
        });
        let outcome = match span {
            Some(span) => Outcome::InPlace {
                span,
                failed: Vec::new(),
            },
            // The arena is full: results can always go through the stream.
            None => Outcome::Streamed(Gathered::default()),
        };
        let id = book.next_task;
        book.next_task += 1;
        book.next_single += u64::from(base & SINGLE != 0);
        let options = &call.options;
        let tell = book.limits.add(options.deadline);
        book.tasks.insert(
            id,
            TaskBook {
                name: options.name.clone(),
                gauge: options.progress.clone(),
                limit: options.deadline,
                descriptor: call.descriptor,
                base,
                items,
                arguments,
                exports,
                outcome,
                next: 0,
                entry: None,
                attempts: 0,
                retries: options.retries,
                done: false,
                followers: Followers::default(),
            },
        );
        self.offer(book, id);
        if tell {
            self.kick();
        }
        Ok(Sent { id, items })
    }

    /// Publishes a new task, or lets it wait behind the others that do.
    fn offer(&self, mut book: MutexGuard<'_, Book>, id: u64) {
        let waits = !book.backlog.is_empty();
        // An entry whose task is done will do.
        if waits
            || !(self.publish(&mut book, id) || self.reap(&mut book) && self.publish(&mut book, id))
        {
            book.backlog.push_back(id);
            self.control.orders().backlog.store(1, Ordering::Relaxed);
        }
        self.call_back(&book);
        self.unlock(book);
        // Also for a task that waits: a worker that finds nothing to do tells the watcher to publish it.
        self.control.ring_bell(1);
    }

    /// Puts a task into an entry; whether there was one.
    pub(super) fn publish(&self, book: &mut Book, id: u64) -> bool {
        let table = self.control.tasks();
        let Some(task) = book.tasks.get_mut(&id) else {
            return false;
        };
        let Some((position, index)) = table.vacant(book.next_position) else {
            return false;
        };
        let entry = &table.entries[index];
        let (offset, len) = match &task.arguments {
            Arguments::Inline(bytes) => {
                store_words(&entry.arg, bytes);
                (0, bytes.len())
            }
            Arguments::InArena(span, len) => (span.offset as u64, *len),
            Arguments::InSegment(segment, len) => {
                let handle =
                    postcard::to_stdvec(&segment.handle()).expect("a handle is a few numbers");
                assert!(handle.len() <= INLINE_BYTES, "a handle fits into an entry");
                store_words(&entry.arg, &handle);
                (IN_SEGMENT, *len)
            }
        };
        entry.arg_offset.store(offset, Ordering::Relaxed);
        entry.arg_len.store(len as u64, Ordering::Relaxed);
        let results = match &task.outcome {
            Outcome::Streamed(_) => 0,
            Outcome::InPlace { span, .. } => span.offset as u64,
        };
        entry.results_offset.store(results, Ordering::Relaxed);
        entry.items.store(task.items, Ordering::Relaxed);
        entry.id.store(id, Ordering::Relaxed);
        entry.descriptor.store(task.descriptor, Ordering::Relaxed);
        entry.base.store(task.base, Ordering::Relaxed);
        entry.attempt.store(task.attempts, Ordering::Relaxed);
        let (notify, cancelled) = task.followers.flags();
        entry.notify.store(notify.into(), Ordering::Relaxed);
        entry.cancelled.store(cancelled.into(), Ordering::Relaxed);
        entry.result_len.store(0, Ordering::Relaxed);
        entry.nanos.store(0, Ordering::Relaxed);
        entry.limit.store(nanos(task.limit), Ordering::Relaxed);
        task.entry = Some(index);
        book.entries.insert(index, id);
        book.next_position = position + 1;
        table.publish(position, task.next);
        if notify && let ClaimWord::Done(_) = table.announce_sleep(index) {
            self.kick(); // done before the mark was set
        }
        true
    }

    /// Publishes waiting tasks while there are entries.
    pub(super) fn publish_backlog(&self, book: &mut Book) {
        let mut published = 0;
        while let Some(id) = book.backlog.pop_front() {
            if book.tasks.get(&id).is_none_or(|task| task.done) {
                continue;
            }
            if !self.publish(book, id) {
                book.backlog.push_front(id);
                break;
            }
            published += 1;
        }
        let waiting = !book.backlog.is_empty();
        self.control
            .orders()
            .backlog
            .store(waiting.into(), Ordering::Relaxed);
        if published > 0 {
            self.control.ring_bell(published);
            self.control.signal_event(); // whoever waits for one of them has to mark its entry
        }
    }

    /// Waits until a task is done.
    pub(super) fn await_task(&self, id: u64) -> Result<(), PoolError> {
        self.await_task_until(id, None).map(|_| ())
    }

    /// Waits until a task is done, at most until `end`; whether it is.
    pub(super) fn await_task_until(
        &self,
        id: u64,
        end: Option<Instant>,
    ) -> Result<bool, PoolError> {
        let mut slept = false;
        let mut audit = Audit::new();
        loop {
            let event = self.control.event();
            let mut book = self.book();
            if slept && let Some(task) = book.tasks.get_mut(&id) {
                task.followers.count_sleeper(false);
                slept = false;
            }
            let entry = match book.tasks.get(&id) {
                Some(task) if task.done => return Ok(true),
                Some(task) => task.entry,
                None => return Ok(true),
            };
            if let Some(entry) = entry
                && let ClaimWord::Done(owner) = self.control.tasks().word(entry)
            {
                self.finish_task(&mut book, id, entry, owner.slot());
                self.publish_backlog(&mut book);
                self.unlock(book);
                return Ok(true);
            }
            if let Some(failure) = &book.failure
                && book.buried
            {
                return Err(failure.error());
            }
            book.drain_all(&self.control);
            self.publish_backlog(&mut book);
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            if let Some(task) = book.tasks.get_mut(&id) {
                task.followers.count_sleeper(true);
                slept = true;
            }
            drop(book);
            let table = self.control.tasks();
            let is_done =
                || entry.is_some_and(|entry| matches!(table.word(entry), ClaimWord::Done(_)));
            self.wait(
                Audit::limit(left),
                || is_done() || self.control.event() != event,
                || {
                    if let Some(entry) = entry {
                        table.announce_sleep(entry);
                    }
                },
            );
            self.audit(&mut audit, self.nearness_of(&[id]), || {
                self.offer_tasks_again()
            });
        }
    }

    /// Takes the results of a done task over from shared memory, and frees its place.
    pub(super) fn finish_task(&self, book: &mut Book, id: u64, entry: usize, slot: usize) {
        if slot < book.places.len() {
            book.drain(&self.control, slot);
        }
        let table = self.control.tasks();
        let Some(task) = book.tasks.get_mut(&id) else {
            return;
        };
        if let Outcome::Streamed(gathered) = &mut task.outcome {
            let inline = table.entries[entry].result_len.load(Ordering::Relaxed) as usize;
            if (1..=INLINE_BYTES + 1).contains(&inline) && task.items == 1 && gathered.len() == 0 {
                let words = table.entries[entry]
                    .result
                    .iter()
                    .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
                gathered.push(&words.take(inline - 1).collect::<Vec<u8>>());
            }
            while gathered.len() < task.items {
                gathered.push_error(no_result());
            }
        }
        let nanos = table.entries[entry].nanos.load(Ordering::Relaxed);
        if nanos == 0 {
            tracing::error!(entry, "a task is done that nobody has run");
            task.begin(task.items); // no item has a result
            self.report_damage(); // and somebody may be about to run it
        }
        task.done = true;
        task.entry = None;
        let cost = nanos as f64 / f64::from(task.items.max(1));
        let descriptor = task.descriptor;
        book.note_cost(descriptor, cost);
        table.vacate(entry);
        book.entries.remove(&entry);
        self.note_done(book, id);
    }

    /// Hands out the results of a done task, and forgets it.
    pub(super) fn hand_out_task<R: Sendable, G: Gather<R>>(&self, id: u64, gather: &mut G) {
        let Some(task) = self.take_task(id) else {
            return;
        };
        match task.outcome {
            Outcome::Streamed(gathered) => {
                let held = gathered.holds();
                gathered.drain(|item| gather.item(decode_result(item)));
                if held {
                    self.request_flush();
                }
            }
            Outcome::InPlace { span, failed } => {
                self.hand_out(span.offset, task.items as usize, failed, gather);
                self.book().arena.free(span);
            }
        }
    }

    /// Takes a done task out of the book.
    fn take_task(&self, id: u64) -> Option<TaskBook> {
        self.book().remove_task(id)
    }

    /// Forgets a task with its results.
    pub(super) fn drop_task(&self, book: &mut Book, id: u64) {
        match book.remove_task(id).map(|task| task.outcome) {
            Some(Outcome::InPlace { span, .. }) => book.arena.free(span),
            Some(Outcome::Streamed(gathered)) if gathered.holds() => {
                self.request_flush();
            }
            Some(Outcome::Streamed(_)) | None => {}
        }
    }

    /// Takes back a task that has not begun; whether it had not.
    pub(super) fn withdraw(&self, book: &mut Book, id: u64) -> bool {
        let Some(task) = book.tasks.get(&id) else {
            return true;
        };
        match task.entry {
            Some(entry) if self.control.tasks().withdraw(entry) => {
                book.entries.remove(&entry);
            }
            None if !task.done => {} // it is passed over when its turn comes
            _ => return false,
        }
        self.drop_task(book, id);
        self.publish_backlog(book); // there may be an entry more
        true
    }
}

fn store_words(words: &[crate::atomic::AtomicU64], bytes: &[u8]) {
    for (word, bytes) in words.iter().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        for sent in std::mem::take(&mut self.sent) {
            let withdrawn = self.core.withdraw(&mut self.core.book(), sent.id);
            if !withdrawn && self.core.await_task(sent.id).is_ok() {
                self.core.drop_task(&mut self.core.book(), sent.id);
            }
        }
    }
}
