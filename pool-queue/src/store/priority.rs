//! A queue in the order of a key.

use super::backlog::{Backlog, Got, all_or_some};
use super::protocol::Rules;
use super::verbs::getting;
use super::{Priority, StoreBuilder};
use crate::queue::{
    DecodeError, GetError, GetManyError, Message, PutError, PutManyError, QueueError, fingerprint,
    until_the_end,
};
use crate::wait::Wait;
use std::marker::PhantomData;
use std::time::Duration;

/// A queue in shared memory whose smallest priority comes first, for any number of producers and consumers in any number of processes.
///
/// Values of the same priority come in the order in which they were put. The largest first: put with [`Reverse`](std::cmp::Reverse). The
/// other guarantees, the errors and the handles are those of [`Queue`](crate::Queue). Putting and getting take time by the logarithm of the length.
///
/// ```
/// use pool_queue::PriorityQueue;
///
/// let queue = PriorityQueue::<f64, String>::new(10)?;
/// queue.put(2.5, "second".into())?;
/// queue.put_many([(9.0, "last".into()), (-1.0, "first".into())])?;
/// assert_eq!(queue.get()?, (-1.0, "first".to_owned()));
/// assert_eq!(queue.get()?, (2.5, "second".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PriorityQueue<K, T> {
    pub(crate) backlog: Backlog<T>,
    priority: PhantomData<fn(K) -> K>,
}

impl<K: Priority, T: Message> PriorityQueue<K, T> {
    /// A queue of `items` items, with memory for them as [`StoreBuilder::bytes`] says.
    ///
    /// # Errors
    /// As for `build` of [`StoreBuilder`].
    pub fn new(items: usize) -> Result<Self, QueueError> {
        Self::builder().items(items).build()
    }

    /// Settings for a queue.
    pub fn builder() -> StoreBuilder<Self> {
        StoreBuilder::new(Rules::PRIORITY)
    }
}

/// Putting.
impl<K: Priority, T: Message> PriorityQueue<K, T> {
    /// Puts a value with its priority, waiting for room as long as it takes.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Damaged`], each with the value.
    pub fn put(&self, priority: K, value: T) -> Result<(), PutError<T>> {
        self.backlog.put(priority.rank(), value, Wait::Forever)
    }

    /// Puts a value with its priority if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; and those of [`put`](Self::put). If a peer that is stopped holds the queue's lock: [`PutError::Timeout`], after a tenth of a second.
    pub fn try_put(&self, priority: K, value: T) -> Result<(), PutError<T>> {
        self.backlog.put(priority.rank(), value, Wait::No)
    }

    /// Puts a value with its priority, waiting for room for `timeout` at most.
    ///
    /// # Errors
    /// [`PutError::Timeout`]; and those of [`put`](Self::put).
    pub fn put_timeout(&self, priority: K, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.backlog
            .put(priority.rank(), value, Wait::within(timeout))
    }

    /// Puts all values of an iterator with their priorities, waiting for room as long as it takes; returns how many.
    ///
    /// # Errors
    /// [`PutManyError`] says how many were put, why it stopped, and holds those that were taken from the iterator and not put.
    pub fn put_many(
        &self,
        values: impl IntoIterator<Item = (K, T)>,
    ) -> Result<usize, PutManyError<(K, T)>> {
        self.backlog.put_many(values, ranked, Wait::Forever)
    }

    /// Puts values of an iterator with their priorities as long as there is room now; returns how many it put if it put all.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many); [`PutError::Full`] when there is no room for the next.
    pub fn try_put_many(
        &self,
        values: impl IntoIterator<Item = (K, T)>,
    ) -> Result<usize, PutManyError<(K, T)>> {
        self.backlog.put_many(values, ranked, Wait::No)
    }

    /// Puts all values of an iterator with their priorities, waiting for room for `timeout` at most in all.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many); [`PutError::Timeout`] when the time is over.
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = (K, T)>,
        timeout: Duration,
    ) -> Result<usize, PutManyError<(K, T)>> {
        self.backlog.put_many(values, ranked, Wait::within(timeout))
    }
}

fn ranked<K: Priority, T>((priority, value): &(K, T)) -> (u64, &T) {
    (priority.rank(), value)
}

impl<K, T> PriorityQueue<K, T> {
    pub(super) fn of(backlog: Backlog<T>) -> Self {
        Self {
            backlog,
            priority: PhantomData,
        }
    }
}

impl<K: Priority, T: Message> PriorityQueue<K, T> {
    pub(crate) fn one(&self, wait: Wait) -> Result<(K, T), GetError> {
        Ok(with_priority(self.backlog.get(None, wait)?)?)
    }

    fn several(&self, max: usize, wait: Wait) -> Several<(K, T)> {
        let got = self.backlog.get_many(max, None, wait)?;
        all_or_some(got.into_iter().map(with_priority))
    }
}

/// What getting several gives.
type Several<T> = Result<Vec<T>, GetManyError<T>>;

fn with_priority<K: Priority, T>(got: Got<T>) -> Result<(K, T), DecodeError> {
    let rank = got.rank;
    got.value.map(|value| (K::from_rank(rank), value))
}

impl<K, T> Clone for PriorityQueue<K, T> {
    fn clone(&self) -> Self {
        Self::of(self.backlog.clone())
    }
}

getting!(PriorityQueue<K: Priority, T: Message>, (K, T), (K, T), &[Rules::PRIORITY]);
