//! The end of a pool, in good order or at once.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Pool;
use super::core::Core;
use crate::error::{PoolError, PoolErrorKind};

impl<S> Pool<S> {
    /// Refuses calls from now on ([`PoolError::is_closed`]). Those that have begun go on; the workers stay until the pool is
    /// joined, terminated or dropped.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let handle = pool.apply_async(|i: u32| i + 1, 1)?;
    /// pool.close();
    /// assert!(pool.apply(|i: u32| i, 1).unwrap_err().is_closed());
    /// assert_eq!(handle.get()?, 2);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn close(&self) {
        self.core.closed.store(true, Ordering::Release);
    }

    /// Closes the pool, waits until every task that was begun by a handle or a stream has ended, and ends the workers.
    ///
    /// ```
    /// use pool_core::{Pool, wait_all};
    ///
    /// let pool = Pool::new(2)?;
    /// let handles = [pool.apply_async(|i: u32| i, 1)?, pool.apply_async(|i: u32| i, 2)?];
    /// pool.join();
    /// assert!(handles.into_iter().all(|handle| handle.get().is_ok()));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn join(self) {
        self.close();
        self.core.await_idle(None);
    }

    /// As [`Pool::join`], but waits at most `timeout`.
    ///
    /// # Errors
    ///
    /// The pool itself, closed, if tasks have not ended in time.
    ///
    /// ```
    /// use pool_core::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let handle = pool.apply_async(|()| std::thread::park(), ())?; // parks for ever
    /// let pool = pool.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// pool.terminate();
    /// assert!(handle.get().is_err());
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn join_timeout(self, timeout: Duration) -> Result<(), Self> {
        self.close();
        if self.core.await_idle(Instant::now().checked_add(timeout)) {
            Ok(())
        } else {
            Err(self)
        }
    }

    /// Ends the workers now: those that run a task are killed. Returns when they are gone, at the latest after two seconds, or
    /// as long as an exit hook may take ([`PoolBuilder::exit_timeout`](crate::PoolBuilder::exit_timeout)).
    ///
    /// Calls of other threads end with an error ([`PoolError::is_broken`]), handles resolve: a task that was running has
    /// [`TaskError::WorkerDied`](crate::TaskError), one that was not is cancelled.
    pub fn terminate(&self) {
        self.close();
        self.closing.store(true, Ordering::Release);
        self.core.kick();
        self.core.wait(None, || self.core.book().buried, || ());
    }
}

impl Core {
    /// Whether a call may begin.
    pub(super) fn admit(&self) -> Result<(), PoolError> {
        self.admit_thread()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(PoolErrorKind::Closed.into());
        }
        Ok(())
    }

    /// Waits until no task is under way, at most until `end`; whether none is.
    fn await_idle(&self, end: Option<Instant>) -> bool {
        loop {
            let last = {
                let book = self.book();
                let left = book.tasks.iter().filter(|(_, task)| !task.done);
                left.map(|(id, _)| *id).max().filter(|_| !book.buried)
            };
            match last.map(|id| self.await_task_until(id, end)) {
                Some(Ok(false)) => return false,
                Some(Ok(true)) => {}
                // The pool has failed: nothing is under way any more.
                Some(Err(_)) | None => return true,
            }
        }
    }
}
