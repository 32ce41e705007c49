//! The handle of a task that was begun without waiting for it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::book::{Outcome, TaskBook};
use super::core::Core;
use super::courier::{Callback, Resolution};
use super::follow::Follow;
use super::task::ValueCall;
use crate::error::PoolError;
use crate::task::Sendable;

/// A task that was begun by [`Pool::apply_async`](crate::Pool::apply_async), and its result of type `R` to come.
///
/// It is a [`Future`] for any executor, and may outlive its pool. Dropping it lets the task run; its result is forgotten.
///
/// # Guarantees
///
/// * It resolves, whatever happens: with the task's result, or with an error that says why there is none
///   ([`PoolError::task`]). When its pool is dropped before the task began, that is [`TaskError::Cancelled`](crate::TaskError).
/// * It holds no descriptor.
///
/// ```
/// use pool_core::Pool;
///
/// let pool = Pool::new(2)?;
/// let handles: Vec<_> =
///     (1..=3).map(|i: u64| pool.apply_async(|i: u64| i * i, i)).collect::<Result<_, _>>()?;
/// let mut sum = 0;
/// for handle in handles {
///     sum += handle.get()?;
/// }
/// assert_eq!(sum, 14);
/// # Ok::<(), pool_core::PoolError>(())
/// ```
#[derive(Debug)]
#[doc(alias = "AsyncResult")]
#[must_use = "a handle that is dropped forgets the result of its task"]
pub struct TaskHandle<R> {
    core: Arc<Core>,
    id: u64,
    /// The result was taken.
    spent: bool,
    result: PhantomData<fn() -> R>,
}

impl<R: Sendable> TaskHandle<R> {
    pub(super) fn begin<A: Sendable>(
        core: &Arc<Core>,
        call: &ValueCall,
        argument: &A,
    ) -> Result<Self, PoolError> {
        let (sent, _) = core.submit_single(call, argument)?;
        core.run_here();
        let handle = TaskHandle {
            core: Arc::clone(core),
            id: sent.id,
            spent: false,
            result: PhantomData,
        };
        let Some(gauge) = call.options.progress.clone() else {
            return Ok(handle);
        };
        gauge.expect(Some(1));
        core.courier.watch(core, &gauge);
        Ok(handle.call_back(move |_| gauge.finish(1)))
    }

    /// Waits for the task and returns its result.
    ///
    /// # Errors
    ///
    /// The task's error ([`PoolError::task`]), or what broke the pool.
    pub fn get(mut self) -> Result<R, PoolError> {
        loop {
            // An error says that the pool is gone; the result may be there nevertheless.
            let _ = self.core.await_task(self.id);
            if let Some(result) = self.take() {
                return result;
            }
        }
    }

    /// Waits for the task, at most `timeout`.
    ///
    /// # Errors
    ///
    /// The handle itself if the task has not ended in time; the inner result is that of [`TaskHandle::get`].
    ///
    /// ```
    /// use pool_core::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let handle = pool.apply_async(|()| std::thread::park(), ())?; // parks for ever
    /// let handle = handle.get_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(!handle.is_ready());
    /// drop(pool);
    /// assert!(handle.is_ready() && handle.get().is_err());
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn get_timeout(mut self, timeout: Duration) -> Result<Result<R, PoolError>, Self> {
        let end = Instant::now().checked_add(timeout);
        let _ = self.core.await_task_until(self.id, end);
        self.take().ok_or(self)
    }

    /// Runs `callback` with the result if the task succeeds, on a thread of the pool that runs all callbacks, one after the
    /// other. One that panics harms nobody; one that blocks holds up the others.
    ///
    /// The callback gets a result of its own: the handle can still be waited for, or dropped.
    ///
    /// # Panics
    ///
    /// If that thread cannot be started.
    ///
    /// ```
    /// use pool_core::Pool;
    /// use std::sync::mpsc;
    ///
    /// let pool = Pool::new(2)?;
    /// let (sender, results) = mpsc::channel();
    /// let failures = sender.clone();
    /// drop(
    ///     pool.apply_async(|text: String| text.len(), "four".to_owned())?
    ///         .on_success(move |length| sender.send(length).unwrap())
    ///         .on_error(move |_| failures.send(0).unwrap()),
    /// );
    /// assert_eq!(results.recv(), Ok(4));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn on_success(self, callback: impl FnOnce(R) + Send + 'static) -> Self {
        self.call_back(move |resolution| {
            if let Ok(result) = resolution.decode() {
                callback(result);
            }
        })
    }

    /// Runs `callback` with the error if there is no result, as [`TaskHandle::on_success`] does for a result.
    ///
    /// # Panics
    ///
    /// If the thread for callbacks cannot be started.
    pub fn on_error(self, callback: impl FnOnce(PoolError) + Send + 'static) -> Self {
        self.call_back(move |resolution| {
            if let Err(error) = resolution.decode::<R>() {
                callback(error);
            }
        })
    }

    fn call_back(self, callback: impl FnOnce(&Resolution) + Send + 'static) -> Self {
        let callback = Follow::Callback(Callback(Box::new(callback)));
        let mut book = self.core.book();
        let engaged = self.core.courier.engage();
        engaged.expect("the system has no thread left for callbacks");
        self.core.follow(&mut book, self.id, callback);
        self.core.unlock(book);
        self
    }

    /// The result if there is one, or the error if there will never be one.
    pub(super) fn take(&mut self) -> Option<Result<R, PoolError>> {
        let mut book = self.core.book();
        let task = book.tasks.get(&self.id);
        if !book.buried && task.is_some_and(|task| !task.done) {
            return None;
        }
        self.spent = true;
        let failure = book.failure.clone();
        let task = book.remove_task(self.id);
        drop(book);
        let resolution = task
            .as_ref()
            .map(|task| Resolution::of(task, failure.as_ref()));
        if task.as_ref().is_some_and(names_segments) {
            self.core.request_flush();
        }
        Some(resolution.expect("a handle takes its task once").decode())
    }
}

