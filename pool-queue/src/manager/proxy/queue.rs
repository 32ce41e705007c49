//! Queues of a manager.

use std::time::Duration;

use pool_core::Sendable;

use super::backing::Backing;
use super::claim::ManagedClaim;
use super::within;
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Order, QueueOp, Wait};
use crate::{JoinError, JoinableQueue, LifoQueue, Priority, PriorityQueue, Queue};

/// A proxy of a queue with the verbs that all have. `$get` takes the backing and how long to wait.
macro_rules! queue_proxy {
    (
        $name:ident<$($kind:ident: $bound:ident),+>, $queue:ty, $item:ty, $get:expr, $discard:expr, ($($priority:ident: $rank:ty)?), $put_rank:expr,
        $bounded:ident, $from:ident, $unbounded:ident, $order:expr, $joinable:literal, $make:expr, $text:literal, $more:literal
    ) => {
        #[doc = $text]
        ///
        /// A bounded one is in shared memory, kept by the manager: its operations do not touch the manager, unless values hold proxies, and go on
        /// when the manager is gone; only a wait ends then, with [`ManagerError::Gone`] after a tenth of a second, since with the manager those may
        /// be gone who are waited for. One without a bound is in the manager and holds whatever fits there.
        ///
        #[doc = $more]
        pub struct $name<$($kind),+> {
            queue: Backing<$queue>,
        }

        impl<$($kind),+> Clone for $name<$($kind),+> {
            fn clone(&self) -> Self {
                let queue = self.queue.clone();
                Self { queue }
            }
        }

        impl<$($kind),+> std::fmt::Debug for $name<$($kind),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.queue).finish()
            }
        }

        impl<$($kind),+> PartialEq for $name<$($kind),+> {
            /// Whether both are proxies of the same object.
            fn eq(&self, other: &Self) -> bool {
                self.queue == other.queue
            }
        }

        impl<$($kind),+> Eq for $name<$($kind),+> {}

        impl<$($kind),+> std::hash::Hash for $name<$($kind),+> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.queue.hash(state);
            }
        }

        impl<$($kind),+> serde::Serialize for $name<$($kind),+> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.queue.serialize(serializer)
            }
        }

        impl<'de, $($kind: $bound),+> serde::Deserialize<'de> for $name<$($kind),+> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let queue = Backing::deserialize(deserializer)?;
                Ok(Self { queue })
            }
        }

        /// Every method fails if the manager is gone and the queue is without a bound or would wait, or if a value cannot be serialised or read.
        #[expect(
            clippy::missing_errors_doc,
            reason = "the errors are the same for all methods and stand above; others stand with each"
        )]
        impl<$($kind: $bound),+> $name<$($kind),+> {
            /// Puts a value, waiting for room as long as it takes. [`ManagerError::Closed`] if the queue is closed.
            pub fn put(&self, $($priority: $rank,)? value: T) -> Result<(), ManagerError> {
                self.queue.put($put_rank, value, Wait::Forever)
            }

            /// Puts a value if there is room now; else [`ManagerError::WouldBlock`].
            pub fn try_put(&self, $($priority: $rank,)? value: T) -> Result<(), ManagerError> {
                self.queue.put($put_rank, value, Wait::Now)
            }

            /// Puts a value, waiting for room for `timeout` at most; then [`ManagerError::Timeout`].
            pub fn put_timeout(
                &self,
                $($priority: $rank,)?
                value: T,
                timeout: Duration,
            ) -> Result<(), ManagerError> {
                self.queue.put($put_rank, value, within(timeout))
            }

            /// Gets the first in the queue's order, waiting for it as long as it takes. [`ManagerError::Closed`] if the queue is closed and empty.
            pub fn get(&self) -> Result<$item, ManagerError> {
                self.get_waiting(Wait::Forever)
            }

            /// Gets the first in the queue's order if there is one now; else [`ManagerError::WouldBlock`].
            pub fn try_get(&self) -> Result<$item, ManagerError> {
                self.get_waiting(Wait::Now)
            }

            /// Gets the first in the queue's order, waiting for it for `timeout` at most; then [`ManagerError::Timeout`].
            pub fn get_timeout(&self, timeout: Duration) -> Result<$item, ManagerError> {
                self.get_waiting(within(timeout))
            }

            /// All that comes, until the queue is closed and empty.
            pub fn iter(&self) -> impl Iterator<Item = Result<$item, ManagerError>> + '_ {
                std::iter::from_fn(|| match self.get() {
                    Err(ManagerError::Closed) => None,
                    got => Some(got),
                })
            }

            /// The number of values in the queue at one moment of this call.
            pub fn len(&self) -> Result<usize, ManagerError> {
                self.queue.len()
            }

            /// Whether there was none.
            pub fn is_empty(&self) -> Result<bool, ManagerError> {
                self.len().map(|len| len == 0)
            }

            /// How many values it holds at most, if it is bounded; those that are not done count.
            pub fn capacity(&self) -> Option<usize> {
                self.queue.capacity()
            }

            /// Takes out what is there; how many values there were.
            pub fn clear(&self) -> Result<usize, ManagerError> {
                self.queue.clear(|| self.try_get().and_then($discard))
            }

            /// Ends all putting; what is in the queue can still be got. Wakes everybody who waits.
            pub fn close(&self) -> Result<(), ManagerError> {
                self.queue.close()
            }

            /// Whether it was closed.
            pub fn is_closed(&self) -> Result<bool, ManagerError> {
                self.queue.is_closed()
            }

            fn get_waiting(&self, wait: Wait) -> Result<$item, ManagerError> {
                let get: fn(&Backing<$queue>, Wait) -> Result<$item, ManagerError> = $get;
                get(&self.queue, wait)
            }
        }

        #[doc = $text]
        impl Manager {
            /// One of `capacity` values, in shared memory. Its bytes are those of its type's `new`: for other sizes make it with the type's
            #[doc = concat!("`builder` and hand it to [`", stringify!($from), "`](Self::", stringify!($from), ").")]
            ///
            /// # Errors
            ///
            /// There is no memory; the capacity is impossible; the manager is gone.
            pub fn $bounded<$($kind: $bound),+>(&self, capacity: usize) -> Result<$name<$($kind),+>, ManagerError> {
                let make: fn(usize) -> Result<$queue, crate::QueueError> = $make;
                let queue = Backing::in_memory(self, make(capacity))?;
                Ok($name { queue })
            }

            /// One that was made in shared memory already.
            ///
            /// # Errors
            ///
            /// The manager is gone.
            pub fn $from<$($kind: $bound),+>(&self, queue: $queue) -> Result<$name<$($kind),+>, ManagerError> {
                let queue = Backing::in_memory(self, Ok(queue))?;
                Ok($name { queue })
            }

            /// One without a bound, in the manager's memory.
            ///
            /// # Errors
            ///
            /// The manager is gone.
            pub fn $unbounded<$($kind: $bound),+>(&self) -> Result<$name<$($kind),+>, ManagerError> {
                let queue = Backing::in_server(self, $order, $joinable)?;
                Ok($name { queue })
            }
        }
    };
}

