//! The pool: what users hold, and what stands behind it in their process.

mod audit;
mod body;
mod book;
mod builder;
mod cancel;
pub(crate) mod collect;
mod core;
mod courier;
mod crew;
mod deadline;
mod deaths;
mod doing;
mod exits;
mod follow;
mod fork_builder;
mod gather;
mod handle;
mod hire;
mod host;
mod imap;
mod info;
mod job;
mod life;
mod pace;
mod progress;
mod resize;
mod schedule;
mod staff;
mod stats;
mod task;
mod terms;
mod verbs;
mod wait;
mod watch;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ndarray::Ix1;
use pool_shm::{Blocks, Element, SharedArray};

pub use self::builder::PoolBuilder;
use self::core::Core;
pub use self::exits::{ExitResult, ExitResults};
pub use self::fork_builder::ForkBuilder;
pub use self::handle::TaskHandle;
pub use self::imap::Imap;
pub use self::info::{CurrentTask, WorkerEnd, WorkerInfo, WorkerState};
pub use self::progress::Progress;
pub use self::schedule::Schedule;
pub use self::stats::Stats;
pub use self::verbs::Job;
pub use self::wait::{AsCompleted, FirstError, as_completed, wait_all, wait_any, wait_first_error};
use crate::error::{PoolError, TaskError};
use crate::task::{BlockTask, Sendable, Task};

/// A pool of worker processes.
///
/// `S` is what the pool's initializer returns; without one it is `()`.
///
/// A task is a `fn` item or a closure that captures nothing, `fn(A) -> R` or `fn(&mut S, A) -> R`; arguments and results are
/// whatever serde can write and read. Which function it is is known to the compiler, so nothing that cannot be sent compiles.
///
/// # Guarantees
///
/// * Results are in the order of their arguments, and each result is given exactly once.
/// * A task that panics, or whose worker dies, fails alone; its worker is replaced, and the other tasks go on.
/// * Every call ends: with results or an error, whatever process is killed whenever.
/// * When the pool is dropped its processes end, at the latest after two seconds (or as long as exit hooks may take); when the program ends, however, they end too.
///
/// ```
/// use pool_core::Pool;
///
/// let pool = Pool::new(2)?;
/// let squares = pool.map(|x: u64| x * x, 1..=5)?;
/// assert_eq!(squares, [1, 4, 9, 16, 25]);
/// # Ok::<(), pool_core::PoolError>(())
/// ```
#[doc(alias = "ProcessPoolExecutor")]
pub struct Pool<S = ()> {
    core: Arc<Core>,
    watcher: Option<JoinHandle<()>>,
    closing: Arc<AtomicBool>,
    /// The segments that hold the initializer's argument and what it refers to: a replacement worker reads it again.
    _kept: Vec<Box<dyn Kept>>,
    /// The type of what the exit hook returns.
    exit_type: Option<std::any::TypeId>,
    state: PhantomData<fn() -> S>,
}

impl<S> std::fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.size())
            .finish_non_exhaustive()
    }
}

/// Something that is kept only to be dropped later.
trait Kept: Send + Sync + std::fmt::Debug {}
impl<T: Send + Sync + std::fmt::Debug> Kept for T {}

impl Pool {
    /// A pool of `workers` processes, started by a fork server, without an initializer. Returns when all are ready.
    ///
    /// # Errors
    ///
    /// If `workers` is 0 or more than 1000, or processes cannot be started.
    pub fn new(workers: usize) -> Result<Pool, PoolError> {
        Pool::builder().workers(workers).build()
    }

