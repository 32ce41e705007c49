//! Queues of a manager.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use pool_core::Sendable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::Shared;
use super::{expect_reply, proxy, within};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Make, Op, Order, QueueOp, Reply, Wait};
use crate::manager::value::{self, Object};
use crate::{GetError, PutError, Queue};

/// What all queues that the server holds do.
fn put<T: Sendable>(
    object: &Object,
    priority: i64,
    value: &T,
    wait: Wait,
) -> Result<(), ManagerError> {
    let value = value::encode(&object.session, value)?;
    let op = QueueOp::Put { priority, value };
    expect_reply!(object.operate(Op::Queue(op), wait), Reply::Done => ())
}

fn get<T: Sendable>(object: &Object, wait: Wait) -> Result<T, ManagerError> {
    let reply = object.operate(Op::Queue(QueueOp::Get), wait);
    let blob = expect_reply!(reply, Reply::Value(Some(blob)) => blob)?;
    value::decode(&object.session, blob)
}

fn number(object: &Object, op: QueueOp) -> Result<u64, ManagerError> {
    expect_reply!(object.operate(Op::Queue(op), Wait::Now), Reply::Number(number) => number)
}

fn done(object: &Object, op: QueueOp, wait: Wait) -> Result<(), ManagerError> {
    expect_reply!(object.operate(Op::Queue(op), wait), Reply::Done => ())
}

/// A first-in-first-out queue: in shared memory if it is bounded, else in the manager.
///
/// A bounded queue is a [`Queue`] that the manager keeps: its operations do not touch the manager, unless values hold proxies. One without a
/// bound holds whatever fits into the manager's memory.
///
/// A value whose `put` has returned is not lost, whoever is killed; a value that a consumer was getting when it was killed goes to another one
/// or is lost with it.
pub struct QueueProxy<T> {
    kind: Kind<T>,
}

enum Kind<T> {
    Bounded(Shared<Queue<T>>),
    Unbounded(Unbounded<T>),
}

struct Unbounded<T> {
    object: Arc<Object>,
    holds: PhantomData<fn(T) -> T>,
}

proxy!(Unbounded<T>);

impl<T> Clone for QueueProxy<T> {
    fn clone(&self) -> Self {
        let kind = match &self.kind {
            Kind::Bounded(queue) => Kind::Bounded(queue.clone()),
            Kind::Unbounded(queue) => Kind::Unbounded(queue.clone()),
        };
        Self { kind }
    }
}

impl<T> fmt::Debug for QueueProxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bounded(queue) => f.debug_tuple("QueueProxy").field(queue).finish(),
            Kind::Unbounded(queue) => f.debug_tuple("QueueProxy").field(queue).finish(),
        }
    }
}

impl<T> Serialize for QueueProxy<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name: Result<&Shared<Queue<T>>, &Unbounded<T>> = match &self.kind {
            Kind::Bounded(queue) => Ok(queue),
            Kind::Unbounded(queue) => Err(queue),
        };
        name.serialize(serializer)
    }
}

impl<'de, T: Sendable> Deserialize<'de> for QueueProxy<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = match Result::<Shared<Queue<T>>, Unbounded<T>>::deserialize(deserializer)? {
            Ok(queue) => Kind::Bounded(queue),
            Err(queue) => Kind::Unbounded(queue),
        };
        Ok(Self { kind })
    }
}

/// Every method fails if the manager is gone and the queue is without a bound, or if a value cannot be serialised or read.
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand above; others stand with each"
)]
impl<T: Sendable> QueueProxy<T> {
    /// Puts a value, waiting for room as long as it takes. [`ManagerError::Closed`] if the queue is closed.
    pub fn put(&self, value: T) -> Result<(), ManagerError> {
        self.put_waiting(value, Wait::Forever)
    }

    /// Puts a value if there is room now; else [`ManagerError::WouldBlock`].
    pub fn try_put(&self, value: T) -> Result<(), ManagerError> {
        self.put_waiting(value, Wait::Now)
    }

