//! Running the chunks of jobs.

use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Instant;

use super::call::{Call, Input};
use super::idle::NEW;
use super::leave::{ask, must_leave};
use super::{Link, Worker, run};
use crate::atomic::Ordering;
use crate::current;
use crate::dispatch::claim::{ClaimTable, Claimed, Claimer, Entry, Left};
use crate::dispatch::control::{Control, IN_STREAM, JOBS, JobSlot};
use crate::dispatch::cut::Cut;
use crate::dispatch::join;
use crate::dispatch::record::Target;
use crate::identity::Descriptor;
use crate::plain::Results;

/// A job as a worker sees it: a private copy of its description, checked once.
#[derive(Debug)]
struct JobView<'a> {
    number: u64,
    descriptor: &'static Descriptor,
    first_index: u64,
    base: u64,
    cut: Cut,
    plan: Vec<u8>,
    limit: u64,
    results: Option<Results<'a>>,
    table: ClaimTable<'a>,
}

impl<'a> JobView<'a> {
    /// Reads the description; none if it does not fit the segment (then somebody overwrote it).
    fn read(control: &'a Control, job: &'a JobSlot, number: u64) -> Option<JobView<'a>> {
        let load = |word: &crate::atomic::AtomicU64| word.load(Ordering::Relaxed);
        let items = u32::try_from(load(&job.items)).ok()?;
        let [first, second] = &job.cut;
        let words = [first, second].map(|word| word.load(Ordering::Relaxed));
        let cut = Cut::from_words(items, words.into())?;
        let chunks = job.chunks.load(Ordering::Relaxed);
        if cut.chunks() != chunks {
            return None;
        }
        let segment = control.segment();
        let result_size = job.result_size.load(Ordering::Relaxed);
        let results = match result_size {
            IN_STREAM => None,
            size => Some(
                Results::new(
                    segment,
                    load(&job.results_offset) as usize,
                    items as usize,
                    size as usize,
                )
                .ok()?,
            ),
        };
        let lines = segment
            .slice(load(&job.lines_offset) as usize, control.capacity())
            .ok()?;
        let states = segment
            .slice(load(&job.states_offset) as usize, chunks as usize)
            .ok()?;
        let plan_len = load(&job.plan_len);
        let plan = if plan_len == 0 {
            Vec::new()
        } else {
            control.read_arena(load(&job.plan_offset), plan_len).ok()?
        };
        Some(JobView {
            number,
            descriptor: Descriptor::find(load(&job.descriptor))?,
            first_index: load(&job.first_index),
            base: load(&job.base),
            cut,
            plan,
            limit: load(&job.limit),
            results,
            table: ClaimTable {
                states,
                lines,
                used: &control.orders().slots,
                words: &job.words,
            },
        })
    }
}

impl JobView<'_> {
    fn input(&self) -> Input<'_> {
        Input::Job {
            number: self.number,
            first_index: self.first_index,
            base: self.base,
            plan: &self.plan,
            results: self.results,
        }
    }

    /// The items that are left of a chunk.
    fn items(&self, claimed: &Claimed) -> Range<u32> {
        let whole = self.cut.range(claimed.chunk);
        whole.start.saturating_add(claimed.first)..whole.end
    }

    /// What is left has to be done by others.
    fn leave_to_others(&self, control: &Control) {
        self.table.open_to_all();
        control.wake_another();
    }

    fn target(&self, claimed: &Claimed) -> Target {
        Target::Chunk {
            job: self.number,
            chunk: claimed.chunk,
            first: claimed.first,
        }
    }
}

impl Worker {
    /// Runs what can be claimed of every open job, oldest first. Whether anything was run.
    pub(super) fn run_jobs(&mut self) -> bool {
        let open = self.control.orders().open_jobs.load(Ordering::Acquire); // SYNC: open-jobs
        if open == 0 {
            return false;
        }
        if self.quota.is_spent() {
            return false;
        }
        let control = self.control.clone();
        let mut jobs: Vec<(u64, &JobSlot)> = (0..JOBS)
            .filter(|job| open >> job & 1 != 0)
            .map(|job| &*control.header().jobs[job])
            .map(|job| (job.number.load(Ordering::Relaxed), job))
            .collect();
        jobs.sort_unstable_by_key(|(number, _)| *number);
        jobs.into_iter().fold(false, |worked, (_, job)| {
            self.run_job(&control, job) | worked
        })
    }

    fn run_job(&mut self, control: &Control, job: &JobSlot) -> bool {
        let joined = &control.slot(self.slot).report.joined;
        let Some(number) = join::join(&job.number, joined) else {
            return false;
        };
        let view = JobView::read(control, job, number);
        let (worked, left) = match &view {
            Some(view) => match view.table.enter() {
                Entry::Refused => (false, Left::Quietly),
                entry => self.run_chunks(control, view, entry),
            },
            None => {
                control.header().distress.store(1, Ordering::Release);
                self.link().kick();
                (false, Left::Quietly)
            }
        };
        join::leave(joined);
        if left == Left::WakePool {
            control.signal_event();
        }
        worked
    }

    fn run_chunks(&mut self, control: &Control, view: &JobView<'_>, entry: Entry) -> (bool, Left) {
        if view.plan.is_empty() {
            self.forget_leases();
        }
        let began = Instant::now();
        let workers = control.orders().workers.load(Ordering::Relaxed);
        let mut claimer = Claimer::enter(view.table, self.owner, workers, view.cut);
        let mut worked = false;
        current::enter_call(view.first_index);
        while self.run_stretch(control, view, &mut claimer, &mut worked) == Stop::Obey {
            self.obey();
        }
        current::leave_call();
        if worked {
            let time = began.elapsed();
            control.slot(self.slot).report.count_busy(time);
            view.table.note_busy(time);
            if entry == Entry::WithOthers || self.looks == NEW {
                self.looks = 0; // a call like it may follow at once
            }
        }
        let left = claimer.leave();
        if self.quota.is_spent() {
            view.leave_to_others(control);
        }
        (worked, left)
    }

