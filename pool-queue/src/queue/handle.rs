//! The queue as programs see it.

use super::batch::{Batch, Room};
use super::builder::QueueBuilder;
use super::codec::{self, EncodeError, Taken};
use super::errors::{DecodeError, GetError, GetManyError, PutError, PutManyError, QueueError};
use super::iter::{Iter, TryIter};
use super::ring::{Payload, Ring};
use super::shape::Shape;
use crate::arrays;
use crate::wait::Wait;
use pool_shm::Segment;
use pool_shm::transfer::Exports;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// What can go through a queue: whatever serde can write and read, without borrows.
///
/// Numbers, `Complex`, `Vec`s of either and `String` are copied as they are; everything else goes through postcard.
pub trait Message: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Message for T {}

/// A first-in-first-out queue in shared memory, for any number of producers and consumers in any number of processes.
///
/// It is bounded in messages and in bytes. Clones, and copies made by serialising (as a task's argument, say), are the same queue. Nothing runs in the
/// background: a value is in the queue when `put` returns, and there is nothing to flush at exit.
///
/// # Guarantees
/// * **Order**: values come out in the order in which the puts took effect; those of one producer in its order. A put that waits for room does not hold up
///   smaller ones of others.
/// * **Deaths**: any process may be killed at any instruction of `put` or `get`. A value whose `put` had returned is not lost, and nobody else
///   is stopped. A value that was being put is in the queue whole or not at all. A value that was being got goes to another consumer, or is lost together with the
///   process that had got it.
/// * **Waiting**: `get` waits for ever for a value, also when no producer is left, like Python's; [`close`](Queue::close) wakes everybody.
///
/// # Handles
/// A serialised handle names the memory by a descriptor of the process that serialised it, which must be alive, and hold the queue, when the receiver reads it.
/// A pool looks after that for tasks' arguments.
///
/// # Arrays in messages
/// A frozen or raw array, an array's handle, a queue or a lock inside a message is not copied: the message names its memory. The process that has put the message keeps that
/// memory until the message was got, whatever it drops meanwhile; it lets go of it with its next operation on any queue. Whoever gets the message has the
/// memory from then on. If the process that has put it *ends* before, the memory is gone with it, and `get` gives [`GetError::Decode`] for this message, which says so;
/// the messages behind it are not affected. So a process that sends arrays should live until they were got, or send them as results of its task, which a pool keeps.
///
/// # Examples
/// ```
/// use pool_queue::{GetError, Queue};
///
/// let queue = Queue::<(usize, f64)>::new(16)?;
/// let producer = queue.clone(); // or serialised, for another process
/// std::thread::scope(|scope| {
///     scope.spawn(move || {
///         for i in 0..100 {
///             producer.put((i, i as f64 / 2.0)).expect("nobody closes it");
///         }
///         producer.close();
///     });
///     let sum: f64 = queue.iter().map(|got| got.expect("well-formed").1).sum();
///     assert_eq!(sum, 2475.0);
/// });
/// assert!(matches!(queue.get(), Err(GetError::Closed)));
/// # Ok::<(), pool_queue::QueueError>(())
/// ```
pub struct Queue<T> {
    ring: Arc<Ring>,
    message: PhantomData<fn(T) -> T>,
}

/// Making one, and what can be asked of it.
impl<T: Message> Queue<T> {
    /// A queue of `items` messages, with memory for them as [`QueueBuilder::bytes`] says.
    ///
    /// # Errors
    /// As for [`QueueBuilder::build`].
    pub fn new(items: usize) -> Result<Self, QueueError> {
        Self::builder().items(items).build()
    }

    /// Settings for a queue.
    pub fn builder() -> QueueBuilder<T> {
        QueueBuilder::new()
    }

    pub(super) fn create(shape: Shape, apart_above: Option<usize>) -> Result<Self, QueueError> {
        let ring = Ring::create(shape, apart_above, fingerprint::<T>())?;
        Ok(Self::of(ring))
    }

    /// The number of messages in the queue at one moment of this call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.span().map_or(0, |span| span.items as usize)
    }

    /// Whether there was no message at one moment of this call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there was no room at one moment of this call, not even for an empty message.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ring
            .span()
            .is_ok_and(|span| !self.ring.shape().fits(span, 1))
    }

    /// The number of messages that it holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ring.shape().items as usize
    }

    /// The number of bytes that its largest message may take, serialised, unless it goes into a segment of its own
    /// ([`QueueBuilder::own_segment_above`]).
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.ring.shape().largest()
    }

    /// Ends all putting, here and everywhere; what is in the queue can still be got. Wakes everybody who waits.
    ///
    /// Closing again does nothing.
    pub fn close(&self) {
        // A damaged queue is marked closed all the same; whoever uses it learns of the damage there.
        let _ = self.ring.close();
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    fn of(ring: Ring) -> Self {
        Self {
            ring: Arc::new(ring),
            message: PhantomData,
        }
    }
}

