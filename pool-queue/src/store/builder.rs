//! How large a queue on a store is.

use super::backlog::Backlog;
use super::plan::Plan;
use super::protocol::Rules;
use super::{JoinableQueue, LifoQueue, Priority, PriorityQueue};
use crate::queue::{Message, QueueError, fingerprint, fixed_size};
use std::marker::PhantomData;

/// Settings of a [`LifoQueue`], [`PriorityQueue`] or [`JoinableQueue`] to be made; from their `builder`.
///
/// ```
/// use pool_queue::LifoQueue;
///
/// let stack: LifoQueue<String> = LifoQueue::builder().items(100).bytes(1 << 20).build()?;
/// assert_eq!((stack.capacity(), stack.capacity_bytes()), (100, 1 << 20));
/// # Ok::<(), pool_queue::QueueError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder makes a queue with `build`"]
pub struct StoreBuilder<Q> {
    items: usize,
    bytes: Option<usize>,
    rules: Rules,
    queue: PhantomData<fn() -> Q>,
}

const DEFAULT_ITEMS: usize = 1024;
const LEAST_BYTES: usize = 256 << 10;
const MOST_BYTES: usize = 64 << 20;

impl<Q> StoreBuilder<Q> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            items: DEFAULT_ITEMS,
            bytes: None,
            rules,
            queue: PhantomData,
        }
    }

    /// The number of items that the queue holds at most (default 1024).
    pub fn items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }

    /// The number of bytes that the items take at most, serialised, in all; also what the largest may take. Exact: as many items of as many bytes always fit.
    ///
    /// This memory is reserved at once, with 150 bytes more for each item. Default: what `items` numbers take, if the values are numbers; otherwise 256 bytes for each item, from 256 KiB to 64 MiB.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }

    fn plan<T: 'static>(&self) -> Result<Plan, QueueError> {
        let fixed = fixed_size::<T>();
        let bytes = self.bytes.unwrap_or_else(|| match fixed {
            Some(size) => self.items.saturating_mul(size),
            None => self
                .items
                .saturating_mul(256)
                .clamp(LEAST_BYTES, MOST_BYTES),
        });
        Plan::new(self.rules, self.items, bytes, fixed)
    }

    fn backlog<T: 'static>(&self, kind: u64) -> Result<Backlog<T>, QueueError> {
        Backlog::create(self.plan::<T>()?, kind)
    }
}

impl<T: Message> StoreBuilder<LifoQueue<T>> {
    /// Makes the queue, empty.
    ///
    /// # Errors
    /// [`QueueError::is_invalid_capacity`] if a capacity is 0 or too large (2^31 items, 2^32 blocks of bytes); [`QueueError::is_out_of_memory`]; or a failure of the system.
    pub fn build(self) -> Result<LifoQueue<T>, QueueError> {
        let backlog = self.backlog(fingerprint::<T>())?;
        Ok(LifoQueue { backlog })
    }
}

impl<K: Priority, T: Message> StoreBuilder<PriorityQueue<K, T>> {
    /// Makes the queue, empty.
    ///
    /// # Errors
    /// [`QueueError::is_invalid_capacity`] if a capacity is 0 or too large (2^31 items, 2^32 blocks of bytes); [`QueueError::is_out_of_memory`]; or a failure of the system.
    pub fn build(self) -> Result<PriorityQueue<K, T>, QueueError> {
        let backlog = self.backlog(fingerprint::<(K, T)>())?;
        Ok(PriorityQueue::of(backlog))
    }
}

impl<T: Message> StoreBuilder<JoinableQueue<T>> {
    /// An item whose consumer dies, or drops it, before it is done goes back into the queue, to its old place. Default: it is lost, and
    /// [`join`](JoinableQueue::join) says so.
    ///
    /// Then items are done at least once, not exactly once: a consumer may have done all its work and died just before it said so.
    pub fn give_back(mut self) -> Self {
        self.rules = Rules::GIVING_BACK;
        self
    }

    /// Makes the queue, empty.
    ///
    /// # Errors
    /// [`QueueError::is_invalid_capacity`] if a capacity is 0 or too large (2^31 items, 2^32 blocks of bytes); [`QueueError::is_out_of_memory`]; or a failure of the system.
    pub fn build(self) -> Result<JoinableQueue<T>, QueueError> {
        let backlog = self.backlog(fingerprint::<T>())?;
        Ok(JoinableQueue::of(backlog))
    }
}
