//! Locks and waiting that work between processes and survive their deaths.
//!
//! | type | is |
//! |---|---|
//! | [`Mutex`] | a value that one holder at a time may use |
//! | [`RwLock`] | a value that many may read or one may write |
//! | [`ReentrantMutex`] | a value whose holder may take the lock again |
//! | [`Condvar`] | waiting until what a [`Mutex`] protects has changed |
//! | [`Semaphore`] | a count that is raised and lowered |
//! | [`BoundedSemaphore`] | so many permits, each given back when its holder lets go or dies |
//! | [`Event`] | a signal that is set or not |
//! | [`Barrier`] | a place where so many meet |
//! | [`Once`] | something that is done once |
//! | [`SharedValue`], [`RecordTable`] | a value, or many, read without a lock and changed as a whole |
//! | [`RawMutex`], [`EventCount`] | what all of them are made of, at an offset of any segment |
//!
//! All are handles: a clone, or a copy made by serialising (as a task's or an initializer's argument, say), is the same lock. Each lies in a segment of its
//! own and is gone with its last handle. Every wait has a form with a timeout.
//!
//! # Deaths
//! The death of a holder is [`LockError::OwnerDied`] with the guard, for the next one: what it protects may be half-written. The death of a reader, or of
//! somebody who waits, is nothing. Guards stay in their thread and cannot be sent:
//!
//! ```compile_fail,E0277
//! let mutex = pool_shm::sync::Mutex::new(0_u64).unwrap();
//! let guard = mutex.lock().unwrap();
//! std::thread::scope(|scope| drop(scope.spawn(move || drop(guard)))); // `Send` is missing
//! ```
//!
//! Data that a killed process can leave half-written is under a robust lock of the C library, whose next holder is told; all waiting is on futexes. The
//! C library's condition variables are used nowhere: one killed waiter can wedge them for good.

#[cfg(not(loom))]
mod barrier;
#[cfg(not(loom))]
mod bounded_semaphore;
#[cfg(not(loom))]
mod condvar;
mod error;
#[cfg(not(loom))]
mod event;
mod event_count;
#[cfg(not(loom))]
pub(crate) mod home;
#[cfg(loom)]
mod model_futex;
#[cfg(all(test, loom))]
mod model_mutex;
#[cfg(not(loom))]
mod mutex;
#[cfg(not(loom))]
mod once;
#[cfg(any(test, not(loom)))]
pub(crate) mod protocol;
#[cfg(not(loom))]
mod raw_mutex;
#[cfg(not(loom))]
mod record_table;
#[cfg(not(loom))]
mod reentrant_mutex;
#[cfg(not(loom))]
mod rw_lock;
#[cfg(not(loom))]
mod semaphore;
#[cfg(not(loom))]
mod shared_value;
#[cfg(any(test, not(loom)))]
pub(crate) mod wait;

#[cfg(not(loom))]
pub use barrier::{Barrier, BarrierError, BarrierTurn};
#[cfg(not(loom))]
pub use bounded_semaphore::{BoundedSemaphore, Permit};
#[cfg(not(loom))]
pub use condvar::Condvar;
pub use error::LockError;
#[cfg(not(loom))]
pub use event::Event;
pub use event_count::{EventCount, Ticket};
#[cfg(all(test, loom))]
pub(crate) use model_mutex::{RawMutex, RawMutexGuard};
#[cfg(not(loom))]
pub use mutex::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub use once::Once;
#[cfg(not(loom))]
pub use raw_mutex::{RawMutex, RawMutexGuard};
#[cfg(not(loom))]
pub use record_table::RecordTable;
#[cfg(not(loom))]
pub use reentrant_mutex::{ReentrantMutex, ReentrantMutexGuard};
#[cfg(not(loom))]
pub use rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(loom))]
pub use semaphore::Semaphore;
#[cfg(not(loom))]
pub use shared_value::SharedValue;
