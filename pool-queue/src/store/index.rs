//! The index of the store: the order of queued items, the free slots and the free blocks. All of it follows from the slots.

use super::protocol::{FREE, Item, NONE, ORPHAN, Protocol, QUEUED, TAKEN};
use crate::atomic::{AtomicU32, Ordering};
use crate::queue::Damage;

/// For the holder of the lock: keeping the index.
impl Protocol<'_> {
    /// Takes a slot and a chain of blocks for so many bytes off the free ones.
    pub(crate) fn allocate(&self, len: u64) -> Result<(u32, u32), Damage> {
        let free = self.words.free_slots.load(Ordering::Relaxed);
        let last = free.wrapping_sub(1);
        let slot = at(self.free, last, "the number of free slots")?.load(Ordering::Relaxed);
        if self.state(slot)? != FREE {
            return Err(Damage::store("a free slot that is used", u64::from(slot)));
        }
        self.words.free_slots.store(last, Ordering::Relaxed);
        let count = self.blocks_of(len);
        if count == 0 {
            return Ok((slot, NONE));
        }
        let first = self.words.free_block.load(Ordering::Relaxed);
        let mut end = first;
        self.each_block(first, count, |_, block| end = block)?;
        let end = at(self.next, end, BLOCK)?;
        let rest = end.load(Ordering::Relaxed);
        self.words.free_block.store(rest, Ordering::Relaxed);
        end.store(NONE, Ordering::Relaxed);
        Ok((slot, first))
    }

    /// An item was put.
    pub(crate) fn index_put(&self, item: Item) -> Result<(), Damage> {
        self.push(item.slot)?;
        add(&self.words.used, item.len);
        let next = item.number.saturating_add(1);
        self.words.number.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// The item at the top was taken out; `freed`: for good.
    pub(crate) fn index_take(&self, item: Item, freed: bool) -> Result<(), Damage> {
        self.pop()?;
        if freed {
            return self.release(item);
        }
        count(&self.words.taken, 1);
        Ok(())
    }

    /// A taken item was done, or lost.
    pub(crate) fn index_done(&self, item: Item) -> Result<(), Damage> {
        count(&self.words.taken, -1);
        self.release(item)
    }

    /// A taken item went back into the queue.
    pub(crate) fn index_back(&self, item: Item) -> Result<(), Damage> {
        count(&self.words.taken, -1);
        self.push(item.slot)
    }

    /// The first item in the queue's order.
    pub(crate) fn top(&self) -> Result<Option<Item>, Damage> {
        if self.words.queued.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let slot = self.heap(0)?.load(Ordering::Relaxed);
        match self.state(slot)? {
            QUEUED => self.item(slot).map(Some),
            state => Err(Damage::store("the state of a queued item", state.into())),
        }
    }

    /// Makes the index anew from the slots.
    pub(crate) fn rebuild(&self) -> Result<(), Damage> {
        let mut used_blocks = vec![false; self.next.len()];
        let (mut queued, mut free) = (Vec::new(), Vec::new());
        let (mut taken, mut bytes) = (0, 0);
        let mut number = self.words.number.load(Ordering::Relaxed);
        for slot in (0..).take(self.slots.len()) {
            if self.state(slot)? == ORPHAN {
                self.settle_orphan(slot)?;
            }
            match self.state(slot)? {
                FREE => {
                    free.push(slot);
                    continue;
                }
                QUEUED => queued.push(self.key(slot)?),
                TAKEN => taken += 1,
                state => return Err(Damage::store("the state of a slot", state.into())),
            }
            let item = self.item(slot)?;
            number = number.max(item.number.saturating_add(1));
            bytes += item.len;
            self.mark(item, &mut used_blocks)?;
        }
        queued.sort_unstable(); // a sorted list is a heap
        fill(self.heap, queued.iter().map(|&(_, _, slot)| slot));
        fill(self.free, free.iter().copied());
        self.chain_free(&used_blocks);
        self.words.number.store(number, Ordering::Relaxed);
        self.words.used.store(bytes, Ordering::Relaxed);
        for (word, count) in [
            (&self.words.queued, queued.len()),
            (&self.words.taken, taken),
            (&self.words.free_slots, free.len()),
        ] {
            word.store(u32::try_from(count).unwrap_or(NONE), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Visits `count` blocks of a chain: the how manyeth, and which.
    pub(crate) fn each_block(
        &self,
        first: u32,
        count: u64,
        mut visit: impl FnMut(u64, u32),
    ) -> Result<(), Damage> {
        let mut block = first;
        for i in 0..count {
            let next = at(self.next, block, BLOCK)?;
            visit(i, block);
            block = next.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Blocks that so many bytes take.
    pub(crate) fn blocks_of(&self, len: u64) -> u64 {
        len.div_ceil(u64::from(self.rules.block.max(1)))
    }

    /// Gives an item's slot and blocks back.
    fn release(&self, item: Item) -> Result<(), Damage> {
        let blocks = self.blocks_of(item.len);
        if blocks > 0 {
            let mut end = item.first;
            self.each_block(item.first, blocks, |_, block| end = block)?;
            let rest = self.words.free_block.load(Ordering::Relaxed);
            at(self.next, end, BLOCK)?.store(rest, Ordering::Relaxed);
            self.words.free_block.store(item.first, Ordering::Relaxed);
        }
        let free = self.words.free_slots.load(Ordering::Relaxed);
        at(self.free, free, "the number of free slots")?.store(item.slot, Ordering::Relaxed);
        self.words
            .free_slots
            .store(free.wrapping_add(1), Ordering::Relaxed);
        add(&self.words.used, item.len.wrapping_neg());
        Ok(())
    }

    fn mark(&self, item: Item, used: &mut [bool]) -> Result<(), Damage> {
        let mut twice = None;
        self.each_block(item.first, self.blocks_of(item.len), |_, block| {
            if std::mem::replace(&mut used[block as usize], true) {
                twice = Some(block);
            }
        })?;
        twice.map_or(Ok(()), |block| {
            Err(Damage::store("a block of two items", block.into()))
        })
    }

    fn chain_free(&self, used: &[bool]) {
        let mut rest = NONE;
        for (i, place) in self.next.iter().enumerate().rev() {
            if !used[i] {
                place.store(rest, Ordering::Relaxed);
                rest = u32::try_from(i).unwrap_or(NONE);
            }
        }
        self.words.free_block.store(rest, Ordering::Relaxed);
    }
}

const BLOCK: &str = "the number of a block";

/// A binary heap of slots.
impl Protocol<'_> {
    fn push(&self, slot: u32) -> Result<(), Damage> {
        let mut hole = self.words.queued.load(Ordering::Relaxed);
        let key = self.key(slot)?;
        self.heap(hole)?;
        while hole > 0 {
            let above = (hole - 1) / 2;
            let other = self.heap(above)?.load(Ordering::Relaxed);
            if self.key(other)? < key {
                break;
            }
            self.heap(hole)?.store(other, Ordering::Relaxed);
            hole = above;
        }
        self.heap(hole)?.store(slot, Ordering::Relaxed);
        count(&self.words.queued, 1);
        Ok(())
    }

    fn pop(&self) -> Result<(), Damage> {
        let len = self.words.queued.load(Ordering::Relaxed).wrapping_sub(1);
        let moved = self.heap(len)?.load(Ordering::Relaxed);
        let key = self.key(moved)?;
        let mut hole = 0;
        loop {
            let (left, right) = (2 * u64::from(hole) + 1, 2 * u64::from(hole) + 2);
            let mut best = None;
            for below in [left, right] {
                let Some(below) = u32::try_from(below).ok().filter(|&below| below < len) else {
                    break;
                };
                let slot = self.heap(below)?.load(Ordering::Relaxed);
                let candidate = (self.key(slot)?, below);
                best = best.filter(|&best| best < candidate).or(Some(candidate));
            }
            match best {
                Some((below_key, below)) if below_key < key => {
                    self.heap(hole)?.store(below_key.2, Ordering::Relaxed);
                    hole = below;
                }
                _ => break,
            }
        }
        self.heap(hole)?.store(moved, Ordering::Relaxed);
        self.words.queued.store(len, Ordering::Relaxed);
        Ok(())
    }

    /// What items are ordered by: rank, then age.
    fn key(&self, at: u32) -> Result<(u64, u64, u32), Damage> {
        let slot = self.slot(at)?;
        let [rank, number] = [&slot.rank, &slot.number].map(|word| word.load(Ordering::Relaxed));
        Ok((rank, number, at))
    }

    fn heap(&self, i: u32) -> Result<&AtomicU32, Damage> {
        at(self.heap, i, "the number of queued items")
    }
}

fn at<'a>(list: &'a [AtomicU32], i: u32, what: &'static str) -> Result<&'a AtomicU32, Damage> {
    list.get(i as usize)
        .ok_or(Damage::store(what, u64::from(i)))
}

fn fill(list: &[AtomicU32], values: impl Iterator<Item = u32>) {
    for (place, value) in list.iter().zip(values) {
        place.store(value, Ordering::Relaxed);
    }
}

/// Only the holder of the lock writes these words, so there is no read-modify-write.
fn count(word: &AtomicU32, change: i32) {
    let value = word.load(Ordering::Relaxed).wrapping_add_signed(change);
    word.store(value, Ordering::Relaxed);
}

fn add(word: &crate::atomic::AtomicU64, change: u64) {
    let value = word.load(Ordering::Relaxed).wrapping_add(change);
    word.store(value, Ordering::Relaxed);
}
