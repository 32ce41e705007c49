//! How large a queue is.

use super::codec;
use super::errors::QueueError;
use super::shape::{Shape, UNIT};
use super::{Message, Queue};
use std::marker::PhantomData;

/// Settings of a queue to be made; from [`Queue::builder`].
///
/// ```
/// use pool_queue::Queue;
///
/// let queue: Queue<Vec<f64>> = Queue::builder().items(100).bytes(1 << 20).build()?;
/// assert_eq!((queue.capacity(), queue.capacity_bytes()), (100, 1 << 20));
/// # Ok::<(), pool_queue::QueueError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a builder makes a queue with `build`"]
pub struct QueueBuilder<T> {
    items: usize,
    bytes: Option<usize>,
    apart_above: Option<usize>,
    message: PhantomData<fn(T) -> T>,
}

const DEFAULT_ITEMS: usize = 1024;
const LEAST_BYTES: usize = 256 << 10;
const MOST_BYTES: usize = 64 << 20;

impl<T: Message> QueueBuilder<T> {
    pub(super) fn new() -> Self {
        Self {
            items: DEFAULT_ITEMS,
            bytes: None,
            apart_above: None,
            message: PhantomData,
        }
    }

    /// The number of messages that the queue holds at most (default 1024).
    pub fn items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }

    /// The number of bytes that the queue holds at most, which is also what its largest message may take; rounded up to a multiple of eight.
    ///
    /// Each message takes the length of its serialised form, rounded up to a multiple of eight, and eight bytes for its header (the first message's
    /// header comes free). This memory is reserved at once. Default: what `items` numbers take, if the messages are numbers; otherwise 256 bytes for each item,
    /// from 256 KiB to 64 MiB.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Has a message of more than `bytes` bytes go into a segment of its own, of which the queue holds the name: then messages of any size
    /// go through a small queue, and a large one is copied while nobody waits for the queue's locks.
    ///
    /// The segment is kept as arrays in messages are (see [`Queue`]): by the process that has put the message, until it was got. Making
    /// one costs some microseconds and each page of it its first touch, so a queue with room in its own memory is faster: this is for messages that are
    /// seldom and large. Default: none, a message that is larger than the queue is an error.
    ///
    /// ```
    /// use pool_queue::Queue;
    ///
    /// let queue: Queue<Vec<f64>> = Queue::builder().bytes(4096).own_segment_above(1024).build()?;
    /// queue.put(vec![0.5; 1_000_000])?;
    /// assert_eq!(queue.get()?.len(), 1_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn own_segment_above(mut self, bytes: usize) -> Self {
        self.apart_above = Some(bytes);
        self
    }

    /// Makes the queue, empty.
    ///
    /// # Errors
    /// [`QueueError::is_invalid_capacity`] if a capacity is 0 or more than 2^31 messages or what the error says, just below 16 GiB; [`QueueError::is_out_of_memory`]; or a failure of the system.
    pub fn build(self) -> Result<Queue<T>, QueueError> {
        let bytes = self.bytes.unwrap_or_else(|| self.default_bytes());
        let invalid = || QueueError::capacity(self.items, bytes);
        let items = u32::try_from(self.items)
            .ok()
            .filter(|items| (1..=Shape::MAX).contains(items));
        let units = (bytes > 0).then(|| Shape::frame_units(bytes)).flatten();
        let (items, units) = items.zip(units).ok_or_else(invalid)?;
        Queue::create(Shape { items, units }, self.apart_above)
    }

    fn default_bytes(&self) -> usize {
        match codec::fixed_size::<T>() {
            Some(size) => {
                let frame = UNIT + size.next_multiple_of(UNIT);
                self.items.saturating_mul(frame).saturating_sub(UNIT)
            }
            None => self
                .items
                .saturating_mul(256)
                .clamp(LEAST_BYTES, MOST_BYTES),
        }
    }
}
