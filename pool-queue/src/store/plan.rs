//! Where the parts of a store lie in its segment.

use super::protocol::{NONE, Rules, Slot, Words};
use crate::queue::{QueueError, Shape};
use pool_shm::Segment;
use pool_shm::sync::RawMutex;

const MAGIC_WORD: u64 = u64::from_le_bytes(*b"store-01");
pub(crate) const LOCK: usize = 128;
pub(crate) const WORDS: usize = LOCK + RawMutex::SIZE;
pub(crate) const LOG: usize = 320;
/// Entries of the log of losses that are kept.
pub(crate) const LOG_ENTRIES: usize = 64;
const SLOTS: usize = LOG + LOG_ENTRIES * 8;
const _: () = assert!(WORDS + size_of::<Words>() <= LOG);

/// Blocks of messages whose size varies.
const BLOCK: u32 = 64;

/// The sizes of a store; everything else follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) rules: Rules,
    pub(crate) items: u32,
    /// Enough that `items` messages of `bytes` in all always find room.
    pub(crate) blocks: u32,
}

impl Plan {
    /// For so many items and bytes; `fixed` if each message has that size.
    pub(crate) fn new(
        rules: Rules,
        items: usize,
        bytes: usize,
        fixed: Option<usize>,
    ) -> Result<Self, QueueError> {
        let block = fixed.map_or(BLOCK, |size| {
            u32::try_from(size.next_multiple_of(8)).unwrap_or(BLOCK)
        });
        let block = block.max(8);
        let invalid = || QueueError::capacity(items, bytes);
        let count = u32::try_from(items)
            .ok()
            .filter(|items| (1..=Shape::MAX).contains(items))
            .ok_or_else(invalid)?;
        let rules = Rules {
            bytes: bytes as u64,
            block,
            ..rules
        };
        Self::of(rules, count).ok_or_else(invalid)
    }

    fn of(rules: Rules, items: u32) -> Option<Self> {
        if rules.bytes == 0 || items == 0 || rules.block < 8 || !rules.block.is_multiple_of(8) {
            return None;
        }
        let blocks = rules.bytes.div_ceil(u64::from(rules.block)) + u64::from(items);
        let blocks = u32::try_from(blocks).ok().filter(|&blocks| blocks < NONE)?;
        Some(Self {
            rules,
            items,
            blocks,
        })
    }

    /// Bytes of the segment.
    pub(crate) fn len(&self) -> usize {
        self.data() + self.blocks as usize * self.rules.block as usize
    }

    pub(crate) fn slots(&self) -> usize {
        SLOTS
    }

    pub(crate) fn heap(&self) -> usize {
        SLOTS + self.items as usize * size_of::<Slot>()
    }

    pub(crate) fn free(&self) -> usize {
        self.heap() + self.items as usize * 4
    }

    pub(crate) fn next(&self) -> usize {
        self.free() + self.items as usize * 4
    }

    pub(crate) fn data(&self) -> usize {
        (self.next() + self.blocks as usize * 4).next_multiple_of(64)
    }

    /// Writes the header; the magic word last.
    pub(crate) fn write(&self, segment: &Segment, kind: u64) -> Result<(), QueueError> {
        let cells = segment.cells::<u64>(0, 7)?;
        let words = self.header(kind);
        cells.write_from(1, &words[1..]);
        cells.set(0, words[0]);
        Ok(())
    }

    /// Reads the header of a segment that came from somewhere; it must be of this kind and obey these rules, sizes aside.
    pub(crate) fn read(
        segment: &Segment,
        kind: u64,
        rules: impl FnOnce(u64) -> Option<Rules>,
        type_name: &'static str,
    ) -> Result<Self, QueueError> {
        let cells = segment.cells::<u64>(0, 7)?;
        let mut words = [0; 7];
        cells.read_into(0, &mut words);
        let [magic, found_kind, order, items, bytes, block, _] = words;
        if magic != MAGIC_WORD {
            return Err(QueueError::no_queue(segment.id()));
        }
        let rules = rules(order).ok_or_else(|| QueueError::other_type(type_name))?;
        if found_kind != kind {
            return Err(QueueError::other_type(type_name));
        }
        let refused = || QueueError::store(items, bytes, segment.len());
        let (items, block) = u32::try_from(items)
            .ok()
            .zip(u32::try_from(block).ok())
            .filter(|&(items, block)| items <= Shape::MAX && block <= Shape::MAX)
            .ok_or_else(refused)?;
        let room = segment.len() as u64;
        let rules = Rules {
            bytes,
            block,
            ..rules
        };
        Self::of(rules, items)
            .filter(|plan| bytes <= room && plan.len() as u64 <= room)
            .ok_or_else(refused)
    }

    fn header(&self, kind: u64) -> [u64; 7] {
        let Rules { bytes, block, .. } = self.rules;
        let order = self.rules.order();
        let items = u64::from(self.items);
        [MAGIC_WORD, kind, order, items, bytes, block.into(), 0]
    }
}

impl Rules {
    pub(crate) const LIFO: Self = Self {
        bytes: 0,
        block: 0,
        newest_first: true,
        claims: false,
        gives_back: false,
    };
    pub(crate) const PRIORITY: Self = Self {
        newest_first: false,
        ..Self::LIFO
    };
    pub(crate) const JOINABLE: Self = Self {
        claims: true,
        ..Self::PRIORITY
    };
    pub(crate) const GIVING_BACK: Self = Self {
        gives_back: true,
        ..Self::JOINABLE
    };

    /// As it stands in the header.
    pub(crate) fn order(&self) -> u64 {
        u64::from(self.newest_first) | u64::from(self.claims) << 1 | u64::from(self.gives_back) << 2
    }
}