/// Putting.
impl<T: Message> Queue<T> {
    /// Puts a value, waiting for room as long as it takes.
    ///
    /// # Errors
    /// [`PutError::Closed`], [`PutError::TooLarge`], [`PutError::Encode`], [`PutError::Damaged`], each with the value.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_waiting(value, Wait::Forever)
    }

    /// Puts a value if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; and those of [`put`](Self::put). If a peer that is stopped holds the queue's lock: [`PutError::Timeout`], after a tenth of a second.
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_waiting(value, Wait::No)
    }

    /// Puts a value, waiting for room for `timeout` at most.
    ///
    /// # Errors
    /// [`PutError::Timeout`]; and those of [`put`](Self::put).
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_waiting(value, Wait::within(timeout))
    }

    /// Puts all values of an iterator in order, waiting for room as long as it takes; returns how many.
    ///
    /// Faster than one by one: many values are published in one step. Values of other producers may come between.
    ///
    /// # Errors
    /// [`PutManyError`] says how many were put, why it stopped, and holds those that were taken from the iterator and not put.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        self.put_many_waiting(values, Wait::Forever)
    }

    /// Puts values of an iterator in order as long as there is room now; returns how many it put if it put all.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many); [`PutError::Full`] when there is no room for the next.
    pub fn try_put_many(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<usize, PutManyError<T>> {
        self.put_many_waiting(values, Wait::No)
    }

    /// Puts all values of an iterator in order, waiting for room for `timeout` at most in all.
    ///
    /// # Errors
    /// As for [`put_many`](Self::put_many); [`PutError::Timeout`] when the time is over.
    pub fn put_many_timeout(
        &self,
        values: impl IntoIterator<Item = T>,
        timeout: Duration,
    ) -> Result<usize, PutManyError<T>> {
        self.put_many_waiting(values, Wait::within(timeout))
    }

    pub(crate) fn put_waiting(&self, value: T, wait: Wait) -> Result<(), PutError<T>> {
        arrays::sweep();
        let outcome = with_buffer(|buffer| {
            let encoded = self.room().encode(&value, buffer)?;
            let (bytes, table) = (encoded.bytes, encoded.table);
            let pushed = self
                .ring
                .push(&[Payload { bytes, table }], wait)
                .map_err(|refusal| PutError::refused(refusal, ()))?;
            self.keep(encoded.exports, pushed.first);
            Ok(())
        });
        outcome.map_err(|error: PutError<()>| error.map(|()| value))
    }

    fn put_many_waiting(
        &self,
        values: impl IntoIterator<Item = T>,
        wait: Wait,
    ) -> Result<usize, PutManyError<T>> {
        let mut values = values.into_iter();
        let mut put = 0;
        loop {
            let mut piece = Vec::new();
            let (done, result) = self.put_piece(&mut values, &mut piece, wait);
            put += done;
            match result {
                Ok(()) if piece.is_empty() => return Ok(put),
                Ok(()) => {}
                Err(error) => {
                    let rest = piece.split_off(done);
                    return Err(PutManyError { put, rest, error });
                }
            }
        }
    }

    /// Takes values for one piece and puts them; returns how many it put, in any case.
    fn put_piece(
        &self,
        values: &mut impl Iterator<Item = T>,
        piece: &mut Vec<T>,
        wait: Wait,
    ) -> (usize, Result<(), PutError<()>>) {
        arrays::sweep();
        let mut batch = Batch::default();
        let trouble = batch.fill(values, piece, |value| value, self.room());
        let mut exports = std::mem::take(&mut batch.exports).into_iter();
        let payloads = batch.payloads();
        let mut done = 0;
        while done < payloads.len() {
            match self.ring.push(&payloads[done..], wait) {
                Ok(pushed) => {
                    done += pushed.count;
                    let numbers = (0..).map(|i| pushed.first.wrapping_add(i));
                    let put = exports.by_ref().take(pushed.count);
                    put.zip(numbers).for_each(|(one, at)| self.keep(one, at));
                }
                Err(refusal) => return (done, Err(PutError::refused(refusal, ()))),
            }
        }
        (done, trouble)
    }

    fn room(&self) -> Room {
        Room {
            capacity: self.capacity_bytes(),
            apart_above: self.ring.apart_above(),
        }
    }

    /// Keeps what message `number` names until it has left the ring.
    fn keep(&self, exports: Exports, number: u32) {
        if !exports.is_empty() {
            let ring = Arc::clone(&self.ring);
            arrays::keep(exports, move || ring.has_passed(number));
        }
    }
}

/// Getting.
impl<T: Message> Queue<T> {
    /// Gets a value, waiting for it as long as it takes.
    ///
    /// # Errors
    /// [`GetError::Closed`] when the queue is closed and empty; [`GetError::Decode`], [`GetError::Damaged`].
    pub fn get(&self) -> Result<T, GetError> {
        self.get_waiting(Wait::Forever)
    }

