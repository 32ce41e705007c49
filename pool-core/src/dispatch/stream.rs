//! A stream of bytes from one worker to the pool: a ring with one writer and one reader.
//!
//! The writer publishes by storing `tail`, the reader gives room back by storing `head`; both count bytes since the ring was
//! made (Lamport's single-producer queue, 1977). A killed writer leaves the bytes up to `tail`, the last record perhaps cut.

use crossbeam::utils::CachePadded;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, control_layout};
use crate::inject;

control_layout! {
    /// The positions of a ring.
    pub(crate) struct StreamWords {
        /// Bytes written so far. Written by the worker.
        pub(crate) tail: CachePadded<AtomicU64>,
        /// Bytes read so far. Written by the pool.
        pub(crate) head: CachePadded<AtomicU64>,
        /// Futex of the worker that waits for room; the pool changes it after reading.
        pub(crate) room: AtomicU32,
        /// 1 while the worker waits for room.
        pub(crate) starved: AtomicU32,
    }
}

/// The memory of a ring: `len` bytes, a power of two.
pub(crate) trait RingBytes {
    fn len(&self) -> u64;
    fn write(&self, offset: u64, bytes: &[u8]);
    fn read(&self, offset: u64, bytes: &mut [u8]);
}

/// The positions of a ring contradict each other: something overwrote them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Corrupt {
    pub(crate) head: u64,
    pub(crate) tail: u64,
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct StreamWriter<'a, B> {
    words: &'a StreamWords,
    bytes: B,
    tail: u64,
}

impl<'a, B: RingBytes> StreamWriter<'a, B> {
    /// Goes on behind what is in the ring.
    pub(crate) fn new(words: &'a StreamWords, bytes: B) -> Self {
        let tail = words.tail.load(Ordering::Relaxed);
        StreamWriter { words, bytes, tail }
    }

    /// Writes as much of `input` as there is room for, and publishes it; how many bytes.
    pub(crate) fn write(&mut self, input: &[u8]) -> usize {
        let head = self.words.head.load(Ordering::Acquire); // SYNC: stream-room
        let room = self
            .bytes
            .len()
            .saturating_sub(self.tail.wrapping_sub(head));
        let count = (input.len() as u64).min(room);
        let offset = self.tail % self.bytes.len();
        let front = count.min(self.bytes.len() - offset) as usize;
        self.bytes.write(offset, &input[..front]);
        self.bytes.write(0, &input[front..count as usize]);
        inject::point("stream.copied");
        self.tail = self.tail.wrapping_add(count);
        self.words.tail.store(self.tail, Ordering::Release); // SYNC: stream-bytes
        inject::point("stream.published");
        count as usize
    }

    /// Whether the pool had better read now.
    pub(crate) fn is_half_full(&self) -> bool {
        self.tail
            .wrapping_sub(self.words.head.load(Ordering::Relaxed))
            > self.bytes.len() / 2
    }

    /// Announces that this worker is going to wait for room; the value of the futex word to wait on, or none if there is room.
    pub(crate) fn announce_starved(&self) -> Option<u32> {
        let expected = self.words.room.load(Ordering::Acquire);
        self.words.starved.swap(1, Ordering::AcqRel); // SYNC: stream-starved
        // The swaps of `starved` are totally ordered: if the reader's came first, its `head` is seen here; if not, it sees our 1.
        let full = self
            .tail
            .wrapping_sub(self.words.head.load(Ordering::Acquire))
            >= self.bytes.len();
        full.then_some(expected)
    }

    /// The futex word to wait on for room.
    pub(crate) fn room(&self) -> &'a AtomicU32 {
        &self.words.room
    }
}

/// The pool's end.
#[derive(Debug)]
pub(crate) struct StreamReader<'a, B> {
    words: &'a StreamWords,
    bytes: B,
}

impl<'a, B: RingBytes> StreamReader<'a, B> {
    pub(crate) fn new(words: &'a StreamWords, bytes: B) -> Self {
        StreamReader { words, bytes }
    }

    /// Whether there is something to read.
    pub(crate) fn has_bytes(&self) -> bool {
        self.words.tail.load(Ordering::Relaxed) != self.words.head.load(Ordering::Relaxed)
    }

    /// Appends everything that was published to `output`. Whether the worker has to be woken, because it waits for room.
    pub(crate) fn read(&self, output: &mut Vec<u8>) -> Result<bool, Corrupt> {
        let head = self.words.head.load(Ordering::Relaxed);
        let tail = self.words.tail.load(Ordering::Acquire); // SYNC: stream-bytes
        let count = tail.wrapping_sub(head);
        if count > self.bytes.len() {
            return Err(Corrupt { head, tail });
        }
        if count == 0 {
            return Ok(false);
        }
        let start = output.len();
        output.resize(start + count as usize, 0);
        let offset = head % self.bytes.len();
        let front = count.min(self.bytes.len() - offset) as usize;
        let (one, two) = output[start..].split_at_mut(front);
        self.bytes.read(offset, one);
        self.bytes.read(0, two);
        self.words.head.store(tail, Ordering::Release); // SYNC: stream-room
        let starved = self.words.starved.swap(0, Ordering::AcqRel) != 0; // SYNC: stream-starved
        if starved {
            self.words.room.fetch_add(1, Ordering::Release);
        }
        Ok(starved)
    }

    /// The futex word that a starved worker waits on.
    pub(crate) fn room(&self) -> &'a AtomicU32 {
        &self.words.room
    }

    /// Forgets what is in the ring and makes it ready for the slot's next worker.
    pub(crate) fn reset(&self) {
        let tail = self.words.tail.load(Ordering::Relaxed);
        self.words.head.store(tail, Ordering::Release);
        self.words.starved.store(0, Ordering::Relaxed);
    }
}
