//! Jobs: calls over integers or blocks, which workers claim by themselves, chunk by chunk.
//!
//! A long call is cut into waves, each a job of its own; the next one is open before the last is complete, so no worker waits.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};

use super::audit::Audit;
use super::book::{Book, Gathered, JobBook};
use super::collect::{decode_result, no_result};
use super::core::Core;
use super::deadline::nanos;
use super::gather::Gather;
use super::schedule::wave_items;
use super::verbs::Options;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::dispatch::arena::{Exhausted, Span};
use crate::dispatch::claim::{ClaimTable, Line};
use crate::dispatch::control::{IN_STREAM, JOBS};
use crate::dispatch::cut::Cut;
use crate::dispatch::join;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::plain::Written;
use crate::task::Sendable;
use crossbeam::utils::CachePadded;

/// A call over items `0..items`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span64<'a> {
    pub(crate) descriptor: u64,
    pub(crate) items: u64,
    /// The integer of item 0.
    pub(crate) base: u64,
    /// For blocks: the encoded plan.
    pub(crate) plan: &'a [u8],
    /// Bytes of a result that is written in place.
    pub(crate) in_place: Option<usize>,
    pub(crate) options: &'a Options,
}

/// An open job: where it is.
#[derive(Clone, Copy, Debug)]
struct Open {
    place: usize,
    number: u64,
    items: u32,
    lines: usize,
    states: usize,
    chunks: usize,
    results: usize,
    /// Index of item 0 in the call.
    first: u64,
    cut: Cut,
    plan: usize,
    /// Known to be over before a second worker is awake, so one was told of it.
    for_one: bool,
}

/// Words of a description and their values.
type Described<'a, const N: usize> = [(&'a AtomicU64, u64); N];
/// The same for narrow words.
type Narrow<'a, const N: usize> = [(&'a AtomicU32, u32); N];

/// The memory of a job, and where lines, states, results and plan are in it.
type JobMemory = (Vec<Span>, [usize; 4]);

/// Whether the whole call is known to take less time than waking a second worker.
fn is_for_one(book: &Book, call: &Span64<'_>) -> bool {
    const NANOS: f64 = 20_000.0;
    let cost = book.costs.get(&call.descriptor);
    cost.is_some_and(|cost| cost * (call.items as f64) < NANOS)
}

impl Core {
    /// Runs a call and hands its results to `gather`.
    pub(crate) fn run_span<R: Sendable, G: Gather<R>>(
        &self,
        call: &Span64<'_>,
        gather: &mut G,
    ) -> Result<(), PoolError> {
        gather.expect(call.items)?;
        let workers = u64::from(self.control.orders().workers.load(Ordering::Relaxed).max(1));
        let wave = wave_items(call).min(call.items.max(1));
        let chunk = self.chunk_len(call, workers, wave);
        let mut open = Waves {
            core: self,
            open: VecDeque::new(),
        };
        let mut next = 0;
        while next < call.items || !open.open.is_empty() {
            while next < call.items
                && open.open.len() < self.waves_at_once()
                && !gather.has_enough()
            {
                let items = (call.items - next).min(wave) as u32;
                match self.open_job(call, next, items, chunk)? {
                    Some(job) => open.open.push_back(job),
                    None if open.open.is_empty() => self.wait_for_place(),
                    None => break,
                }
                next += u64::from(items) * u64::from(!open.open.is_empty());
            }
            let Some(job) = open.open.front().copied() else {
                if gather.has_enough() { break } else { continue }
            };
            self.await_job(&job, G::FAILS_FAST)?;
            if !self.is_described(call, &job) {
                return Err(self.await_damage());
            }
            open.open.pop_front();
            self.close_job(call, &job, gather);
            if gather.has_enough() {
                break; // the errors of later waves are later ones
            }
        }
        Ok(())
    }

