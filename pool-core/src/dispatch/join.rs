//! Joining a job and retiring its memory: a hazard pointer (Michael, IEEE TPDS 2004) per worker that holds a job's number.
//!
//! A worker announces the number before it trusts the job; the pool, having closed the job, uses its memory for something else
//! only once no worker announces that number. A worker that is stopped inside a job delays the reuse of that job's memory and
//! nothing else.

use crate::atomic::{AtomicU64, Ordering, fence};
use crate::inject;

/// Worker: joins the job in a slot, if there is one. Its number; the job's memory stays what it is until [`leave`].
pub(crate) fn join(number: &AtomicU64, joined: &AtomicU64) -> Option<u64> {
    let seen = number.load(Ordering::Acquire); // SYNC: job-open
    if seen == 0 {
        return None;
    }
    // Release, so that the pool that reads this number instead of the 0 before it also sees the last job left.
    joined.store(seen, Ordering::Release); // SYNC: job-left
    inject::point("join.announced");
    // Pairs with the fence in `close`: either the pool sees our announcement, or we see that the job is closed.
    fence(Ordering::SeqCst);
    if number.load(Ordering::Acquire) == seen {
        return Some(seen);
    }
    leave(joined);
    None
}

/// Worker: touches nothing of the job any more.
pub(crate) fn leave(joined: &AtomicU64) {
    joined.store(0, Ordering::Release); // SYNC: job-left
}

/// Pool: lets workers join the job; everything that describes it was written before.
pub(crate) fn open(number: &AtomicU64, value: u64) {
    number.store(value, Ordering::Release); // SYNC: job-open
}

/// Pool: nobody joins the job any more.
pub(crate) fn close(number: &AtomicU64) {
    number.store(0, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// Pool, after [`close`]: whether a worker may still touch the memory of job `number`.
pub(crate) fn is_joined<'a>(mut joined: impl Iterator<Item = &'a AtomicU64>, number: u64) -> bool {
    joined.any(|word| word.load(Ordering::Acquire) == number) // SYNC: job-left
}
