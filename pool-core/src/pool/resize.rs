//! Pools that grow and shrink while they work.

use super::Pool;
use super::book::Book;
use super::builder::MAX_WORKERS;
use super::core::Core;
use super::crew::Station;
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::error::{PoolError, PoolErrorKind};

impl<S> Pool<S> {
    /// How many workers the pool has, as [`PoolBuilder::workers`](crate::PoolBuilder::workers) or the last [`Pool::resize`] said;
    /// those that are away because they have nothing to do are counted.
    pub fn size(&self) -> usize {
        self.core.book().crew.target
    }

    /// Makes the pool larger or smaller, to 1 to 1000 workers, while it works.
    ///
    /// New workers are ready when this returns, and take part in calls that have begun. Of workers that are too many, those with the
    /// highest numbers leave as soon as they have ended the tasks that they have begun; this does not wait for them. No task is
    /// lost. Several threads may resize at once: the last one wins.
    ///
    /// # Errors
    ///
    /// A number that is not accepted ([`PoolError::is_option`]), a pool that was closed, or workers that cannot be started, which
    /// breaks the pool as it does when a replacement cannot be started.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// pool.resize(3)?;
    /// assert_eq!((pool.size(), pool.workers().len()), (3, 3));
    /// assert_eq!(pool.map(|i: u32| 2 * i, 0..3)?, [0, 2, 4]);
    /// pool.resize(1)?;
    /// assert!(pool.resize(0).unwrap_err().is_option());
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        check_workers(workers)?;
        self.core.admit()?;
        if !self.core.has_staff_of_its_own() && workers != 1 {
            return Err(PoolErrorKind::Option {
                option: "workers",
                value: workers.to_string(),
                accepted: "the tasks of this pool run in the calling thread, which is 1 worker"
                    .to_owned(),
            }
            .into());
        }
        {
            let mut book = self.core.book();
            if let Some(failure) = &book.failure {
                return Err(failure.error());
            }
            self.core.employ(&mut book, workers);
        }
        self.core.kick();
        self.core.await_staff(workers)
    }
}

/// Refuses a number of workers that no pool can have.
pub(super) fn check_workers(workers: usize) -> Result<(), PoolError> {
    if (1..=MAX_WORKERS).contains(&workers) {
        return Ok(());
    }
    let accepted = format!(
        "a pool has 1 to {MAX_WORKERS} workers; leave the option out for one per processor"
    );
    Err(PoolErrorKind::Option {
        option: "workers",
        value: workers.to_string(),
        accepted,
    }
    .into())
}

impl Core {
    /// There should be so many workers; the watcher has to be told.
    pub(super) fn employ(&self, book: &mut Book, workers: usize) {
        book.crew.target = workers;
        let word = &self.control.orders().workers;
        word.store(workers as u32, Ordering::Relaxed);
    }

    /// Waits until the first `workers` workers are ready, as far as there are to be so many, or the pool has failed.
    pub(super) fn await_staff(&self, workers: usize) -> Result<(), PoolError> {
        let is_settled = || self.book().buried || self.has_staff(workers);
        self.wait(None, is_settled, || ());
        let book = self.book();
        book.failure
            .as_ref()
            .filter(|_| book.buried)
            .map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn has_staff(&self, workers: usize) -> bool {
        let book = self.book();
        let mut missing: Vec<bool> = (0..workers.min(book.crew.target))
            .map(|worker| !book.crew.away.contains(&worker))
            .collect();
        for (slot, place) in book.places.iter().enumerate() {
            let word = &self.control.slot(slot).status;
            let is_ready = place.alive
                && matches!(place.post.station, Station::Serving | Station::StandingBy)
                && word.load(Ordering::Acquire) == status::READY; // SYNC: slot-status
            if is_ready && let Some(missing) = missing.get_mut(place.post.worker) {
                *missing = false;
            }
        }
        !missing.contains(&true)
    }
}
