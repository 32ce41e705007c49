//! The errors of a queue: one small enum per kind of operation, which hands the value back.

use super::damage::Damage;
use super::shape::Shape;
use crate::wait::Refusal;
use pool_shm::{SegmentId, ShmError};
use std::fmt;

/// Why a value was not put; it is handed back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// There was no room ([`try_put`](super::Queue::try_put)).
    #[error("the queue is full; wait with `put`, or make it larger")]
    Full(T),
    /// There was no room, or a peer held the queue's lock, until the time was over.
    #[error(
        "the queue stayed full, or a peer that is stopped held its lock, until the time was over"
    )]
    Timeout(T),
    /// The queue was closed.
    #[error("the queue is closed; nothing can be put any more")]
    Closed(T),
    /// The message is larger than the whole queue.
    #[error(
        "the message takes {need} bytes, the whole queue holds {capacity}; make the queue larger (`Queue::builder().bytes(…)`), \
         or put the data into a shared array and send its handle"
    )]
    TooLarge {
        /// What was to be put.
        value: T,
        /// Bytes that it takes.
        need: usize,
        /// Bytes that a message may take.
        capacity: usize,
    },
    /// The value could not be serialised.
    #[error("the message cannot be serialised: {reason}")]
    Encode {
        /// What was to be put.
        value: T,
        /// What its `Serialize` says.
        reason: String,
    },
    /// There is no memory for the message's own segment ([`QueueBuilder::own_segment_above`](super::QueueBuilder::own_segment_above)).
    #[error("the message needs a segment of its own, which cannot be had: {error}")]
    Memory {
        /// What was to be put.
        value: T,
        /// Why not.
        #[source]
        error: ShmError,
    },
    /// Something wrote over the queue.
    #[error("{damage}")]
    Damaged {
        /// What was to be put.
        value: T,
        /// What was found.
        damage: Damage,
    },
}

impl<T> PutError<T> {
    /// What was to be put.
    pub fn into_value(self) -> T {
        match self {
            PutError::Full(value)
            | PutError::Timeout(value)
            | PutError::Closed(value)
            | PutError::TooLarge { value, .. }
            | PutError::Encode { value, .. }
            | PutError::Memory { value, .. }
            | PutError::Damaged { value, .. } => value,
        }
    }

    /// The same error with something else for the value.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> PutError<U> {
        match self {
            PutError::Full(value) => PutError::Full(change(value)),
            PutError::Timeout(value) => PutError::Timeout(change(value)),
            PutError::Closed(value) => PutError::Closed(change(value)),
            PutError::TooLarge {
                value,
                need,
                capacity,
            } => PutError::TooLarge {
                value: change(value),
                need,
                capacity,
            },
            PutError::Encode { value, reason } => PutError::Encode {
                value: change(value),
                reason,
            },
            PutError::Memory { value, error } => PutError::Memory {
                value: change(value),
                error,
            },
            PutError::Damaged { value, damage } => PutError::Damaged {
                value: change(value),
                damage,
            },
        }
    }

    pub(crate) fn refused(refusal: Refusal, value: T) -> Self {
        match refusal {
            Refusal::NotNow => PutError::Full(value),
            Refusal::Timeout => PutError::Timeout(value),
            Refusal::Closed => PutError::Closed(value),
            Refusal::Damaged(damage) => PutError::Damaged { value, damage },
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Full(_) => f.write_str("Full(..)"),
            PutError::Timeout(_) => f.write_str("Timeout(..)"),
            PutError::Closed(_) => f.write_str("Closed(..)"),
            PutError::TooLarge { need, capacity, .. } => {
                let mut fields = f.debug_struct("TooLarge");
                fields
                    .field("need", need)
                    .field("capacity", capacity)
                    .finish_non_exhaustive()
            }
            PutError::Encode { reason, .. } => f
                .debug_struct("Encode")
                .field("reason", reason)
                .finish_non_exhaustive(),
            PutError::Memory { error, .. } => f
                .debug_struct("Memory")
                .field("error", error)
                .finish_non_exhaustive(),
            PutError::Damaged { damage, .. } => f
                .debug_struct("Damaged")
                .field("damage", damage)
                .finish_non_exhaustive(),
        }
    }
}

/// Why a batch was not put to its end. What was put before stays put.
#[derive(thiserror::Error)]
#[error("after {put} messages: {error}")]
#[non_exhaustive]
pub struct PutManyError<T> {
    /// How many values were put, the first ones in order.
    pub put: usize,
    /// Those that were taken from the iterator and not put, in order. What the iterator had left was not touched: pass `&mut iterator` to keep it.
    pub rest: Vec<T>,
    /// What stopped it; about the first value of `rest`.
    pub error: PutError<()>,
}

impl<T> fmt::Debug for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("PutManyError");
        fields
            .field("put", &self.put)
            .field("rest", &self.rest.len())
            .field("error", &self.error)
            .finish()
    }
}

