//! The control segment: one piece of shared memory that holds everything a pool and its workers say to each other.
//!
//! ```text
//! Header | slots | task entries | one ring of bytes per slot | arena
//! ```
//!
//! It is sparse: what is never used costs nothing, and what is used was reserved first.

use crossbeam::utils::CachePadded;
use pool_shm::{Cells, Segment, ShmError};
use serde::{Deserialize, Serialize};

use super::claim::JobWords;
use super::clock::Clock;
use super::order::{Duty, Order};
use super::park::{Bell, Futex, rouse};
use super::stream::{RingBytes, StreamReader, StreamWords};
use super::tasks::{TaskEntry, TaskTable};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, control_layout};
use crate::sys;

/// Jobs (calls over indices or blocks, and their waves) that can be open at once.
pub(crate) const JOBS: usize = 16;
/// Entries of the task table.
const ENTRIES: usize = 1024;
/// Bytes of a worker's ring.
const RING: usize = 256 << 10;
/// Bytes of the arena, reserved as they are used.
const ARENA: usize = 256 << 20;
const PAGE: usize = 4096;
const MAGIC: u64 = 0x6c6f_6f70_2065_7225;

control_layout! {
    /// What the pool tells all workers. Written by the pool alone, so that workers may look at it often.
    pub(crate) struct Orders {
        /// 1: leave before the next task.
        pub(crate) leave: AtomicU32,
        /// Counts requests to unmap lent segments and to let go of sent ones.
        pub(crate) flush: AtomicU32,
        /// A bit per open job.
        pub(crate) open_jobs: AtomicU64,
        /// [`TaskTable::tail`].
        pub(crate) tail: AtomicU64,
        /// How many workers there should be.
        pub(crate) workers: AtomicU32,
        /// How many processors the pool's process may use.
        pub(crate) processors: AtomicU32,
        /// How many slots were in use so far: those behind them have no memory yet.
        pub(crate) slots: AtomicU32,
        /// 1 while tasks wait for an entry of the table: a worker that finds no task tells the watcher.
        pub(crate) backlog: AtomicU32,
    }

    /// One job as the pool describes it. Read by workers only between joining and leaving it.
    pub(crate) struct JobSlot {
        /// Number of the job, 0 while there is none.
        pub(crate) number: AtomicU64,
        pub(crate) descriptor: AtomicU64,
        pub(crate) items: AtomicU64,
        /// Index of item 0 in the call that the job is a part of.
        pub(crate) first_index: AtomicU64,
        /// For a job over integers: the value of item 0.
        pub(crate) base: AtomicU64,
        /// How the items are cut into chunks, see [`super::cut::Cut::words`].
        pub(crate) cut: [AtomicU32; 2],
        pub(crate) chunks: AtomicU32,
        /// Bytes of a result that is written in place, or [`IN_STREAM`].
        pub(crate) result_size: AtomicU32,
        /// How long each item may take, in nanoseconds; 0: as long as it likes.
        pub(crate) limit: AtomicU64,
        pub(crate) plan_offset: AtomicU64,
        pub(crate) plan_len: AtomicU64,
        pub(crate) lines_offset: AtomicU64,
        pub(crate) states_offset: AtomicU64,
        pub(crate) results_offset: AtomicU64,
        pub(crate) words: JobWords,
    }

    /// What a worker says of itself.
    pub(crate) struct Report {
        /// Number of the job that the worker is in, 0 for none: its memory must not be used otherwise.
        pub(crate) joined: AtomicU64,
        /// Twice the item of the chunk or task, plus one once it has begun.
        pub(crate) item: AtomicU32,
        /// The value of [`Orders::flush`] up to which this worker has obeyed.
        pub(crate) flushed: AtomicU32,
        /// 1 while the worker may have segments mapped that were lent to it for writing.
        pub(crate) holds: AtomicU32,
        pub(crate) tasks_done: AtomicU64,
        /// Of the item that is run, if it has a deadline.
        pub(crate) clock: Clock,
        /// Nanoseconds that the worker has spent in jobs and tasks of the table, counted when it turns away from one.
        pub(crate) busy: AtomicU64,
    }

    /// One worker's place.
    pub(crate) struct Slot {
        /// Futex word that its worker sleeps on.
        pub(crate) wake: CachePadded<AtomicU32>,
        pub(crate) status: AtomicU32,
        pub(crate) pid: AtomicU32,
        pub(crate) duty: Duty,
        pub(crate) report: CachePadded<Report>,
        pub(crate) stream: StreamWords,
        /// Position in the stream up to which the pool has taken over what the records name. Written by the pool.
        pub(crate) taken_over: AtomicU64,
    }

    /// The front of the segment.
    pub(crate) struct Header {
        pub(crate) magic: AtomicU64,
        /// Identity of the executable.
        pub(crate) identity: AtomicU64,
        pub(crate) orders: CachePadded<Orders>,
        /// [`TaskTable::head`].
        pub(crate) head: CachePadded<AtomicU64>,
        pub(crate) bell: Bell,
        /// Not 0: a worker found words here that make no sense.
        pub(crate) distress: AtomicU32,
        /// Futex word that threads of the pool's process sleep on.
        pub(crate) event: CachePadded<AtomicU32>,
        pub(crate) jobs: [CachePadded<JobSlot>; JOBS],
    }
}

