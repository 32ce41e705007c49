//! Objects that processes share: queues in shared memory, and a manager that holds anything.
//!
//! A [`Queue`] lives in shared memory. Its handle is a value: clone it, send it to another process as a task's argument, put into it there, get from it here.
//!
//! ```
//! use pool_queue::Queue;
//!
//! let queue = Queue::<String>::new(10)?;
//! queue.put("a result".to_owned())?;
//! assert_eq!(queue.get()?, "a result");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Manager`] is a process that holds objects: containers, locks, values of your own types. Use a queue in shared memory where what flows is one type of message
//! and speed counts; a manager where objects are nested, named, of your own types, or come and go.

#[cfg(not(loom))]
mod arrays;
mod atomic;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(loom))]
mod manager;
#[cfg(not(loom))]
pub mod pipe;
mod queue;
mod select;
mod store;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod wait;

#[cfg(not(loom))]
#[doc(hidden)]
pub use manager::proxy::forms;
#[cfg(not(loom))]
pub use manager::proxy::{
    Array, ArrayProxy, BarrierProxy, ConditionGuard, ConditionProxy, Counter, CounterProxy,
    DictProxy, EventProxy, JoinableQueueProxy, LifoQueueProxy, ListProxy, ManagedClaim,
    ManagedGuard, ManagedLockError, Method, MutexProxy, NamespaceProxy, Permit, PoolProxy,
    PriorityQueueProxy, Proxy, QueueProxy, ReentrantLockProxy, RwLockProxy, SemaphoreProxy,
    SetProxy, Shared, ValueProxy,
};
#[cfg(not(loom))]
pub use manager::{Address, Lifetime, Manager, ManagerBuilder, ManagerError};
#[cfg(not(loom))]
pub use pipe::pipe;
#[cfg(not(loom))]
pub use queue::{
    Damage, DecodeError, GetError, GetManyError, Iter, Message, PutError, PutManyError, Queue,
    QueueBuilder, QueueError, TryIter,
};
#[cfg(not(loom))]
pub use select::{Select, Selectable};
#[cfg(not(loom))]
pub use store::{
    Claim, JoinError, JoinableQueue, LifoQueue, Loss, LossCause, Losses, Priority, PriorityQueue,
    StoreBuilder,
};