queue_proxy!(
    QueueProxy<T: Sendable>, Queue<T>, T, |queue, wait| queue.get(wait, |_, value| value), |_| Ok(()), (), 0,
    queue, queue_from, unbounded_queue, Order::Fifo, false, Queue::new,
    "A first-in-first-out queue.",
    "A value whose `put` has returned is not lost, whoever is killed; a value that a consumer was getting when it was killed goes to another one \
     or is lost with it."
);
queue_proxy!(
    LifoQueueProxy<T: Sendable>, LifoQueue<T>, T, |queue, wait| queue.get(wait, |_, value| value), |_| Ok(()), (), 0,
    lifo_queue, lifo_queue_from, unbounded_lifo_queue, Order::Lifo, false, LifoQueue::new,
    "A queue that gives the last value back first.",
    "A value whose `put` has returned is not lost, whoever is killed; a value that a consumer was getting when it was killed goes to another one \
     or is lost with it."
);
queue_proxy!(
    PriorityQueueProxy<K: Priority, T: Sendable>, PriorityQueue<K, T>, (K, T), |queue, wait| queue.get(wait, |rank, value| (K::from_rank(rank), value)), |_| Ok(()), (priority: K), priority.rank(),
    priority_queue, priority_queue_from, unbounded_priority_queue, Order::Priority, false, PriorityQueue::new,
    "A queue that gives the value with the lowest priority back first, and equals in their order.",
    "A value whose `put` has returned is not lost, whoever is killed; a value that a consumer was getting when it was killed goes to another one \
     or is lost with it."
);
queue_proxy!(
    JoinableQueueProxy<T: Sendable>, JoinableQueue<T>, ManagedClaim<T>, ManagedClaim::get, |claim: ManagedClaim<T>| claim.task_done().map(drop), (), 0,
    joinable_queue, joinable_queue_from, unbounded_joinable_queue, Order::Fifo, true,
    |capacity| JoinableQueue::builder().items(capacity).give_back().build(),
    "A first-in-first-out queue that can be waited for: until every value that was put has been got and is done.",
    "Getting gives a [`ManagedClaim`], whose `task_done` says that the value is done. What a process has got and not done when it ends, or \
     drops, goes back to its place in the queue, and another one gets it: values are done at least once. (Of a queue that was made with \
     `joinable_queue_from` and does not give back, it is lost, and `join` tells so.) In a bounded queue a value takes its room until it is done, so a \
     consumer that puts into the queue from which it gets needs one that is large enough."
);

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for all methods and stand with the type's others"
)]
impl<T: Sendable> JoinableQueueProxy<T> {
    /// Waits until everything that was put is done.
    pub fn join(&self) -> Result<(), ManagerError> {
        self.join_waiting(Wait::Forever)
    }

    /// The same for `timeout` at most; then [`ManagerError::Timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ManagerError> {
        self.join_waiting(within(timeout))
    }

    fn join_waiting(&self, wait: Wait) -> Result<(), ManagerError> {
        match &self.queue {
            Backing::Server(queue) => queue.tell(QueueOp::Join, wait),
            Backing::Memory(queue) => {
                let joined = queue.join_waiting(queue.patience(wait));
                queue.explain(joined.map_err(|error| match error {
                    JoinError::Timeout { .. } => ManagerError::Timeout,
                    other => ManagerError::system("the queue", other),
                }))
            }
        }
    }
}
