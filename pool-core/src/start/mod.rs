//! How worker processes come to be.
//!
//! A process that is to be a worker, or to fork workers, executes this program again and is entered before `main`
//! ([`hook`]). It gets one message by its standard input ([`boot`]) and then either works or serves as [`fork_server`].

pub(crate) mod boot;
pub(crate) mod environment;
pub(crate) mod fork_server;
mod hook;

#[cfg(feature = "inject")]
pub(crate) use hook::in_worker;
pub use hook::init;
pub(crate) use hook::{after_fork, before_fork, copies, is_entered};

/// How the workers of a pool are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// One clean process with a single thread, started by executing the program again, forks the workers: each starts in about
    /// 0.1 ms, shares its memory pages with the others, and knows nothing of what the program holds.
    #[default]
    ForkServer,
    /// Each worker executes the program again: about 1 ms each, nothing shared.
    Spawn,
    /// Workers are threads of this process: the same interface for comparison and debugging. A crash takes the program along;
    /// options for processes (`env`, `threads_per_worker`) have no effect; a panic is also reported by the program's own panic
    /// hook, and its [`crate::RemotePanic`] has no location; dropping the pool waits for the tasks that run.
    Thread,
}

impl std::fmt::Display for StartMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StartMethod::ForkServer => "forkserver",
            StartMethod::Spawn => "spawn",
            StartMethod::Thread => "thread",
        })
    }
}
