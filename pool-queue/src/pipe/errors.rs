//! The errors of a pipe.

use crate::queue::DecodeError;
use std::fmt;
use std::io;

/// Why a message was not sent.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T> {
    /// There was no room (`try_` forms).
    #[error("the pipe is full; wait with `send`, or receive at the other end")]
    Full(T),
    /// There was no room until the time was over.
    #[error("the pipe stayed full until the time was over; nobody receives at the other end")]
    Timeout(T),
    /// The time was over when a part of the message was sent. The rest is kept and goes first with the next message, or by `flush`.
    #[error(
        "the time was over in the middle of the message; the rest goes first with the next one, or by `flush`"
    )]
    Begun,
    /// The other end is closed, or its process has ended.
    #[error("the other end of the pipe is closed, or its process has ended")]
    Closed(T),
    /// The value could not be serialised.
    #[error("the message cannot be serialised: {reason}")]
    Encode {
        /// What was to be sent.
        value: T,
        /// What its `Serialize` says.
        reason: String,
    },
    /// The message comes with more descriptors than can be sent.
    #[error("the message comes with {count} descriptors, {most} are possible")]
    TooManyDescriptors {
        /// What was to be sent.
        value: T,
        /// How many it has, those of its arrays included.
        count: usize,
        /// How many are possible.
        most: usize,
    },
    /// The system refused.
    #[error("the system does not send the message: {source}")]
    System {
        /// What was to be sent.
        value: T,
        /// Its error.
        source: io::Error,
    },
}

impl<T> SendError<T> {
    /// Whether the other end is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, SendError::Closed(_))
    }

    /// What was to be sent; `None` if a part of it was.
    pub fn into_value(self) -> Option<T> {
        match self {
            SendError::Begun => None,
            SendError::Full(value)
            | SendError::Timeout(value)
            | SendError::Closed(value)
            | SendError::Encode { value, .. }
            | SendError::TooManyDescriptors { value, .. }
            | SendError::System { value, .. } => Some(value),
        }
    }

    /// The same error with something else for the value.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> SendError<U> {
        match self {
            SendError::Begun => SendError::Begun,
            SendError::Full(value) => SendError::Full(change(value)),
            SendError::Timeout(value) => SendError::Timeout(change(value)),
            SendError::Closed(value) => SendError::Closed(change(value)),
            SendError::Encode { value, reason } => SendError::Encode {
                value: change(value),
                reason,
            },
            SendError::TooManyDescriptors { value, count, most } => SendError::TooManyDescriptors {
                value: change(value),
                count,
                most,
            },
            SendError::System { value, source } => SendError::System {
                value: change(value),
                source,
            },
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.to_string()).finish()
    }
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There was none (`try_` forms).
    #[error("the pipe is empty")]
    Empty,
    /// None came, or not all of it, until the time was over. What came of it is kept for the next call.
    #[error("no whole message came until the time was over")]
    Timeout,
    /// End of file: the other end is closed, or its process has ended or was killed, and everything that it had sent was received.
    #[error("end of file: the other end of the pipe is closed, or its process has ended")]
    Closed,
    /// The other end ended in the middle of a message.
    #[error("the other end of the pipe ended after {got} of {of} bytes of a message")]
    Truncated {
        /// Bytes that came.
        got: u64,
        /// Bytes of the message.
        of: u64,
    },
    /// The next message is longer than the buffer. It stays, for a larger one.
    #[error("the message has {need} bytes, the buffer {room}")]
    TooSmall {
        /// Bytes of the message.
        need: u64,
        /// Bytes of the buffer.
        room: usize,
    },
    /// The next message is raw bytes where a value was asked for, or the other way round. It stays.
    #[error("the next message is {}; receive it as such", if *.raw { "raw bytes" } else { "a value" })]
    OtherKind {
        /// Whether it is raw bytes.
        raw: bool,
    },
    /// The message is no value of this type; it is gone.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What came is no message; the peer is no pipe of this library. The pipe cannot be used any more.
    #[error("what came through the pipe is no message: {reason}; something else wrote to it")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
    /// This process may have no more descriptors, and those of a message are lost. The pipe cannot be used any more.
    #[error(
        "descriptors that came with a message are lost: this process may open no more; raise its limit"
    )]
    DescriptorsLost,
    /// There is no memory for the message. It stays.
    #[error("there is no memory for a message of {need} bytes")]
    OutOfMemory {
        /// Bytes of the message.
        need: u64,
    },
    /// The system refused.
    #[error("the system does not receive from the pipe: {0}")]
    System(#[source] io::Error),
}

impl RecvError {
    /// Whether this is the end of file.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, RecvError::Closed)
    }
}
