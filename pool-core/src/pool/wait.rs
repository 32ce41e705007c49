//! Waiting for several tasks at once.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::handle::TaskHandle;
use crate::error::PoolError;
use crate::task::Sendable;

thread_local! {
    /// Wakes this thread; the same at every call, so that a task keeps it once.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits until one of `handles` is ready; its position. `None` if none is within `timeout` (`None`: wait for ever), or there are
/// none.
///
/// ```
/// use pool_core::{Pool, wait_any};
///
/// let pool = Pool::new(2)?;
/// let long = pool.apply_async(|()| std::thread::park(), ())?;
/// let short = pool.apply_async(|()| (), ())?;
/// assert_eq!(wait_any(&[long, short], None), Some(1));
/// # Ok::<(), pool_core::PoolError>(())
/// ```
pub fn wait_any<R>(handles: &[TaskHandle<R>], timeout: Option<Duration>) -> Option<usize> {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    WAKER.with(|waker| {
        // The first round adds the waker, the others look.
        while !handles.is_empty() {
            if let Some(ready) = handles.iter().position(|handle| handle.wake(waker)) {
                return Some(ready);
            }
            match end.map(|end| end.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return None,
                Some(left) => std::thread::park_timeout(left),
            }
        }
        None
    })
}

/// Waits until all of `handles` are ready, at most `timeout` (`None`: for ever); whether they are.
///
/// ```
/// use pool_core::{Pool, wait_all};
///
/// let pool = Pool::new(2)?;
/// let handles = [pool.apply_async(|i: u8| i, 1)?, pool.apply_async(|i: u8| i, 2)?];
/// assert!(wait_all(&handles, None));
/// assert!(handles.iter().all(|handle| handle.is_ready()));
/// # Ok::<(), pool_core::PoolError>(())
/// ```
pub fn wait_all<R>(handles: &[TaskHandle<R>], timeout: Option<Duration>) -> bool {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    handles.iter().all(|handle| handle.wait_until(end))
}

/// How [`wait_first_error`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum FirstError {
    /// The task of this handle, by position, has no result.
    Task(usize),
    /// All have ended, with results.
    None,
    /// Time was over first.
    TimedOut,
}

/// Waits until a task of `handles` has ended without a result, or all have ended, at most `timeout` (`None`: for ever).
///
/// Of several that have failed already it is the first by position, later the first by time. The handles stay as they are: get the
/// error, and cancel the others if they are in vain. A result that cannot be decoded shows only when it is taken.
///
/// ```
/// use pool_core::{FirstError, Pool, wait_first_error};
///
/// let pool = Pool::new(2)?;
/// let long = pool.apply_async(|()| std::thread::park(), ())?;
/// let bad = pool.apply_async(|()| panic!("on purpose"), ())?;
/// assert_eq!(wait_first_error(&[long, bad], None), FirstError::Task(1));
/// # Ok::<(), pool_core::PoolError>(())
/// ```
pub fn wait_first_error<R>(handles: &[TaskHandle<R>], timeout: Option<Duration>) -> FirstError {
    let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (sender, ready) = unbounded();
    for (position, handle) in handles.iter().enumerate() {
        let announce = Waker::from(Arc::new(Announce(position, sender.clone())));
        if handle.wake(&announce) {
            announce.wake();
        }
    }
    let mut ended = vec![false; handles.len()];
    let mut left = handles.len();
    while left > 0 {
        let position = match end {
            None => ready.recv().ok(),
            Some(end) => ready.recv_deadline(end).ok(),
        };
        let Some(position) = position else {
            return FirstError::TimedOut;
        };
        if handles[position].has_failed() {
            return FirstError::Task(position);
        }
        left -= usize::from(!std::mem::replace(&mut ended[position], true));
    }
    FirstError::None
}

/// Hands out the results of `handles` as they come, each with the position of its handle.
///
/// ```
/// use pool_core::{Pool, as_completed};
///
/// let pool = Pool::new(2)?;
/// let handles = (0..3).map(|i: u32| pool.apply_async(|i: u32| i * 10, i)).collect::<Result<_, _>>()?;
/// let mut results: Vec<(usize, u32)> =
///     as_completed(handles).map(|(position, result)| (position, result.unwrap())).collect();
/// results.sort();
/// assert_eq!(results, [(0, 0), (1, 10), (2, 20)]);
/// # Ok::<(), pool_core::PoolError>(())
/// ```
pub fn as_completed<R: Sendable>(handles: Vec<TaskHandle<R>>) -> AsCompleted<R> {
    let (sender, ready) = unbounded();
    for (position, handle) in handles.iter().enumerate() {
        let announce = Waker::from(Arc::new(Announce(position, sender.clone())));
        if handle.wake(&announce) {
            announce.wake();
        }
    }
    AsCompleted {
        left: handles.len(),
        handles: handles.into_iter().map(Some).collect(),
        ready,
    }
}

/// Puts the position of a handle into the queue of those that are ready.
struct Announce(usize, Sender<usize>);

impl Wake for Announce {
    fn wake(self: Arc<Self>) {
        // Nobody receives any more: the results are not wanted.
        let _ = self.1.send(self.0);
    }
}

/// Results as they come. Made by [`as_completed`].
///
/// Dropping it lets the tasks that are left run; their results are forgotten.
#[derive(Debug)]
pub struct AsCompleted<R> {
    handles: Vec<Option<TaskHandle<R>>>,
    ready: Receiver<usize>,
    left: usize,
}

impl<R: Sendable> AsCompleted<R> {
    /// The next result, if one comes within `timeout`. `None` also if all were handed out: then [`ExactSizeIterator::len`] is 0.
    ///
    /// ```
    /// use pool_core::{Pool, as_completed};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let mut results = as_completed(vec![pool.apply_async(|()| std::thread::park(), ())?]);
    /// assert!(results.next_timeout(Duration::from_millis(1)).is_none());
    /// assert_eq!(results.len(), 1);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<(usize, Result<R, PoolError>)> {
        let end = Instant::now().checked_add(timeout);
        self.next_until(end)
    }

    fn next_until(&mut self, end: Option<Instant>) -> Option<(usize, Result<R, PoolError>)> {
        while self.left > 0 {
            let position = match end {
                None => self.ready.recv().ok()?,
                Some(end) => self.ready.recv_deadline(end).ok()?,
            };
            if let Some(mut handle) = self.handles.get_mut(position).and_then(Option::take) {
                match handle.take() {
                    Some(result) => {
                        self.left -= 1;
                        return Some((position, result));
                    }
                    None => self.handles[position] = Some(handle),
                }
            }
        }
        None
    }
}

impl<R: Sendable> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R, PoolError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R: Sendable> ExactSizeIterator for AsCompleted<R> {}
impl<R: Sendable> std::iter::FusedIterator for AsCompleted<R> {}
