//! An event count: how processes sleep until another one has published something.
//!
//! The classic eventcount (Dmitry Vyukov), on one futex word: bit 0 says that somebody may be asleep, the other bits count notifications.
//! There is no count of sleepers, since a sleeper that is killed could not take itself off it.

#[cfg(loom)]
use super::model_futex as futex;
use crate::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use crate::sys::futex;
use std::time::{Duration, Instant};

const SLEEPERS: u32 = 1;
const STEP: u32 = 2;
#[cfg(not(loom))]
const PAUSES: u32 = 100;
#[cfg(not(loom))]
const YIELDS: u32 = 60;
/// Giving way takes less than this in all where nobody else wants the processor.
#[cfg(not(loom))]
const YIELDING: Duration = Duration::from_micros(100);

/// A place in shared memory to wait for something that others publish elsewhere.
///
/// The waiter looks for what it wants; the publisher publishes first and notifies afterwards. A notification costs one atomic operation while nobody
/// sleeps, and it is never lost: between [`prepare`](EventCount::prepare) and [`sleep`](EventCount::sleep) the waiter looks once more. Zeroed memory is a valid event count with nobody asleep,
/// so one inside a segment needs no initialisation: `segment.get::<EventCount>(offset)`.
///
/// # Deaths
/// A killed sleeper leaves at worst one bit set, which the next notification clears. A publisher that is killed between publishing and notifying
/// leaves sleepers unnotified; [`wait_until`](EventCount::wait_until) therefore never sleeps longer than a tenth of a second without a look.
///
/// # Examples
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use pool_shm::sync::EventCount;
///
/// let (event, value) = (EventCount::new(), AtomicU32::new(0));
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         value.store(7, Ordering::Release);
///         event.notify_all();
///     });
///     let seen = event.wait_until(None, || match value.load(Ordering::Acquire) {
///         0 => None,
///         value => Some(value),
///     });
///     assert_eq!(seen, Some(7));
/// });
/// ```
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct EventCount {
    word: AtomicU32,
    #[cfg(loom)]
    queue: futex::Queue,
}

/// The promise to look once more before sleeping; from [`EventCount::prepare`].
#[derive(Debug)]
#[must_use = "a ticket is for `sleep`, after one more look"]
pub struct Ticket(u32);

impl EventCount {
    /// Longest sleep without a look: what a waiter loses at most when the process that should have woken it was killed between publishing and waking.
    pub(crate) const RECHECK: Duration = Duration::from_millis(100);

    /// An event count with nobody asleep.
    #[must_use]
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            #[cfg(loom)]
            queue: futex::Queue::new(),
        }
    }

    /// Waits until `attempt` gives something, or until `deadline` (`None`: for ever); then a last attempt decides.
    ///
    /// Spins for some microseconds, gives way to others for some more, then sleeps in the kernel. `attempt` is called any number of times, at least once.
    pub fn wait_until<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        if let Some(found) = spin(&mut attempt) {
            return Some(found);
        }
        loop {
            let ticket = self.prepare();
            if let Some(found) = attempt() {
                return Some(found);
            }
            let left = remaining(deadline)?;
            self.sleep(ticket, left.min(Self::RECHECK));
        }
    }

    /// Announces a sleeper. Look for what you want once more, then [`sleep`](EventCount::sleep).
    pub fn prepare(&self) -> Ticket {
        // SYNC: event-announced. A notification that comes before this in the word's order is acquired here, with all that was published before it.
        Ticket(self.word.fetch_or(SLEEPERS, Ordering::AcqRel) | SLEEPERS)
    }

    /// Sleeps until a notification that came after `ticket` was drawn, or for `timeout`; may return early for no reason.
    pub fn sleep(&self, ticket: Ticket, timeout: Duration) {
        #[cfg(not(loom))]
        futex::wait(&self.word, ticket.0, timeout);
        #[cfg(loom)]
        self.queue.wait(&self.word, ticket.0, timeout);
    }

    /// Sleeps until a notification of any of several, each with the ticket drawn there, or for `timeout`; may return early for no reason.
    ///
    /// On a kernel without `futex_waitv` (before Linux 5.16), or with more than 128 of them, it is a sleep of a millisecond at the first.
    ///
    /// ```
    /// use pool_shm::sync::EventCount;
    /// use std::time::Duration;
    ///
    /// let (a, b) = (EventCount::new(), EventCount::new());
    /// let tickets = [(&a, a.prepare()), (&b, b.prepare())];
    /// b.notify_all(); // comes after the ticket was drawn: nobody sleeps
    /// EventCount::sleep_any(&tickets, Duration::from_secs(60));
    /// ```
    pub fn sleep_any(tickets: &[(&EventCount, Ticket)], timeout: Duration) {
        #[cfg(not(loom))]
        {
            let words = tickets
                .iter()
                .map(|(event, ticket)| (&event.word, ticket.0));
            futex::wait_any(&words.collect::<Vec<_>>(), timeout);
        }
        #[cfg(loom)]
        {
            let words = tickets
                .iter()
                .map(|(event, ticket)| (&event.queue, &event.word, ticket.0));
            let _no_time_passes = timeout;
            futex::Queue::wait_any(&words.collect::<Vec<_>>());
        }
    }

    /// Wakes everybody who sleeps.
    ///
    /// Call it *after* publishing what they wait for.
    pub fn notify_all(&self) {
        if self.nobody_sleeps() {
            return;
        }
        let mut word = self.word.load(Ordering::Relaxed);
        while let Err(now) = self.word.compare_exchange_weak(
            word,
            word.wrapping_add(STEP) & !SLEEPERS,
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            word = now;
        }
        self.wake(u32::MAX);
    }

    /// Wakes up to `count` of those who sleep.
    ///
    /// Call it *after* publishing what they wait for. If one of those that are woken dies before it acts, the others learn of it by their own look.
    pub fn notify(&self, count: u32) {
        if count == 0 || self.nobody_sleeps() {
            return;
        }
        let word = self
            .word
            .fetch_add(STEP, Ordering::AcqRel)
            .wrapping_add(STEP);
        if self.wake(count) >= count {
            return;
        }
        // Nobody is left, so the bit can go; who fell asleep since the wake holds the value that goes too and must be woken.
        let cleared = word.wrapping_add(STEP) & !SLEEPERS;
        let clear = self
            .word
            .compare_exchange(word, cleared, Ordering::AcqRel, Ordering::Relaxed);
        if clear.is_ok() {
            self.wake(u32::MAX);
        }
    }

    /// Wakes one of those who sleep; see [`notify`](EventCount::notify).
    pub fn notify_one(&self) {
        self.notify(1);
    }

    fn nobody_sleeps(&self) -> bool {
        // SYNC: event-announced. A read-modify-write, so that it and `prepare` have an order: either the sleeper is seen here, or it sees what was published.
        self.word.fetch_add(0, Ordering::AcqRel) & SLEEPERS == 0
    }

    fn wake(&self, count: u32) -> u32 {
        #[cfg(not(loom))]
        let woken = futex::wake(&self.word, count);
        #[cfg(loom)]
        let woken = self.queue.wake(count);
        woken
    }
}

