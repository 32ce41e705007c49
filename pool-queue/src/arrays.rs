//! Arrays inside of messages: what keeps their memory while the message is in a queue.
//!
//! An array travels as a handle, which names a descriptor of the process that put it. That process keeps the descriptor until the message has left the
//! queue, also when it has dropped the array and every handle of the queue. A message that names segments starts with a table of them, so whoever
//! gets it can open them before it takes the message out of the queue, without running code of the message's type under a lock.
//!
//! A message may itself lie in a segment of its own: then that is the first of its table, and what follows the table is its length.

use pool_shm::transfer::{self, Exports, Held};
use pool_shm::{SegmentHandle, ShmError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const WORD: usize = size_of::<u64>();
/// Words of a handle in the table.
const ENTRY: usize = 4;
/// In the first word of a table: the message lies in the first of the segments.
const APART: u64 = 1 << 63;

/// The table that stands before a message: the number of handles, then their words.
pub(crate) fn table(handles: &[SegmentHandle]) -> Vec<u8> {
    words(handles.len() as u64, handles).collect()
}

/// What stands for a message of `len` bytes that lies in a segment of its own, the first of `handles`.
pub(crate) fn apart(handles: &[SegmentHandle], len: usize) -> Vec<u8> {
    let table = words(handles.len() as u64 | APART, handles);
    table.chain((len as u64).to_le_bytes()).collect()
}

fn words(first: u64, handles: &[SegmentHandle]) -> impl Iterator<Item = u8> {
    let entries = handles.iter().flat_map(SegmentHandle::to_words);
    std::iter::once(first)
        .chain(entries)
        .flat_map(u64::to_le_bytes)
}

/// Bytes of a table of so many handles.
pub(crate) fn table_len(handles: usize) -> usize {
    WORD + handles * ENTRY * WORD
}

/// What the table of a message leads to.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where the message itself begins.
    pub(crate) body: usize,
    /// Its segments, as far as they are still there.
    pub(crate) held: Vec<Held>,
    /// If the message lies in a segment of its own: that, and its length.
    pub(crate) apart: Option<(SegmentHandle, usize)>,
}

/// Opens the segments that the table of `message` names; `None` if it is no table.
///
/// One that is gone is left out: decoding tells about it. If this process cannot open any more, that is an error, and the message can stay where it is.
pub(crate) fn open(message: &[u8]) -> Result<Option<Opened>, ShmError> {
    let Some((count, rest)) = message.split_first_chunk::<WORD>() else {
        return Ok(None);
    };
    let first = u64::from_le_bytes(*count);
    let count = usize::try_from(first & !APART).unwrap_or(usize::MAX);
    let bytes = count.saturating_mul(ENTRY * WORD);
    let Some(entries) = rest.get(..bytes) else {
        return Ok(None);
    };
    let mut handles = entries.chunks_exact(ENTRY * WORD).map(handle);
    let apart = match (first & APART, rest.get(bytes..).map(<[u8]>::first_chunk)) {
        (0, _) => None,
        (_, Some(Some(len))) => {
            let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let Some(own) = handles.clone().next() else {
                return Ok(None);
            };
            Some((own, len))
        }
        _ => return Ok(None),
    };
    let mut held = Vec::new();
    for handle in &mut handles {
        match transfer::hold(&[handle]) {
            Ok(one) => held.push(one),
            Err(error) if error.is_out_of_descriptors() || error.is_out_of_memory() => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    let body = WORD + bytes;
    Ok(Some(Opened { body, held, apart }))
}

fn handle(entry: &[u8]) -> SegmentHandle {
    let mut words = [0; ENTRY];
    for (word, bytes) in words.iter_mut().zip(entry.as_chunks::<WORD>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    SegmentHandle::from_words(words)
}

/// What this process keeps for messages that it has put.
struct Kept {
    /// Whether the message has left the queue.
    over: Box<dyn Fn() -> bool + Send>,
    #[expect(dead_code, reason = "kept only to be dropped")]
    exports: Exports,
}

static KEPT: Mutex<VecDeque<Kept>> = Mutex::new(VecDeque::new());
/// How many there are, so that queues without arrays need not take the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// How many there were after the last look at all of them.
static LOOKED: AtomicUsize = AtomicUsize::new(0);

/// Keeps the segments of a message that was put until it is `over`. What is over is let go with the next operation on any queue of this process.
pub(crate) fn keep(exports: Exports, over: impl Fn() -> bool + Send + 'static) {
    let over = Box::new(over);
    let mut kept = lock();
    kept.push_back(Kept { over, exports });
    COUNT.store(kept.len(), Ordering::Relaxed);
}

/// Lets go of what is over. Costs next to nothing where no message had arrays.
pub(crate) fn sweep() {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut done = Vec::new();
    let mut kept = lock();
    // Mostly they end in the order in which they were put; now and then all are looked at.
    while kept.front().is_some_and(|first| (first.over)()) {
        done.extend(kept.pop_front());
    }
    if kept.len() > 2 * LOOKED.load(Ordering::Relaxed) {
        let (over, living) = kept.drain(..).partition(|one| (one.over)());
        *kept = living;
        done.extend::<VecDeque<Kept>>(over);
        LOOKED.store(kept.len(), Ordering::Relaxed);
    }
    COUNT.store(kept.len(), Ordering::Relaxed);
    drop(kept);
    drop(done); // closes descriptors, after the lock
}

fn lock() -> MutexGuard<'static, VecDeque<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_leads_to_its_segments_and_to_the_message() {
        let segments = [0; 2].map(|_| pool_shm::Segment::create(1).unwrap());
        let handles = segments.each_ref().map(pool_shm::Segment::handle);
        let mut message = table(&handles);
        message.extend(b"body");
        let opened = open(&message).unwrap().unwrap();
        assert_eq!(&message[opened.body..], b"body");
        drop(segments);
        assert!(pool_shm::Segment::attach(&handles[1]).is_ok());
        drop(opened);
        // Gone: left out, and no error.
        assert_eq!(open(&message).unwrap().unwrap().held.len(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table_or_none(bytes: Vec<u8>) {
            if let Ok(Some(opened)) = open(&bytes) {
                prop_assert!(opened.body <= bytes.len());
            }
        }
    }
}
