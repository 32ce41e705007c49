//! What can go wrong between a program and a manager.

use pool_core::TaskError;
use serde::{Deserialize, Serialize};

/// Why a manager, or an object of it, did not do what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager's process has ended, or cannot be reached. Nothing that it held can be had any more.
    #[error(
        "the manager at {address} is gone ({reason}); whatever it held is lost, start another one"
    )]
    Gone {
        /// Where it was.
        address: String,
        /// How that was noticed.
        reason: String,
    },
    /// The manager's process exists but did not answer; it may be stopped.
    #[error("the manager at {address} does not answer: is its process stopped?")]
    Unresponsive {
        /// Where it is.
        address: String,
    },
    /// The time was over before it could be done.
    #[error("the time was over before it could be done")]
    Timeout,
    /// It could not be done at once (`try_` forms): the queue is empty or full, the lock is held.
    #[error("it cannot be done now: the queue is empty or full, or the lock is held")]
    WouldBlock,
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// There is no such object.
    #[error(
        "object {id} is gone: no process held a proxy of it, and its lease was over; keep a proxy until the receiver has its own"
    )]
    NoObject {
        /// Its number.
        id: u64,
    },
    /// The object is of another kind or holds another type.
    #[error("object {id} is {found}, not {asked}")]
    WrongType {
        /// Its number.
        id: u64,
        /// What was asked for.
        asked: String,
        /// What it is.
        found: String,
    },
    /// The place in the list is beyond its end.
    #[error("there is no element {index} in a list of {len}")]
    NoElement {
        /// What was asked for.
        index: u64,
        /// How many there are.
        len: u64,
    },
    /// This thread holds the lock already.
    #[error("this thread holds the lock already; use an `rlock` if it may take it again")]
    Deadlock,
    /// This thread does not hold the lock.
    #[error("this thread does not hold the lock")]
    NotHeld,
    /// The process that held the lock of an array ended: the elements may be half-written. This is said once; the next call takes them as they are.
    #[error(
        "the process that held the array's lock ended; elements may be half-written, the next call takes them as they are"
    )]
    OwnerDied,
    /// More was given back to a bounded semaphore than was taken.
    #[error("more was given back than had been taken")]
    TooManyReleases,
    /// The barrier is broken: somebody who waited at it has died, timed out or aborted it. `reset` repairs it.
    #[error(
        "the barrier is broken: one of those who waited died, had no more time or aborted it; `reset` repairs it"
    )]
    Broken,
    /// Functions can be called only by processes of the manager's executable.
    #[error(
        "this program and the manager are different executables; only the built-in objects can be used between them"
    )]
    OtherExecutable,
    /// The executable has no such function.
    #[error("there is no function of that name in the manager's executable")]
    NoFunction,
    /// The call failed: a panic in it, say. The object is poisoned if it was a panic.
    #[error("in the manager, {0}")]
    Call(TaskError),
    /// A call of this object panicked before, so what it holds may be half-changed.
    #[error("the object is poisoned: {reason}; `clear_poison` accepts it as it is")]
    Poisoned {
        /// The panic.
        reason: String,
    },
    /// A value could not be serialised.
    #[error("the value cannot be serialised: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// A value could not be read.
    #[error("the value is no {type_name}: {reason}")]
    Decode {
        /// What was expected.
        type_name: String,
        /// Why.
        reason: String,
    },
    /// The message is longer than the manager accepts.
    #[error(
        "the message takes {len} bytes, the limit is {limit}; raise it with `Manager::builder().message_limit(…)`, make the bounded queue larger (its `…_from` takes one of any size), or share an array"
    )]
    TooLarge {
        /// Bytes that it takes.
        len: u64,
        /// Bytes that it may take.
        limit: u64,
    },
    /// The manager refuses: another user, another version, a request that makes no sense.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The process could not be started, or a socket or shared memory not be made.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        reason: String,
    },
}

impl ManagerError {
    /// Whether the manager itself is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, ManagerError::Gone { .. })
    }

    pub(crate) fn refused(reason: impl ToString) -> ManagerError {
        ManagerError::Refused {
            reason: reason.to_string(),
        }
    }

    pub(crate) fn system(what: &str, reason: impl ToString) -> ManagerError {
        ManagerError::System {
            what: what.to_owned(),
            reason: reason.to_string(),
        }
    }
}