impl Default for EventCount {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
// SAFETY: a transparent wrapper of one atomic word; every value of it is a valid state, and it has no drop glue.
unsafe impl crate::Shared for EventCount {}

/// Looks again and again for some microseconds: with pauses while the peer may be running, then giving way to it.
#[cfg(not(loom))]
fn spin<R>(attempt: &mut impl FnMut() -> Option<R>) -> Option<R> {
    for _ in 0..PAUSES {
        if let Some(found) = attempt() {
            return Some(found);
        }
        core::hint::spin_loop();
    }
    let begin = Instant::now();
    for _ in 0..YIELDS {
        std::thread::yield_now();
        if let Some(found) = attempt() {
            return Some(found);
        }
        // The processor is wanted by others, so who gives way gets it back late; who sleeps is woken at once.
        if begin.elapsed() > YIELDING {
            break;
        }
    }
    None
}

#[cfg(loom)]
fn spin<R>(_attempt: &mut impl FnMut() -> Option<R>) -> Option<R> {
    None
}

/// Time left until `deadline`; `None` when it has passed.
fn remaining(deadline: Option<Instant>) -> Option<Duration> {
    match deadline {
        None => Some(Duration::MAX),
        Some(deadline) => deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero()),
    }
}

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{EventCount, SLEEPERS};
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    #[test]
    fn a_deadline_in_the_past_still_looks() {
        let event = EventCount::new();
        assert_eq!(event.wait_until(Some(Instant::now()), || Some(3)), Some(3));
        assert_eq!(event.wait_until(Some(Instant::now()), || None::<u8>), None);
    }

    #[test]
    fn a_bit_left_by_a_dead_sleeper_is_cleared() {
        for notify in [EventCount::notify_one, EventCount::notify_all] {
            let event = EventCount::new();
            let _never_used = event.prepare();
            assert_eq!(event.word.load(Ordering::Relaxed) & SLEEPERS, SLEEPERS);
            notify(&event);
            assert_eq!(event.word.load(Ordering::Relaxed) & SLEEPERS, 0);
        }
    }

    #[test]
    fn a_notification_between_prepare_and_sleep_is_not_lost() {
        let event = EventCount::new();
        let ticket = event.prepare();
        event.notify_one();
        // Would sleep for an hour if the notification were lost.
        event.sleep(ticket, Duration::from_secs(3600));
    }

    #[test]
    fn every_sleeper_wakes() {
        let (event, turn) = (EventCount::new(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for me in 1..=4 {
                let (event, turn) = (&event, &turn);
                scope.spawn(move || {
                    let mine = || (turn.load(Ordering::Acquire) == me).then_some(());
                    event.wait_until(None, mine).expect("waits for ever");
                    turn.store(me + 1, Ordering::Release);
                    event.notify_all();
                });
            }
            turn.store(1, Ordering::Release);
            event.notify_all();
        });
        assert_eq!(turn.into_inner(), 5);
    }
}