impl Report {
    /// Adds to the tasks done. Only the worker itself writes the count.
    pub(crate) fn count(&self, tasks: u32) {
        let done = self
            .tasks_done
            .load(Ordering::Relaxed)
            .wrapping_add(tasks.into());
        self.tasks_done.store(done, Ordering::Relaxed);
    }

    /// Adds to the time in jobs and tasks. Only the worker itself writes the sum.
    pub(crate) fn count_busy(&self, time: std::time::Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let busy = self.busy.load(Ordering::Relaxed).wrapping_add(nanos);
        self.busy.store(busy, Ordering::Relaxed);
    }
}

/// [`JobSlot::result_size`] of a job whose results go through the streams.
pub(crate) const IN_STREAM: u32 = u32::MAX;

/// States of a slot's worker, as it reports them.
pub(crate) mod status {
    pub(crate) const VACANT: u32 = 0;
    pub(crate) const READY: u32 = 2;
    pub(crate) const INITIALIZER_FAILED: u32 = 3;
    /// It claims nothing any more; it may be in its exit hook.
    pub(crate) const LEAVING: u32 = 4;
    /// A thread that touches nothing of the pool any more. Processes end instead.
    pub(crate) const GONE: u32 = 5;
    /// It could not be made what a worker of the pool is to be.
    pub(crate) const REFUSED: u32 = 6;
}

/// Where the parts are. The pool computes it; workers get it with the segment and check that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    slots: usize,
}

impl Layout {
    fn slots_at(self) -> usize {
        size_of::<Header>().next_multiple_of(PAGE)
    }

    fn entries_at(self) -> usize {
        (self.slots_at() + self.slots * size_of::<CachePadded<Slot>>()).next_multiple_of(PAGE)
    }

    fn rings_at(self) -> usize {
        (self.entries_at() + ENTRIES * size_of::<CachePadded<TaskEntry>>()).next_multiple_of(PAGE)
    }

    fn arena_at(self) -> usize {
        self.rings_at() + self.slots * RING
    }

    fn total(self) -> usize {
        self.arena_at() + ARENA
    }
}

/// The control segment, mapped.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    segment: Segment,
    layout: Layout,
}

/// The parts were checked against the segment's length when it was opened.
const CHECKED: &str = "checked when the control segment was opened";

