//! Claiming the chunks of a job: batches as hints, one word per chunk as the truth.
//!
//! The argument why no chunk is lost or done twice stands in this folder's `README.md`. The idea of a range per worker whose
//! upper half is stolen is that of lazy binary splitting (Tzannes et al., PPoPP 2010); that ranges are only hints is ours.

#[cfg(not(loom))]
use std::time::Duration;

use crossbeam::utils::CachePadded;

use super::cut::Cut;
use super::word::{ClaimWord, Owner};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, control_layout};
use crate::inject;

/// A batch is at most this many chunks.
const MAX_BATCH: u32 = 1024;
/// How many repeated items a job remembers.
const REPEATED: usize = if cfg!(loom) { 1 } else { 8 };
/// Set in [`JobWords::exits`] while the pool sleeps until the job is complete.
const POOL_SLEEPS: u32 = 1;

/// Values of [`JobWords::entry`].
const FOR_ALL: u32 = 0;
const FOR_ONE: u32 = 1;
const ENTERED: u32 = 2;

control_layout! {
    /// What one slot did in one job. Written by its worker, and by the pool once that worker is dead.
    pub(crate) struct Line {
        /// Chunk about to be claimed + 1 (0: none) in the upper half, chunks done in the lower.
        pub(crate) progress: AtomicU64,
        /// A hint: chunks `lo..hi` that the worker means to claim, `lo` in the upper half. Thieves lower `hi`.
        pub(crate) batch: AtomicU64,
    }

    /// The words of a job that all workers share.
    pub(crate) struct JobWords {
        /// A hint: the first chunk that is in nobody's batch yet. The pool sets it back to 0 when a worker has died.
        pub(crate) cursor: CachePadded<AtomicU32>,
        /// [`POOL_SLEEPS`] plus two for each time that a worker left the job.
        pub(crate) exits: CachePadded<AtomicU32>,
        /// Chunks accounted for by the pool: those of dead workers and cancelled ones.
        pub(crate) credit: AtomicU32,
        /// Who may enter: [`FOR_ALL`], or one worker, which [`ENTERED`] or has not. A hint that the pool takes back before it sleeps.
        pub(crate) entry: AtomicU32,
        /// A hint: nanoseconds that workers have spent in this job, of those that have left it.
        pub(crate) busy: AtomicU64,
        /// For a task that asks: items that are begun again, plus 1, in the upper half, and how often they were begun. The oldest
        /// is overwritten.
        pub(crate) repeated: [AtomicU64; REPEATED],
    }
}

#[cfg(not(loom))]
impl Line {
    /// Pool: nothing was done here yet.
    pub(crate) fn clear(&self) {
        self.progress.store(0, Ordering::Relaxed);
        self.batch.store(0, Ordering::Relaxed);
    }
}

fn pack(high: u32, low: u32) -> u64 {
    (u64::from(high) << 32) | u64::from(low)
}

fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// The shared memory of one job's claims. `states.len()` is the number of chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClaimTable<'a> {
    pub(crate) states: &'a [AtomicU32],
    /// One for each slot that there can ever be.
    pub(crate) lines: &'a [CachePadded<Line>],
    /// How many slots were in use so far. It grows before a worker is started in a new slot, so whoever sees what that worker did
    /// sees its line counted here.
    pub(crate) used: &'a AtomicU32,
    pub(crate) words: &'a JobWords,
}

/// A chunk that this worker alone may run, from item `first` on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) chunk: u32,
    pub(crate) first: u32,
}

/// Whether a worker may enter a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Entry {
    WithOthers,
    /// As the only one, as far as is known.
    Alone,
    /// One is enough, and there is one.
    Refused,
}

/// What a worker that leaves a job has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Left {
    /// The pool sleeps and has something to see.
    WakePool,
    Quietly,
}

/// What the pool finds out about the chunk of a dead worker.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Lost {
    /// The worker held no chunk of this job.
    Nothing,
    /// It died while it held this chunk, which still carries its claim.
    Chunk(u32),
}

impl<'a> ClaimTable<'a> {
    fn chunks(&self) -> u32 {
        self.states.len() as u32
    }

