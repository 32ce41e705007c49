//! The options of a pool.

use std::any::TypeId;
use std::fmt::Display;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use pool_shm::transfer;

use super::core::Core;
use super::resize::check_workers;
use super::terms::LifeOptions;
use super::watch::{Plan, Watcher};
use super::{Kept, Pool, host};
use crate::dispatch::control::Control;
use crate::dispatch::word::MAX_SLOTS;
use crate::error::{PoolError, PoolErrorKind};
use crate::nest::Nest;
use crate::start::boot::{Place, Setup, Ties};
use crate::start::fork_server::{ForkServer, Template};
use crate::start::{StartMethod, environment};
use crate::task::Sendable;
use crate::worker::{Initializer, Maker};
use crate::{codec, start, sys};

/// Most workers that a pool may have.
pub(super) const MAX_WORKERS: usize = 1000;
const _: () = assert!(
    MAX_WORKERS < MAX_SLOTS,
    "replacements need places of their own"
);

/// The variables by which numeric libraries are told how many threads to use.
const THREAD_VARIABLES: [&str; 9] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "MATMUL_NUM_THREADS",
    "POLARS_MAX_THREADS",
];

/// Builds a [`Pool`]. Made by [`Pool::builder`].
///
/// ```
/// use pool_core::{Pool, StartMethod};
///
/// struct State { scale: f64 }
/// let pool = Pool::builder()
///     .workers(2)
///     .start_method(StartMethod::Spawn)
///     .initializer(|scale: f64| State { scale }, 0.5)
///     .build()?;
/// assert_eq!(pool.map(|state: &mut State, i: u32| state.scale * f64::from(i), 0..4)?, [0.0, 0.5, 1.0, 1.5]);
/// # Ok::<(), pool_core::PoolError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct PoolBuilder<S = ()> {
    workers: Option<usize>,
    method: StartMethod,
    env: Vec<(String, String)>,
    threads: Option<usize>,
    name: String,
    seed: u64,
    max_depth: Option<u32>,
    initializer: Option<Prepared>,
    pub(super) life: LifeOptions,
    state: PhantomData<fn() -> S>,
}

/// An initializer with its encoded argument, or why there is none.
#[derive(Debug)]
pub(super) struct Prepared {
    descriptor: Option<u64>,
    task: &'static str,
    argument: Result<(Vec<u8>, transfer::Exports), String>,
}

impl PoolBuilder {
    pub(super) fn new() -> PoolBuilder {
        PoolBuilder {
            workers: None,
            method: StartMethod::default(),
            env: Vec::new(),
            threads: None,
            name: "pool".to_owned(),
            seed: 0,
            max_depth: None,
            initializer: None,
            life: LifeOptions::default(),
            state: PhantomData,
        }
    }
}