/// Why no value was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There was nothing ([`try_get`](super::Queue::try_get)).
    #[error("the queue is empty")]
    Empty,
    /// There was nothing, or a peer held the queue's lock, until the time was over.
    #[error(
        "the queue stayed empty, or a peer that is stopped held its lock, until the time was over"
    )]
    Timeout,
    /// The queue was closed, and everything in it has been got.
    #[error("the queue is closed and empty")]
    Closed,
    /// There was a message, but it could not be made a value; it is gone.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The next message names arrays, and this process can open no more; the message stays where it is.
    #[error("the arrays of the next message cannot be opened, so it stays in the queue: {0}")]
    Arrays(#[source] ShmError),
    /// Something wrote over the queue.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

impl From<Refusal> for GetError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotNow => GetError::Empty,
            Refusal::Timeout => GetError::Timeout,
            Refusal::Closed => GetError::Closed,
            Refusal::Damaged(damage) => GetError::Damaged(damage),
        }
    }
}

/// A message that is not a value of the queue's type, or names something that is gone, like an array whose owner has dropped it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of {len} bytes is no {type_name}: {reason}")]
pub struct DecodeError {
    len: usize,
    type_name: &'static str,
    reason: String,
}

impl DecodeError {
    pub(super) fn new<T>(len: usize, reason: String) -> Self {
        Self {
            len,
            type_name: std::any::type_name::<T>(),
            reason,
        }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        self.type_name
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

/// Why a batch was not got.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum GetManyError<T> {
    /// Some of the messages could not be made values; the others are here.
    #[error("{} of {} messages could not be decoded; the first: {}", .errors.len(), .errors.len() + .values.len(), first(.errors))]
    Decode {
        /// Those that could, in order.
        values: Vec<T>,
        /// What was wrong with the others, in order.
        errors: Vec<DecodeError>,
    },
    /// No message was got.
    #[error(transparent)]
    Get(#[from] GetError),
}

fn first(errors: &[DecodeError]) -> String {
    errors
        .first()
        .map_or_else(String::new, DecodeError::to_string)
}

impl<T> fmt::Debug for GetManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetManyError::Decode { values, errors } => f
                .debug_struct("Decode")
                .field("values", &values.len())
                .field("errors", errors)
                .finish(),
            GetManyError::Get(error) => f.debug_tuple("Get").field(error).finish(),
        }
    }
}

/// Why a queue could not be made or attached to; ask with the `is_…` methods.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct QueueError(Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error(transparent)]
    Memory(#[from] ShmError),
    #[error(
        "a queue of {items} messages and {bytes} bytes cannot be made; from 1 to {} messages, and from 1 to {} bytes, are possible",
        Shape::MAX,
        LARGEST
    )]
    Capacity { items: usize, bytes: usize },
    #[error("the segment {id} holds no queue; the handle is of something else")]
    NoQueue { id: SegmentId },
    #[error(
        "the queue holds another type than {type_name}; its handle was read as one of another type"
    )]
    OtherType { type_name: &'static str },
    #[error(
        "the queue's header says {items} messages and {units} units of 8 bytes, the segment has room for {room} units; something wrote over it"
    )]
    Header { items: u64, units: u64, room: usize },
    #[error(
        "the queue's header says {items} messages and {bytes} bytes, which do not fit a segment of {room} bytes; something wrote over it"
    )]
    Store { items: u64, bytes: u64, room: usize },
}

/// Bytes of the largest ring.
const LARGEST: u64 = Shape::MAX as u64 * super::shape::UNIT as u64;

impl QueueError {
    /// Whether there is too little memory for the queue.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(&self.0, Kind::Memory(error) if error.is_out_of_memory())
    }

    /// Whether the capacity that was asked for is impossible.
    #[must_use]
    pub fn is_invalid_capacity(&self) -> bool {
        matches!(self.0, Kind::Capacity { .. })
    }

    /// Whether what the handle names is not a queue of this type.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        match &self.0 {
            Kind::Memory(error) => error.is_mismatch(),
            Kind::NoQueue { .. }
            | Kind::OtherType { .. }
            | Kind::Header { .. }
            | Kind::Store { .. } => true,
            Kind::Capacity { .. } => false,
        }
    }

    pub(crate) fn capacity(items: usize, bytes: usize) -> Self {
        Self(Kind::Capacity { items, bytes })
    }

    pub(crate) fn no_queue(id: SegmentId) -> Self {
        Self(Kind::NoQueue { id })
    }

    pub(crate) fn other_type(type_name: &'static str) -> Self {
        Self(Kind::OtherType { type_name })
    }

    pub(crate) fn store(items: u64, bytes: u64, room: usize) -> Self {
        Self(Kind::Store { items, bytes, room })
    }

    pub(super) fn header(items: u64, units: u64, room: usize) -> Self {
        Self(Kind::Header { items, units, room })
    }
}

impl From<ShmError> for QueueError {
    fn from(error: ShmError) -> Self {
        Self(Kind::Memory(error))
    }
}