    /// Puts a value, waiting for room for `timeout` at most; then [`ManagerError::Timeout`].
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), ManagerError> {
        self.put_waiting(value, within(timeout))
    }

    /// Gets a value, waiting for it as long as it takes. [`ManagerError::Closed`] if the queue is closed and empty.
    pub fn get(&self) -> Result<T, ManagerError> {
        self.get_waiting(Wait::Forever)
    }

    /// Gets a value if there is one now; else [`ManagerError::WouldBlock`].
    pub fn try_get(&self) -> Result<T, ManagerError> {
        self.get_waiting(Wait::Now)
    }

    /// Gets a value, waiting for it for `timeout` at most; then [`ManagerError::Timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
        self.get_waiting(within(timeout))
    }

    /// All values that come, until the queue is closed and empty.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ManagerError>> + '_ {
        std::iter::from_fn(|| match self.get() {
            Err(ManagerError::Closed) => None,
            got => Some(got),
        })
    }

    /// The number of values in the queue at one moment of this call.
    pub fn len(&self) -> Result<usize, ManagerError> {
        match &self.kind {
            Kind::Bounded(queue) => Ok(queue.len()),
            Kind::Unbounded(queue) => number(&queue.object, QueueOp::Len).map(|len| len as usize),
        }
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        self.len().map(|len| len == 0)
    }

    /// How many values it holds at most, if it is bounded.
    pub fn capacity(&self) -> Option<usize> {
        match &self.kind {
            Kind::Bounded(queue) => Some(queue.capacity()),
            Kind::Unbounded(_) => None,
        }
    }

    /// Ends all putting; what is in the queue can still be got. Wakes everybody who waits.
    pub fn close(&self) -> Result<(), ManagerError> {
        match &self.kind {
            Kind::Bounded(queue) => {
                queue.close();
                Ok(())
            }
            Kind::Unbounded(queue) => done(&queue.object, QueueOp::Close, Wait::Now),
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> Result<bool, ManagerError> {
        match &self.kind {
            Kind::Bounded(queue) => Ok(queue.is_closed()),
            Kind::Unbounded(queue) => {
                let reply = queue
                    .object
                    .operate(Op::Queue(QueueOp::IsClosed), Wait::Now);
                expect_reply!(reply, Reply::Bool(closed) => closed)
            }
        }
    }

    fn put_waiting(&self, value: T, wait: Wait) -> Result<(), ManagerError> {
        match &self.kind {
            Kind::Unbounded(queue) => put(&queue.object, 0, &value, wait),
            Kind::Bounded(queue) => {
                let put = value::putting(&queue.object, || match wait {
                    Wait::Now => queue.try_put(value),
                    Wait::For(time) => queue.put_timeout(value, time),
                    Wait::Forever => queue.put(value),
                });
                put.map_err(not_put)
            }
        }
    }

    fn get_waiting(&self, wait: Wait) -> Result<T, ManagerError> {
        match &self.kind {
            Kind::Unbounded(queue) => get(&queue.object, wait),
            Kind::Bounded(queue) => {
                let got = value::getting(&queue.object, || match wait {
                    Wait::Now => queue.try_get(),
                    Wait::For(time) => queue.get_timeout(time),
                    Wait::Forever => queue.get(),
                });
                got.map_err(not_got)
            }
        }
    }
}

fn not_put<T>(error: PutError<T>) -> ManagerError {
    match error {
        PutError::Full(_) => ManagerError::WouldBlock,
        PutError::Timeout(_) => ManagerError::Timeout,
        PutError::Closed(_) => ManagerError::Closed,
        PutError::TooLarge { need, capacity, .. } => ManagerError::TooLarge {
            len: need as u64,
            limit: capacity as u64,
        },
        PutError::Encode { reason, .. } => ManagerError::Encode { reason },
        other => ManagerError::system("the queue's memory", other),
    }
}

fn not_got(error: GetError) -> ManagerError {
    match error {
        GetError::Empty => ManagerError::WouldBlock,
        GetError::Timeout => ManagerError::Timeout,
        GetError::Closed => ManagerError::Closed,
        other => ManagerError::system("the queue's memory", other),
    }
}

macro_rules! held_queue {
    ($name:ident, $maker:ident, $order:ident, $joinable:literal, ($($priority:ident: i64,)?), $pass:expr, $text:literal) => {
        #[doc = $text]
        ///
        /// The manager holds it. A value whose `put` has returned is not lost, whoever is killed.
        pub struct $name<T> {
            object: Arc<Object>,
            holds: PhantomData<fn(T) -> T>,
        }

        proxy!($name<T>);

        /// Every method fails if the manager is gone, or a value cannot be serialised or read.
        #[expect(clippy::missing_errors_doc, reason = "the errors are the same for all methods and stand above; others stand with each")]
        impl<T: Sendable> $name<T> {
            /// Puts a value, waiting for room as long as it takes. [`ManagerError::Closed`] if the queue is closed.
            pub fn put(&self, $($priority: i64,)? value: T) -> Result<(), ManagerError> {
                put(&self.object, $pass, &value, Wait::Forever)
            }

            /// Puts a value if there is room now; else [`ManagerError::WouldBlock`].
            pub fn try_put(&self, $($priority: i64,)? value: T) -> Result<(), ManagerError> {
                put(&self.object, $pass, &value, Wait::Now)
            }

            /// Puts a value, waiting for room for `timeout` at most; then [`ManagerError::Timeout`].
            pub fn put_timeout(&self, $($priority: i64,)? value: T, timeout: Duration) -> Result<(), ManagerError> {
                put(&self.object, $pass, &value, within(timeout))
            }

            /// Gets a value, waiting for it as long as it takes. [`ManagerError::Closed`] if the queue is closed and empty.
            pub fn get(&self) -> Result<T, ManagerError> {
                get(&self.object, Wait::Forever)
            }

            /// Gets a value if there is one now; else [`ManagerError::WouldBlock`].
            pub fn try_get(&self) -> Result<T, ManagerError> {
                get(&self.object, Wait::Now)
            }

            /// Gets a value, waiting for it for `timeout` at most; then [`ManagerError::Timeout`].
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, ManagerError> {
                get(&self.object, within(timeout))
            }

            /// The number of values in the queue at one moment of this call.
            pub fn len(&self) -> Result<usize, ManagerError> {
                number(&self.object, QueueOp::Len).map(|len| len as usize)
            }

            /// Whether there was none.
            pub fn is_empty(&self) -> Result<bool, ManagerError> {
                self.len().map(|len| len == 0)
            }

            /// Takes everything out; how many values there were.
            pub fn clear(&self) -> Result<usize, ManagerError> {
                number(&self.object, QueueOp::Clear).map(|len| len as usize)
            }

            /// Ends all putting; what is in the queue can still be got. Wakes everybody who waits.
            pub fn close(&self) -> Result<(), ManagerError> {
                done(&self.object, QueueOp::Close, Wait::Now)
            }
        }

        impl Manager {
            #[doc = $text]
            ///
            /// `capacity` is how many values it holds at most, if there is a bound.
            ///
            /// # Errors
            ///
            /// The manager is gone.
            pub fn $maker<T: Sendable>(&self, capacity: Option<usize>) -> Result<$name<T>, ManagerError> {
                let make = Make::Queue {
                    order: Order::$order,
                    capacity: capacity.map(|capacity| capacity as u64),
                    joinable: $joinable,
                };
                Ok($name::of(self.make::<$name<T>>(make)?))
            }
        }
    };
}

held_queue!(
    LifoQueueProxy,
    lifo_queue,
    Lifo,
    false,
    (),
    0,
    "A queue that gives back the last value first."
);
held_queue!(
    PriorityQueueProxy,
    priority_queue,
    Priority,
    false,
    (priority: i64,),
    priority,
    "A queue that gives back the value with the lowest priority first, and equals in their order."
);
held_queue!(
    JoinableQueueProxy,
    joinable_queue,
    Fifo,
    true,
    (),
    0,
    "A queue that can be waited for: until every value that was put has been got and finished."
);

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand with the type's others"
)]
impl<T: Sendable> JoinableQueueProxy<T> {
    /// The value that this process got first, of those that it has not finished, is finished. [`ManagerError::TooManyReleases`] if it has none.
    ///
    /// What a process has got and not finished when it ends goes back to its place in the queue: another one gets it.
    pub fn task_done(&self) -> Result<(), ManagerError> {
        done(&self.object, QueueOp::TaskDone, Wait::Now)
    }

