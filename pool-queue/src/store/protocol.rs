//! The protocol of the store: the words, and the single stores that move an item. README.md beside this folder's `mod.rs` has the argument.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, words_layout};
use crate::queue::Damage;
use pool_shm::sync::EventCount;

words_layout! {
    /// The words of the store as a whole.
    pub(crate) struct Words {
        /// Not zero: the index may be wrong.
        pub(crate) busy: AtomicU32,
        /// Not zero: nothing is put any more.
        pub(crate) closed: AtomicU32,
        /// The number of the next item.
        pub(crate) number: AtomicU64,
        /// Items in the queue.
        pub(crate) queued: AtomicU32,
        /// Items with consumers.
        pub(crate) taken: AtomicU32,
        /// Bytes of all of them.
        pub(crate) used: AtomicU64,
        /// How many slots are free.
        pub(crate) free_slots: AtomicU32,
        /// The first free block.
        pub(crate) free_block: AtomicU32,
        /// How many entries the log of losses has had.
        pub(crate) losses: AtomicU64,
        /// Raised when there is an item.
        pub(crate) more: EventCount,
        /// Raised when there is room.
        pub(crate) room: EventCount,
        /// Raised when nothing is queued or taken any more.
        pub(crate) done: EventCount,
    }

    /// The place of one item.
    pub(crate) struct Slot {
        /// One of the states; the word that says where the item is.
        pub(crate) state: AtomicU32,
        /// How often it was taken.
        pub(crate) attempts: AtomicU32,
        pub(crate) number: AtomicU64,
        pub(crate) rank: AtomicU64,
        /// Bytes, and whether a table of segments comes first.
        pub(crate) length: AtomicU64,
        pub(crate) first: AtomicU32,
        pub(crate) owner: AtomicU32,
        pub(crate) owner_start: AtomicU64,
        /// The number of its loss, and what is logged.
        pub(crate) loss: AtomicU64,
        pub(crate) loss_entry: AtomicU64,
    }
}

/// Nobody's.
pub(crate) const FREE: u32 = 0;
/// In the queue.
pub(crate) const QUEUED: u32 = 1;
/// With a consumer.
pub(crate) const TAKEN: u32 = 2;
/// Its consumer is gone; being logged.
pub(crate) const ORPHAN: u32 = 3;

/// No block.
pub(crate) const NONE: u32 = u32::MAX;
/// In a length: a table of segments comes first.
const TABLE: u64 = 1 << 63;

/// How the store is made, as checked when it was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Bytes of all items, at most.
    pub(crate) bytes: u64,
    /// Bytes of a block.
    pub(crate) block: u32,
    /// Whether the newest item comes first, whatever its rank.
    pub(crate) newest_first: bool,
    /// Whether items are taken and reported done.
    pub(crate) claims: bool,
    /// Whether an orphan goes back into the queue.
    pub(crate) gives_back: bool,
}

/// A process that takes items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    /// When it started, by the kernel's count; tells it from a later one of the same number.
    pub(crate) start: u64,
}

/// What is known of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) slot: u32,
    pub(crate) number: u64,
    pub(crate) rank: u64,
    pub(crate) len: u64,
    pub(crate) table: bool,
    pub(crate) first: u32,
    /// How often it was taken before.
    pub(crate) attempts: u32,
}

/// The words of a store, as one process sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol<'a> {
    pub(crate) rules: Rules,
    pub(crate) words: &'a Words,
    pub(crate) slots: &'a [Slot],
    pub(crate) heap: &'a [AtomicU32],
    pub(crate) free: &'a [AtomicU32],
    pub(crate) next: &'a [AtomicU32],
    pub(crate) log: &'a [AtomicU64],
}

/// For the holder of the lock: around every change.
impl Protocol<'_> {
    /// Whether the last change was not brought to its end.
    pub(crate) fn is_torn(&self) -> bool {
        self.words.busy.load(Ordering::Acquire) != 0
    }

    /// From now on the index may be wrong.
    pub(crate) fn begin(&self) {
        // A read-modify-write that acquires: no later store comes before it.
        self.words.busy.swap(1, Ordering::AcqRel);
    }

    /// The index is right again.
    pub(crate) fn end(&self) {
        // SYNC: store-index-right
        self.words.busy.store(0, Ordering::Release);
    }

    /// Ends all putting.
    pub(crate) fn close(&self) {
        // SYNC: store-closed
        self.words.closed.store(1, Ordering::Release);
    }
}

