//! Tasks of the table: calls over values, cut into chunks that each carry their encoded arguments.

use std::collections::VecDeque;

use pool_shm::transfer::{self, Exports};

use super::book::{Arguments, Book, Gathered, TaskBook};
use super::collect::decode_result;
use super::core::Core;
use super::job::Gather;
use super::verbs::Options;
use crate::atomic::Ordering;
use crate::dispatch::arena::Exhausted;
use crate::dispatch::tasks::INLINE_BYTES;
use crate::dispatch::word::ClaimWord;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::task::Sendable;
use crate::worker::IN_SEGMENT;

/// A chunk of a call over values is closed once its arguments have this many bytes.
const CHUNK_BYTES: usize = 32 << 10;
/// Items of such a chunk at most.
const CHUNK_ITEMS: u32 = 4096;
/// What a chunk should take once the cost of the task is known.
const CHUNK_NANOS: f64 = 50_000.0;
/// Chunks that are on their way for each worker.
const CHUNKS_PER_WORKER: usize = 4;

/// Encoded arguments on their way into a task.
#[derive(Debug, Default)]
struct Batch {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    exports: Vec<Exports>,
}

impl Batch {
    fn push<A: Sendable>(&mut self, argument: &A, index: u64) -> Result<(), PoolError> {
        self.offsets.push(self.bytes.len() as u32);
        let bytes = std::mem::take(&mut self.bytes);
        let (encoded, exports) = transfer::export(|| postcard::to_extend(argument, bytes));
        self.bytes = encoded.map_err(|error| PoolErrorKind::EncodeArgument {
            index,
            message: error.to_string(),
        })?;
        if !exports.is_empty() {
            self.exports.push(exports);
        }
        Ok(())
    }

    fn is_full(&self, items: u32) -> bool {
        self.offsets.len() as u32 >= items || self.bytes.len() >= CHUNK_BYTES
    }

    /// The arguments as the worker reads them: a table of offsets first if there are several.
    fn into_bytes(self) -> (u32, Vec<u8>, Vec<Exports>) {
        let items = self.offsets.len() as u32;
        if items == 1 {
            return (items, self.bytes, self.exports);
        }
        let mut bytes = Vec::with_capacity(self.offsets.len() * 4 + self.bytes.len());
        bytes.extend(self.offsets.iter().flat_map(|offset| offset.to_le_bytes()));
        bytes.extend_from_slice(&self.bytes);
        (items, bytes, self.exports)
    }
}

/// How a call over values is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueCall {
    pub(crate) descriptor: u64,
    pub(crate) options: Options,
}

