//! Pools whose workers are copies of the program, with a state that is made of what the program holds.

use std::any::Any;
use std::fmt;

use super::{Pool, PoolBuilder};
use crate::error::PoolError;
use crate::start::StartMethod;

/// Builds a [`Pool`] of copies of this process. Made by [`PoolBuilder::fork_initializer`]; other options are set before that.
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct ForkBuilder<'a, S> {
    options: PoolBuilder<S>,
    initializer: Box<dyn Fn() -> Box<dyn Any> + 'a>,
}

impl<S> fmt::Debug for ForkBuilder<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkBuilder").finish_non_exhaustive()
    }
}

impl<S: 'static> PoolBuilder<S> {
    /// Makes workers copies of this process ([`StartMethod::Fork`]), in each of which `initializer` makes the state.
    ///
    /// Since it runs in a copy of this process, it may capture, also by reference, whatever the program holds: nothing of that is sent, and
    /// pages are shared until one side writes to them. Only this method takes such a closure, and only the builder that it returns
    /// can be built from it, so a closure that captures cannot come to another start method. A panic of it is the error of `build`.
    ///
    /// ```no_run
    /// use pool_core::Pool;
    ///
    /// struct State { longest: usize }
    /// let words = ["a", "list", "that", "is", "not", "sent"];
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .fork_initializer(|| State { longest: words.iter().map(|word| word.len()).max().unwrap() })
    ///     .build()?;
    /// assert_eq!(pool.map(|state: &mut State, i: usize| i * state.longest, 0..3)?, [0, 4, 8]);
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    pub fn fork_initializer<'a, T: 'static>(
        self,
        initializer: impl Fn() -> T + 'a,
    ) -> ForkBuilder<'a, T> {
        ForkBuilder {
            options: self.start_method(StartMethod::Fork).typed(None),
            initializer: Box::new(move || Box::new(initializer())),
        }
    }
}

impl<S: 'static> ForkBuilder<'_, S> {
    /// Copies this process, starts the workers, and waits until all are ready.
    ///
    /// # Errors
    ///
    /// If this process has other threads ([`PoolError::is_start`]), with their number and names; otherwise as [`PoolBuilder::build`].
    pub fn build(self) -> Result<Pool<S>, PoolError> {
        self.options.build_with(Some(&*self.initializer))
    }
}
