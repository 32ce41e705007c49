//! The worker of a pool whose tasks run in the calling thread ([`StartMethod::InProcess`](crate::StartMethod)).
//!
//! It stays in the thread that built the pool, since the state that an initializer makes need not be `Send`. Whenever that thread waits
//! for something of the pool, and after it has begun a task, it is the worker: it takes rounds until there is nothing left to do.

use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::thread::ThreadId;
use std::time::Instant;

use pool_shm::ShmError;

use super::core::Core;
use super::crew::Station;
use crate::current;
use crate::dispatch::order::Order;
use crate::error::{PoolError, PoolErrorKind};
use crate::nest::Nest;
use crate::start::boot::{Life, Setup};
use crate::worker::{First, Round, Worker};

/// The thread of the one worker.
const SLOT: usize = 0;

thread_local! {
    /// The workers of this thread, each with its pool.
    static HOSTED: RefCell<Vec<(Weak<Core>, Option<Guest>)>> = const { RefCell::new(Vec::new()) };
}

/// A worker while it does not run, and what the thread is while it does.
struct Guest {
    worker: Worker,
    here: current::Kept,
    nest: Nest,
}

/// Makes the worker of `core` and runs its initializer. The watcher, which is started later, sees how that went.
pub(super) fn install(core: &Arc<Core>, setup: &Setup) -> Result<(), ShmError> {
    let life = core.begin_here(SLOT)?;
    let kick = core.kick.try_clone().ok();
    let argument = setup
        .initializer
        .as_ref()
        .map(|(descriptor, place)| (*descriptor, place.read()));
    let first = First::of(&argument);
    let mut guest = Guest {
        worker: Worker::new(core.control.clone(), life, &setup.terms, kick),
        here: current::Kept::default(),
        nest: setup.nest,
    };
    guest.as_host(|worker| worker.initialize(first, setup.seed));
    HOSTED.with_borrow_mut(|hosted| {
        hosted.retain(|(core, _)| core.strong_count() > 0);
        hosted.push((Arc::downgrade(core), Some(guest)));
    });
    Ok(())
}

impl Guest {
    /// Runs `body` while this thread is the worker.
    fn as_host<R>(&mut self, body: impl FnOnce(&mut Worker) -> R) -> R {
        let outside = Outside {
            here: Some(std::mem::take(&mut self.here).exchange()),
            nest: Nest::exchange(Some(self.nest)),
        };
        let result = body(&mut self.worker);
        self.here = outside.enter();
        result
    }
}

/// What the thread was before it became a worker, and becomes again, also when something panics.
struct Outside {
    here: Option<current::Kept>,
    nest: Option<Nest>,
}

impl Outside {
    fn enter(mut self) -> current::Kept {
        self.restore()
    }

    fn restore(&mut self) -> current::Kept {
        Nest::exchange(self.nest);
        let here = self.here.take().unwrap_or_default();
        here.exchange()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if self.here.is_some() {
            self.restore();
        }
    }
}

impl Core {
    /// The life of the worker that this thread is.
    fn begin_here(&self, slot: usize) -> Result<Life, ShmError> {
        self.control.use_slots(slot + 1)?;
        self.control.slot(slot).duty.begin(Order::Serve);
        let mut book = self.book();
        book.places.resize_with(slot + 1, Default::default);
        book.crew.counts.started = 1;
        let place = &mut book.places[slot];
        (place.generation, place.alive) = (1, true);
        place.pid = std::process::id();
        place.post.station = Station::Serving;
        place.post.started = Some(Instant::now());
        Ok(Life {
            slot,
            generation: 1,
            worker: 0,
        })
    }

    /// Whether this thread may begin a call.
    pub(super) fn admit_thread(&self) -> Result<(), PoolError> {
        let Some(home) = self.home else {
            return Ok(());
        };
        let is_free = is_here(home)
            && HOSTED.with_borrow(|hosted| {
                hosted
                    .iter()
                    .any(|(core, guest)| core.as_ptr() == self && guest.is_some())
            });
        if is_free {
            Ok(())
        } else {
            Err(PoolErrorKind::OtherThread.into())
        }
    }

    /// Runs whatever there is to do, if this thread is the worker. Whether anything was run.
    pub(super) fn run_here(&self) -> bool {
        if !self.home.is_some_and(is_here) {
            return false;
        }
        let Some(mut guest) = self.take_guest() else {
            return false; // a task of the pool is running: it is this thread that waits
        };
        let worked = guest.as_host(|worker| {
            let mut worked = false;
            while worker.round() == Round::Worked {
                worked = true;
            }
            worker.rest();
            worked
        });
        self.put_guest(guest);
        worked
    }

    fn take_guest(&self) -> Option<Guest> {
        HOSTED.with_borrow_mut(|hosted| {
            let place = hosted.iter_mut().find(|(core, _)| core.as_ptr() == self)?;
            place.1.take()
        })
    }

    fn put_guest(&self, guest: Guest) {
        HOSTED.with_borrow_mut(|hosted| {
            if let Some(place) = hosted.iter_mut().find(|(core, _)| core.as_ptr() == self) {
                place.1 = Some(guest);
            }
        });
    }
}

fn is_here(thread: ThreadId) -> bool {
    std::thread::current().id() == thread
}

/// Drops the worker of a pool that is gone, with the state that its initializer made, if it belongs to this thread. Otherwise its thread
/// drops it when it ends, or builds another pool.
pub(super) fn remove(core: &Core) {
    let removed = HOSTED.try_with(|hosted| {
        let mut hosted = hosted.borrow_mut();
        let place = hosted
            .iter()
            .position(|(known, _)| known.as_ptr() == core)?;
        Some(hosted.swap_remove(place))
    });
    drop(removed); // code of users, outside of the borrow
}