impl<S: 'static> PoolBuilder<S> {
    /// Number of workers, 1 to 1000. Default: the processors that this program may use, by affinity and cgroup quota;
    /// inside of a task its share of them, see [`PoolBuilder::max_depth`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How workers are started. Default: [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// Sets an environment variable in every worker, before anything of the program runs there. Has no effect on threads.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// How many threads numeric libraries may use in each worker, at least 1: sets the variables of OpenMP, OpenBLAS, MKL, BLIS,
    /// Accelerate, NumExpr, rayon, matrixmultiply and Polars.
    ///
    /// Default: processors divided by workers, at least 1, for each variable that the program's own environment does not set. A
    /// variable set by [`PoolBuilder::env`] wins over both.
    pub fn threads_per_worker(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Name of the pool: its workers are called `name-0`, `name-1` and so on in `ps` and the like, which keep 15 bytes (the front of
    /// the name), its threads likewise, and events of `tracing` carry it. Default: `pool`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Where the random streams of tasks begin, see [`crate::Current::seed`]. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How deep pools may be nested, this one included: a pool of the program has depth 1, one that its tasks make has 2, and so on. A pool
    /// that is deeper is an error ([`PoolError::is_too_deep`]). Default: 8, or what the pool outside of this one was given.
    ///
    /// The processors are shared: each worker counts on those of the program divided by the workers of its pool, at least one, for
    /// [`PoolBuilder::workers`] and [`PoolBuilder::threads_per_worker`].
    ///
    /// ```
    /// use pool_core::Pool;
    ///
    /// let pool = Pool::builder().workers(1).max_depth(1).build()?;
    /// let error = pool.apply(|()| Pool::new(1).map(drop).unwrap_err().to_string(), ())?;
    /// assert!(error.contains("2 deep"));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn max_depth(mut self, depth: u32) -> Self {
        self.max_depth = Some(depth);
        self
    }

    /// Runs `initializer` with `argument` once in every worker, before its first task; what it returns is the worker's state,
    /// which tasks of the form `fn(&mut S, A) -> R` get. A replacement worker runs it again.
    pub fn initializer<F, A, T>(self, initializer: F, argument: A) -> PoolBuilder<T>
    where
        F: Fn(A) -> T + Copy + 'static,
        A: Sendable,
        T: 'static,
    {
        self.prepared(move |argument: A| Ok(initializer(argument)), argument)
    }

    /// The same for an initializer that can fail: its error is the error of [`PoolBuilder::build`].
    pub fn try_initializer<F, A, T, E>(self, initializer: F, argument: A) -> PoolBuilder<T>
    where
        F: Fn(A) -> Result<T, E> + Copy + 'static,
        A: Sendable,
        T: 'static,
        E: Display,
    {
        self.prepared(
            move |argument: A| initializer(argument).map_err(|error| error.to_string()),
            argument,
        )
    }

    fn prepared<F, A, T>(self, _initializer: F, argument: A) -> PoolBuilder<T>
    where
        F: Fn(A) -> Result<T, String> + Copy + 'static,
        A: Sendable,
        T: 'static,
    {
        let descriptor = Initializer::<F, A, T>::DESCRIPTOR;
        let mut bytes = Vec::new();
        let (encoded, exports) = transfer::export(|| codec::append(&argument, &mut bytes));
        let argument = encoded.map(|()| (bytes, exports));
        self.typed(Some(Prepared {
            descriptor: descriptor.identity(),
            task: (descriptor.name)(),
            argument,
        }))
    }

    /// The same options for a pool with another state.
    pub(super) fn typed<T>(self, initializer: Option<Prepared>) -> PoolBuilder<T> {
        let PoolBuilder {
            workers,
            method,
            env,
            threads,
            name,
            seed,
            max_depth,
            life,
            ..
        } = self;
        PoolBuilder {
            workers,
            method,
            env,
            threads,
            name,
            seed,
            max_depth,
            initializer,
            life,
            state: PhantomData,
        }
    }

    /// Starts the workers and waits until all are ready.
    ///
    /// # Errors
    ///
    /// An option with a value that is not accepted; an initializer that failed, with its cause; processes that cannot be started,
    /// or ended three times in a row before they were ready; memory that is not there. What had been started is gone then.
    pub fn build(self) -> Result<Pool<S>, PoolError> {
        self.build_with(None)
    }

    /// `maker` makes the state of workers that are copies of this process.
    pub(super) fn build_with(mut self, maker: Option<Maker<'_>>) -> Result<Pool<S>, PoolError> {
        if !start::is_entered() {
            return Err(PoolErrorKind::NotEntered.into());
        }
        if self.method == StartMethod::Fork {
            start::before_fork()?;
        }
        let here = Nest::here();
        let workers = self.worker_count(here)?;
        self.life.check(workers, self.method, TypeId::of::<S>())?;
        let nest = here.below(self.max_depth, workers)?;
        let env = self.environment(here, workers)?;
        let mut kept: Vec<Box<dyn Kept>> = Vec::new();
        let exit_type = self.life.settle()?;
        let setup = self.setup(nest, &mut kept)?;
        let control = Control::create(MAX_SLOTS).map_err(PoolErrorKind::Memory)?;
        let processors = &control.orders().processors;
        processors.store(here.processors() as u32, Ordering::Relaxed); // published with the segment
        let (kick, ties, held) = descriptors()
            .map_err(|error| start_error("descriptors for a pipe and a counter", error))?;
        // Before any thread of the pool is there.
        let server = match self.method {
            StartMethod::Fork => {
                let template = Template {
                    control: &control,
                    ties: &ties,
                    setup: &setup,
                    is_copy: true,
                    maker,
                };
                let copied = ForkServer::copy(&template, &env, held.as_fd());
                Some(copied.map_err(|error| start_error("a copy of this process", error))?)
            }
            _ => None,
        };
        kept.push(Box::new(held));
        let most_at_once = self.life.most_at_once();
        let core = Arc::new(Core::new(control, kick, self.method, most_at_once));
        core.employ(&mut core.book(), workers);
        if self.method == StartMethod::InProcess {
            host::install(&core, &setup).map_err(PoolErrorKind::Memory)?;
        }
        let closing = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            method: self.method,
            setup,
            env,
            ties,
            pace: self.life.pace,
        };
        let watcher =
            Watcher::new(Arc::clone(&core), plan, Arc::clone(&closing)).with_server(server);
        let pool = Pool {
            core,
            watcher: Some(watch(watcher, &self.name)?),
            closing,
            _kept: kept,
            exit_type,
            state: PhantomData,
        };
        pool.core.await_staff(workers)?;
        Ok(pool)
    }

    fn worker_count(&self, here: Nest) -> Result<usize, PoolError> {
        let workers = self
            .workers
            .unwrap_or_else(|| here.processors().min(MAX_WORKERS));
        let is_single = self.method == StartMethod::InProcess;
        check_workers(workers).map(|()| if is_single { 1 } else { workers })
    }

    fn environment(&self, here: Nest, workers: usize) -> Result<Vec<(String, String)>, PoolError> {
        if self.threads == Some(0) {
            let accepted = "a numeric library needs at least 1 thread".to_owned();
            return Err(PoolErrorKind::Option {
                option: "threads_per_worker",
                value: "0".to_owned(),
                accepted,
            }
            .into());
        }
        environment::check(&self.name, &self.env)?;
        let cores = here.processors();
        let threads = self.threads.unwrap_or((cores / workers).max(1)).to_string();
        let unset = THREAD_VARIABLES
            .iter()
            .filter(|name| self.threads.is_some() || std::env::var_os(name).is_none());
        let capped = unset.map(|name| ((*name).to_owned(), threads.clone()));
        Ok(capped.chain(self.env.iter().cloned()).collect())
    }

    fn setup(&mut self, nest: Nest, kept: &mut Vec<Box<dyn Kept>>) -> Result<Setup, PoolError> {
        let mut setup = Setup {
            initializer: None,
            seed: self.seed,
            name: self.name.clone(),
            nest,
            terms: self.life.terms.clone(),
        };
        if let Some(prepared) = self.initializer.take() {
            let descriptor = prepared.descriptor.ok_or(PoolErrorKind::ForeignTask {
                task: prepared.task,
            })?;
            let (bytes, exports) = prepared
                .argument
                .map_err(|message| PoolErrorKind::EncodeArgument { index: 0, message })?;
            let (place, segment) = Place::store(bytes).map_err(PoolErrorKind::Memory)?;
            kept.push(Box::new((segment, exports)));
            setup.initializer = Some((descriptor, place));
        }
        Ok(setup)
    }
}

/// The counter that wakes the watcher, what every process of the pool holds, and the end of the life-line that only this
/// process holds.
fn descriptors() -> io::Result<(OwnedFd, Ties, OwnedFd)> {
    let kick = sys::eventfd()?;
    let (lifeline, held) = sys::pipe()?;
    let ties = Ties {
        lifeline,
        kick: kick.try_clone()?,
    };
    Ok((kick, ties, held))
}

/// Starts the watcher's thread.
fn watch(watcher: Watcher, name: &str) -> Result<JoinHandle<()>, PoolError> {
    let thread = std::thread::Builder::new()
        .name(format!("{name}-watcher"))
        .stack_size(256 << 10)
        .spawn(|| watcher.run());
    Ok(thread.map_err(|error| start_error("a thread that watches the workers", error))?)
}

fn start_error(what: &str, source: io::Error) -> PoolErrorKind {
    PoolErrorKind::Start {
        what: format!("the system refuses {what} ({source})"),
        source: Some(source),
    }
}