    /// The lines of the slots that were in use so far; those behind them are untouched.
    pub(crate) fn lines_in_use(&self) -> &'a [CachePadded<Line>] {
        let used = self.used.load(Ordering::Acquire) as usize; // SYNC: slots-in-use
        &self.lines[..used.min(self.lines.len())]
    }

    /// Chunks that are done or given up, as far as can be seen now; never more than there are.
    pub(crate) fn completed(&self) -> u32 {
        // The credit first: a count that moves from a line to the credit meanwhile is then missed, never seen twice.
        let credit = self.words.credit.load(Ordering::Acquire); // SYNC: job-credit
        // SYNC: job-counts (acquire side)
        let counts = self
            .lines_in_use()
            .iter()
            .map(|line| unpack(line.progress.load(Ordering::Acquire)).1);
        counts.fold(credit, u32::wrapping_add)
    }

    /// Whether every chunk is done or given up.
    pub(crate) fn is_complete(&self) -> bool {
        self.completed() >= self.chunks()
    }

    /// What has become of a chunk.
    #[cfg(not(loom))]
    pub(crate) fn word(&self, chunk: u32) -> ClaimWord {
        // SYNC: chunk-state
        ClaimWord::from_bits(self.states[chunk as usize].load(Ordering::Acquire))
    }

    /// Pool, before the job is open: gives each of these slots an equal share of the chunks, one after the other, as its batch. If
    /// there are fewer chunks than slots, the first slots get one each. Without slots nobody has any, and whoever comes takes them.
    pub(crate) fn deal(&self, slots: &[usize]) {
        let chunks = u64::from(self.chunks());
        let shares = (slots.len() as u64).min(chunks);
        for (share, slot) in (0..shares).zip(slots) {
            let start = |share: u64| (chunks * share / shares) as u32;
            let batch = pack(start(share), start(share + 1));
            self.lines[*slot].batch.store(batch, Ordering::Relaxed); // published with the job
        }
        let dealt = if shares == 0 { 0 } else { self.chunks() };
        self.words.cursor.store(dealt, Ordering::Relaxed);
    }

    /// Whether `completed` chunks are all there are and none is free or claimed: so it is with a complete job, unless its words were
    /// overwritten. A count is seen once: it may be lower for a moment while the account of a dead worker is settled.
    #[cfg(not(loom))]
    pub(crate) fn is_settled(&self, completed: u32) -> bool {
        let all_are_counted = completed == self.chunks();
        all_are_counted
            && self.states.iter().all(|state| {
                let word = ClaimWord::from_bits(state.load(Ordering::Relaxed));
                matches!(word, ClaimWord::Done(_) | ClaimWord::Void)
            })
    }

    /// Pool, before the job is open: who may enter. If one worker is enough, [`ClaimTable::open_to_all`] has to follow, with a ring for
    /// all, before the pool sleeps: that one may be stopped, or dead, or have left.
    pub(crate) fn open_to(&self, one: bool) {
        let entry = if one { FOR_ONE } else { FOR_ALL };
        self.words.entry.store(entry, Ordering::Relaxed); // published with the job
    }

    /// Whoever looks from now on may enter.
    pub(crate) fn open_to_all(&self) {
        // Seen with the ring that follows. A read-modify-write, so that nobody who enters now comes after it unseen.
        self.words.entry.swap(FOR_ALL, Ordering::AcqRel);
    }

    /// Worker: how it may enter.
    pub(crate) fn enter(&self) -> Entry {
        let (entry, order) = (&self.words.entry, Ordering::Relaxed);
        if entry.load(order) == FOR_ALL {
            return Entry::WithOthers;
        }
        let is_first = entry.compare_exchange(FOR_ONE, ENTERED, order, order);
        inject::point("claim.entered");
        if is_first.is_ok() {
            Entry::Alone
        } else {
            Entry::Refused
        }
    }

    /// Announces that the pool is going to sleep. The caller looks at [`ClaimTable::is_complete`] once more before it does.
    pub(crate) fn announce_sleep(&self) {
        // SYNC: job-exit (the read-modify-writes of one word are totally ordered: either this one sees the leaver's counts,
        // or the leaver sees this mark)
        self.words.exits.fetch_or(POOL_SLEEPS, Ordering::AcqRel);
    }

    /// Takes the announcement back.
    pub(crate) fn announce_awake(&self) {
        self.words.exits.fetch_and(!POOL_SLEEPS, Ordering::AcqRel);
    }

    /// How often workers have left this job; changes when there may be something to see.
    pub(crate) fn exits(&self) -> u32 {
        self.words.exits.load(Ordering::Acquire) & !POOL_SLEEPS
    }

    /// Pool: settles the account of `owner`, which is dead and whose line nobody writes any more. When it is known what becomes of
    /// the chunk that it held, [`ClaimTable::offer_again`] has to follow.
    pub(crate) fn settle_dead(&self, owner: Owner) -> Lost {
        let line = &self.lines[owner.slot()];
        let (current, count) = unpack(line.progress.load(Ordering::Acquire));
        let state = current
            .checked_sub(1)
            .and_then(|chunk| self.states.get(chunk as usize));
        let state = state.map(|state| ClaimWord::from_bits(state.load(Ordering::Acquire)));
        let finished = u32::from(state == Some(ClaimWord::Done(owner)));
        line.progress.store(0, Ordering::Release);
        self.add_credit(count.wrapping_add(finished));
        if state == Some(ClaimWord::Claimed(owner)) {
            Lost::Chunk(current - 1)
        } else {
            Lost::Nothing
        }
    }

    /// Pool: the chunk of a dead worker is to be run again from item `first` on.
    pub(crate) fn release(&self, chunk: u32, first: u32) {
        // SYNC: chunk-state (release side)
        self.states[chunk as usize].store(ClaimWord::Free { first }.bits(), Ordering::Release);
    }

    /// Pool: nothing of the chunk of a dead worker is left to be run.
    pub(crate) fn give_up(&self, chunk: u32) {
        self.states[chunk as usize].store(ClaimWord::Void.bits(), Ordering::Release);
        self.add_credit(1);
    }

    /// Pool: no chunk that is free now will ever begin. Those that are claimed end as they will.
    pub(crate) fn cancel(&self) {
        let mut voided = 0;
        for state in self.states {
            let mut bits = state.load(Ordering::Relaxed);
            while let ClaimWord::Free { .. } = ClaimWord::from_bits(bits) {
                match state.compare_exchange_weak(
                    bits,
                    ClaimWord::Void.bits(),
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        voided += 1;
                        break;
                    }
                    Err(now) => bits = now,
                }
            }
        }
        self.add_credit(voided);
    }

    /// Pool, after a death: hints may have been lost with the dead, so every chunk is offered again. The caller wakes everybody
    /// afterwards: each worker then looks once more, and sees this and what was done to the chunks before.
    pub(crate) fn offer_again(&self) {
        self.words.cursor.swap(0, Ordering::AcqRel); // SYNC: job-cursor
    }

    /// Pool: `item` is going to be begun again, after `attempts` times.
    #[cfg(not(loom))]
    pub(crate) fn note_repeated(&self, item: u32, attempts: u32) {
        let mine = |word: &&AtomicU64| unpack(word.load(Ordering::Relaxed)).0 == item + 1;
        let free = |word: &&AtomicU64| word.load(Ordering::Relaxed) == 0;
        let repeated = &self.words.repeated;
        let word = repeated
            .iter()
            .find(mine)
            .or_else(|| repeated.iter().find(free));
        let word = word.unwrap_or(&repeated[item as usize % REPEATED]);
        word.store(pack(item + 1, attempts), Ordering::Relaxed); // published with the chunk's word
    }

    /// Worker: how often `item` was begun before.
    #[cfg(not(loom))]
    pub(crate) fn attempts(&self, item: u32) -> u32 {
        if self.words.repeated[0].load(Ordering::Relaxed) == 0 {
            return 0; // the usual case: no item is repeated
        }
        let words = self
            .words
            .repeated
            .iter()
            .map(|word| unpack(word.load(Ordering::Relaxed)));
        words
            .filter(|(known, _)| *known == item + 1)
            .map(|(_, attempts)| attempts)
            .next()
            .unwrap_or(0)
    }

    /// Worker, before it leaves: so long it was here.
    #[cfg(not(loom))]
    pub(crate) fn note_busy(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.words.busy.fetch_add(nanos, Ordering::Relaxed); // seen with the exit, or missed: a hint
    }

    /// Pool: how long workers were here, as far as they have left.
    #[cfg(not(loom))]
    pub(crate) fn busy(&self) -> u64 {
        self.words.busy.load(Ordering::Relaxed)
    }

    fn add_credit(&self, chunks: u32) {
        self.words.credit.fetch_add(chunks, Ordering::AcqRel); // SYNC: job-credit
    }
}

