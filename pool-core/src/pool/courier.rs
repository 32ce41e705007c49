//! The courier: the thread that runs callbacks. It is started when the first one is set, and ends when the pool is gone and all
//! have run. A callback that panics harms nobody.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Sender, unbounded};
use pool_shm::transfer::Held;

use super::book::{Failure, Outcome, TaskBook};
use super::collect::decode_result;
use crate::current::SINGLE;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::task::Sendable;

/// How a single task ended, for its handle and its callbacks.
#[derive(Debug)]
pub(super) struct Resolution {
    index: u64,
    job: Option<Arc<str>>,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Its encoded result or its error, and what keeps the segments that the result names.
    Task(
        Result<Vec<u8>, TaskError>,
        #[expect(dead_code, reason = "kept only to be dropped")] Vec<Arc<Held>>,
    ),
    /// The pool broke first.
    Broken(Failure),
}

impl Resolution {
    /// How the single item of a task that is done, or whose pool is buried, ended.
    pub(super) fn of(task: &TaskBook, failure: Option<&Failure>) -> Resolution {
        let first = match &task.outcome {
            Outcome::Streamed(gathered) => gathered.first(),
            Outcome::InPlace { .. } => None,
        };
        let end = match (first, failure) {
            (Some((result, held)), _) => End::Task(result, held),
            (None, Some(failure)) if failure.task_error().is_none() => End::Broken(failure.clone()),
            (None, _) => End::Task(Err(TaskError::Cancelled), Vec::new()),
        };
        Resolution {
            index: task.base & !SINGLE,
            job: task.name.clone(),
            end,
        }
    }

    /// The decoded result.
    pub(super) fn decode<R: Sendable>(&self) -> Result<R, PoolError> {
        match &self.end {
            End::Task(result, _) => {
                let bytes = result.as_ref().map(|bytes| &bytes[..]);
                let (index, job) = (self.index, self.job.clone());
                decode_result(bytes.map_err(TaskError::clone))
                    .map_err(|error| PoolErrorKind::Task { index, job, error }.into())
            }
            End::Broken(failure) => Err(failure.error()),
        }
    }
}

/// Something to run when a task has ended.
pub(super) struct Callback(pub(super) Box<dyn FnOnce(&Resolution) + Send>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

type Delivery = (Resolution, Vec<Callback>);

/// The way to the courier's thread.
#[derive(Debug, Default)]
pub(super) struct Courier(Mutex<Option<Sender<Delivery>>>);

impl Courier {
    /// Starts the thread if it does not run.
    ///
    /// # Panics
    ///
    /// If the system refuses a thread, as [`std::thread::spawn`].
    pub(super) fn engage(&self) {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if way.is_none() {
            let (sender, deliveries) = unbounded::<Delivery>();
            std::thread::Builder::new()
                .name("pool-courier".to_owned())
                .spawn(move || deliveries.iter().for_each(deliver))
                .expect("the system has no thread left for callbacks");
            *way = Some(sender);
        }
    }

    /// Hands callbacks over to the thread.
    pub(super) fn send(&self, resolution: Resolution, callbacks: Vec<Callback>) {
        let way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*way {
            // The thread receives until the last sender is gone, so it is there.
            let _ = sender.send((resolution, callbacks));
        }
    }

    /// Lets the thread end once it has run what it was given.
    pub(super) fn retire(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn deliver((resolution, callbacks): Delivery) {
    for Callback(callback) in callbacks {
        if catch_unwind(AssertUnwindSafe(|| callback(&resolution))).is_err() {
            tracing::warn!("a callback of a task has panicked");
        }
    }
}
