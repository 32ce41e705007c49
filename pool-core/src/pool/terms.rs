//! The options of a pool that have to do with the life of its workers.

use std::any::TypeId;
use std::fmt::Debug;
use std::time::Duration;

use super::builder::PoolBuilder;
use super::pace::Pace;
use crate::error::{PoolError, PoolErrorKind};
use crate::start::StartMethod;
use crate::sys;
use crate::task::Sendable;
use crate::worker::{ExitHook, Terms};

/// Less memory than this a worker of its own has hardly ever.
const MIN_MEMORY: u64 = 4 << 20;

/// What the builder was told about the life of workers.
#[derive(Debug, Default)]
pub(super) struct LifeOptions {
    pub(super) terms: Terms,
    pub(super) pace: Pace,
    hook: Option<Hook>,
}

/// An exit hook.
#[derive(Clone, Copy, Debug)]
struct Hook {
    name: &'static str,
    descriptor: Option<u64>,
    state: TypeId,
    result: TypeId,
}

impl<S: 'static> PoolBuilder<S> {
    /// Runs `hook` in every worker that leaves in good order, after its last task, with the worker's state, which it takes: when the
    /// pool is joined or dropped, when it shrinks, when the worker is replaced because of
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker) or [`max_memory_per_worker`](Self::max_memory_per_worker), and when it
    /// leaves because it had nothing to do. Not in one that dies, or that is killed because it runs a task when the pool is dropped.
    ///
    /// What it returns arrives at [`Pool::exit_results`](crate::Pool::exit_results). A hook that panics, dies or takes longer than
    /// [`exit_timeout`](Self::exit_timeout) is an error there, and harms nobody. To be set after the initializer, whose state it
    /// takes.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .initializer(|()| 0, ())
    ///     .exit_hook(|sum: u64| sum)
    ///     .build()?;
    /// pool.map(|sum: &mut u64, i: u64| *sum += i, 0..=100)?;
    /// let sums = pool.exit_results::<u64>()?;
    /// pool.join();
    /// let sums: Vec<u64> = sums.take().into_iter().map(|exit| exit.result.unwrap()).collect();
    /// assert_eq!(sums.iter().sum::<u64>(), 5050);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn exit_hook<F, R>(mut self, _hook: F) -> Self
    where
        F: Fn(S) -> R + Copy + 'static,
        R: Sendable,
    {
        let descriptor = ExitHook::<F, S, R>::DESCRIPTOR;
        self.life.hook = Some(Hook {
            name: (descriptor.name)(),
            descriptor: descriptor.identity(),
            state: TypeId::of::<S>(),
            result: TypeId::of::<R>(),
        });
        self
    }

    /// How long a worker may take from its start until its initializer has returned. One that takes longer is killed, and counts
    /// as one that died before it was ready: three of them in a row are the error of [`build`](Self::build). Default: as long as
    /// it likes. Only for workers that are processes.
    pub fn initializer_timeout(mut self, limit: Duration) -> Self {
        self.life.pace.initializer_timeout = Some(limit);
        self
    }

    /// How long the exit hook of a worker may take; a worker that takes longer is killed. Dropping the pool can take as long.
    /// Default: two seconds. Only for workers that are processes.
    pub fn exit_timeout(mut self, limit: Duration) -> Self {
        self.life.pace.exit_timeout = Some(limit);
        self
    }

    /// Replaces a worker when it has run `tasks` tasks, at least 1: against libraries that leak. The replacement gets ready while
    /// the worker runs its last tasks, and the worker leaves only then.
    ///
    /// Tasks are counted when a chunk of them begins, so one that is given by [`Job::chunk`](crate::Job::chunk) is run to its end,
    /// and the worker exceeds the number by up to a chunk less 1. Chunks that the pool chooses itself have at most an eighth of
    /// `tasks` items, and single ones for less than 16: then the number is exact. Default: no limit.
    ///
    /// ```
    /// use pool_core::{Pool, WorkerEnd};
    ///
    /// let pool = Pool::builder().workers(1).max_tasks_per_worker(2).build()?;
    /// let mut pids = pool.map(|_: u32| std::process::id(), 0..6)?;
    /// pids.dedup();
    /// assert_eq!(pids.len(), 3);
    /// assert_eq!(pool.workers()[0].last_end, Some(WorkerEnd::MaxTasks));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.life.terms.max_tasks = Some(tasks);
        self
    }

    /// Replaces a worker that has more than `bytes` bytes of memory of its own, at least 4 MiB: what only it has written, without the
    /// arrays that it shares. The worker looks between tasks, at most once in a millisecond, and leaves as with
    /// [`max_tasks_per_worker`](Self::max_tasks_per_worker). Memory that a task has freed counts if the allocator keeps it.
    /// Default: no limit. Only for workers that are processes.
    pub fn max_memory_per_worker(mut self, bytes: u64) -> Self {
        self.life.terms.max_memory = Some(bytes);
        self
    }

    /// Lets workers leave that have had nothing to do for this long, those with the highest numbers first. They come back when
    /// there is work for them. Default: they stay.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.life.pace.idle_timeout = Some(idle);
        self
    }

    /// How many workers stay though they have nothing to do, with [`idle_timeout`](Self::idle_timeout). Default: 0, all leave; the
    /// next call then waits until one was started, which takes a fork and the initializer.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.life.pace.min_workers = workers;
        self
    }

    /// Ties worker `i` to the `i`-th of these processors, counted round: each must be one that this program may use.
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::builder().workers(2).pin([0]).build()?;
    /// let processors = pool.map(|_: u32| std::thread::available_parallelism().unwrap().get(), 0..10)?;
    /// assert_eq!(processors, [1; 10]);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn pin(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.life.terms.pin = Some(processors.into_iter().collect());
        self
    }

    /// The niceness of the workers, -20 to 19: the higher, the more they yield to other processes. A value below the program's own
    /// needs a privilege. Default: the program's own.
    pub fn nice(mut self, nice: i32) -> Self {
        self.life.terms.nice = Some(nice);
        self
    }
}

