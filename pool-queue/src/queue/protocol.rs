//! The protocol of the ring: who may move which position, and in which order. README.md beside this file has the argument.

use super::damage::Damage;
use super::shape::{Position, Shape, Span};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, words_layout};
use pool_shm::sync::EventCount;

words_layout! {
    /// One end of the ring: the words that its lock protects, and the event that it raises for the other end.
    pub(crate) struct End {
        /// The position that this end moves.
        pub(crate) position: AtomicU64,
        /// What this end last saw of the other one's position.
        pub(crate) seen: AtomicU64,
        /// Raised when this end has moved.
        pub(crate) moved: EventCount,
    }

    /// Whether the queue takes any more.
    pub(crate) struct Gate {
        /// Not zero: closed.
        pub(crate) closed: AtomicU32,
    }
}

/// The words of a queue, as one process sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol<'a> {
    /// How much the ring holds, as checked when it was attached.
    pub(crate) shape: Shape,
    /// Where messages are put: the tail.
    pub(crate) put: &'a End,
    /// Where messages are got: the head.
    pub(crate) get: &'a End,
    /// Whether it is closed.
    pub(crate) gate: &'a Gate,
}

/// What a consumer finds.
#[derive(Debug)]
#[must_use]
pub(crate) enum Stock {
    /// Messages from the head on.
    Some(Position, Span),
    /// Nothing yet.
    Empty,
    /// Nothing, and there will be nothing.
    Closed,
}

/// For who holds the producers' lock.
impl Protocol<'_> {
    /// Where the next message goes.
    pub(crate) fn tail(&self) -> Position {
        load(&self.put.position)
    }

    /// Whether a message of so many units may be written at `tail`, which may be beyond the published one.
    pub(crate) fn has_room(&self, tail: Position, units: u32) -> Result<bool, Damage> {
        let seen = self.shape.span(load(&self.put.seen), tail)?;
        if self.shape.fits(seen, units) {
            return Ok(true);
        }
        // SYNC: queue-space-free. The consumers have read what lies before the head, so it may be written over.
        let head = Position::unpack(self.get.position.load(Ordering::Acquire));
        let span = self.shape.span(head, tail)?;
        self.put.seen.store(head.pack(), Ordering::Relaxed);
        Ok(self.shape.fits(span, units))
    }

    /// Makes everything up to `tail` visible: the one store that puts.
    pub(crate) fn publish(&self, tail: Position) {
        // SYNC: queue-message-visible
        self.put.position.store(tail.pack(), Ordering::Release);
    }

    /// Ends all putting. What was put before is visible to whoever sees this.
    pub(crate) fn close(&self) {
        // SYNC: queue-closed
        self.gate.closed.store(1, Ordering::Release);
    }
}

/// For who holds the consumers' lock.
impl Protocol<'_> {
    /// What there is to get.
    pub(crate) fn stock(&self) -> Result<Stock, Damage> {
        let head = load(&self.get.position);
        let span = self.shape.span(head, load(&self.get.seen))?;
        if span.items > 0 {
            return Ok(Stock::Some(head, span));
        }
        // Before the tail is read: it was set after the last message was published.
        let closed = self.is_closed();
        // SYNC: queue-message-visible
        let tail = Position::unpack(self.put.position.load(Ordering::Acquire));
        let span = self.shape.span(head, tail)?;
        self.get.seen.store(tail.pack(), Ordering::Relaxed);
        Ok(match span.items {
            0 if closed => Stock::Closed,
            0 => Stock::Empty,
            _ => Stock::Some(head, span),
        })
    }

    /// Gives what lies before `head` back to the producers: the one store that gets.
    pub(crate) fn release(&self, head: Position) {
        // SYNC: queue-space-free
        self.get.position.store(head.pack(), Ordering::Release);
    }
}

/// For everybody, without a lock: hints, and snapshots.
impl Protocol<'_> {
    /// Whether nothing more will be put.
    pub(crate) fn is_closed(&self) -> bool {
        // SYNC: queue-closed
        self.gate.closed.load(Ordering::Acquire) != 0
    }

    /// Whether it is worth taking the lock to put a message of so many units.
    pub(crate) fn may_put(&self, units: u32) -> bool {
        let (head, tail) = (load(&self.get.position), load(&self.put.position));
        self.is_closed()
            || self
                .shape
                .span(head, tail)
                .map_or(true, |span| self.shape.fits(span, units))
    }

    /// Whether it is worth taking the lock to get. If not, the queue was empty at one moment of this call.
    ///
    /// What the consumers know already is asked first: the tail lies in a cache line that producers write.
    pub(crate) fn may_get(&self) -> bool {
        let head = load(&self.get.position);
        head != load(&self.get.seen) || self.is_closed() || head != load(&self.put.position)
    }

    /// How many messages there are, about.
    #[cfg(not(loom))]
    pub(crate) fn backlog(&self) -> u32 {
        let (head, tail) = (load(&self.get.position), load(&self.put.position));
        tail.count.wrapping_sub(head.count) & Shape::MAX
    }

    /// The oldest message that is still there, or where the next one goes.
    #[cfg(not(loom))]
    pub(crate) fn head(&self) -> Position {
        load(&self.get.position)
    }

    /// What was in the queue at one moment of this call; `None` if it was moving all the time.
    pub(crate) fn snapshot(&self) -> Option<(Position, Position)> {
        const TRIES: u32 = 32;
        for _ in 0..TRIES {
            let head = load(&self.get.position);
            let tail = load(&self.put.position);
            if load(&self.get.position) == head {
                return Some((head, tail));
            }
        }
        None
    }
}

fn load(word: &AtomicU64) -> Position {
    Position::unpack(word.load(Ordering::Acquire))
}

#[cfg(all(test, loom))]
mod model;
