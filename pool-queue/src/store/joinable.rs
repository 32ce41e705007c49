//! A queue that knows when everything in it is done.

use super::StoreBuilder;
use super::backlog::{Backlog, Got, all_or_some, damage};
use super::losses::{Loss, Losses};
use super::plan::LOG_ENTRIES;
use super::protocol::{Owner, Rules};
use super::verbs::{getting, putting};
use crate::queue::{
    Damage, DecodeError, GetError, GetManyError, Message, PutError, PutManyError, QueueError,
    fingerprint, until_the_end,
};
use crate::sys;
use crate::wait::{Refusal, Wait};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A first-in-first-out queue in shared memory whose items are reported done, for any number of producers and consumers in any number of processes.
///
/// `get` gives a [`Claim`]: the value, and the duty to call [`task_done`](Claim::task_done). [`join`](Self::join) waits until everything that was put is
/// done. An item takes its room in the queue until then, so a consumer that puts into the queue from which it gets needs a queue that is large enough.
///
/// # Deaths
/// A consumer that dies, or drops a claim, has not done its item. If the queue was made with [`give_back`](StoreBuilder::give_back), the item
/// is in the queue again, at its old place, and [`Claim::attempts`] counts. Otherwise it is lost: it counts as finished, and [`join`](Self::join) reports it with the process that had
/// it. [`losses`](Self::losses) tells both kinds. A death is found by whoever waits, within a tenth of a second or so, and by every `try_` form that would refuse.
/// The other guarantees, the errors and the handles are those of [`Queue`](crate::Queue).
///
/// ```
/// use pool_queue::JoinableQueue;
///
/// let work = JoinableQueue::<u32>::new(10)?;
/// work.put_many([1, 2, 3])?;
/// let consumer = work.clone(); // or in another process
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         for item in consumer.try_iter() {
///             let item = item.expect("numbers are well-formed");
///             assert!(*item > 0);
///             item.task_done().expect("nobody wrote over the queue");
///         }
///     });
///     work.join()
/// })?;
/// assert_eq!(work.unfinished(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    pub(crate) backlog: Backlog<T>,
    /// Losses that `join` has reported by this handle or its clones.
    reported: Arc<AtomicU64>,
}

/// An item that was got and is not done yet; from [`JoinableQueue::get`].
///
/// It belongs to the process that got it and may move between its threads. Dropping it says that the item is not done: see [`JoinableQueue`].
#[must_use = "call `task_done` when the item is done; dropping it gives it back, or loses it"]
pub struct Claim<T> {
    value: Option<T>,
    place: (u32, u64),
    attempts: u32,
    owner: Owner,
    backlog: Backlog<T>,
}

/// Why [`JoinableQueue::join`] did not simply end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There was something to do until the time was over.
    #[error(
        "{unfinished} items were not done when the time was over; a consumer may be stopped or busy, or none may be left"
    )]
    Timeout {
        /// Items queued or with consumers.
        unfinished: usize,
    },
    /// Everything is done but for what consumers have lost.
    #[error("{} items were lost by their consumers{}; make the queue with `give_back` if items may be done again", .0.total, last_of(.0))]
    Lost(Losses),
    /// Something wrote over the queue.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

fn last_of(losses: &Losses) -> String {
    losses.latest.last().map_or_else(String::new, |last| {
        format!(" (the last by process {}: {:?})", last.pid, last.cause)
    })
}

impl<T: Message> JoinableQueue<T> {
    /// A queue of `items` items, with memory for them as [`StoreBuilder::bytes`] says.
    ///
    /// # Errors
    /// As for `build` of [`StoreBuilder`].
    pub fn new(items: usize) -> Result<Self, QueueError> {
        Self::builder().items(items).build()
    }

    /// Settings for a queue.
    pub fn builder() -> StoreBuilder<Self> {
        StoreBuilder::new(Rules::JOINABLE)
    }

