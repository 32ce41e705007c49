//! What the pool's process knows of its jobs, tasks and workers: private memory, behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use pool_shm::transfer::{Exports, Held};
use pool_shm::{Segment, ShmError};

use super::collect::no_result;
use super::crew::{Crew, Post};
use super::deadline::Limits;
use super::follow::Followers;
use super::progress::Gauge;
use crate::dispatch::arena::{Arena, Exhausted, Span};
use crate::dispatch::control::{Control, JOBS};
use crate::dispatch::cut::Cut;
use crate::dispatch::record::{self, Target};
use crate::error::{PoolError, PoolErrorKind, TaskError};

/// Encoded results of consecutive items, and the errors among them.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The records of the results, whole and one after the other, as they came.
    records: Vec<u8>,
    /// Items, those without a result among them.
    count: u32,
    failed: Vec<(u32, TaskError)>,
    /// Segments that the results name.
    held: Vec<Arc<Held>>,
}

/// A copy of an item, and what keeps the segments that it names.
pub(crate) type FirstItem = (Result<Vec<u8>, TaskError>, Vec<Arc<Held>>);

impl Gathered {
    /// How many items are there.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// Takes the results at the front of `bytes`, `limit` at most, out of it.
    pub(crate) fn take(&mut self, bytes: &mut &[u8], limit: u32) {
        let all = *bytes;
        let mut taken = 0;
        while taken < limit && record::take_item(bytes).is_some() {
            taken += 1;
        }
        let (records, _) = all.split_at(all.len() - bytes.len());
        self.records.extend_from_slice(records);
        self.count += taken;
    }

    /// Adds a result that came without a record.
    pub(crate) fn push(&mut self, payload: &[u8]) {
        record::append_item(payload, &mut self.records);
        self.count += 1;
    }

    pub(crate) fn push_error(&mut self, error: TaskError) {
        self.failed.push((self.count, error));
        self.count += 1;
    }

    /// Gives every item before `count` that is not there the same error. Whether it is `count` items now.
    pub(crate) fn fill(&mut self, count: u32, error: &TaskError) -> bool {
        while self.len() < count {
            self.push_error(error.clone());
        }
        self.len() == count
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.held.push(Arc::new(held));
    }

    /// A copy of the first item, and what keeps the segments that it names.
    pub(crate) fn first(&self) -> Option<FirstItem> {
        let result = match self.failed.first() {
            Some((0, error)) => Err(error.clone()),
            _ => Ok(record::take_item(&mut &self.records[..])?.to_vec()),
        };
        Some((result, self.held.clone()))
    }

    /// Whether the results name segments of their worker.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands out every item: its bytes or its error.
    pub(crate) fn drain(self, mut each: impl FnMut(Result<&[u8], TaskError>)) {
        let mut failed = self.failed.into_iter().peekable();
        let mut records = &self.records[..];
        for item in 0..self.count {
            match failed.next_if(|(failed, _)| *failed == item) {
                Some((_, error)) => each(Err(error)),
                None => each(Ok(
                    record::take_item(&mut records).expect("counted when it was taken")
                )),
            }
        }
    }
}

/// A job in the control segment.
#[derive(Debug)]
pub(crate) struct JobBook {
    pub(crate) number: u64,
    /// What the user calls it.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) descriptor: u64,
    /// Who counts what has ended.
    pub(crate) gauge: Option<Arc<Gauge>>,
    /// Index of item 0 in its call.
    pub(crate) first_index: u64,
    /// How long each item may take.
    pub(crate) limit: Option<Duration>,
    pub(crate) memory: Vec<Span>,
    pub(crate) items: u32,
    pub(crate) cut: Cut,
    pub(crate) chunks: u32,
    /// Where lines and states are in the control segment.
    pub(crate) lines: usize,
    pub(crate) states: usize,
    /// Results by chunk, if they come through the streams.
    pub(crate) gathered: Option<Vec<Gathered>>,
    /// Errors by item, if results are written in place.
    pub(crate) failed: Vec<(u32, TaskError)>,
    /// Chunks that begin again behind their first item, and where.
    pub(crate) resumed: HashMap<u32, u32>,
    /// How often the items on which a worker died, or that were late, were begun.
    pub(crate) attempts: HashMap<u32, u32>,
    pub(crate) retries: u32,
    pub(crate) cancelled: bool,
}

