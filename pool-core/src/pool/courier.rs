//! The courier: the thread that runs callbacks: of tasks that have ended, and of calls whose progress is told. It is started when
//! the first one is set, and ends when the pool is gone and all have run. A callback that panics harms nobody.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use pool_shm::transfer::Held;

use super::book::{Failure, Outcome, TaskBook};
use super::collect::decode_result;
use super::core::Core;
use super::progress::{self, Gauge};
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

/// What the thread is given.
enum Delivery {
    /// Callbacks of a task that has ended.
    Callbacks(Resolution, Vec<Callback>),
    /// A call whose progress is to be told until it has ended.
    Watch(Weak<Core>, Arc<Gauge>),
}

/// A call whose progress is told, and when next.
struct Watched {
    core: Weak<Core>,
    gauge: Arc<Gauge>,
    next: Instant,
}

/// The way to the courier's thread.
#[derive(Debug, Default)]
pub(super) struct Courier(Mutex<Option<Sender<Delivery>>>);

impl Courier {
    /// Starts the thread if it does not run.
    pub(super) fn engage(&self) -> io::Result<()> {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if way.is_none() {
            let (sender, deliveries) = unbounded::<Delivery>();
            std::thread::Builder::new()
                .name("pool-courier".to_owned())
                .spawn(move || serve(&deliveries))?;
            *way = Some(sender);
        }
        Ok(())
    }

    /// Has the thread tell how far a call is, until it has ended. Without a thread it is told only then.
    pub(super) fn watch(&self, core: &Arc<Core>, gauge: &Arc<Gauge>) {
        if let Err(error) = self.engage() {
            return tracing::warn!(%error, "the system has no thread left to tell progress");
        }
        self.give(Delivery::Watch(Arc::downgrade(core), Arc::clone(gauge)));
    }

    /// Hands callbacks over to the thread.
    pub(super) fn send(&self, resolution: Resolution, callbacks: Vec<Callback>) {
        self.give(Delivery::Callbacks(resolution, callbacks));
    }

    fn give(&self, delivery: Delivery) {
        let way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*way {
            // The thread receives until the last sender is gone, so it is there.
            let _ = sender.send(delivery);
        }
    }

    /// Lets the thread end once it has run what it was given.
    pub(super) fn retire(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The thread.
fn serve(deliveries: &Receiver<Delivery>) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let delivery = match watched.iter().map(|watched| watched.next).min() {
            Some(next) => deliveries.recv_deadline(next),
            None => deliveries.recv().map_err(RecvTimeoutError::from),
        };
        match delivery {
            Ok(Delivery::Callbacks(resolution, callbacks)) => deliver(&resolution, callbacks),
            Ok(Delivery::Watch(core, gauge)) => {
                let next = Instant::now() + gauge.interval;
                watched.push(Watched { core, gauge, next });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        watched.retain_mut(tell);
    }
}

/// Tells how far a call is if it is time. Whether it goes on.
fn tell(watched: &mut Watched) -> bool {
    let now = Instant::now();
    if watched.next > now {
        return !watched.gauge.is_over();
    }
    progress::tell(&watched.core, &watched.gauge);
    // From its end, so that one that takes long leaves time for others.
    watched.next = Instant::now() + watched.gauge.interval;
    !watched.gauge.is_over()
}

fn deliver(resolution: &Resolution, callbacks: Vec<Callback>) {
    for Callback(callback) in callbacks {
        if catch_unwind(AssertUnwindSafe(|| callback(resolution))).is_err() {
            tracing::warn!("a callback of a task has panicked");
        }
    }
}
