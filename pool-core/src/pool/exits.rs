//! What exit hooks return.

use std::any::{TypeId, type_name};
use std::marker::PhantomData;
use std::sync::Arc;

use super::Pool;
use super::collect::decode_result;
use super::core::Core;
use crate::error::{PoolError, PoolErrorKind, TaskError};
use crate::task::Sendable;

/// What the exit hook of one worker returned.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExitResult<T> {
    /// The worker's number in the pool; several workers of the same number may have left one after the other.
    pub worker: usize,
    /// Its process id.
    pub pid: u32,
    /// What the hook returned, or why there is nothing: it panicked, its process died, or it took too long
    /// ([`TaskError::Overtime`]).
    pub result: Result<T, TaskError>,
}

/// What the exit hooks of a pool return. Made by [`Pool::exit_results`]; may outlive its pool.
#[derive(Debug)]
pub struct ExitResults<T> {
    core: Arc<Core>,
    result: PhantomData<fn() -> T>,
}

impl<T: Sendable> ExitResults<T> {
    /// What has come since this was asked last, in the order in which the workers ended. When the pool has been joined or dropped,
    /// every worker that left in good order is there.
    pub fn take(&self) -> Vec<ExitResult<T>> {
        let farewells = std::mem::take(&mut self.core.book().crew.farewells);
        farewells
            .into_iter()
            .map(|farewell| {
                let bytes = farewell.result.as_ref().map(|bytes| &bytes[..]);
                ExitResult {
                    worker: farewell.worker,
                    pid: farewell.pid,
                    result: decode_result(bytes.map_err(TaskError::clone)),
                }
            })
            .collect()
    }
}

impl<S> Pool<S> {
    /// Where the results of the pool's exit hook arrive, which are of type `T`. See
    /// [`PoolBuilder::exit_hook`](crate::PoolBuilder::exit_hook).
    ///
    /// # Errors
    ///
    /// If the pool has no exit hook, or one that returns another type ([`PoolError::is_option`]).
    pub fn exit_results<T: Sendable>(&self) -> Result<ExitResults<T>, PoolError> {
        if self.exit_type == Some(TypeId::of::<T>()) {
            return Ok(ExitResults {
                core: Arc::clone(&self.core),
                result: PhantomData,
            });
        }
        let accepted = match self.exit_type {
            None => "the pool was built without an exit hook",
            Some(_) => "the pool's exit hook returns another type",
        };
        Err(PoolErrorKind::Option {
            option: "exit_hook",
            value: format!("one that returns `{}`", type_name::<T>()),
            accepted: accepted.to_owned(),
        }
        .into())
    }
}