    /// A pool with options.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl<S: 'static> Pool<S> {
    /// Runs `task` for every item and returns the results in the order of the items.
    ///
    /// Items that are a range of integers (`0..n`, `1..=n`) are not even sent: workers compute them. Other items are taken from
    /// the iterator as workers need them, so the input may be larger than memory; the results are all kept.
    ///
    /// # Errors
    ///
    /// The error of the first task, by index, that failed ([`PoolError::task`]): tasks that had not begun by then are cancelled,
    /// running ones are waited for. An item that cannot be encoded, and a pool that is broken.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map(|i: usize| i as f64 / 2.0, 0..3)?, [0.0, 0.5, 1.0]);
    /// let error = pool.map(|text: String| text.parse::<i32>().unwrap(), ["1".to_owned(), "x".to_owned()]).unwrap_err();
    /// assert_eq!(error.task().map(|(index, _)| index), Some(1));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn map<F, A, I, Form>(&self, task: F, items: I) -> Result<Vec<F::Output>, PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).map(items)
    }

    /// Runs `task` for every item and returns each item's own result, in order. One that fails does not affect the others.
    ///
    /// # Errors
    ///
    /// An item that cannot be encoded, and a pool that is broken.
    ///
    /// ```
    /// use pool_core::{Pool, TaskError};
    ///
    /// let pool = Pool::new(2)?;
    /// let results = pool.try_map(|x: u32| 12 / x, [3, 0, 4])?;
    /// assert_eq!((&results[0], &results[2]), (&Ok(4), &Ok(3)));
    /// let Err(TaskError::Panicked(panic)) = &results[1] else { panic!() };
    /// assert_eq!(panic.message, "attempt to divide by zero");
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn try_map<F, A, I, Form>(
        &self,
        task: F,
        items: I,
    ) -> Result<Vec<Result<F::Output, TaskError>>, PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).try_map(items)
    }

    /// Runs `task` over every block of one or more arrays, in place: a worker that runs a block has it for itself.
    ///
    /// The arrays are borrowed until the call returns, and it returns only when no task can be running on them any more.
    ///
    /// # Errors
    ///
    /// Arrays that are cut in an invalid way, or into different numbers of blocks; the error of the first task that failed, as in
    /// [`Pool::map`]. A block whose task failed may be half written, one whose task was cancelled is as it was.
    ///
    /// ```
    /// use ndarray::{Axis, Ix2};
    /// use pool_core::Pool;
    /// use pool_shm::{BlockMut, SharedArray};
    ///
    /// fn populate(mut block: BlockMut<'_, f64, Ix2>) -> usize {
    ///     let first_row = block.start();
    ///     block.view_mut().fill(first_row as f64);
    ///     first_row
    /// }
    ///
    /// let mut matrix = SharedArray::<f64, _>::zeros((5, 3))?;
    /// let pool = Pool::new(2)?;
    /// assert_eq!(pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 2))?, [0, 2, 4]);
    /// assert_eq!(matrix.view().column(1).to_vec(), [0.0, 0.0, 2.0, 2.0, 4.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_blocks<F, B, Form>(&self, task: F, blocks: B) -> Result<Vec<F::Output>, PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).map_blocks(blocks)
    }

    /// Runs `task` for every item and writes the results into `output`, each at the place of its item: nothing is returned, so nothing
    /// is copied.
    ///
    /// Over a range of integers workers write the elements where they are, which is the fastest way to have very many small
    /// results. Other items are serialised, and their results copied. `output` is borrowed until the call returns, and it returns
    /// only when no task can be running any more.
    ///
    /// # Errors
    ///
    /// As [`Pool::map`]; then elements whose task failed or had not begun are what they were or, if its worker was killed while it
    /// wrote, anything. [`PoolError::is_option`] if there are more or fewer items than elements: of a range, or of anything else that says
    /// how many items it has, before any task runs.
    ///
    /// ```
    /// use pool_core::Pool;
    /// use pool_shm::SharedArray;
    ///
    /// let pool = Pool::new(2)?;
    /// let mut roots = SharedArray::<f64, _>::zeros(1000)?;
    /// pool.map_into(|i: u32| f64::from(i).sqrt(), 0..1000, &mut roots)?;
    /// assert_eq!(roots.view()[49], 7.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "out")]
    pub fn map_into<F, A, I, Form>(
        &self,
        task: F,
        items: I,
        output: &mut SharedArray<F::Output, Ix1>,
    ) -> Result<(), PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Element + Sendable,
        Form: 'static,
    {
        self.job(task).map_into(items, output)
    }

    /// Runs `task` over every block as [`Pool::map_blocks`] does, and returns each block's own result.
    ///
    /// # Errors
    ///
    /// Arrays that are cut in an invalid way, or into different numbers of blocks, and a pool that is broken.
    pub fn try_map_blocks<F, B, Form>(
        &self,
        task: F,
        blocks: B,
    ) -> Result<Vec<Result<F::Output, TaskError>>, PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).try_map_blocks(blocks)
    }

    /// Runs one task and returns its result.
    ///
    /// # Errors
    ///
    /// The task's error ([`PoolError::task`]), an argument that cannot be encoded, and a pool that is broken.
    pub fn apply<F, A, Form>(&self, task: F, argument: A) -> Result<F::Output, PoolError>
    where
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).apply(argument)
    }

    /// Runs `task` for every item and hands the results out one by one, in the order of the items.
    ///
    /// Input is taken as results are asked for, a few tasks per worker ahead ([`Job::window`]): it may be endless. What was
    /// taken when the iterator is dropped and has not begun never runs. An item is a result, the error of its task
    /// ([`PoolError::task`]), or last what broke the pool.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let mut squares = pool.imap(|i: u64| i * i, 1..);
    /// let first_above_100 = squares.find(|square| *square.as_ref().unwrap() > 100);
    /// assert_eq!(first_above_100.unwrap()?, 121);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn imap<F, A, I, Form>(&self, task: F, items: I) -> Imap<I::IntoIter, F::Output>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).imap(items)
    }

    /// The same, with results as they come: a long task does not hold up those behind it.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let squares = pool.imap_unordered(|i: u64| i * i, 1..=3);
    /// assert_eq!(squares.sum::<Result<u64, _>>()?, 14);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn imap_unordered<F, A, I, Form>(&self, task: F, items: I) -> Imap<I::IntoIter, F::Output>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).imap_unordered(items)
    }

    /// Begins one task and returns a handle of it at once. Thousands may be under way: they cost memory alone.
    ///
    /// # Errors
    ///
    /// An argument that cannot be encoded, and a pool that is broken. The task's own error comes with its result.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let handle = pool.apply_async(|x: f64| x.sqrt(), 2.0)?;
    /// assert_eq!(handle.get()?, 2.0f64.sqrt());
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn apply_async<F, A, Form>(
        &self,
        task: F,
        argument: A,
    ) -> Result<TaskHandle<F::Output>, PoolError>
    where
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.job(task).apply_async(argument)
    }

    /// Begins a call with options: they are set on what is returned, which ends in any of the pool's verbs.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(2)?;
    /// let halves = pool.job(|i: u32| f64::from(i) / 2.0).chunk(1).retries(3).map(0..3)?;
    /// assert_eq!(halves, [0.0, 0.5, 1.0]);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn job<F: Copy + 'static>(&self, task: F) -> Job<'_, S, F> {
        Job::new(self, task)
    }
}

impl<S> Drop for Pool<S> {
    /// Ends the workers: those without a task leave, the others are killed. Returns when they are gone.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        self.core.kick();
        if let Some(watcher) = self.watcher.take() {
            // The watcher does not panic; if it did, its process-wide ties end the workers.
            let _ = watcher.join();
        }
        host::remove(&self.core);
    }
}
