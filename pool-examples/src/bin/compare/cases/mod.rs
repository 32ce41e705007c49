//! What is compared: every row of the table of targets.

pub(crate) mod arrays;
pub(crate) mod growth;
pub(crate) mod managers;
pub(crate) mod queues;
pub(crate) mod start;
pub(crate) mod tasks;

use std::time::{Duration, Instant};

use pool_core::Pool;
use pool_examples::failure::Failure;

use crate::case::Case;

/// Every case, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    [
        tasks::cases(),
        start::cases(),
        arrays::cases(),
        queues::cases(),
        managers::cases(),
        growth::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How long `call` takes, in seconds.
fn seconds<R>(call: impl FnOnce() -> Result<R, Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    let result = call()?;
    let seconds = start.elapsed().as_secs_f64();
    drop(result);
    Ok(seconds)
}

/// The median time of `count` calls, in seconds; `before` runs before each and is not counted.
fn median<R>(
    count: usize,
    mut before: impl FnMut(),
    mut call: impl FnMut() -> Result<R, Failure>,
) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        before();
        times.push(seconds(&mut call)?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[count / 2])
}

/// Keeps this thread busy, so that its processor is awake afterwards.
fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A pool whose workers have all answered.
fn pool(workers: usize) -> Result<Pool, Failure> {
    Ok(Pool::new(workers)?)
}

/// A thread pool of rayon with as many threads.
fn rayon(workers: usize) -> Result<rayon::ThreadPool, Failure> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .build()?)
}

/// Lets so much time pass, with this thread asleep.
fn pause(time: Duration) {
    crossbeam::channel::after(time).recv().ok();
}