impl Control {
    /// Makes the segment of a pool with places for `slots` workers.
    pub(crate) fn create(slots: usize) -> Result<Control, ShmError> {
        let layout = Layout { slots };
        let segment = Segment::create_sparse(layout.total())?;
        segment.reserve(0..layout.slots_at())?;
        segment.reserve(layout.entries_at()..layout.rings_at())?;
        let control = Control { segment, layout };
        for entry in control.tasks().entries {
            entry
                .state
                .store(super::word::ClaimWord::Void.bits(), Ordering::Relaxed);
        }
        control
            .header()
            .identity
            .store(sys::image().identity, Ordering::Relaxed);
        control.header().magic.store(MAGIC, Ordering::Release);
        Ok(control)
    }

    /// Opens the segment in a worker.
    pub(crate) fn open(segment: Segment, layout: Layout) -> Result<Control, String> {
        if !(1..=super::word::MAX_SLOTS).contains(&layout.slots) {
            return Err(format!(
                "no control segment is made for {} workers",
                layout.slots
            ));
        }
        if layout.total() != segment.len() {
            return Err(format!(
                "the control segment has {} bytes, {layout:?} needs {}",
                segment.len(),
                layout.total()
            ));
        }
        let control = Control { segment, layout };
        let (magic, identity) = (
            control.header().magic.load(Ordering::Acquire),
            control.header().identity.load(Ordering::Relaxed),
        );
        let own = sys::image().identity;
        if magic != MAGIC || identity != own {
            return Err(format!(
                "the pool belongs to executable {identity:016x}, this is {own:016x}: was the program replaced?"
            ));
        }
        Ok(control)
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn header(&self) -> &Header {
        self.segment.get(0).expect(CHECKED)
    }

    pub(crate) fn orders(&self) -> &Orders {
        &self.header().orders
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.header().bell
    }

    fn all_slots(&self) -> &[CachePadded<Slot>] {
        self.segment
            .slice(self.layout.slots_at(), self.layout.slots)
            .expect(CHECKED)
    }

    /// How many places there can ever be.
    pub(crate) fn capacity(&self) -> usize {
        self.layout.slots
    }

    /// The places for workers that were in use so far.
    pub(crate) fn slots(&self) -> &[CachePadded<Slot>] {
        let used = self.orders().slots.load(Ordering::Acquire) as usize; // SYNC: slots-in-use
        let slots = self.all_slots();
        &slots[..used.min(slots.len())]
    }

    /// A place that is or was in use.
    pub(crate) fn slot(&self, slot: usize) -> &Slot {
        &self.all_slots()[slot]
    }

    /// Pool: sees to it that the first `count` places have memory behind them, and counts them as used.
    pub(crate) fn use_slots(&self, count: usize) -> Result<(), ShmError> {
        let used = self.orders().slots.load(Ordering::Relaxed) as usize;
        if count > used {
            let size = size_of::<CachePadded<Slot>>();
            let start = self.layout.slots_at() + used * size;
            self.segment.reserve(start..start + (count - used) * size)?;
            let count = count as u32;
            self.orders().slots.store(count, Ordering::Release); // SYNC: slots-in-use
        }
        Ok(())
    }

    /// Pool: gives the worker in `slot` an order, and wakes it.
    pub(crate) fn order(&self, slot: usize, order: Order) {
        let slot = self.slot(slot);
        slot.duty.give(order, self.bell(), &slot.wake, &SystemFutex);
    }

    /// Pool: wakes the worker in `slot`, whatever it sleeps for.
    pub(crate) fn rouse(&self, slot: usize) {
        rouse(&self.slot(slot).wake, &SystemFutex);
    }

    pub(crate) fn tasks(&self) -> TaskTable<'_> {
        let entries = self
            .segment
            .slice(self.layout.entries_at(), ENTRIES)
            .expect(CHECKED);
        TaskTable {
            entries,
            head: &self.header().head,
            tail: &self.orders().tail,
        }
    }

