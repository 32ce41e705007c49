//! The queue's memory: a ring of bytes under two robust locks.

use super::codec::Source;
use super::damage::Damage;
use super::errors::QueueError;
use super::protocol::{End, Gate, Protocol, Stock};
use super::shape::{Position, Shape, Span, UNIT};
use crate::wait::{Refusal, Wait, rest, wait_for};
use pool_shm::sync::{EventCount, LockError, RawMutex, RawMutexGuard};
use pool_shm::{Cells, Segment};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

// Offsets in the segment. Each end's lock and words share a pair of cache lines.
const MAGIC: usize = 0;
const TYPE: usize = 8;
const ITEMS: usize = 16;
const UNITS: usize = 24;
const APART: usize = 32;
const PUT_LOCK: usize = 128;
const PUT_END: usize = PUT_LOCK + RawMutex::SIZE;
const GET_LOCK: usize = 256;
const GET_END: usize = GET_LOCK + RawMutex::SIZE;
const GATE: usize = 384;
const DATA: usize = 512;

/// Words of the header.
const WORDS: usize = 5;
/// In the last of them: no message goes into a segment of its own.
const NEVER: u64 = u64::MAX;

const MAGIC_WORD: u64 = u64::from_le_bytes(*b"queue-02");

// Each look at the other end takes a cache line away from it while it works: who has to wait looks seldom, and finds more at once.

/// How long a consumer that finds nothing waits before it looks again: less than an answer from another processor takes.
const FIRST: Duration = Duration::from_nanos(400);
/// How long a producer that finds no room waits for each message that is there: less than getting it takes, so the ring does not run empty meanwhile.
const EACH: Duration = Duration::from_nanos(20);
/// But not longer at a time, and not more often in one wait: then somebody else has the consumer's processor.
const LONGEST: Duration = Duration::from_micros(2);
const RESTS: u32 = 8;

/// What goes into the ring as one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether they start with a table of segments.
    pub(crate) table: bool,
}

/// What a push did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed {
    /// How many messages it put.
    pub(crate) count: usize,
    /// The number of the first.
    pub(crate) first: u32,
}

/// The shared memory of a queue, attached and checked.
#[derive(Debug)]
pub(crate) struct Ring {
    segment: Segment,
    shape: Shape,
    /// Messages of more bytes go into segments of their own.
    apart_above: Option<usize>,
    put_lock: RawMutex,
    get_lock: RawMutex,
}

/// A message in the ring, for the holder of the consumers' lock.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    data: &'a Cells<'a, u8>,
    start: usize,
    len: usize,
    table: bool,
}

impl Ring {
    /// A new, empty ring for messages of the type with this fingerprint.
    pub(crate) fn create(
        shape: Shape,
        apart_above: Option<usize>,
        kind: u64,
    ) -> Result<Self, QueueError> {
        let segment = Segment::create(DATA + shape.units as usize * UNIT)?;
        let words = segment.cells::<u64>(0, WORDS)?;
        words.set(APART / UNIT, apart_above.map_or(NEVER, |most| most as u64));
        words.set(TYPE / UNIT, kind);
        words.set(ITEMS / UNIT, u64::from(shape.items));
        words.set(UNITS / UNIT, u64::from(shape.units));
        words.set(MAGIC / UNIT, MAGIC_WORD);
        let put_lock = RawMutex::init(&segment, PUT_LOCK)?;
        let get_lock = RawMutex::init(&segment, GET_LOCK)?;
        Ok(Self {
            segment,
            shape,
            apart_above,
            put_lock,
            get_lock,
        })
    }

    /// The ring in a segment that came from somewhere.
    pub(crate) fn attach(
        segment: Segment,
        kind: u64,
        type_name: &'static str,
    ) -> Result<Self, QueueError> {
        let words = segment.cells::<u64>(0, WORDS)?;
        let [found_kind, items, units] = [TYPE, ITEMS, UNITS].map(|at| words.get(at / UNIT));
        if words.get(MAGIC / UNIT) != MAGIC_WORD {
            return Err(QueueError::no_queue(segment.id()));
        }
        if found_kind != kind {
            return Err(QueueError::other_type(type_name));
        }
        let room = (segment.len() - DATA) / UNIT;
        let part = |value: u64| {
            u32::try_from(value)
                .ok()
                .filter(|value| (1..=Shape::MAX).contains(value))
        };
        let shape = match (part(items), part(units)) {
            (Some(items), Some(units)) if units as usize <= room => Shape { items, units },
            _ => return Err(QueueError::header(items, units, room)),
        };
        let apart_above = Some(words.get(APART / UNIT)).filter(|&most| most != NEVER);
        let put_lock = RawMutex::attach(&segment, PUT_LOCK)?;
        let get_lock = RawMutex::attach(&segment, GET_LOCK)?;
        Ok(Self {
            segment,
            shape,
            apart_above: apart_above.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            put_lock,
            get_lock,
        })
    }