    /// How many waves a call may have open: a second one while other threads' calls leave enough places.
    fn waves_at_once(&self) -> usize {
        let used = self.book().jobs.iter().flatten().count();
        if used <= JOBS / 2 { 2 } else { 1 }
    }

    /// Items of a chunk: fine enough to balance uneven tasks, coarse enough that claiming costs nothing beside cheap ones.
    fn chunk_len(&self, call: &Span64<'_>, workers: u64, wave: u64) -> u32 {
        /// What a chunk of a task that is known to be cheap should take.
        const CHUNK_NANOS: f64 = 2_000.0;
        if let Some(chunk) = call.options.schedule.chunk() {
            return u64::from(chunk).clamp(1, wave) as u32;
        }
        let fine = call.items.div_ceil(512 * workers);
        let known = self.book().costs.get(&call.descriptor).copied();
        let cheap = known
            .map_or(1, |cost| (CHUNK_NANOS / cost.max(0.1)) as u64)
            .min(call.items / (8 * workers));
        let most = (wave / (32 * workers)).max(1).min(self.most_at_once.into());
        fine.max(cheap).clamp(1, most) as u32
    }

    /// Opens a job for `items` items from `first` on; none if there is no place now.
    fn open_job(
        &self,
        call: &Span64<'_>,
        first: u64,
        items: u32,
        chunk_len: u32,
    ) -> Result<Option<Open>, PoolError> {
        let mut book = self.book();
        if let Some(failure) = &book.failure {
            return Err(failure.error());
        }
        self.free_retired(&mut book);
        let taken = |place: &usize| book.retired.iter().any(|(retired, ..)| retired == place);
        let Some(place) = (0..JOBS).find(|place| book.jobs[*place].is_none() && !taken(place))
        else {
            return Ok(None);
        };
        let (cut, dealt_to) = self.cut(&book, call, items, chunk_len);
        let chunks = cut.chunks();
        let Some((memory, [lines, states, results, plan])) =
            self.job_memory(&mut book, call, items, chunks)?
        else {
            return Ok(None);
        };
        let number = book.next_job;
        book.next_job += 1;
        let open = Open {
            place,
            number,
            items,
            lines,
            states,
            chunks: chunks as usize,
            results,
            first,
            cut,
            plan,
            for_one: dealt_to.is_empty()
                && u64::from(items) == call.items
                && is_for_one(&book, call),
        };
        self.clear(&open);
        if !dealt_to.is_empty() {
            self.table(&open).deal(&dealt_to);
        }
        if !call.plan.is_empty() {
            self.control.write_arena(plan, call.plan);
        }
        self.describe(call, &open);
        book.jobs[place] = Some(book_of(call, &open, first, cut, memory));
        self.announce(&book, &open);
        let tell = book.limits.add(call.options.deadline);
        drop(book);
        if tell {
            self.kick();
        }
        if cut.is_dealt() {
            self.control.ring_all(); // each worker has something that no other takes
        } else if open.for_one {
            self.control.ring_bell(1);
        } else {
            self.control.ring_bell(chunks);
        }
        Ok(Some(open))
    }

    /// Lets workers join a job.
    fn announce(&self, book: &Book, open: &Open) {
        join::open(&self.control.header().jobs[open.place].number, open.number);
        let open_jobs = &self.control.orders().open_jobs;
        open_jobs.fetch_or(1 << open.place, Ordering::Release); // SYNC: open-jobs
        self.call_back(book);
    }