    /// The bytes of a worker's ring.
    pub(crate) fn ring(&self, slot: usize) -> Ring<'_> {
        Ring(
            self.segment
                .cells(self.layout.rings_at() + slot * RING, RING)
                .expect(CHECKED),
        )
    }

    /// Sees to it that the ring of `slot` has memory behind it.
    pub(crate) fn reserve_ring(&self, slot: usize) -> Result<(), ShmError> {
        let start = self.layout.rings_at() + slot * RING;
        self.segment.reserve(start..start + RING)
    }

    pub(crate) fn stream_reader(&self, slot: usize) -> StreamReader<'_, Ring<'_>> {
        StreamReader::new(&self.slot(slot).stream, self.ring(slot))
    }

    /// Where the arena begins, and its length.
    pub(crate) fn arena(&self) -> (usize, usize) {
        (self.layout.arena_at(), ARENA)
    }

    /// A copy of `len` bytes of the arena.
    pub(crate) fn read_arena(&self, offset: u64, len: u64) -> Result<Vec<u8>, ShmError> {
        let (offset, len) = (offset as usize, len as usize);
        let cells: Cells<'_, u8> = self.segment.cells(offset, len)?;
        let mut bytes = vec![0; len];
        cells.read_into(0, &mut bytes);
        Ok(bytes)
    }

    /// Writes `bytes` to the arena, to memory that was allocated there.
    pub(crate) fn write_arena(&self, offset: usize, bytes: &[u8]) {
        self.segment
            .cells(offset, bytes.len())
            .expect("allocated in the arena")
            .write_from(0, bytes);
    }

    /// Wakes every thread of the pool's process that waits for something.
    pub(crate) fn signal_event(&self) {
        let event = &self.header().event;
        event.fetch_add(1, Ordering::Release); // SYNC: event
        sys::futex_wake(event, u32::MAX);
    }

    /// The value of the event word; to be read before looking at what is waited for.
    pub(crate) fn event(&self) -> u32 {
        self.header().event.load(Ordering::Acquire) // SYNC: event
    }

    /// Sleeps until the event word is no longer `seen`, at most `timeout`.
    pub(crate) fn wait_event(&self, seen: u32, timeout: Option<std::time::Duration>) {
        sys::futex_wait(&self.header().event, seen, timeout);
    }

    /// Tells the workers that there is something for `wanted` of them.
    pub(crate) fn ring_bell(&self, wanted: u32) {
        let slots = self.slots();
        self.bell().ring(
            wanted,
            |slot| slots.get(slot).map(|slot| &*slot.wake),
            &SystemFutex,
        );
    }

    /// Wakes one more sleeping worker, if there is one.
    pub(crate) fn wake_another(&self) {
        if self.bell().has_sleepers() {
            let slots = self.slots();
            self.bell().wake_some(
                1,
                |slot| slots.get(slot).map(|slot| &*slot.wake),
                &SystemFutex,
            );
        }
    }

    /// Wakes everybody, whatever the marks say.
    pub(crate) fn ring_all(&self) {
        self.bell()
            .ring_all(self.slots().iter().map(|slot| &*slot.wake), &SystemFutex);
        self.signal_event();
    }
}

/// The futex of the system.
#[derive(Debug)]
pub(crate) struct SystemFutex;

impl Futex for SystemFutex {
    fn wait(&self, word: &AtomicU32, expected: u32) {
        sys::futex_wait(word, expected, None);
    }

    fn wake(&self, word: &AtomicU32) {
        sys::futex_wake(word, 1);
    }
}

/// The bytes of a worker's ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a>(Cells<'a, u8>);

impl RingBytes for Ring<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.0.write_from(offset as usize, bytes);
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.0.read_into(offset as usize, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_that_does_not_fit_its_segment_is_refused() {
        for slots in [0, 1, 2, 1 << 20, usize::MAX, 0x24ca_7777_7777_7777] {
            let segment = Segment::create(4096).unwrap();
            assert!(Control::open(segment, Layout { slots }).is_err(), "{slots}");
        }
    }
}
