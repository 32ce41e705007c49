//! A call with its options, and the verbs that it can end in.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ndarray::{Axis, Ix1};
use pool_shm::{Blocks, Element, Lessee, SharedArray, transfer};

use super::Pool;
use super::core::Core;
use super::gather::{AllOrError, Each, Gather, IntoArray};
use super::handle::TaskHandle;
use super::imap::Imap;
use super::job::Span64;
use super::progress::{Gauge, Progress, Reporting};
use super::schedule::Schedule;
use super::task::ValueCall;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::identity::Descriptor;
use crate::index::as_integers;
use crate::task::{BlockTask, Sendable, Task};
use crate::worker::{Indices, IndicesInto, OverBlocks, Places, Values, in_place};

/// The options of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) schedule: Schedule,
    pub(crate) progress: Option<Arc<Gauge>>,
    pub(crate) retries: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) window: Option<u32>,
}

impl Options {
    /// A call of so many tasks begins; it ends when what is returned is dropped.
    fn reports<'a>(&self, core: &'a Arc<Core>, total: Option<u64>) -> Reporting<'a> {
        if let Some(gauge) = &self.progress {
            gauge.expect(total);
        }
        core.report(self.progress.as_ref())
    }

    fn check(&self, core: &Core) -> Result<(), PoolError> {
        self.schedule.check()?;
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        if deadline.is_zero() {
            return refuse("deadline", "0 s", "every task takes some time");
        }
        if !core.has_processes() {
            let accepted = "a task that is late is stopped by killing its worker, and these workers are threads: choose a start method that makes processes, or let the task look at the time";
            return refuse("deadline", &format!("{deadline:?}"), accepted);
        }
        Ok(())
    }
}

pub(super) fn refuse(option: &'static str, value: &str, accepted: &str) -> Result<(), PoolError> {
    Err(PoolErrorKind::Option {
        option,
        value: value.to_owned(),
        accepted: accepted.to_owned(),
    }
    .into())
}

/// A call with options. Made by [`Pool::job`]; ends in one of the pool's verbs.
#[derive(Debug)]
#[must_use = "a job runs when one of its verbs is called"]
pub struct Job<'p, S, F> {
    pool: &'p Pool<S>,
    /// The task has no bytes: its type says everything.
    task: PhantomData<F>,
    options: Options,
}

impl<'p, S: 'static, F: Copy + 'static> Job<'p, S, F> {
    pub(super) fn new(pool: &'p Pool<S>, _task: F) -> Self {
        Job {
            pool,
            task: PhantomData,
            options: Options::default(),
        }
    }

    /// How many tasks a worker claims at a time, at least 1; fewer if their arguments are large (32 KiB together). Default: chosen by
    /// the number of tasks, and by what they were seen to cost. With 0 the verb returns an error. The same as
    /// [`Schedule::Dynamic`] for [`Job::schedule`]; the last of the two counts.
    pub fn chunk(self, tasks: u32) -> Self {
        self.schedule(Schedule::Dynamic { chunk: tasks })
    }