    /// Memory for a job: its spans, and where lines, states, results and plan are.
    fn job_memory(
        &self,
        book: &mut Book,
        call: &Span64<'_>,
        items: u32,
        chunks: u32,
    ) -> Result<Option<JobMemory>, PoolError> {
        let lines = self.control.capacity() * size_of::<CachePadded<Line>>();
        let results = call.in_place.unwrap_or(0) * items as usize;
        let mut spans = Vec::new();
        let mut offsets = [0; 4];
        for (offset, len) in
            offsets
                .iter_mut()
                .zip([lines, chunks as usize * 4, results, call.plan.len()])
        {
            if len == 0 {
                continue;
            }
            match book.arena.allocate(len, &self.control) {
                Ok(span) => {
                    *offset = span.offset;
                    spans.push(span);
                }
                Err(error) => {
                    spans.into_iter().for_each(|span| book.arena.free(span));
                    return match error {
                        Exhausted::ForNow => Ok(None),
                        Exhausted::Memory(error) => Err(PoolErrorKind::Memory(error).into()),
                        Exhausted::TooLarge => Err(PoolErrorKind::TooLarge {
                            what: "the description of the blocks",
                            bytes: len,
                        }
                        .into()),
                    };
                }
            }
        }
        Ok(Some((spans, offsets)))
    }

    /// A slot that was never in use is going to be: clears its line in every open job.
    pub(super) fn clear_lines(&self, book: &Book, slot: usize) {
        let jobs = book.jobs.iter().enumerate();
        for (place, job) in jobs.filter_map(|(place, job)| Some((place, job.as_ref()?))) {
            self.table_of(place, job).lines[slot].clear();
        }
    }

