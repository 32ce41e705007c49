//! What the fuzz targets reach of this crate: functions that take any bytes, and panic if a promise is broken. Under `--cfg fuzzing`
//! only; not part of the interface.

use crate::{JoinableQueue, PriorityQueue, Queue};
use pool_shm::Segment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The words of the C library's locks are left alone: what they hold is trusted.
const RING_LOCKS: [std::ops::Range<usize>; 2] = [128..192, 256..320];
const STORE_LOCK: [std::ops::Range<usize>; 1] = [128..192];
/// A write is an offset of two bytes and a word of eight.
const WRITE: usize = 10;

/// Overwrites a queue with what `bytes` say, then attaches to it and uses it in every way that does not wait. Both kinds of memory by turns.
pub fn queue(bytes: &[u8]) {
    let Some((kind, writes)) = bytes.split_first() else {
        return;
    };
    match kind % 3 {
        0 => ring(writes),
        1 => joinable(writes),
        _ => priority(writes),
    }
}

fn ring(writes: &[u8]) {
    let queue = Queue::<Vec<String>>::builder().items(8).bytes(256);
    let queue = queue.own_segment_above(200);
    let queue = queue.build().expect("a small queue");
    let put = queue.put_many((0..4).map(|i| vec!["x".repeat(i * 9); i]));
    put.expect("there is room");
    let attached = overwrite(&queue, writes, &RING_LOCKS);
    for queue in std::iter::once(queue).chain(attached) {
        for len in [0, 5, 100] {
            let _ = queue.try_put(vec!["y".repeat(len)]);
        }
        for _ in 0..6 {
            let _ = queue.try_get();
            let _ = queue.try_get_many(3);
        }
        assert!(queue.len() <= queue.capacity());
    }
}

fn joinable(writes: &[u8]) {
    let queue = JoinableQueue::<Vec<u8>>::builder().items(6).bytes(400);
    let queue = queue.give_back().build().expect("a small queue");
    let put = queue.put_many((0..5).map(|i| vec![i; 70]));
    put.expect("there is room");
    let claim = queue.get().expect("it has items");
    let attached = overwrite(&queue, writes, &STORE_LOCK);
    for queue in std::iter::once(queue).chain(attached) {
        let _ = queue.try_put(vec![7; 30]);
        for _ in 0..4 {
            let _ = queue.try_get().map(crate::Claim::task_done);
            let _ = queue.try_get_many(2);
        }
        let _ = (queue.losses(), queue.len(), queue.is_full());
    }
    let _ = claim.task_done();
}

fn priority(writes: &[u8]) {
    let queue = PriorityQueue::<u8, u64>::new(6).expect("a small queue");
    let put = queue.put_many((0..5).map(|i| (5 - i, u64::from(i))));
    put.expect("there is room");
    let attached = overwrite(&queue, writes, &STORE_LOCK);
    for queue in std::iter::once(queue).chain(attached) {
        let _ = queue.try_put(3, 9);
        for _ in 0..8 {
            let _ = queue.try_get();
        }
    }
}

/// Writes over the memory of `queue` and attaches to it anew, if its header still allows that.
fn overwrite<Q: Serialize + DeserializeOwned>(
    queue: &Q,
    writes: &[u8],
    locks: &[std::ops::Range<usize>],
) -> Option<Q> {
    let handle = postcard::to_allocvec(queue).expect("a handle is plain numbers");
    let memory: Segment = postcard::from_bytes(&handle).expect("it is this process's own");
    for write in writes.chunks_exact(WRITE) {
        let at = usize::from(u16::from_le_bytes([write[0], write[1]])) / 8 * 8 % memory.len();
        if locks.iter().any(|lock| lock.contains(&at)) {
            continue;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&write[2..]);
        let cells = memory.cells::<u64>(at, 1).expect("an aligned offset");
        cells.set(0, u64::from_le_bytes(word));
    }
    postcard::from_bytes(&handle).ok()
}

/// Any bytes arrive at a manager on a few connections.
pub fn manager(bytes: &[u8]) {
    crate::manager::fuzz::clients(bytes);
}

/// Any bytes arrive at the end of a pipe, which receives in every way; the first byte says in which order.
pub fn pipe(bytes: &[u8]) {
    let Some((order, bytes)) = bytes.split_first() else {
        return;
    };
    let (here, there) = crate::pipe::<Vec<String>, u64>().expect("two descriptors can be had");
    let socket = here.as_fd().try_clone_to_owned();
    let mut socket = UnixStream::from(socket.expect("one more descriptor"));
    // What does not fit into the socket is left out: nobody reads meanwhile.
    socket.set_nonblocking(true).expect("it is a socket");
    let _ = socket.write(bytes);
    drop((here, socket));
    let mut buffer = [0; 64];
    for round in 0..16 {
        match order >> (2 * (round % 4)) & 3 {
            0 => drop(there.recv()),
            1 => drop(there.recv_bytes()),
            2 => drop(there.recv_into(&mut buffer)),
            _ => drop(there.poll(Duration::ZERO)),
        }
    }
}