impl JobBook {
    /// Whether an item has failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty() || self.gathered.iter().flatten().any(Gathered::has_failed)
    }

    /// Items of a chunk.
    pub(crate) fn range(&self, chunk: u32) -> std::ops::Range<u32> {
        self.cut.range(chunk)
    }

    /// A worker begins a chunk with its item `first`. Where it has to begin stands here as well: items that it leaves out get an error.
    /// Whether nothing would come twice.
    pub(crate) fn begin(&mut self, chunk: u32, first: u32) -> bool {
        let range = self.range(chunk);
        let first = first.min(range.len() as u32);
        match &mut self.gathered {
            Some(all) => {
                let gathered = all.get_mut(chunk as usize);
                gathered.is_none_or(|gathered| gathered.fill(first, &no_result()))
            }
            None => {
                let known = self.resumed.get(&chunk).copied().unwrap_or(0);
                let skipped = (known..first).map(|item| (range.start + item, no_result()));
                self.failed.extend(skipped);
                true
            }
        }
    }
}

/// The encoded arguments of a task, where its worker finds them.
#[derive(Debug)]
pub(crate) enum Arguments {
    Inline(Vec<u8>),
    InArena(Span, usize),
    InSegment(Segment, usize),
}

/// The results of a task's items.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// They come through the streams.
    Streamed(Gathered),
    /// They are written in place; errors by item.
    InPlace {
        span: Span,
        failed: Vec<(u32, TaskError)>,
    },
}

/// A task of the table.
#[derive(Debug)]
pub(crate) struct TaskBook {
    /// What the user calls the job that it is a part of.
    pub(crate) name: Option<Arc<str>>,
    /// Who counts what has ended.
    pub(crate) gauge: Option<Arc<Gauge>>,
    /// How long each item may take; taken out once it is done.
    pub(crate) limit: Option<Duration>,
    pub(crate) descriptor: u64,
    pub(crate) base: u64,
    pub(crate) items: u32,
    pub(crate) arguments: Arguments,
    /// What the arguments refer to.
    pub(crate) exports: Exports,
    pub(crate) outcome: Outcome,
    /// The item to begin with: those before it have their results.
    pub(crate) next: u32,
    /// The entry that it stands in; none while it waits for one.
    pub(crate) entry: Option<usize>,
    /// How often item `next` was begun.
    pub(crate) attempts: u32,
    pub(crate) retries: u32,
    pub(crate) done: bool,
    pub(crate) followers: Followers,
}

impl TaskBook {
    /// A worker begins with item `first`: as [`JobBook::begin`].
    pub(crate) fn begin(&mut self, first: u32) -> bool {
        let first = first.min(self.items);
        match &mut self.outcome {
            Outcome::Streamed(gathered) => gathered.fill(first, &no_result()),
            Outcome::InPlace { failed, .. } => {
                failed.extend((self.next..first).map(|item| (item, no_result())));
                true
            }
        }
    }

    /// The arguments, when they are not needed any more; what they refer to is let go.
    pub(crate) fn take_arguments(&mut self) -> Arguments {
        self.exports = Exports::default();
        std::mem::replace(&mut self.arguments, Arguments::Inline(Vec::new()))
    }
}

/// What is known of a worker.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) generation: u32,
    pub(crate) pid: u32,
    /// It was started and is not known to be dead.
    pub(crate) alive: bool,
    /// It has said that it is ready.
    pub(crate) ready: bool,
    /// Its stream was overwritten: it has to go.
    pub(crate) corrupt: bool,
    /// Its item is late: it has to go.
    pub(crate) is_late: bool,
    /// The entry of the task that was cancelled while it ran: it has to go.
    pub(crate) revoked: Option<usize>,
    /// Bytes of its stream that are not a whole record yet.
    pub(crate) pending: Vec<u8>,
    /// What its next items belong to.
    pub(crate) target: Option<Target>,
    pub(crate) post: Post,
}

impl Place {
    /// Whether its worker is to be killed.
    pub(crate) fn is_condemned(&self) -> bool {
        self.corrupt || self.is_late || self.revoked.is_some()
    }
}

/// Why a pool runs nothing any more.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Initializer {
        worker: usize,
        cause: TaskError,
    },
    Start {
        what: String,
    },
    /// A worker found shared words that make no sense.
    Overwritten,
    Closed,
}

