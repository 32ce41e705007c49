//! Pools of worker processes for numeric work: `multiprocessing.Pool` as Rust would have it.
//!
//! A [`Pool`] runs tasks in processes, so a crash, a leak or a library that is not thread-safe stays in one of them. A task is a
//! `fn` item or a closure that captures nothing; the compiler refuses whatever could not be sent. Large data is not sent at all:
//! it lies in shared arrays ([`pool_shm`]), of which a task gets a block to write, or reads a frozen one.
//!
//! ```
//! use pool_core::Pool;
//!
//! fn energy(level: u32) -> f64 {
//!     -13.6 / f64::from(level * level)
//! }
//!
//! let pool = Pool::new(2)?;
//! let energies = pool.map(energy, 1..=3)?;
//! assert_eq!(energies, [-13.6, -3.4, -13.6 / 9.0]);
//! # Ok::<(), pool_core::PoolError>(())
//! ```
//!
//! Nothing has to be called in `main`: workers execute this program again but are entered before it (feature `auto-start`, on
//! by default; without it see [`init`]).

mod atomic;
#[cfg(not(loom))]
mod codec;
#[cfg(not(loom))]
mod current;
mod dispatch;
#[cfg(not(loom))]
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(loom))]
mod identity;
#[cfg(not(loom))]
mod index;
mod inject;
#[cfg(not(loom))]
mod nest;
#[cfg(not(loom))]
mod plain;
#[cfg(not(loom))]
mod pool;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod remote;
#[cfg(not(loom))]
mod start;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod task;
#[cfg(not(loom))]
mod worker;
#[cfg(not(loom))]
mod yielding;

#[cfg(not(loom))]
pub use {
    current::{Current, current},
    error::{
        Hook, MissedDeadline, Overtime, PoolError, RemotePanic, TaskError, WorkerDeath, WorkerExit,
    },
    pool::{
        AsCompleted, CurrentTask, ExitResult, ExitResults, FirstError, ForkBuilder, Imap, Job,
        Pool, PoolBuilder, Progress, Schedule, Stats, TaskHandle, WorkerEnd, WorkerInfo,
        WorkerState, as_completed, wait_all, wait_any, wait_first_error,
    },
    process::{Process, ProcessBuilder, ProcessError},
    start::{StartMethod, init},
    task::{BlockTask, Sendable, Stateful, Stateless, Task},
};