    /// Waits until everything that was put is done.
    ///
    /// # Errors
    /// [`JoinError::Lost`] if consumers have lost items since this handle, or a clone of it, reported losses last; [`JoinError::Damaged`].
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_waiting(Wait::Forever)
    }

    /// Waits until everything that was put is done, for `timeout` at most.
    ///
    /// # Errors
    /// [`JoinError::Timeout`]; and those of [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_waiting(Wait::within(timeout))
    }

    /// Items that are queued or with consumers, at one moment of this call.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let (queued, taken) = self.backlog.counts();
        queued + taken
    }

    /// Items that their consumers did not report done, because they died or dropped them, in the life of the queue. Looks for deaths first.
    #[must_use]
    pub fn losses(&self) -> Losses {
        // A lock that cannot be had, or damage, leaves the log as it stands.
        let _ = self.backlog.store.reap();
        self.backlog.store.look(|protocol| {
            let total = protocol.words.losses.load(Ordering::Relaxed);
            let oldest = total.saturating_sub(LOG_ENTRIES as u64);
            let entries = (oldest..total).filter_map(|at| protocol.log_place(at));
            let latest = entries.map(|entry| Loss::of(entry.load(Ordering::Relaxed)));
            Losses {
                total,
                latest: latest.collect(),
            }
        })
    }

    pub(crate) fn join_waiting(&self, wait: Wait) -> Result<(), JoinError> {
        match self.backlog.store.join(wait) {
            Ok(()) => self.report(),
            Err(refusal) => Err(match damage(refusal) {
                Some(damage) => JoinError::Damaged(damage),
                None => JoinError::Timeout {
                    unfinished: self.unfinished(),
                },
            }),
        }
    }

    fn report(&self) -> Result<(), JoinError> {
        if self.backlog.store.plan().rules.gives_back {
            return Ok(());
        }
        let mut losses = self.losses();
        let reported = self.reported.fetch_max(losses.total, Ordering::Relaxed);
        let new = losses.total.saturating_sub(reported);
        if new == 0 {
            return Ok(());
        }
        let old = losses.latest.len() as u64 - new.min(losses.latest.len() as u64);
        losses.latest.drain(..usize::try_from(old).unwrap_or(0));
        losses.total = new;
        Err(JoinError::Lost(losses))
    }
}

impl<T: Message> JoinableQueue<T> {
    pub(crate) fn one(&self, wait: Wait) -> Result<Claim<T>, GetError> {
        let owner = sys::current_process();
        Ok(self.claim(self.backlog.get(Some(owner), wait)?, owner)?)
    }

    fn several(&self, max: usize, wait: Wait) -> Result<Vec<Claim<T>>, GetManyError<Claim<T>>> {
        let owner = sys::current_process();
        let got = self.backlog.get_many(max, Some(owner), wait)?;
        all_or_some(got.into_iter().map(|got| self.claim(got, owner)))
    }

    /// What cannot be decoded is done: nobody could do more.
    fn claim(&self, got: Got<T>, owner: Owner) -> Result<Claim<T>, DecodeError> {
        let Got {
            place,
            attempts,
            value,
            ..
        } = got;
        match value {
            Ok(value) => Ok(Claim {
                value: Some(value),
                place,
                attempts: attempts.saturating_add(1),
                owner,
                backlog: self.backlog.clone(),
            }),
            Err(error) => {
                let _ = self.backlog.store.finish(place, owner);
                Err(error)
            }
        }
    }
}

impl<T> JoinableQueue<T> {
    pub(super) fn of(backlog: Backlog<T>) -> Self {
        Self {
            backlog,
            reported: Arc::default(),
        }
    }
}

impl<T> Claim<T> {
    /// Reports the item done, and gives its value.
    ///
    /// # Errors
    /// [`Damage`] if something wrote over the queue.
    ///
    /// # Panics
    /// If it is called in a fork of the process that got the item, which does not have it.
    pub fn task_done(mut self) -> Result<T, Damage> {
        assert!(
            self.is_ours(),
            "the item is with the process {}, this is a fork of it",
            self.owner.pid
        );
        let value = self.value.take().expect("taken here only");
        let ours = self.backlog.store.finish(self.place, self.owner);
        match ours {
            Ok(true) => Ok(value),
            Ok(false) => Err(Damage::store(
                "a claim that the queue does not know",
                self.place.1,
            )),
            Err(Refusal::Damaged(damage)) => Err(damage),
            Err(_) => Err(Damage::store("a lock that was waited for without end", 0)),
        }
    }

    /// Whether this process got it, and is no fork of the one that did.
    pub(crate) fn is_ours(&self) -> bool {
        sys::current_process() == self.owner
    }

    /// Whether the item goes back into the queue if this is dropped.
    pub(crate) fn goes_back(&self) -> bool {
        self.backlog.store.plan().rules.gives_back
    }

    /// How often the item was got, this time included; more than once only in a queue that gives back.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl<T> Deref for Claim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("there until it is done")
    }
}

impl<T> DerefMut for Claim<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("there until it is done")
    }
}

impl<T> Drop for Claim<T> {
    fn drop(&mut self) {
        if self.value.is_some() && self.is_ours() {
            let _ = self.backlog.store.abandon(self.place, self.owner);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Claim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("value", &self.value)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self {
            backlog: self.backlog.clone(),
            reported: Arc::clone(&self.reported),
        }
    }
}

putting!(JoinableQueue);
getting!(JoinableQueue<T: Message>, Claim<T>, T, &[Rules::JOINABLE, Rules::GIVING_BACK]);
