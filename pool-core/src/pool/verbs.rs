//! A call with its options, and the verbs that it can end in.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use pool_shm::{Blocks, Lessee, transfer};

use super::Pool;
use super::handle::TaskHandle;
use super::imap::Imap;
use super::job::{AllOrError, Each, Gather, Span64};
use super::task::ValueCall;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::identity::Descriptor;
use crate::index::as_integers;
use crate::task::{BlockTask, Sendable, Task};
use crate::worker::{Indices, OverBlocks, Values, in_place};

/// The options of one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) chunk: Option<u32>,
    pub(crate) retries: u32,
    pub(crate) window: Option<u32>,
}

impl Options {
    fn check(&self) -> Result<(), PoolError> {
        if self.chunk != Some(0) {
            return Ok(());
        }
        let accepted = "a worker claims at least 1 task at a time".to_owned();
        Err(PoolErrorKind::Option {
            option: "chunk",
            value: "0".to_owned(),
            accepted,
        }
        .into())
    }
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
    /// the number of tasks, and by what they were seen to cost. With 0 the verb returns an error.
    pub fn chunk(mut self, tasks: u32) -> Self {
        self.options.chunk = Some(tasks);
        self
    }

    /// Declares the task repeatable: if its worker dies it is begun again, up to `retries` times. Default: 0, the task fails with
    /// [`TaskError::WorkerDied`].
    ///
    /// A panic is never repeated. A task over a block finds the block as the dead worker left it.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
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
        let mut gather = AllOrError::default();
        self.run(items, &mut gather)?;
        gather.finish()
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
        let mut gather = AllOrError::default();
        self.run_blocks(blocks, &mut gather)?;
        gather.finish()
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
        self.run_blocks(blocks, &mut gather)?;
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
        options.check()?;
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        pool.core.run_one(
            ValueCall {
                descriptor,
                options,
            },
            &argument,
        )
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
        let options = self.options;
        let admitted = self.pool.core.admit();
        let descriptor = admitted.and_then(|()| named(Values::<F, S, A, Form>::DESCRIPTOR));
        let call = descriptor.map(|descriptor| ValueCall {
            descriptor,
            options,
        });
        Imap::new(&self.pool.core, call, items.into_iter(), is_ordered)
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
        options.check()?;
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        let call = ValueCall {
            descriptor,
            options,
        };
        TaskHandle::begin(&pool.core, call, &argument)
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
        options.check()?;
        if let Some(integers) = as_integers(&items) {
            let descriptor = named(Indices::<F, S, A, Form>::DESCRIPTOR)?;
            let in_place = in_place::<F::Output>();
            let call = Span64 {
                descriptor,
                items: integers.len,
                base: integers.base,
                plan: &[],
                in_place,
                options,
            };
            return pool.core.run_span(&call, gather);
        }
        let descriptor = named(Values::<F, S, A, Form>::DESCRIPTOR)?;
        pool.core.run_values(
            ValueCall {
                descriptor,
                options,
            },
            items.into_iter(),
            gather,
        )
    }

    fn run_blocks<B, G, Form>(self, blocks: B, gather: &mut G) -> Result<(), PoolError>
    where
        B: Blocks,
        F: BlockTask<S, B, Form>,
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
        options.check()?;
        let descriptor = named(OverBlocks::<F, S, B, Form>::DESCRIPTOR)?;
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
            base: 0,
            plan: &plan,
            in_place: in_place::<F::Output>(),
            options,
        };
        pool.core.run_span(&call, gather)
    }
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