    /// How the tasks are cut into chunks, and which worker gets which. Default: [`Schedule::Auto`].
    ///
    /// [`Schedule::Static`] and [`Schedule::Guided`] need to know how many tasks there are: the verb returns an error
    /// ([`PoolError::is_option`]) if the input does not say ([`Iterator::size_hint`]), and so do [`Job::imap`] and
    /// [`Job::imap_unordered`] always. A single task has no use for a schedule.
    ///
    /// ```
    /// use pool_core::{Pool, Schedule, current};
    ///
    /// let pool = Pool::new(2)?;
    /// let worker = |_: u32| current().expect("inside a task").worker_id();
    /// let workers = pool.job(worker).schedule(Schedule::Static).map(0..6)?;
    /// assert_eq!(workers, [0, 0, 0, 1, 1, 1]);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.options.schedule = schedule;
        self
    }

    /// Calls `callback` with how far the call is, once in every `interval` (at least 1 ms) while it runs, and a last time when it has
    /// ended, before the verb returns; a stream's last time is its end, or when it is dropped.
    ///
    /// What is told comes from words in shared memory that workers write anyway, so tasks cost the same with and without. The
    /// callback runs on the thread of the pool that runs callbacks ([`TaskHandle::on_success`]), so it may block without
    /// holding up tasks, and the last time on the thread that made the call. One that panics harms nobody, and is not called
    /// again. What it is told never goes back.
    ///
    /// ```
    /// use pool_core::Pool;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(2)?;
    /// let (sender, progress) = mpsc::channel();
    /// let show = move |progress| sender.send(progress).unwrap();
    /// pool.job(|i: u64| i * i).progress(Duration::from_millis(100), show).map(0..1000)?;
    /// let last = progress.iter().last().unwrap();
    /// assert_eq!((last.done, last.total), (1000, Some(1000)));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn progress(
        mut self,
        interval: Duration,
        callback: impl FnMut(Progress) + Send + 'static,
    ) -> Self {
        self.options.progress = Some(Gauge::new(interval, Box::new(callback)));
        self
    }

    /// Declares the task repeatable: if its worker dies, or is killed because the task is late ([`Job::deadline`]), it is begun
    /// again, up to `retries` times in all. Default: 0, the task fails with [`TaskError::WorkerDied`].
    ///
    /// A panic is never repeated, nor is a task that was cancelled. A task over a block finds the block as the dead worker left
    /// it.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// How long each task may take. One that takes longer fails with [`TaskError::DeadlineExceeded`], or is repeated if the job has
    /// [`Job::retries`]: its worker is killed and replaced; the other tasks that it had claimed run elsewhere. A worker that is
    /// stopped (SIGSTOP) in a task is killed in the same way. Default: as long as it likes.
    ///
    /// The clock of a task runs from before its argument is decoded until its result is encoded, for each task of a chunk by
    /// itself; waiting for a worker does not count. It is noticed within about a millisecond. A task with a deadline costs some
    /// 50 ns more (it reads the time), one without nothing.
    ///
    /// Workers that are threads ([`StartMethod::Thread`](crate::StartMethod::Thread)) cannot be killed: the verb returns an error
    /// ([`PoolError::is_option`]), as it does for a deadline of zero.
    ///
    /// ```
    /// use pool_core::{Pool, TaskError};
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(2)?;
    /// let task = |i: u32| {
    ///     while i == 3 {
    ///         std::thread::park(); // for ever
    ///     }
    ///     i
    /// };
    /// let results = pool.job(task).deadline(Duration::from_millis(100)).try_map(0..6)?;
    /// let Err(TaskError::DeadlineExceeded(missed)) = &results[3] else { panic!() };
    /// assert_eq!(missed.index, 3);
    /// assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    #[doc(alias = "timeout")]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.options.deadline = Some(limit);
        self
    }

    /// Names the job: in its errors ([`PoolError::job`]), in diagnosis by `tracing`, and as what a worker is doing. Default: none, and
    /// diagnosis shows the name of the function.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::new(1)?;
    /// let error = pool.job(|x: u32| 1 / x).name("inverses").map([1, 0]).unwrap_err();
    /// assert!(error.to_string().starts_with("task 1 of `inverses` failed: "));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// How many items [`Job::imap`] and [`Job::imap_unordered`] may have under way, at least 1 (0 is taken as 1): taken from the
    /// input, and their results not handed out yet. Default: four chunks per worker, which are single items unless the task is
    /// known to take less than 50 µs.
    ///
    /// A window of few items per worker costs throughput when tasks are short.
    pub fn window(mut self, items: u32) -> Self {
        self.options.window = Some(items.max(1));
        self
    }

    /// See [`Pool::map`].
    ///
    /// # Errors
    ///
    /// As [`Pool::map`].
    pub fn map<A, I, Form>(self, items: I) -> Result<Vec<F::Output>, PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        let (mut gather, name) = (AllOrError::default(), self.options.name.clone());
        self.run(items, &mut gather)?;
        gather.finish(name)
    }

    /// See [`Pool::try_map`].
    ///
    /// # Errors
    ///
    /// As [`Pool::try_map`].
    pub fn try_map<A, I, Form>(
        self,
        items: I,
    ) -> Result<Vec<Result<F::Output, TaskError>>, PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        let mut gather = Each(Vec::new());
        self.run(items, &mut gather)?;
        Ok(gather.0)
    }

    /// See [`Pool::map_into`].
    ///
    /// # Errors
    ///
    /// As [`Pool::map_into`].
    pub fn map_into<A, I, Form>(
        self,
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
        let (places, name) = (output.len(), self.options.name.clone());
        if let Some(integers) = as_integers(&items) {
            check_places(places, integers.len)?;
            let blocks = output.axis_chunks_mut(Axis(0), 1);
            let (mut gather, base) = (AllOrError::default(), integers.base);
            let descriptor = IndicesInto::<F, S, A, Form>::DESCRIPTOR;
            self.run_lent::<Places<'_, F::Output>, (), _>(descriptor, &blocks, base, &mut gather)?;
            return gather.finish(name).map(|_| ());
        }
        let items = items.into_iter();
        if let Some(items) = exact(items.size_hint()) {
            check_places(places, items)?;
        }
        let mut gather = IntoArray::new(output.view_mut());
        self.run(items, &mut gather)?;
        check_places(places, gather.finish(name)? as u64)
    }

    /// See [`Pool::map_blocks`].
    ///
    /// # Errors
    ///
    /// As [`Pool::map_blocks`].
    pub fn map_blocks<B, Form>(self, blocks: B) -> Result<Vec<F::Output>, PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
        F::Output: Sendable,
        Form: 'static,
    {
        let (mut gather, name) = (AllOrError::default(), self.options.name.clone());
        self.run_blocks(&blocks, &mut gather)?;
        let finished = gather.finish(name);
        finished.map_err(|error| explain(error, &blocks))
    }

    /// See [`Pool::try_map_blocks`].
    ///
    /// # Errors
    ///
    /// As [`Pool::try_map_blocks`].
    pub fn try_map_blocks<B, Form>(
        self,
        blocks: B,
    ) -> Result<Vec<Result<F::Output, TaskError>>, PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
        F::Output: Sendable,
        Form: 'static,
    {
        let mut gather = Each(Vec::new());
        self.run_blocks(&blocks, &mut gather)?;
        Ok(gather.0)
    }

    /// See [`Pool::apply`].
    ///
    /// # Errors
    ///
    /// As [`Pool::apply`].
    pub fn apply<A, Form>(self, argument: A) -> Result<F::Output, PoolError>
    where
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        let Job {
            pool,
            task: _,
            options,
        } = self;
        pool.core.admit()?;
        options.check(&pool.core)?;
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        let call = ValueCall {
            descriptor,
            options,
        };
        let _reporting = call.options.reports(&pool.core, Some(1));
        pool.core.run_one(&call, &argument)
    }

    /// See [`Pool::imap`].
    pub fn imap<A, I, Form>(self, items: I) -> Imap<I::IntoIter, F::Output>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.stream::<A, I, Form>(items, true)
    }

    /// See [`Pool::imap_unordered`].
    pub fn imap_unordered<A, I, Form>(self, items: I) -> Imap<I::IntoIter, F::Output>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        self.stream::<A, I, Form>(items, false)
    }

    fn stream<A, I, Form>(self, items: I, is_ordered: bool) -> Imap<I::IntoIter, F::Output>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        let (core, mut options) = (&self.pool.core, self.options);
        options.progress.get_or_insert_with(Gauge::silent);
        let admitted = core
            .admit()
            .and_then(|()| options.check(core))
            .and_then(|()| options.schedule.refuse_stream());
        let descriptor = admitted.and_then(|()| named(Values::<F, S, A, Form>::DESCRIPTOR));
        let call = descriptor.map(|descriptor| ValueCall {
            descriptor,
            options,
        });
        let items = items.into_iter();
        let total = exact(items.size_hint());
        Imap::new(core, call, items, (is_ordered, total))
    }

    /// See [`Pool::apply_async`].
    ///
    /// # Errors
    ///
    /// As [`Pool::apply_async`].
    pub fn apply_async<A, Form>(self, argument: A) -> Result<TaskHandle<F::Output>, PoolError>
    where
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        Form: 'static,
    {
        let Job {
            pool,
            task: _,
            options,
        } = self;
        pool.core.admit()?;
        options.check(&pool.core)?;
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        let call = ValueCall {
            descriptor,
            options,
        };
        TaskHandle::begin(&pool.core, &call, &argument)
    }

    fn run<A, I, G, Form>(self, items: I, gather: &mut G) -> Result<(), PoolError>
    where
        I: IntoIterator<Item = A>,
        F: Task<S, A, Form>,
        A: Sendable,
        F::Output: Sendable,
        G: Gather<F::Output>,
        Form: 'static,
    {
        let Job {
            pool,
            task: _,
            options,
        } = self;
        pool.core.admit()?;
        options.check(&pool.core)?;
        if let Some(integers) = as_integers(&items) {
            let descriptor = named(Indices::<F, S, A, Form>::DESCRIPTOR)?;
            let in_place = in_place::<F::Output>();
            let call = Span64 {
                descriptor,
                items: integers.len,
                base: integers.base,
                plan: &[],
                in_place,
                options: &options,
            };
            let _reporting = options.reports(&pool.core, Some(integers.len));
            return pool.core.run_span(&call, gather);
        }
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        let call = ValueCall {
            descriptor,
            options,
        };
        let items = items.into_iter();
        let _reporting = call.options.reports(&pool.core, exact(items.size_hint()));
        pool.core.run_values(&call, items, gather)
    }

    fn run_blocks<B, G, Form>(self, blocks: &B, gather: &mut G) -> Result<(), PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
        F::Output: Sendable,
        G: Gather<F::Output>,
        Form: 'static,
    {
        self.run_lent(OverBlocks::<F, S, B, Form>::DESCRIPTOR, blocks, 0, gather)
    }

    /// Runs the task of `descriptor`, whose results are `R`, for each of `blocks`, which stay borrowed; the integer of the first is `base`.
    fn run_lent<B: Blocks, R: Sendable, G: Gather<R>>(
        self,
        descriptor: &'static Descriptor,
        blocks: &B,
        base: u64,
        gather: &mut G,
    ) -> Result<(), PoolError> {
        let Job {
            pool,
            task: _,
            options,
        } = self;
        pool.core.admit()?;
        options.check(&pool.core)?;
        let descriptor = named(descriptor)?;
        let (count, plan) = blocks.plan().map_err(PoolErrorKind::Memory)?;
        let (encoded, _exports) = transfer::export(|| postcard::to_stdvec(&plan));
        let plan = encoded.map_err(|error| PoolErrorKind::EncodeArgument {
            index: 0,
            message: error.to_string(),
        })?;
        let lessee = Arc::downgrade(&pool.core) as Weak<dyn Lessee>;
        blocks.segments(&mut |segment| segment.add_lessee(&lessee));
        let call = Span64 {
            descriptor,
            items: count as u64,
            base,
            plan: &plan,
            in_place: in_place::<R>(),
            options: &options,
        };
        let _reporting = options.reports(&pool.core, Some(count as u64));
        pool.core.run_span(&call, gather)
    }
}

/// Whether each item of a call has a place in the array that takes the results.
fn check_places(places: usize, items: u64) -> Result<(), PoolError> {
    if places as u64 == items {
        return Ok(());
    }
    let accepted = format!("the call has {items} items, and each needs an element of its own");
    refuse(
        "output",
        &format!("an array of {places} elements"),
        &accepted,
    )
}

/// A worker that touches a file that was truncated dies, and cannot say why: the file can.
fn explain<B: Blocks>(error: PoolError, blocks: &B) -> PoolError {
    let died = matches!(error.task(), Some((_, TaskError::WorkerDied(_))));
    match blocks.plan() {
        Err(cause) if died && cause.is_truncated() => PoolErrorKind::Memory(cause).into(),
        _ => error,
    }
}

/// How many items an iterator has, if it says so.
pub(super) fn exact((least, most): (usize, Option<usize>)) -> Option<u64> {
    (most == Some(least)).then_some(least as u64)
}

/// The name of a task for the workers.
fn named(descriptor: &'static Descriptor) -> Result<u64, PoolError> {
    descriptor.identity().ok_or_else(|| {
        PoolErrorKind::ForeignTask {
            task: (descriptor.name)(),
        }
        .into()
    })
}
