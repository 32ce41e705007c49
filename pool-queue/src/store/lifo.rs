//! A stack between processes.

use super::StoreBuilder;
use super::backlog::{Backlog, all_or_some};
use super::protocol::Rules;
use super::verbs::{getting, putting};
use crate::queue::{
    GetError, GetManyError, Message, PutError, PutManyError, QueueError, fingerprint, until_the_end,
};
use crate::wait::Wait;
use std::time::Duration;

/// A last-in-first-out queue in shared memory, for any number of producers and consumers in any number of processes.
///
/// The verbs, errors, handles and guarantees are those of [`Queue`](crate::Queue), but for the order: what was put last comes first. A batch that is got is in that
/// order too. There is one lock for both ends, so it is somewhat slower than a [`Queue`](crate::Queue).
///
/// ```
/// use pool_queue::LifoQueue;
///
/// let stack = LifoQueue::<u32>::new(10)?;
/// stack.put_many([1, 2, 3])?;
/// assert_eq!(stack.get()?, 3);
/// assert_eq!(stack.get_many(5)?, [2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LifoQueue<T> {
    pub(crate) backlog: Backlog<T>,
}

impl<T: Message> LifoQueue<T> {
    /// A queue of `items` items, with memory for them as [`StoreBuilder::bytes`] says.
    ///
    /// # Errors
    /// As for `build` of [`StoreBuilder`].
    pub fn new(items: usize) -> Result<Self, QueueError> {
        Self::builder().items(items).build()
    }

    /// Settings for a queue.
    pub fn builder() -> StoreBuilder<Self> {
        StoreBuilder::new(Rules::LIFO)
    }

    fn of(backlog: Backlog<T>) -> Self {
        Self { backlog }
    }

    pub(crate) fn one(&self, wait: Wait) -> Result<T, GetError> {
        Ok(self.backlog.get(None, wait)?.value?)
    }

    fn several(&self, max: usize, wait: Wait) -> Result<Vec<T>, GetManyError<T>> {
        let got = self.backlog.get_many(max, None, wait)?;
        all_or_some(got.into_iter().map(|one| one.value))
    }
}

impl<T> Clone for LifoQueue<T> {
    fn clone(&self) -> Self {
        Self {
            backlog: self.backlog.clone(),
        }
    }
}

putting!(LifoQueue);
getting!(LifoQueue<T: Message>, T, T, &[Rules::LIFO]);
