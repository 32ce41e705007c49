//! The protocol of a wait for several events: README.md beside this file has the argument.

use pool_shm::sync::EventCount;
use std::time::{Duration, Instant};

/// Longest sleep without a look; see [`EventCount`].
const RECHECK: Duration = Duration::from_millis(100);

/// What a wait needs of a queue.
#[cfg_attr(
    not(loom),
    expect(unnameable_types, reason = "sealed: only the queues of this crate")
)]
pub trait Ready {
    /// Raised when there is something to get.
    fn event(&self) -> &EventCount;

    /// Whether it is worth trying to get. `thorough`: also looks for what is only found by asking, the death of a consumer.
    fn is_ready(&self, thorough: bool) -> bool;
}

/// Waits until one of `sources` is ready, or until `deadline`; which one. That number `first` is looked at first.
pub(crate) fn wait<R: Ready + ?Sized>(
    sources: &[&R],
    first: usize,
    deadline: Option<Instant>,
) -> Option<usize> {
    if let Some(found) = look(sources, first, false) {
        return Some(found);
    }
    loop {
        let events = sources.iter().map(|source| source.event());
        let tickets: Vec<_> = events.map(|event| (event, event.prepare())).collect();
        if let Some(found) = look(sources, first, true) {
            return Some(found);
        }
        let left = deadline.map_or(RECHECK, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        EventCount::sleep_any(&tickets, left.min(RECHECK));
    }
}

/// The first of `sources` that is ready, from number `first` on.
pub(crate) fn look<R: Ready + ?Sized>(
    sources: &[&R],
    first: usize,
    thorough: bool,
) -> Option<usize> {
    let count = sources.len();
    let first = first.checked_rem(count)?;
    let found = (first..count)
        .chain(0..first)
        .find(|&i| sources[i].is_ready(thorough))?;
    // A notification of another one may have woken this thread and nobody else: it is passed on.
    let others = (0..count).filter(|&i| i != found).map(|i| sources[i]);
    others
        .filter(|source| source.is_ready(false))
        .for_each(|source| source.event().notify_one());
    Some(found)
}

#[cfg(all(test, loom))]
mod model;