/// A task that is on its way: its identity in the book, and how many items it has.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u64,
    items: u32,
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
        call: ValueCall,
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
        let (mut index, mut chunk) = (0, self.first_chunk(call, items.size_hint(), workers));
        loop {
            while window.sent.len() < CHUNKS_PER_WORKER * workers
                && items.peek().is_some()
                && !gather.has_enough()
            {
                let mut batch = Batch::default();
                while !batch.is_full(chunk)
                    && let Some(argument) = items.next()
                {
                    batch.push(&argument, index + batch.offsets.len() as u64)?;
                }
                let sent = self.submit(call, index, batch)?;
                index += u64::from(sent.items);
                window.sent.push_back(sent);
                chunk = (chunk * 2).min(self.known_chunk(call)).max(1);
            }
            let Some(sent) = window.sent.front().copied() else {
                return Ok(());
            };
            self.await_task(sent.id)?;
            window.sent.pop_front();
            let gathered = self.take_task(sent.id);
            gathered.drain(|item| gather.item(decode_result(item)));
            if gather.has_enough() {
                self.settle(&mut window, gather)?;
            }
        }
    }

    /// Runs one task.
    pub(crate) fn run_one<A: Sendable, R: Sendable>(
        &self,
        call: ValueCall,
        argument: &A,
    ) -> Result<R, PoolError> {
        let mut batch = Batch::default();
        batch.push(argument, 0)?;
        let mut window = Window {
            core: self,
            sent: VecDeque::from([self.submit(call, 0, batch)?]),
        };
        let id = window.sent[0].id;
        self.await_task(id)?;
        window.sent.clear();
        let mut result = Err(TaskError::Cancelled);
        self.take_task(id)
            .drain(|item| result = decode_result(item));
        result.map_err(|error| PoolErrorKind::Task { index: 0, error }.into())
    }

    /// After an error: takes back what has not begun, and waits for what has, whose errors may come first by index.
    fn settle<R: Sendable, G: Gather<R>>(
        &self,
        window: &mut Window<'_>,
        gather: &mut G,
    ) -> Result<(), PoolError> {
        for sent in std::mem::take(&mut window.sent) {
            if !self.withdraw(sent.id) {
                self.await_task(sent.id)?;
                self.take_task(sent.id)
                    .drain(|item| gather.item(decode_result(item)));
            }
        }
        Ok(())
    }

    /// Items of the first chunks: one, until the task's cost is known or can be guessed from many items.
    fn first_chunk(
        &self,
        call: ValueCall,
        (least, _): (usize, Option<usize>),
        workers: usize,
    ) -> u32 {
        if let Some(chunk) = call.options.chunk {
            return chunk.max(1);
        }
        let even = (least / (8 * workers)).max(1) as u32;
        self.known_chunk(call).min(even).min(CHUNK_ITEMS)
    }

    /// Items of a chunk by what is known of the task's cost.
    fn known_chunk(&self, call: ValueCall) -> u32 {
        let known = self.book().costs.get(&call.descriptor).copied();
        known
            .map_or(1, |cost| (CHUNK_NANOS / cost.max(1.0)) as u32)
            .clamp(1, CHUNK_ITEMS)
    }

    fn submit(&self, call: ValueCall, base: u64, batch: Batch) -> Result<Sent, PoolError> {
        let (items, bytes, exports) = batch.into_bytes();
        let mut book = self.book();
        if let Some(failure) = &book.failure {
            return Err(failure.error());
        }
        let arguments = match book.store_arguments(bytes, &self.control) {
            Ok(arguments) => arguments,
            Err(Exhausted::Memory(error)) => return Err(PoolErrorKind::Memory(error).into()),
            Err(_) => {
                return Err(PoolErrorKind::TooLarge {
                    what: "the arguments on their way",
                    bytes: 0,
                }
                .into());
            }
        };
        let id = book.next_task;
        book.next_task += 1;
        book.tasks.insert(
            id,
            TaskBook {
                descriptor: call.descriptor,
                base,
                items,
                arguments,
                _exports: exports,
                gathered: Gathered::default(),
                entry: None,
                attempts: 0,
                retries: call.options.retries,
                done: false,
            },
        );
        let published = self.publish(&mut book, id);
        drop(book);
        if published {
            self.control.ring_bell(1);
        }
        Ok(Sent { id, items })
    }

    /// Puts a task into an entry; whether there was one. Otherwise it waits.
    pub(super) fn publish(&self, book: &mut Book, id: u64) -> bool {
        let table = self.control.tasks();
        let Some(task) = book.tasks.get_mut(&id) else {
            return false;
        };
        let Some((position, index)) = table.vacant() else {
            book.backlog.push_back(id);
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
        entry.items.store(task.items, Ordering::Relaxed);
        entry.id.store(id, Ordering::Relaxed);
        entry.descriptor.store(task.descriptor, Ordering::Relaxed);
        entry.base.store(task.base, Ordering::Relaxed);
        entry.attempt.store(task.attempts, Ordering::Relaxed);
        entry.notify.store(0, Ordering::Relaxed);
        entry.result_len.store(0, Ordering::Relaxed);
        task.entry = Some(index);
        book.entries.insert(index, id);
        table.publish(position, task.gathered.len());
        true
    }

    /// Publishes waiting tasks while there are entries.
    pub(super) fn publish_backlog(&self, book: &mut Book) {
        let mut published = 0;
        while let Some(id) = book.backlog.pop_front() {
            if !self.publish(book, id) {
                break; // it went to the back: the order of waiting tasks is no promise, and all are waiting
            }
            published += 1;
        }
        if published > 0 {
            self.control.ring_bell(published);
        }
    }

    /// Waits until a task is done.
    fn await_task(&self, id: u64) -> Result<(), PoolError> {
        loop {
            let event = self.control.event();
            let mut book = self.book();
            let entry = match book.tasks.get(&id) {
                Some(task) if task.done => return Ok(()),
                Some(task) => task.entry,
                None => return Ok(()),
            };
            if let Some(entry) = entry
                && let ClaimWord::Done(owner) = self.control.tasks().word(entry)
            {
                self.finish_task(&mut book, id, entry, owner.slot());
                return Ok(());
            }
            if let Some(failure) = &book.failure
                && book.buried
            {
                return Err(failure.error());
            }
            book.drain_all(&self.control);
            self.publish_backlog(&mut book);
            drop(book);
            let table = self.control.tasks();
            let is_done =
                || entry.is_some_and(|entry| matches!(table.word(entry), ClaimWord::Done(_)));
            self.wait(
                None,
                || is_done() || self.control.event() != event,
                || {
                    if let Some(entry) = entry {
                        table.announce_sleep(entry);
                    }
                },
            );
        }
    }

    /// Takes the results of a done task over from shared memory, and frees its place.
    fn finish_task(&self, book: &mut Book, id: u64, entry: usize, slot: usize) {
        if slot < book.places.len() {
            book.drain(&self.control, slot);
        }
        let table = self.control.tasks();
        let Some(task) = book.tasks.get_mut(&id) else {
            return;
        };
        let inline = table.entries[entry].result_len.load(Ordering::Relaxed) as usize;
        if (1..=INLINE_BYTES + 1).contains(&inline) && task.items == 1 && task.gathered.len() == 0 {
            let words = table.entries[entry]
                .result
                .iter()
                .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
            task.gathered
                .push(&words.take(inline - 1).collect::<Vec<u8>>());
        }
        let missing = TaskError::DecodeResult {
            message:
                "the worker said that it was done but sent no result: its memory was overwritten"
                    .to_owned(),
        };
        while task.gathered.len() < task.items {
            task.gathered.push_error(missing.clone());
        }
        task.done = true;
        task.entry = None;
        let cost = table.entries[entry].nanos.load(Ordering::Relaxed) as f64
            / f64::from(task.items.max(1));
        let descriptor = task.descriptor;
        book.note_cost(descriptor, cost);
        table.vacate(entry);
        book.entries.remove(&entry);
        self.publish_backlog(book);
    }

    /// The results of a done task.
    fn take_task(&self, id: u64) -> Gathered {
        let mut book = self.book();
        let Some(task) = book.tasks.remove(&id) else {
            return Gathered::default();
        };
        book.free_arguments(task.arguments);
        task.gathered
    }

    /// Takes back a task that has not begun; whether it had not.
    fn withdraw(&self, id: u64) -> bool {
        let mut book = self.book();
        let Some(task) = book.tasks.get(&id) else {
            return true;
        };
        match task.entry {
            Some(entry) if self.control.tasks().withdraw(entry) => {
                book.entries.remove(&entry);
            }
            None if !task.done => book.backlog.retain(|waiting| *waiting != id),
            _ => return false,
        }
        if let Some(task) = book.tasks.remove(&id) {
            book.free_arguments(task.arguments);
        }
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
            if !self.core.withdraw(sent.id) && self.core.await_task(sent.id).is_ok() {
                self.core.take_task(sent.id);
            }
        }
    }
}