impl Failure {
    /// The error for whoever asks the pool for something.
    pub(crate) fn error(&self) -> PoolError {
        match self.clone() {
            Failure::Initializer { worker, cause } => PoolErrorKind::Initializer { worker, cause },
            Failure::Start { what } => PoolErrorKind::Start { what, source: None },
            Failure::Overwritten => PoolErrorKind::Broken {
                cause: "its shared memory was overwritten, most likely by a task that writes through an invalid pointer".to_owned(),
            },
            Failure::Closed => PoolErrorKind::Broken {
                cause: "it was stopped".to_owned(),
            },
        }
        .into()
    }
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) arena: Arena,
    pub(crate) places: Vec<Place>,
    pub(crate) crew: Crew,
    pub(crate) jobs: [Option<JobBook>; JOBS],
    /// Closed jobs of which a worker may still touch the memory: place in the segment, number, memory.
    pub(crate) retired: Vec<(usize, u64, Vec<Span>)>,
    pub(crate) tasks: HashMap<u64, TaskBook>,
    /// Which task stands in which entry.
    pub(crate) entries: HashMap<usize, u64>,
    /// Tasks that wait for an entry. One that is done or gone is passed over.
    pub(crate) backlog: VecDeque<u64>,
    /// Whom to wake, once the lock is free, because a task is done.
    pub(crate) wakers: Vec<Waker>,
    pub(crate) next_job: u64,
    pub(crate) next_task: u64,
    /// How many single tasks there were: the index of the next.
    pub(crate) next_single: u64,
    /// The deadlines of what is under way.
    pub(crate) limits: Limits,
    /// Where the next task of the table is published, see [`crate::dispatch::tasks`].
    pub(crate) next_position: u64,
    /// Measured nanoseconds per item of tasks that were run before, by descriptor.
    pub(crate) costs: HashMap<u64, f64>,
    pub(crate) failure: Option<Failure>,
    /// The failure is complete: no worker lives any more.
    pub(crate) buried: bool,
    pub(crate) initializer_failure: Option<TaskError>,
}

impl Book {
    pub(crate) fn new(control: &Control) -> Book {
        Book {
            arena: Arena::new(control.arena()),
            places: Vec::new(),
            crew: Crew::default(),
            jobs: Default::default(),
            retired: Vec::new(),
            tasks: HashMap::new(),
            entries: HashMap::new(),
            backlog: VecDeque::new(),
            wakers: Vec::new(),
            next_job: 1,
            next_task: 1,
            next_single: 0,
            limits: Limits::default(),
            next_position: 0,
            costs: HashMap::new(),
            failure: None,
            buried: false,
            initializer_failure: None,
        }
    }

    /// The job of that number, if it is still of interest.
    pub(crate) fn job(&mut self, number: u64) -> Option<&mut JobBook> {
        self.jobs
            .iter_mut()
            .flatten()
            .find(|job| job.number == number)
    }

    /// Remembers what an item of a task has just taken, in nanoseconds. What took longer than it was known to may have waited for a
    /// processor, so that counts less.
    pub(crate) fn note_cost(&mut self, descriptor: u64, cost: f64) {
        let known = self.costs.entry(descriptor).or_insert(cost);
        let weight = if cost < *known { 0.5 } else { 0.125 };
        *known += weight * (cost - *known);
    }

    /// Memory for encoded arguments.
    pub(crate) fn store_arguments(
        &mut self,
        bytes: Vec<u8>,
        control: &Control,
    ) -> Result<Arguments, ShmError> {
        if bytes.len() <= crate::dispatch::tasks::INLINE_BYTES {
            return Ok(Arguments::Inline(bytes));
        }
        const LARGE: usize = 4 << 20;
        if bytes.len() > LARGE {
            return in_segment(&bytes);
        }
        match self.arena.allocate(bytes.len(), control) {
            Ok(span) => {
                control.write_arena(span.offset, &bytes);
                Ok(Arguments::InArena(span, bytes.len()))
            }
            Err(Exhausted::Memory(error)) => Err(error),
            // The arena is full of what other workers have not read yet.
            Err(Exhausted::ForNow | Exhausted::TooLarge) => in_segment(&bytes),
        }
    }

    /// Takes a task out, and its arguments back.
    pub(crate) fn remove_task(&mut self, id: u64) -> Option<TaskBook> {
        let mut task = self.tasks.remove(&id)?;
        self.limits.remove(task.limit.take());
        if let Some(gauge) = task.gauge.take_if(|_| task.done) {
            gauge.settle(task.items.into());
        }
        self.free_arguments(task.take_arguments());
        Some(task)
    }

    /// Takes the memory of arguments back.
    pub(crate) fn free_arguments(&mut self, arguments: Arguments) {
        if let Arguments::InArena(span, _) = arguments {
            self.arena.free(span);
        }
    }
}

/// Puts encoded arguments into a segment of their own.
fn in_segment(bytes: &[u8]) -> Result<Arguments, ShmError> {
    let segment = Segment::create(bytes.len())?;
    segment.cells(0, bytes.len())?.write_from(0, bytes);
    Ok(Arguments::InSegment(segment, bytes.len()))
}