    fn table(&self, open: &Open) -> ClaimTable<'_> {
        self.claims(open.place, open.lines, open.states, open.chunks)
    }

    /// The claims of a job in the book.
    pub(super) fn table_of(&self, place: usize, job: &JobBook) -> ClaimTable<'_> {
        self.claims(place, job.lines, job.states, job.chunks as usize)
    }

    fn claims(&self, place: usize, lines: usize, states: usize, chunks: usize) -> ClaimTable<'_> {
        const ALLOCATED: &str = "allocated in the arena";
        let segment = self.control.segment();
        let lines = segment
            .slice(lines, self.control.capacity())
            .expect(ALLOCATED);
        let states = segment.slice(states, chunks).expect(ALLOCATED);
        ClaimTable {
            states,
            lines,
            used: &self.control.orders().slots,
            words: &self.control.header().jobs[place].words,
        }
    }

    fn clear(&self, open: &Open) {
        let table = self.table(open);
        table.lines_in_use().iter().for_each(|line| line.clear());
        table
            .states
            .iter()
            .for_each(|state: &AtomicU32| state.store(0, Ordering::Relaxed));
        let words = table.words;
        for word in [&*words.cursor, &*words.exits, &words.credit] {
            word.store(0, Ordering::Relaxed);
        }
        words
            .repeated
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        words.busy.store(0, Ordering::Relaxed);
        table.open_to(open.for_one);
    }

    fn describe(&self, call: &Span64<'_>, open: &Open) {
        let (large, small) = self.description(call, open);
        for (word, value) in large {
            word.store(value, Ordering::Relaxed);
        }
        for (word, value) in small {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Whether the description still is what the workers were to read: one that was overwritten may have given other results.
    fn is_described(&self, call: &Span64<'_>, open: &Open) -> bool {
        let (large, small) = self.description(call, open);
        large
            .iter()
            .all(|(word, value)| word.load(Ordering::Relaxed) == *value)
            && small
                .iter()
                .all(|(word, value)| word.load(Ordering::Relaxed) == *value)
    }

    /// The words that describe a job, with their values.
    fn description(&self, call: &Span64<'_>, open: &Open) -> (Described<'_, 10>, Narrow<'_, 4>) {
        let job = &self.control.header().jobs[open.place];
        let large = [
            (&job.descriptor, call.descriptor),
            (&job.items, open.items.into()),
            (&job.first_index, open.first),
            (&job.base, call.base.wrapping_add(open.first)),
            (&job.plan_offset, open.plan as u64),
            (&job.plan_len, call.plan.len() as u64),
            (&job.lines_offset, open.lines as u64),
            (&job.states_offset, open.states as u64),
            (&job.results_offset, open.results as u64),
            (&job.limit, nanos(call.options.deadline)),
        ];
        let size = call.in_place.map_or(IN_STREAM, |size| size as u32);
        let [cut, more] = <[u32; 2]>::from(open.cut.words());
        let small = [
            (&job.cut[0], cut),
            (&job.cut[1], more),
            (&job.chunks, open.chunks as u32),
            (&job.result_size, size),
        ];
        (large, small)
    }

    /// Waits until a place for a job is free: all are used by other threads' calls, or held by a stopped worker.
    fn wait_for_place(&self) {
        let wait = std::time::Duration::from_millis(1);
        self.wait(Some(wait), || false, || ());
    }

    /// Waits until the job is complete.
    fn await_job(&self, open: &Open, fails_fast: bool) -> Result<(), PoolError> {
        let table = self.table(open);
        let mut audit = Audit::new();
        let for_one = Cell::new(open.for_one);
        loop {
            // Both are read before looking, so what happens meanwhile is seen as a change.
            let (event, exits) = (self.control.event(), table.exits());
            let completed = table.completed();
            if completed as usize >= open.chunks {
                // Counts that were overwritten must not be taken for results, nor for the end of who writes them.
                return if table.is_settled(completed) {
                    Ok(())
                } else {
                    Err(self.await_damage())
                };
            }
            self.attend(open, fails_fast)?;
            let slept = Cell::new(false);
            self.wait(
                Audit::limit(None),
                || self.control.event() != event || (table.exits() != exits && table.is_complete()),
                || {
                    table.announce_sleep();
                    slept.set(true);
                    if for_one.take() {
                        table.open_to_all();
                        self.control.ring_bell(open.chunks as u32);
                    }
                },
            );
            if slept.get() {
                table.announce_awake();
            }
            self.audit(&mut audit, table.completed().into(), || table.offer_again());
        }
    }

    /// What a waiting caller does when something has happened: reads results, cancels what is in vain.
    fn attend(&self, open: &Open, fails_fast: bool) -> Result<(), PoolError> {
        let mut book = self.book();
        book.drain_all(&self.control);
        if let Some(failure) = &book.failure
            && book.buried
        {
            return Err(failure.error());
        }
        let table = self.table(open);
        let job = book.job(open.number).expect("open jobs are in the book");
        if fails_fast && !job.cancelled && job.has_failed() {
            job.cancelled = true;
            table.cancel();
        }
        Ok(())
    }

    /// Closes a complete job and hands out its results.
    fn close_job<R: Sendable, G: Gather<R>>(&self, call: &Span64<'_>, open: &Open, gather: &mut G) {
        let busy = self.table(open).busy();
        let mut book = self.book();
        book.drain_all(&self.control);
        let Some(job) = self.retire(&mut book, open) else {
            return;
        };
        if busy > 0 {
            book.note_cost(call.descriptor, busy as f64 / f64::from(open.items));
        }
        drop(book);
        let cut = job.cut;
        match (job.gathered, call.in_place) {
            (Some(chunks), _) => {
                // Before results are decoded, which is code of users and may panic.
                self.free(open, job.memory);
                let missing = if job.cancelled {
                    TaskError::Cancelled
                } else {
                    no_result()
                };
                self.hand_out_chunks(chunks, cut, &missing, gather);
            }
            (None, Some(_)) => {
                self.hand_out(open.results, open.items as usize, job.failed, gather);
                self.free(open, job.memory);
            }
            (None, None) => self.free(open, job.memory),
        }
    }

    /// Results that came through the streams. What a chunk lacks has the error `missing`.
    fn hand_out_chunks<R: Sendable, G: Gather<R>>(
        &self,
        chunks: Vec<Gathered>,
        cut: Cut,
        missing: &TaskError,
        gather: &mut G,
    ) {
        if chunks.iter().any(Gathered::holds) {
            self.request_flush();
        }
        for (chunk, gathered) in (0..).zip(chunks) {
            let expected = cut.range(chunk).len() as u32;
            let given = gathered.len();
            gathered.drain(|item| gather.item(decode_result(item)));
            (given..expected).for_each(|_| gather.item(Err(missing.clone())));
        }
    }

    /// Results in place, with errors among them.
    pub(super) fn hand_out<R: Sendable, G: Gather<R>>(
        &self,
        offset: usize,
        count: usize,
        mut failed: Vec<(u32, TaskError)>,
        gather: &mut G,
    ) {
        let results = Written::new(self.control.segment(), offset, count);
        if failed.is_empty() {
            return gather.plain(&results);
        }
        failed.sort_by_key(|(item, _)| *item);
        let mut failed = failed.into_iter().peekable();
        let mut values: Vec<R> = Vec::new();
        results.append_to(&mut values);
        for (item, value) in (0..).zip(values) {
            let mut error = None;
            while let Some((_, next)) = failed.next_if(|(failed, _)| *failed == item) {
                error = Some(next);
            }
            gather.item(error.map_or(Ok(value), Err));
        }
    }

    /// Closes a job; its book. Its memory stays until [`Core::free`].
    fn retire(&self, book: &mut Book, open: &Open) -> Option<JobBook> {
        let job = book.jobs[open.place].take_if(|job| job.number == open.number)?;
        if let Some(gauge) = &job.gauge {
            gauge.settle(self.ended_in_job(open.place, &job));
        }
        book.limits.remove(job.limit);
        // Nobody else opens a job here before the memory is free.
        book.retired.push((open.place, open.number, Vec::new()));
        self.control
            .orders()
            .open_jobs
            .fetch_and(!(1 << open.place), Ordering::Release);
        join::close(&self.control.header().jobs[open.place].number);
        Some(job)
    }

    /// Gives the memory of a closed job back, at once or when the last worker has left it.
    fn free(&self, open: &Open, memory: Vec<Span>) {
        let mut book = self.book();
        if let Some(retired) = book
            .retired
            .iter_mut()
            .find(|(_, number, _)| *number == open.number)
        {
            retired.2 = memory;
            return self.free_retired(&mut book);
        }
        // Another caller has looked meanwhile: nobody touches the job any more, and its place is in use again.
        memory.into_iter().for_each(|span| book.arena.free(span));
    }
}

/// What the book keeps of a job.
fn book_of(call: &Span64<'_>, open: &Open, first: u64, cut: Cut, memory: Vec<Span>) -> JobBook {
    let chunks = open.chunks as u32;
    let gathered = call
        .in_place
        .is_none()
        .then(|| (0..chunks).map(|_| Gathered::default()).collect());
    JobBook {
        number: open.number,
        name: call.options.name.clone(),
        descriptor: call.descriptor,
        gauge: call.options.progress.clone(),
        first_index: first,
        limit: call.options.deadline,
        memory,
        items: open.items,
        cut,
        chunks,
        lines: open.lines,
        states: open.states,
        gathered,
        failed: Vec::new(),
        resumed: HashMap::new(),
        attempts: HashMap::new(),
        retries: call.options.retries,
        cancelled: false,
    }
}

/// The open waves of a call. When the call ends early, whatever the reason, they are cancelled and waited for: the caller lends
/// memory that tasks may be writing.
struct Waves<'a> {
    core: &'a Core,
    open: VecDeque<Open>,
}

impl Drop for Waves<'_> {
    fn drop(&mut self) {
        for open in std::mem::take(&mut self.open) {
            if let Some(job) = self.core.book().job(open.number) {
                job.cancelled = true;
                self.core.table(&open).cancel();
            }
            // An error says that no worker is alive any more, which is as good.
            let _ = self.core.await_job(&open, false);
            let retired = self.core.retire(&mut self.core.book(), &open);
            if let Some(job) = retired {
                self.core.free(&open, job.memory);
            }
        }
    }
}