/// For the holder of the lock: the stores that move an item.
impl Protocol<'_> {
    /// Puts a message that lies in the chain from `first` on into `slot`.
    pub(crate) fn commit_put(
        &self,
        at: u32,
        rank: u64,
        (len, table, first): (u64, bool, u32),
    ) -> Result<u64, Damage> {
        let slot = self.slot(at)?;
        let number = self.words.number.load(Ordering::Relaxed);
        let rank = if self.rules.newest_first {
            !number
        } else {
            rank
        };
        let length = if table { len | TABLE } else { len };
        slot.number.store(number, Ordering::Relaxed);
        slot.rank.store(rank, Ordering::Relaxed);
        slot.length.store(length, Ordering::Relaxed);
        slot.first.store(first, Ordering::Relaxed);
        slot.attempts.store(0, Ordering::Relaxed);
        set_state(slot, QUEUED);
        Ok(number)
    }

    /// Takes a queued item out: for good, or into the hands of `owner`.
    pub(crate) fn commit_take(&self, at: u32, owner: Option<Owner>) -> Result<(), Damage> {
        let slot = self.slot(at)?;
        match owner {
            None => set_state(slot, FREE),
            Some(owner) => {
                slot.owner.store(owner.pid, Ordering::Relaxed);
                slot.owner_start.store(owner.start, Ordering::Relaxed);
                let attempts = slot.attempts.load(Ordering::Relaxed);
                slot.attempts
                    .store(attempts.saturating_add(1), Ordering::Relaxed);
                set_state(slot, TAKEN);
            }
        }
        Ok(())
    }

    /// A taken item is done.
    pub(crate) fn commit_done(&self, at: u32) -> Result<(), Damage> {
        set_state(self.slot(at)?, FREE);
        Ok(())
    }

    /// A taken item has lost its consumer, which `entry` names.
    pub(crate) fn commit_orphan(&self, at: u32, entry: u64) -> Result<(), Damage> {
        let slot = self.slot(at)?;
        let loss = self.words.losses.load(Ordering::Relaxed);
        slot.loss.store(loss, Ordering::Relaxed);
        slot.loss_entry.store(entry, Ordering::Relaxed);
        set_state(slot, ORPHAN);
        Ok(())
    }

    /// Logs an orphan and sends it where orphans go; the same again does no harm.
    pub(crate) fn settle_orphan(&self, at: u32) -> Result<(), Damage> {
        let slot = self.slot(at)?;
        let loss = slot.loss.load(Ordering::Relaxed);
        let entry = slot.loss_entry.load(Ordering::Relaxed);
        if let Some(place) = self.log_place(loss) {
            place.store(entry, Ordering::Relaxed);
        }
        let known = self.words.losses.load(Ordering::Relaxed);
        self.words
            .losses
            .store(known.max(loss.saturating_add(1)), Ordering::Relaxed);
        set_state(slot, if self.rules.gives_back { QUEUED } else { FREE });
        Ok(())
    }

    /// Where entry `loss` of the log stands.
    pub(crate) fn log_place(&self, loss: u64) -> Option<&AtomicU64> {
        let at = loss.checked_rem(self.log.len() as u64)?;
        self.log.get(usize::try_from(at).ok()?)
    }

    /// What a slot says, whatever its state.
    pub(crate) fn item(&self, at: u32) -> Result<Item, Damage> {
        let slot = self.slot(at)?;
        let length = slot.length.load(Ordering::Relaxed);
        let item = Item {
            slot: at,
            number: slot.number.load(Ordering::Relaxed),
            rank: slot.rank.load(Ordering::Relaxed),
            len: length & !TABLE,
            table: length & TABLE != 0,
            first: slot.first.load(Ordering::Relaxed),
            attempts: slot.attempts.load(Ordering::Relaxed),
        };
        if item.len <= self.rules.bytes {
            Ok(item)
        } else {
            Err(Damage::store("the length of an item", item.len))
        }
    }

    /// The state of a slot.
    pub(crate) fn state(&self, at: u32) -> Result<u32, Damage> {
        // SYNC: store-state
        Ok(self.slot(at)?.state.load(Ordering::Acquire))
    }

    /// Who has a taken item.
    pub(crate) fn owner(&self, at: u32) -> Result<Owner, Damage> {
        let slot = self.slot(at)?;
        Ok(Owner {
            pid: slot.owner.load(Ordering::Relaxed),
            start: slot.owner_start.load(Ordering::Relaxed),
        })
    }

    pub(crate) fn slot(&self, at: u32) -> Result<&Slot, Damage> {
        self.slots
            .get(at as usize)
            .ok_or(Damage::store("the number of a slot", u64::from(at)))
    }
}

/// For everybody, without the lock: hints.
impl Protocol<'_> {
    /// Whether nothing more will be put.
    pub(crate) fn is_closed(&self) -> bool {
        // SYNC: store-closed
        self.words.closed.load(Ordering::Acquire) != 0
    }

    /// Whether it is worth taking the lock to get.
    pub(crate) fn may_get(&self) -> bool {
        self.is_closed() || self.has_items()
    }

    /// Whether there are items, as far as can be seen without the lock.
    pub(crate) fn has_items(&self) -> bool {
        self.words.queued.load(Ordering::Acquire) > 0 || self.may_be_torn()
    }

    /// Whether it is worth taking the lock to put so many bytes.
    pub(crate) fn may_put(&self, len: u64) -> bool {
        self.is_closed() || self.has_room(len) || self.may_be_torn()
    }

    /// Whether it is worth taking the lock to see that everything is done.
    pub(crate) fn may_be_done(&self) -> bool {
        self.unfinished() == 0 || self.may_be_torn()
    }

    /// Items in the queue or with consumers; exact under the lock.
    pub(crate) fn unfinished(&self) -> u64 {
        let [queued, taken] = [&self.words.queued, &self.words.taken]
            .map(|count| u64::from(count.load(Ordering::Acquire)));
        queued + taken
    }

    /// Whether there is room for so many bytes; exact under the lock.
    pub(crate) fn has_room(&self, len: u64) -> bool {
        let used = self.words.used.load(Ordering::Acquire);
        self.words.free_slots.load(Ordering::Acquire) > 0
            && used.saturating_add(len) <= self.rules.bytes
    }

    /// Looked at after the counts: who has changed them since has set it before.
    fn may_be_torn(&self) -> bool {
        // SYNC: store-index-right
        self.words.busy.load(Ordering::Acquire) != 0
    }
}

/// The one store of each transition.
fn set_state(slot: &Slot, state: u32) {
    // SYNC: store-state
    slot.state.store(state, Ordering::Release);
}

#[cfg(all(test, loom))]
mod model;
