//! Pools inside of tasks of pools: how deep, and which share of the processors each has.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{PoolError, PoolErrorKind};

/// How deep pools may be nested unless a builder says otherwise.
pub(crate) const DEPTH: u32 = 8;

/// Where some code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nest {
    /// How many pools and single processes it is inside of.
    depth: u32,
    /// How deep it may become.
    limit: u32,
    /// How many processors it may count on.
    processors: usize,
}

/// What holds for this process, if it was started by this crate.
static PROCESS: Mutex<Option<Nest>> = Mutex::new(None);

thread_local! {
    /// What holds for this thread, if it is a worker inside of the program.
    static THREAD: Cell<Option<Nest>> = const { Cell::new(None) };
}

impl Nest {
    /// Where the calling thread runs.
    pub(crate) fn here() -> Nest {
        THREAD
            .get()
            .or_else(|| *of_process())
            .unwrap_or_else(|| Nest {
                depth: 0,
                limit: DEPTH,
                processors: std::thread::available_parallelism().map_or(1, usize::from),
            })
    }

    /// How many processors code that runs here may count on.
    pub(crate) fn processors(self) -> usize {
        self.processors.max(1)
    }

    /// Where each of `workers` workers runs that are started from here; `limit` is the depth that the builder asks for.
    pub(crate) fn below(self, limit: Option<u32>, workers: usize) -> Result<Nest, PoolError> {
        let limit = limit.unwrap_or(self.limit);
        let depth = self.depth + 1;
        if depth > limit {
            return Err(PoolErrorKind::TooDeep { depth, limit }.into());
        }
        Ok(Nest {
            depth,
            limit,
            processors: (self.processors / workers.max(1)).max(1),
        })
    }

    /// This process runs there from now on.
    pub(crate) fn enter_process(self) {
        *of_process() = Some(self);
    }

    /// This thread runs there from now on, or where its process does; where it ran before.
    pub(crate) fn exchange(nest: Option<Nest>) -> Option<Nest> {
        THREAD.replace(nest)
    }
}

fn of_process() -> MutexGuard<'static, Option<Nest>> {
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: Nest = Nest {
        depth: 0,
        limit: 2,
        processors: 8,
    };

    #[test]
    fn the_processors_are_shared() {
        let first = TOP.below(None, 3).unwrap();
        assert_eq!((first.depth, first.processors()), (1, 2));
        assert_eq!(first.below(None, 5).unwrap().processors(), 1);
    }

    #[test]
    fn too_deep_is_an_error_with_numbers() {
        let second = TOP.below(None, 1).unwrap().below(None, 1).unwrap();
        let error = second.below(None, 1).unwrap_err().to_string();
        assert!(
            error.contains('3') && error.contains("limit of 2"),
            "{error}"
        );
        assert_eq!(second.below(Some(3), 1).unwrap().depth, 3);
    }

    #[test]
    fn a_thread_may_run_deeper_than_its_process() {
        let before = Nest::exchange(Some(TOP));
        assert_eq!(Nest::here(), TOP);
        Nest::exchange(before);
        assert_eq!(Nest::here().depth, 0);
    }
}