impl<R> TaskHandle<R> {
    /// Whether the task has ended, so that [`TaskHandle::get`] would return at once.
    pub fn is_ready(&self) -> bool {
        self.wait_until(Some(Instant::now()))
    }

    /// Waits until the task has ended, at most until `end`; whether it has.
    pub(super) fn wait_until(&self, end: Option<Instant>) -> bool {
        // An error says that the pool is gone: there is nothing to wait for.
        self.core.await_task_until(self.id, end).unwrap_or(true)
    }

    /// Cancels the task. `true`: it had not begun, will never run, and its result is
    /// [`TaskError::Cancelled`](crate::TaskError). `false`: it has ended, or it runs; then it is told, see
    /// [`Current::is_cancelled`](crate::Current::is_cancelled), and its result counts.
    ///
    /// ```
    /// use pool_core::{Pool, TaskError, current};
    ///
    /// let pool = Pool::new(1)?;
    /// let wait = |()| {
    ///     while !current().expect("inside a task").is_cancelled() {
    ///         std::thread::yield_now();
    ///     }
    ///     7
    /// };
    /// let handles = [pool.apply_async(wait, ())?, pool.apply_async(wait, ())?];
    /// let [running, pending] = handles;
    /// while pool.workers()[0].state != pool_core::WorkerState::Busy {
    ///     std::thread::yield_now();
    /// }
    /// assert!(pending.cancel() && !running.cancel());
    /// assert_eq!(running.get()?, 7);
    /// assert_eq!(pending.get().unwrap_err().task(), Some((1, &TaskError::Cancelled)));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.core.cancel_task(self.id)
    }

    /// Cancels the task also if it runs: then its worker, and that one alone, is killed and replaced. `true`: the task has no
    /// result, and the handle resolves as [`TaskError::Cancelled`](crate::TaskError), once the task does not run any more.
    /// `false`: it had ended.
    ///
    /// It is not repeated, whatever its job's [`retries`](crate::Job::retries). What it did by then is done: a task that
    /// writes somewhere may leave it half written.
    ///
    /// # Errors
    ///
    /// The task runs and the workers are threads, which cannot be killed ([`PoolError::is_not_killable`]). It was told, as by
    /// [`TaskHandle::cancel`].
    ///
    /// ```
    /// use pool_core::{Pool, TaskError};
    ///
    /// let pool = Pool::new(2)?;
    /// let handle = pool.apply_async(|()| std::thread::park(), ())?; // parks for ever
    /// while pool.workers().iter().all(|worker| worker.state != pool_core::WorkerState::Busy) {
    ///     std::thread::yield_now();
    /// }
    /// assert!(handle.cancel_now()?);
    /// assert_eq!(handle.get().unwrap_err().task(), Some((0, &TaskError::Cancelled)));
    /// assert_eq!(pool.apply(|i: u32| i + 1, 1)?, 2);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn cancel_now(&self) -> Result<bool, PoolError> {
        self.core.cancel_task_now(self.id)
    }

    /// Whether the task has ended without a result.
    pub(super) fn has_failed(&self) -> bool {
        let book = self.core.book();
        let task = book.tasks.get(&self.id);
        task.is_some_and(|task| match &task.outcome {
            Outcome::Streamed(gathered) => gathered.len() == 0 || gathered.has_failed(),
            Outcome::InPlace { failed, .. } => !failed.is_empty(),
        })
    }

    /// Has `waker` woken when the task has ended; whether it has already.
    pub(super) fn wake(&self, waker: &Waker) -> bool {
        let follow = Follow::Thread(waker.clone());
        let mut book = self.core.book();
        self.core.follow(&mut book, self.id, follow);
        let ended = book.buried || book.tasks.get(&self.id).is_none_or(|task| task.done);
        self.core.unlock(book);
        ended
    }
}

/// Whether the result of a task names segments of its worker.
fn names_segments(task: &TaskBook) -> bool {
    matches!(&task.outcome, Outcome::Streamed(gathered) if gathered.holds())
}

impl<R: Sendable> Future for TaskHandle<R> {
    type Output = Result<R, PoolError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.spent, "a handle was polled after it was ready");
        if let Some(result) = self.take() {
            return Poll::Ready(result);
        }
        let follow = Follow::Future(context.waker().clone());
        let mut book = self.core.book();
        self.core.follow(&mut book, self.id, follow);
        self.core.unlock(book);
        // It may have ended meanwhile; then the waker was taken off before it was of use.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R> Drop for TaskHandle<R> {
    fn drop(&mut self) {
        if !self.spent {
            let mut book = self.core.book();
            self.core.follow(&mut book, self.id, Follow::Detach);
            self.core.unlock(book);
        }
    }
}
