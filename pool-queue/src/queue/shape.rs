//! The arithmetic of the ring: positions, and what lies between two of them.
//!
//! Lengths are counted in units of eight bytes. A position counts units modulo twice the ring, so that a full ring and an empty one differ, and messages modulo 2^32.

use super::damage::Damage;

/// Bytes of a unit; everything in the ring starts at a multiple of it.
pub(crate) const UNIT: usize = 8;

/// How much the ring holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Messages, at most; from 1 to 2^31 - 1.
    pub(crate) items: u32,
    /// Units, at most; from 1 to 2^31 - 1.
    pub(crate) units: u32,
}

/// Where the next message starts, and how many there have been: one word, so that one store moves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Messages so far, modulo 2^32.
    pub(crate) count: u32,
    /// Units so far, modulo twice the ring.
    pub(crate) unit: u32,
}

/// What lies between the head and the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Messages.
    pub(crate) items: u32,
    /// Units.
    pub(crate) units: u32,
}

impl Position {
    /// As it stands in shared memory.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.unit)
    }

    /// From shared memory; not checked.
    pub(crate) fn unpack(word: u64) -> Self {
        let low = word & u64::from(u32::MAX);
        let part = |bits: u64| u32::try_from(bits).expect("32 bits of 64");
        Self {
            count: part(word >> 32),
            unit: part(low),
        }
    }
}

impl Shape {
    /// The largest number of items, and of units.
    pub(crate) const MAX: u32 = i32::MAX.unsigned_abs();

    /// Bytes that a message may have: its length has 32 bits.
    pub(crate) fn largest(&self) -> usize {
        ((self.units as usize - 1) * UNIT).min(u32::MAX as usize)
    }

    /// Units that a message of `len` bytes takes, its header included; `None` if it is larger than any ring.
    pub(crate) fn frame_units(len: usize) -> Option<u32> {
        u32::try_from(1 + len.div_ceil(UNIT))
            .ok()
            .filter(|&units| units <= Self::MAX)
    }

    /// The position after a message of so many units, from a position in the ring; not more units than the ring has.
    pub(crate) fn advance(&self, from: Position, units: u32) -> Position {
        // Both are less than 2^32, and there is no division: this stands on the way of each message.
        let round = 2 * self.units;
        let left = round - from.unit;
        let unit = if units < left {
            from.unit + units
        } else {
            units - left
        };
        Position {
            count: from.count.wrapping_add(1),
            unit,
        }
    }

    /// The offset in the ring of a position, in units.
    pub(crate) fn offset(&self, at: Position) -> usize {
        let unit = if at.unit >= self.units {
            at.unit - self.units
        } else {
            at.unit
        };
        unit as usize
    }

    /// What lies from `head` to `tail`; both come from shared memory and may be anything.
    pub(crate) fn span(&self, head: Position, tail: Position) -> Result<Span, Damage> {
        let round = 2 * self.units;
        if head.unit.max(tail.unit) >= round {
            return Err(Damage::positions(head, tail));
        }
        let items = tail.count.wrapping_sub(head.count);
        let units = if tail.unit >= head.unit {
            tail.unit - head.unit
        } else {
            round - head.unit + tail.unit
        };
        // Each message has one unit at least, its header.
        if units <= self.units
            && items <= self.items
            && items <= units
            && (items == 0) == (units == 0)
        {
            Ok(Span { items, units })
        } else {
            Err(Damage::positions(head, tail))
        }
    }

    /// Whether a message of so many units may be added to what is there.
    pub(crate) fn fits(&self, span: Span, units: u32) -> bool {
        span.items < self.items && units <= self.units - span.units
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Position = Position {
        count: u32::MAX,
        unit: 0,
    };

    proptest! {
        #[test]
        fn what_goes_in_comes_out(items in 1_u32..20, units in 1_u32..40, steps in proptest::collection::vec((any::<bool>(), 1_u32..12), 0..400)) {
            let shape = Shape { items, units };
            let (mut head, mut tail) = (START, START);
            let mut inside = std::collections::VecDeque::new();
            for (put, need) in steps {
                let span = shape.span(head, tail).unwrap();
                prop_assert_eq!(span.items as usize, inside.len());
                prop_assert_eq!(span.units, inside.iter().sum::<u32>());
                if put && shape.fits(span, need) {
                    inside.push_back(need);
                    tail = shape.advance(tail, need);
                    prop_assert_eq!(Position::unpack(tail.pack()), tail);
                } else if let Some(units) = inside.pop_front() {
                    prop_assert!(shape.offset(head) < units as usize + shape.units as usize);
                    head = shape.advance(head, units);
                }
            }
        }

        #[test]
        fn any_two_words_give_a_span_within_the_ring_or_an_error(head: u64, tail: u64, items in 1..=Shape::MAX, units in 1..=Shape::MAX) {
            let shape = Shape { items, units };
            let (head, tail) = (Position::unpack(head), Position::unpack(tail));
            if let Ok(span) = shape.span(head, tail) {
                prop_assert!(span.items <= items && span.units <= units);
                prop_assert!(shape.offset(head) < units as usize);
                prop_assert!(shape.offset(tail) < units as usize);
            }
        }
    }

    #[test]
    fn a_frame_has_a_header_and_whole_units() {
        assert_eq!(Shape::frame_units(0), Some(1));
        assert_eq!(Shape::frame_units(8), Some(2));
        assert_eq!(Shape::frame_units(9), Some(3));
        assert_eq!(Shape::frame_units(usize::MAX), None);
    }
}