/// A worker inside a job.
#[derive(Debug)]
pub(crate) struct Claimer<'a> {
    table: ClaimTable<'a>,
    owner: Owner,
    workers: u32,
    cut: Cut,
    done: u32,
    next: u32,
}

impl<'a> Claimer<'a> {
    /// Enters the job as `owner`, one of about `workers`. A batch that a dead predecessor in this slot left is taken over.
    pub(crate) fn enter(
        table: ClaimTable<'a>,
        owner: Owner,
        workers: u32,
        cut: Cut,
    ) -> Claimer<'a> {
        let line = &table.lines[owner.slot()];
        let (_, done) = unpack(line.progress.load(Ordering::Relaxed));
        let (next, _) = unpack(line.batch.load(Ordering::Relaxed));
        Claimer {
            table,
            owner,
            workers: workers.max(1),
            cut,
            done,
            next,
        }
    }

    #[inline]
    fn line(&self) -> &'a Line {
        &self.table.lines[self.owner.slot()]
    }

    /// The next chunk, which is this worker's alone until [`Claimer::finish`]; none if nothing can be claimed now.
    pub(crate) fn claim(&mut self) -> Option<Claimed> {
        loop {
            let (_, hi) = unpack(self.line().batch.load(Ordering::Relaxed));
            while self.next < hi.min(self.table.chunks()) {
                let chunk = self.next;
                self.next += 1;
                if let Some(first) = self.try_claim(chunk) {
                    return Some(Claimed { chunk, first });
                }
                if unpack(self.line().batch.load(Ordering::Relaxed)).1 != hi {
                    break;
                }
            }
            if !self.keeps_batch() && !self.refill() {
                self.announce(0);
                return None;
            }
        }
    }

    #[inline]
    fn keeps_batch(&self) -> bool {
        let (_, hi) = unpack(self.line().batch.load(Ordering::Relaxed));
        self.next < hi.min(self.table.chunks())
    }

    #[inline]
    fn announce(&self, chunk_plus_one: u32) {
        // SYNC: job-counts (release side)
        self.line()
            .progress
            .store(pack(chunk_plus_one, self.done), Ordering::Release);
    }

    #[inline]
    fn try_claim(&self, chunk: u32) -> Option<u32> {
        let state = &self.table.states[chunk as usize];
        let bits = state.load(Ordering::Relaxed);
        let ClaimWord::Free { first } = ClaimWord::from_bits(bits) else {
            return None;
        };
        self.announce(chunk + 1);
        inject::point("claim.announced");
        // SYNC: chunk-state (acquire side: what an earlier claimer or the pool wrote about this chunk)
        let claimed = ClaimWord::Claimed(self.owner).bits();
        state
            .compare_exchange(bits, claimed, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        inject::point("claim.claimed");
        Some(first)
    }

    /// Every item of the chunk has its result.
    #[inline]
    pub(crate) fn finish(&mut self, claimed: &Claimed) {
        inject::point("claim.before-done");
        // SYNC: chunk-state (release side)
        self.table.states[claimed.chunk as usize]
            .store(ClaimWord::Done(self.owner).bits(), Ordering::Release);
        inject::point("claim.done");
        self.done = self.done.wrapping_add(1); // began at what stands in shared memory, which may have been overwritten
    }

    /// Leaves the job, between two chunks. What is left of the batch stays there for whoever comes.
    pub(crate) fn leave(self) -> Left {
        self.announce(0);
        let batch = self.line().batch.load(Ordering::Relaxed);
        let (lo, hi) = unpack(batch);
        if (lo..hi).contains(&self.next) {
            let rest = pack(self.next, hi);
            // It fails if a thief has just taken a part; the word is a hint either way.
            let _ = self.line().batch.compare_exchange(
                batch,
                rest,
                Ordering::AcqRel, // SYNC: job-batch
                Ordering::Relaxed,
            );
        }
        inject::point("claim.before-exit");
        let exits = self.table.words.exits.fetch_add(2, Ordering::AcqRel); // SYNC: job-exit
        inject::point("claim.exited");
        if exits & POOL_SLEEPS != 0 && self.table.is_complete() {
            Left::WakePool
        } else {
            Left::Quietly
        }
    }

    /// Gets a new batch: of chunks that are in no batch, or half of somebody else's.
    fn refill(&mut self) -> bool {
        let Some((lo, hi)) = self.take_fresh().or_else(|| self.steal()) else {
            return false;
        };
        inject::point("claim.batch-taken");
        self.next = lo;
        // SYNC: job-batch (release side: who takes a part of it sees what made its chunks free). A read-modify-write, so that it is
        // ordered with every cut that a thief makes.
        self.line().batch.swap(pack(lo, hi), Ordering::AcqRel);
        inject::point("claim.batch-published");
        true
    }

    fn take_fresh(&self) -> Option<(u32, u32)> {
        let (cursor, chunks) = (&self.table.words.cursor, self.table.chunks());
        let left = chunks
            .checked_sub(cursor.load(Ordering::Relaxed))
            .filter(|left| *left > 0)?;
        let size = self
            .cut
            .batch((left / (4 * self.workers)).clamp(1, MAX_BATCH));
        let lo = cursor.fetch_add(size, Ordering::AcqRel); // SYNC: job-cursor
        inject::point("claim.cursor-moved");
        (lo < chunks).then(|| (lo, lo.saturating_add(size).min(chunks)))
    }

    /// Takes the upper half of the longest batch that another worker has left.
    fn steal(&self) -> Option<(u32, u32)> {
        if self.cut.is_dealt() {
            return None;
        }
        loop {
            let victims = self
                .table
                .lines_in_use()
                .iter()
                .enumerate()
                .filter(|(slot, _)| *slot != self.owner.slot());
            let (line, batch, lo, hi) = victims
                .filter_map(|(_, line)| self.left_of(line))
                .max_by_key(|(_, _, lo, hi)| hi - lo)?;
            let middle = lo + (hi - lo) / 2;
            let kept = pack(unpack(batch).0, middle);
            if line
                .batch
                .compare_exchange(batch, kept, Ordering::AcqRel, Ordering::Relaxed) // SYNC: job-batch
                .is_ok()
            {
                return Some((middle, hi));
            }
        }
    }

    /// What seems to be left of the batch in `line`: the line, its batch word, and the range; none if nothing is.
    fn left_of(&self, line: &'a Line) -> Option<(&'a Line, u64, u32, u32)> {
        let batch = line.batch.load(Ordering::Relaxed);
        let (lo, hi) = unpack(batch);
        let (current, _) = unpack(line.progress.load(Ordering::Relaxed));
        let lo = if (lo..hi).contains(&current.wrapping_sub(1)) {
            current
        } else {
            lo
        };
        let hi = hi.min(self.table.chunks());
        (lo < hi).then_some((line, batch, lo, hi))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn counts_that_were_overwritten_do_not_end_a_worker() {
        let states = [const { AtomicU32::new(0) }; 2];
        let lines = [CachePadded::new(Line {
            progress: AtomicU64::new(u64::MAX),
            batch: AtomicU64::new(u64::MAX),
        })];
        let words = JobWords {
            cursor: CachePadded::new(AtomicU32::new(0)),
            exits: CachePadded::new(AtomicU32::new(0)),
            credit: AtomicU32::new(u32::MAX),
            entry: AtomicU32::new(u32::MAX),
            busy: AtomicU64::new(u64::MAX),
            repeated: [const { AtomicU64::new(0) }; REPEATED],
        };
        let used = AtomicU32::new(1);
        let table = ClaimTable {
            states: &states,
            lines: &lines,
            used: &used,
            words: &words,
        };
        let mut claimer = Claimer::enter(table, Owner::new(0, 1), 1, Cut::even(2, 1));
        while let Some(claimed) = claimer.claim() {
            claimer.finish(&claimed);
        }
        let _ = claimer.leave();
        assert!(table.is_settled(2) && !table.is_settled(3));
    }
}