impl LifeOptions {
    /// Refuses values that are not accepted.
    pub(super) fn check(
        &self,
        workers: usize,
        method: StartMethod,
        state: TypeId,
    ) -> Result<(), PoolError> {
        let (terms, pace) = (&self.terms, &self.pace);
        let timeouts = [
            ("initializer_timeout", pace.initializer_timeout),
            ("exit_timeout", pace.exit_timeout),
            ("idle_timeout", pace.idle_timeout),
        ];
        for (option, timeout) in timeouts {
            refuse_if(
                timeout == Some(Duration::ZERO),
                option,
                &Duration::ZERO,
                || "a timeout is longer than 0".to_owned(),
            )?;
        }
        refuse_if(
            terms.max_tasks == Some(0),
            "max_tasks_per_worker",
            &0,
            || "a worker runs at least 1 task".to_owned(),
        )?;
        let memory = terms.max_memory.unwrap_or(MIN_MEMORY);
        refuse_if(
            memory < MIN_MEMORY,
            "max_memory_per_worker",
            &memory,
            || format!("a worker needs at least {MIN_MEMORY} bytes of its own"),
        )?;
        let least = pace.min_workers;
        refuse_if(least > workers, "min_workers", &least, || {
            format!("a pool of {workers} workers keeps 0 to {workers}")
        })?;
        let nice = terms.nice.unwrap_or(0);
        refuse_if(!(-20..=19).contains(&nice), "nice", &nice, || {
            "niceness is -20 to 19".to_owned()
        })?;
        self.check_processors()?;
        self.check_method(method)?;
        let misplaced = self.hook.filter(|hook| hook.state != state);
        refuse_if(misplaced.is_some(), "exit_hook", &"set", || {
            "before `initializer`, whose state it takes: set it after it".to_owned()
        })
    }

    fn check_processors(&self) -> Result<(), PoolError> {
        let Some(pin) = &self.terms.pin else {
            return Ok(());
        };
        let allowed = sys::processors();
        let wrong = pin.iter().find(|processor| !allowed.contains(processor));
        refuse_if(pin.is_empty() || wrong.is_some(), "pin", pin, || {
            format!("at least one of the processors that this program may use: {allowed:?}")
        })
    }

    /// Threads cannot be killed, and have no memory of their own; the calling thread is the program's.
    fn check_method(&self, method: StartMethod) -> Result<(), PoolError> {
        let alone = [
            ("exit_hook", self.hook.is_some()),
            ("max_tasks_per_worker", self.terms.max_tasks.is_some()),
            ("idle_timeout", self.pace.idle_timeout.is_some()),
            ("pin", self.terms.pin.is_some()),
            ("nice", self.terms.nice.is_some()),
        ];
        let wrong = alone
            .iter()
            .find(|(_, set)| *set && method == StartMethod::InProcess);
        wrong.map_or(Ok(()), |(option, _)| {
            refuse_if(true, option, &"set", || {
                format!("with start method `{method}`: it needs workers that come and go")
            })
        })?;
        let set = [
            (
                "initializer_timeout",
                self.pace.initializer_timeout.is_some(),
            ),
            ("exit_timeout", self.pace.exit_timeout.is_some()),
            ("max_memory_per_worker", self.terms.max_memory.is_some()),
        ];
        let wrong = set.iter().find(|(_, set)| {
            *set && matches!(method, StartMethod::Thread | StartMethod::InProcess)
        });
        wrong.map_or(Ok(()), |(option, _)| {
            refuse_if(true, option, &"set", || {
                format!("with start method `{method}`: it needs workers that are processes")
            })
        })
    }

    /// Names the exit hook for the workers; the type that it returns.
    pub(super) fn settle(&mut self) -> Result<Option<TypeId>, PoolError> {
        let Some(hook) = self.hook else {
            return Ok(None);
        };
        let foreign = PoolErrorKind::ForeignTask { task: hook.name };
        self.terms.exit_hook = Some(hook.descriptor.ok_or(foreign)?);
        Ok(Some(hook.result))
    }

    /// Most items of a chunk that the pool chooses.
    pub(super) fn most_at_once(&self) -> u32 {
        let eighth = self.terms.max_tasks.map_or(u64::MAX, |tasks| tasks / 8);
        u32::try_from(eighth.max(1)).unwrap_or(u32::MAX)
    }
}

fn refuse_if(
    condition: bool,
    option: &'static str,
    value: &dyn Debug,
    accepted: impl FnOnce() -> String,
) -> Result<(), PoolError> {
    if !condition {
        return Ok(());
    }
    Err(PoolErrorKind::Option {
        option,
        value: format!("{value:?}").replace('"', ""),
        accepted: accepted(),
    }
    .into())
}