    /// Waits until all values are finished.
    pub fn join(&self) -> Result<(), ManagerError> {
        done(&self.object, QueueOp::Join, Wait::Forever)
    }

    /// The same for `timeout` at most; then [`ManagerError::Timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ManagerError> {
        done(&self.object, QueueOp::Join, within(timeout))
    }
}

impl Manager {
    /// A queue of `capacity` values in shared memory, kept by the manager. Its bytes are those of [`Queue::new`]; for others see
    /// [`queue_from`](Self::queue_from).
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn queue<T: Sendable>(&self, capacity: usize) -> Result<QueueProxy<T>, ManagerError> {
        let queue = Queue::new(capacity);
        self.queue_from(queue.map_err(|error| ManagerError::system("cannot make a queue", error))?)
    }

    /// The same for a queue that was made with [`Queue::builder`].
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn queue_from<T: Sendable>(&self, queue: Queue<T>) -> Result<QueueProxy<T>, ManagerError> {
        let kind = Kind::Bounded(self.share(queue)?);
        Ok(QueueProxy { kind })
    }

    /// A queue without a bound, in the manager's memory.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn unbounded_queue<T: Sendable>(&self) -> Result<QueueProxy<T>, ManagerError> {
        let make = Make::Queue {
            order: Order::Fifo,
            capacity: None,
            joinable: false,
        };
        let object = self.make::<Unbounded<T>>(make)?;
        let kind = Kind::Unbounded(Unbounded::of(object));
        Ok(QueueProxy { kind })
    }
}