    /// Its memory.
    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// From how many bytes on a message goes into a segment of its own, if at all.
    pub(crate) fn apart_above(&self) -> Option<usize> {
        self.apart_above
    }

    /// How much it holds.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Puts as many of `payloads` as there is room for, at least one, in one step. Each of them fits the ring.
    pub(crate) fn push(&self, payloads: &[Payload<'_>], wait: Wait) -> Result<Pushed, Refusal> {
        let Some(first) = payloads.first() else {
            return Ok(Pushed { count: 0, first: 0 });
        };
        let need = Shape::frame_units(first.bytes.len()).unwrap_or(u32::MAX);
        let protocol = self.protocol();
        let mut rests = 0..RESTS;
        wait_for(&protocol.get.moved, wait, |first_look| {
            if !first_look && !protocol.may_put(need) {
                if rests.next().is_some() {
                    rest(EACH.saturating_mul(protocol.backlog()).min(LONGEST));
                }
                return None;
            }
            self.push_now(protocol, payloads, wait).transpose()
        })
    }

    /// Gets up to `max` messages, at least one, in one step: `take` sees each while the consumers' lock is held and copies it out. One that it does
    /// not want stays, and so do those behind it.
    pub(crate) fn pop(
        &self,
        max: usize,
        wait: Wait,
        mut take: impl FnMut(Frame<'_>) -> bool,
    ) -> Result<usize, Refusal> {
        let protocol = self.protocol();
        wait_for(&protocol.put.moved, wait, |first_look| {
            if !protocol.may_get() {
                if first_look && !matches!(wait, Wait::No) {
                    rest(FIRST);
                }
                return None;
            }
            self.pop_now(protocol, max, wait, &mut take).transpose()
        })
    }

    /// Ends all putting and wakes everybody.
    pub(crate) fn close(&self) -> Result<(), Refusal> {
        let protocol = self.protocol();
        let lock = self.lock(&self.put_lock, Wait::Forever);
        protocol.close();
        let outcome = lock.map(drop);
        self.wake_all();
        outcome
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.protocol().is_closed()
    }

    /// What it held at one moment of this call.
    pub(crate) fn span(&self) -> Result<Span, Refusal> {
        let protocol = self.protocol();
        let (head, tail) = match protocol.snapshot() {
            Some(pair) => pair,
            None => {
                let _still = self.lock(&self.get_lock, Wait::Forever)?;
                protocol
                    .snapshot()
                    .expect("the head stands still under its lock")
            }
        };
        self.shape.span(head, tail).map_err(Refusal::Damaged)
    }

    /// Raised when there is a message.
    pub(crate) fn event_more(&self) -> &EventCount {
        &self.protocol().put.moved
    }

    /// Whether it is worth trying to get: there is a message, or there will be none.
    pub(crate) fn may_get(&self) -> bool {
        self.protocol().may_get()
    }

    /// Whether message `number` has left the ring.
    pub(crate) fn has_passed(&self, number: u32) -> bool {
        let ahead = self.protocol().head().count.wrapping_sub(number);
        (1..=Shape::MAX).contains(&ahead)
    }

    fn push_now(
        &self,
        protocol: Protocol<'_>,
        payloads: &[Payload<'_>],
        wait: Wait,
    ) -> Result<Option<Pushed>, Refusal> {
        let lock = self.lock(&self.put_lock, wait)?;
        if protocol.is_closed() {
            return Err(Refusal::Closed);
        }
        let mut tail = protocol.tail();
        let (mut count, first) = (0, tail.count);
        for payload in payloads {
            let units = Shape::frame_units(payload.bytes.len()).unwrap_or(u32::MAX);
            if !protocol.has_room(tail, units)? {
                break;
            }
            self.write(tail, *payload);
            tail = self.shape.advance(tail, units);
            count += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        protocol.publish(tail);
        drop(lock);
        protocol
            .put
            .moved
            .notify(u32::try_from(count).unwrap_or(u32::MAX));
        Ok(Some(Pushed { count, first }))
    }

    fn pop_now(
        &self,
        protocol: Protocol<'_>,
        max: usize,
        wait: Wait,
        take: &mut impl FnMut(Frame<'_>) -> bool,
    ) -> Result<Option<usize>, Refusal> {
        let lock = self.lock(&self.get_lock, wait)?;
        let (mut head, mut span) = match protocol.stock()? {
            Stock::Some(head, span) => (head, span),
            Stock::Empty => return Ok(None),
            Stock::Closed => return Err(Refusal::Closed),
        };
        let data = self.data();
        let mut count = 0;
        while count < max && span.items > 0 {
            let (frame, units) = self.read(&data, head, span)?;
            if !take(frame) {
                break;
            }
            head = self.shape.advance(head, units);
            span = Span {
                items: span.items - 1,
                units: span.units - units,
            };
            count += 1;
        }
        if count == 0 {
            return Ok(Some(0));
        }
        protocol.release(head);
        drop(lock);
        protocol.get.moved.notify_all();
        Ok(Some(count))
    }

    /// Writes a message behind the published ones.
    fn write(&self, at: Position, payload: Payload<'_>) {
        let data = self.data();
        let start = self.shape.offset(at) * UNIT;
        let word = header(payload.bytes.len(), payload.table, at.count);
        self.header(start).store(word, Ordering::Relaxed);
        let start = if start + UNIT == data.len() {
            0
        } else {
            start + UNIT
        };
        let whole = payload.bytes.len().min(data.len() - start);
        let (first, rest) = payload.bytes.split_at(whole);
        data.write_from(start, first);
        data.write_from(0, rest);
    }

    /// The message at `at`, and its units: not more than `span` has.
    fn read<'a>(
        &self,
        data: &'a Cells<'a, u8>,
        at: Position,
        span: Span,
    ) -> Result<(Frame<'a>, u32), Damage> {
        let start = self.shape.offset(at) * UNIT;
        let word = self.header(start).load(Ordering::Relaxed);
        let len = usize::try_from(word & u64::from(u32::MAX)).unwrap_or(usize::MAX);
        let damage = Damage::frame(word, at.count, span.units);
        // The last message must end where the tail is, and each of the others must leave a header for those behind it.
        let behind = span.items - 1;
        let fits = |units: &u32| match behind {
            0 => *units == span.units,
            _ => *units <= span.units.saturating_sub(behind),
        };
        let units = Shape::frame_units(len).filter(fits).ok_or(damage)?;
        let table = word & TABLE != 0;
        if word != header(len, table, at.count) {
            return Err(damage);
        }
        let start = if start + UNIT == data.len() {
            0
        } else {
            start + UNIT
        };
        let frame = Frame {
            data,
            start,
            len,
            table,
        };
        Ok((frame, units))
    }

    fn lock<'a>(&self, mutex: &'a RawMutex, wait: Wait) -> Result<RawMutexGuard<'a>, Refusal> {
        wait.lock(mutex).or_else(|error| match error {
            LockError::OwnerDied(guard) => {
                // It may have moved its end without telling anybody, or have been the one that was woken for a message. Its end itself is in order: one store moves it.
                self.wake_all();
                Ok(guard)
            }
            LockError::Damaged { code } => Err(Refusal::Damaged(Damage::lock(code))),
            // The lock is never held while other code runs, so what remains is a peer that holds it for long.
            _ => Err(Refusal::Timeout),
        })
    }

    fn wake_all(&self) {
        let protocol = self.protocol();
        protocol.put.moved.notify_all();
        protocol.get.moved.notify_all();
    }

    fn protocol(&self) -> Protocol<'_> {
        let end = |at| self.segment.get::<End>(at).expect("lies before the data");
        Protocol {
            shape: self.shape,
            put: end(PUT_END),
            get: end(GET_END),
            gate: self
                .segment
                .get::<Gate>(GATE)
                .expect("lies before the data"),
        }
    }

    /// The header of the message at an offset of the ring.
    fn header(&self, start: usize) -> &AtomicU64 {
        self.segment.get(DATA + start).expect("a unit of the ring")
    }

    fn data(&self) -> Cells<'_, u8> {
        let bytes = self.shape.units as usize * UNIT;
        self.segment
            .cells(DATA, bytes)
            .expect("checked when the ring was made or attached")
    }
}

impl Source for Frame<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn has_table(&self) -> bool {
        self.table
    }

    fn copy_to(&self, to: &mut [u8]) {
        let whole = self.len.min(self.data.len() - self.start);
        let (first, rest) = to.split_at_mut(whole);
        self.data.read_into(self.start, first);
        self.data.read_into(0, rest);
    }
}

/// In a message's header: it starts with a table of segments.
const TABLE: u64 = 1 << 32;

/// What stands before a message: its length, whether a table comes first, and the lower 31 bits of its number, which tell it from whatever else may lie there.
fn header(len: usize, table: bool, count: u32) -> u64 {
    let table = if table { TABLE } else { 0 };
    u64::from(count) << 33 | table | len as u64
}
