//! What the tests share.

mod board;
mod dice;
mod leftovers;
mod processes;

use std::time::Duration;

use pool_core::{PoolBuilder, StartMethod, TaskError, WorkerExit};

pub(crate) use board::Board;
pub(crate) use dice::Dice;
pub(crate) use leftovers::Leftovers;
pub(crate) use processes::{Process, is_stopped, kill_stopped, parent_of};

/// Ends a deadlock; nothing that works comes near it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The start methods that make processes.
pub(crate) const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

/// All of them.
pub(crate) const ALL_METHODS: [StartMethod; 5] = [
    StartMethod::ForkServer,
    StartMethod::Spawn,
    StartMethod::Fork,
    StartMethod::Thread,
    StartMethod::InProcess,
];

/// Runs `body` in a process that has one thread, as a program has at its start; a test never has. Its panic is ours.
pub(crate) fn alone(body: impl Fn(()) + Copy + 'static) {
    let ended = pool_core::Process::spawn(body, ()).unwrap().join();
    ended.unwrap_or_else(|error| panic!("{error}"));
}

/// How the worker ended that ran the task; none if the error is another one.
pub(crate) fn exit_of(error: &TaskError) -> Option<WorkerExit> {
    match error {
        TaskError::WorkerDied(death) => Some(death.exit),
        _ => None,
    }
}

/// Asserts that no pool is built, since one of the options does not do, and that the error names each of `parts`.
pub(crate) fn assert_option(builder: PoolBuilder, parts: &[&str]) {
    let error = builder.build().err().unwrap();
    assert!(error.is_option(), "{error}");
    for part in parts {
        assert!(
            error.to_string().contains(part),
            "{part} is missing in: {error}"
        );
    }
}
