//! The claim word: who has a chunk or a task, in 32 bits that change only by compare-and-swap.
//!
//! ```text
//! Free(first)          items from `first` on are to be run; claimed by nobody
//!   │ worker: CAS             ▲ pool: the claimer is dead, items from `first` on are left
//!   ▼                         │
//! Claimed(owner) ─────────────┘
//!   │ worker: swap
//!   ▼
//! Done(owner)          every item has its result
//!
//! Free(_) ── pool: CAS ──► Void         the job was cancelled, or the entry is not in use
//! Claimed(_) ── pool: CAS ──► Revoked   (tasks only) nothing that the claimer does counts any more; it is killed
//! ```

/// Most items that one chunk can hold: the index of the next item must fit into a [`ClaimWord::Free`].
pub(crate) const MAX_CHUNK_ITEMS: u32 = (1 << 29) - 1;
/// Most workers that a pool can have at once.
pub(crate) const MAX_SLOTS: usize = 1 << 10;

const KIND_SHIFT: u32 = 30;
const WAITED: u32 = 1 << 29;
const SLOT_SHIFT: u32 = 19;
const GENERATION_MASK: u32 = (1 << SLOT_SHIFT) - 1;

/// A worker as the claim words name it: its slot, and which life of that slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    slot: u16,
    generation: u32,
}

impl Owner {
    /// The worker of life `generation` in `slot`; generations are counted modulo 2^19.
    pub(crate) fn new(slot: usize, generation: u32) -> Owner {
        assert!(slot < MAX_SLOTS, "slot {slot} of at most {MAX_SLOTS}");
        Owner {
            slot: slot as u16,
            generation: generation & GENERATION_MASK,
        }
    }

    pub(crate) fn slot(self) -> usize {
        self.slot.into()
    }

    fn bits(self) -> u32 {
        (u32::from(self.slot) << SLOT_SHIFT) | self.generation
    }

    fn from_bits(bits: u32) -> Owner {
        Owner {
            slot: ((bits >> SLOT_SHIFT) & (MAX_SLOTS as u32 - 1)) as u16,
            generation: bits & GENERATION_MASK,
        }
    }
}

/// A snapshot of a claim word. Every bit pattern is one of these, so a corrupt word is never undefined behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimWord {
    Free {
        first: u32,
    },
    Claimed(Owner),
    Done(Owner),
    Void,
    /// The pool has cancelled it while it ran, and kills the worker that had claimed it.
    Revoked,
}

impl ClaimWord {
    /// The bits without the mark of [`waited`].
    pub(crate) fn bits(self) -> u32 {
        match self {
            ClaimWord::Free { first } => first & MAX_CHUNK_ITEMS,
            ClaimWord::Claimed(owner) => (1 << KIND_SHIFT) | owner.bits(),
            ClaimWord::Done(owner) => (2 << KIND_SHIFT) | owner.bits(),
            ClaimWord::Void => 3 << KIND_SHIFT,
            ClaimWord::Revoked => (3 << KIND_SHIFT) | 1,
        }
    }

    pub(crate) fn from_bits(bits: u32) -> ClaimWord {
        match bits >> KIND_SHIFT {
            0 => ClaimWord::Free {
                first: bits & MAX_CHUNK_ITEMS,
            },
            1 => ClaimWord::Claimed(Owner::from_bits(bits)),
            2 => ClaimWord::Done(Owner::from_bits(bits)),
            _ if bits & MAX_CHUNK_ITEMS == 1 => ClaimWord::Revoked,
            _ => ClaimWord::Void,
        }
    }
}

/// Whether somebody sleeps until this word becomes `Done` (set by the pool, read by the worker that finishes).
pub(crate) fn waited(bits: u32) -> bool {
    bits & WAITED != 0
}

/// The mark to add to a word before sleeping on it.
pub(crate) const fn waited_mark() -> u32 {
    WAITED
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_free_from_the_first_item() {
        assert_eq!(ClaimWord::from_bits(0), ClaimWord::Free { first: 0 });
    }

    proptest! {
        #[test]
        fn every_word_survives_the_round_trip(slot in 0..MAX_SLOTS, generation in 0u32..(1 << 19), first in 0..=MAX_CHUNK_ITEMS) {
            let owner = Owner::new(slot, generation);
            for word in [ClaimWord::Free { first }, ClaimWord::Claimed(owner), ClaimWord::Done(owner), ClaimWord::Void, ClaimWord::Revoked] {
                prop_assert_eq!(ClaimWord::from_bits(word.bits()), word);
                prop_assert_eq!(ClaimWord::from_bits(word.bits() | waited_mark()), word);
                prop_assert!(waited(word.bits() | waited_mark()) && !waited(word.bits()));
            }
        }

        #[test]
        fn any_bits_decode(bits: u32) {
            let word = ClaimWord::from_bits(bits);
            prop_assert_eq!(ClaimWord::from_bits(word.bits()), word);
        }
    }
}