    /// Runs chunk after chunk until there is something else to do. What all chunks have in common is made ready once: a chunk may be
    /// a single cheap item.
    fn run_stretch(
        &mut self,
        control: &Control,
        view: &JobView<'_>,
        claimer: &mut Claimer<'_>,
        worked: &mut bool,
    ) -> Stop {
        let (orders, tasks, place) = (control.orders(), control.tasks(), control.slot(self.slot));
        let (report, quota) = (&place.report, &mut self.quota);
        let kick = self.kick.as_ref().map(|kick| kick.as_fd());
        let link = Link::new(control, self.slot, kick);
        let none = view.target(&Claimed { chunk: 0, first: 0 });
        let call = Call::new(link, &mut self.belongings, view.input(), 0..0, none);
        let mut call = call.limited(view.limit);
        while !must_leave(orders, place)
            && !quota.is_spent()
            && let Some(claimed) = claimer.claim()
        {
            *worked = true;
            let items = view.items(&claimed);
            let count = items.end.saturating_sub(items.start);
            if let Some(wish) = quota.begin(count) {
                ask(&link, wish);
            }
            let attempts = view.table.attempts(items.start);
            if attempts > 0 {
                current::note_attempts(items.start, attempts);
            }
            call.turn_to(items, view.target(&claimed));
            if claimed.first != 0 {
                call.head();
            }
            run(view.descriptor, &mut call);
            claimer.finish(&claimed);
            report.item.store(0, Ordering::Release); // SYNC: item-begun
            report.count(count);
            if let Some(wish) = quota.end() {
                ask(&link, wish);
            }
            if orders.flush.load(Ordering::Relaxed) != report.flushed.load(Ordering::Relaxed) {
                return Stop::Obey;
            }
            if tasks.has_work() {
                // A task may be long: the job must not wait for it, neither for the count of what was done here nor for its memory.
                view.leave_to_others(control);
                break;
            }
        }
        Stop::Leave
    }
}

/// Why a worker stops between two chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The pool has ordered something that it does before it goes on.
    Obey,
    /// It leaves the job.
    Leave,
}

/// For the fuzz target: a job and a task of which every word that a worker reads is any number.
#[cfg(fuzzing)]
pub(crate) fn fuzz(control: &Control, mut word: impl FnMut() -> u64) {
    use crate::dispatch::word::Owner;
    let job = &*control.header().jobs[0];
    for field in [
        &job.descriptor,
        &job.items,
        &job.first_index,
        &job.base,
        &job.plan_offset,
        &job.plan_len,
        &job.lines_offset,
        &job.states_offset,
        &job.results_offset,
    ] {
        field.store(word(), Ordering::Relaxed);
    }
    for field in [&job.cut[0], &job.cut[1], &job.chunks, &job.result_size] {
        field.store(word() as u32, Ordering::Relaxed);
    }
    if let Some(view) = JobView::read(control, job, 1) {
        assert_eq!(view.cut.chunks() as usize, view.table.states.len());
    }
    // The claims of a job that is described well, with words that are not.
    let (arena, _) = control.arena();
    let segment = control.segment();
    let table = ClaimTable {
        states: segment.slice(arena, 9).expect("in the arena"),
        lines: segment
            .slice(arena + 4096, control.slots().len())
            .expect("in the arena"),
        used: &control.orders().slots,
        words: &job.words,
    };
    table
        .states
        .iter()
        .for_each(|state| state.store(word() as u32, Ordering::Relaxed));
    for line in table.lines {
        line.progress.store(word(), Ordering::Relaxed);
        line.batch.store(word(), Ordering::Relaxed);
    }
    job.words.cursor.store(word() as u32, Ordering::Relaxed);
    job.words.credit.store(word() as u32, Ordering::Relaxed);
    let owner = Owner::new(1, 1);
    let mut claimer = Claimer::enter(table, owner, 2, Cut::even(9, 1));
    let mut claims = 0;
    while let Some(claimed) = claimer.claim() {
        claims += 1;
        assert!(claims <= table.states.len(), "a chunk was claimed twice");
        assert!((claimed.chunk as usize) < table.states.len());
        table.attempts(claimed.first);
        claimer.finish(&claimed);
    }
    let _ = claimer.leave();
    let _ = table.settle_dead(Owner::new(0, 1));
    table.cancel();
    table.offer_again();
    let _ = table.is_complete();
    fuzz_task(control, word);
}

#[cfg(fuzzing)]
fn fuzz_task(control: &Control, mut word: impl FnMut() -> u64) {
    use crate::dispatch::word::Owner;
    let tasks = control.tasks();
    tasks.head.store(word(), Ordering::Relaxed);
    tasks.tail.store(word(), Ordering::Relaxed);
    let entry = &tasks.entries[0];
    entry.state.store(word() as u32, Ordering::Relaxed);
    entry.arg_offset.store(word(), Ordering::Relaxed);
    entry.arg_len.store(word(), Ordering::Relaxed);
    for place in &entry.arg {
        place.store(word(), Ordering::Relaxed);
    }
    let _ = super::read_arguments(control, entry);
    if let Some((entry, _)) = tasks.claim(Owner::new(0, 1)) {
        let _ = tasks.finish(entry, Owner::new(0, 1));
    }
    let _ = tasks.vacant(word() >> 1);
}
