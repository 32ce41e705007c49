//! What the workers of a pool keep to during their life, as the builder's options say.

use serde::{Deserialize, Serialize};

use crate::sys;

/// The terms of all workers of a pool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// The exit hook.
    pub(crate) exit_hook: Option<u64>,
    /// Tasks after which a worker asks to be replaced.
    pub(crate) max_tasks: Option<u64>,
    /// Bytes of memory of its own above which it does.
    pub(crate) max_memory: Option<u64>,
    /// Processors: worker `i` runs on the `i`-th of them, counted round.
    pub(crate) pin: Option<Vec<usize>>,
    pub(crate) nice: Option<i32>,
}

impl Terms {
    /// Puts the calling thread, which is worker `worker`, where it belongs; or why it cannot be put there.
    pub(crate) fn settle_in(&self, worker: usize) -> Result<(), String> {
        if let Some(pin) = self.pin.as_ref().filter(|pin| !pin.is_empty()) {
            let processor = pin[worker % pin.len()];
            sys::pin(processor).map_err(|error| {
                format!("the system does not let worker {worker} run on processor {processor} (option `pin`): {error}")
            })?;
        }
        if let Some(nice) = self.nice {
            sys::set_nice(nice).map_err(|error| {
                format!("the system does not give worker {worker} the niceness {nice} (option `nice`): {error}; a value below the program's own needs a privilege (CAP_SYS_NICE)")
            })?;
        }
        Ok(())
    }
}