    /// Gets a value if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; and those of [`get`](Self::get). If a peer that is stopped holds the queue's lock: [`GetError::Timeout`], after a tenth of a second.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_waiting(Wait::No)
    }

    /// Gets a value, waiting for it for `timeout` at most.
    ///
    /// # Errors
    /// [`GetError::Timeout`]; and those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_waiting(Wait::within(timeout))
    }

    /// Gets up to `max` values in one step, waiting for the first as long as it takes. `max` 0 gives none at once.
    ///
    /// # Errors
    /// [`GetManyError::Decode`] with the values that could be decoded; or the errors of [`get`](Self::get).
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetManyError<T>> {
        self.get_many_waiting(max, Wait::Forever)
    }

    /// Gets up to `max` values that are there now, in one step.
    ///
    /// # Errors
    /// As for [`get_many`](Self::get_many); [`GetError::Empty`].
    pub fn try_get_many(&self, max: usize) -> Result<Vec<T>, GetManyError<T>> {
        self.get_many_waiting(max, Wait::No)
    }

    /// Gets up to `max` values in one step, waiting for the first for `timeout` at most.
    ///
    /// # Errors
    /// As for [`get_many`](Self::get_many); [`GetError::Timeout`].
    pub fn get_many_timeout(
        &self,
        max: usize,
        timeout: Duration,
    ) -> Result<Vec<T>, GetManyError<T>> {
        self.get_many_waiting(max, Wait::within(timeout))
    }

    /// All values that come, until the queue is closed and empty; waits for each.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    /// The values that are there; ends when there is none at the moment.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { queue: self }
    }

    pub(crate) fn get_waiting(&self, wait: Wait) -> Result<T, GetError> {
        let got = with_buffer(|buffer| {
            buffer.clear();
            let (mut taken, mut trouble) = (None, None);
            self.ring.pop(1, wait, |frame| {
                match codec::take::<T>(&frame, buffer) {
                    Ok(one) => taken = Some(one),
                    Err(error) => trouble = Some(error),
                }
                trouble.is_none()
            })?;
            match (taken, trouble) {
                (_, Some(error)) => Err(GetError::Arrays(error)),
                (taken, None) => Ok(taken.expect("one message was popped").decode(buffer)?),
            }
        });
        arrays::sweep();
        got
    }

    fn get_many_waiting(&self, max: usize, wait: Wait) -> Result<Vec<T>, GetManyError<T>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let got = with_buffer(|buffer| {
            buffer.clear();
            let (mut taken, mut trouble) = (Vec::new(), None);
            let popped = self.ring.pop(max, wait, |frame| {
                match codec::take::<T>(&frame, buffer) {
                    Ok(one) => taken.push(one),
                    Err(error) => trouble = Some(error),
                }
                trouble.is_none()
            });
            popped.map_err(GetError::from)?;
            match trouble {
                Some(error) if taken.is_empty() => Err(GetError::Arrays(error).into()),
                _ => decode_all(taken, buffer),
            }
        });
        arrays::sweep();
        got
    }
}

/// The values of several messages that were taken into `buffer`.
pub(crate) fn decode_all<T: Message>(
    taken: Vec<Taken<T>>,
    buffer: &[u8],
) -> Result<Vec<T>, GetManyError<T>> {
    let (mut values, mut errors) = (Vec::with_capacity(taken.len()), Vec::<DecodeError>::new());
    for message in taken {
        match message.decode(buffer) {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(values)
    } else {
        Err(GetManyError::Decode { values, errors })
    }
}

pub(crate) fn unwritable(error: EncodeError) -> PutError<()> {
    match error {
        EncodeError::Value(reason) => PutError::Encode { value: (), reason },
        EncodeError::Memory(error) => PutError::Memory { value: (), error },
    }
}

/// Lends `f` a buffer of this thread's. Code that `f` calls may want one too: it gets another.
pub(crate) fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    /// A larger buffer is given back to the system: one large message must not cost its memory for ever.
    const KEPT: usize = 1 << 20;
    let mut buffer = BUFFER.take();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    result
}

/// Tells the types of queues apart, for processes of one program.
pub(crate) fn fingerprint<T>() -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let name = std::any::type_name::<T>().bytes();
    name.fold(START ^ size_of::<T>() as u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            ring: Arc::clone(&self.ring),
            message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.ring.shape();
        let mut fields = f.debug_struct("Queue");
        fields
            .field("type", &std::any::type_name::<T>())
            .field("segment", &self.ring.segment().id());
        fields
            .field("capacity", &shape.items)
            .field("held", &self.ring.span())
            .finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ring.segment().serialize(serializer)
    }
}

impl<'de, T: Message> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::deserialize(deserializer)?;
        let ring = Ring::attach(segment, fingerprint::<T>(), std::any::type_name::<T>());
        ring.map(Self::of).map_err(serde::de::Error::custom)
    }
}
