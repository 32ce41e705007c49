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
pub(crate) use hook::{after_fork, before_fork, is_entered};

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
    /// Workers are copies of the program as it is when the pool is built: they hold what it holds, at no cost until one side writes to
    /// it. See [`crate::PoolBuilder::fork_initializer`] for a state that is made of what the program holds.
    ///
    /// Refused beside other threads, with their number and names: a lock that one of them holds would stay locked in every worker. A
    /// pool has a thread of its own, so the first pool of a program can be of this kind, or one that is built when others are gone. To
    /// replace workers later, one copy is made first, which does nothing but fork; should it be killed, the pool ends with an error
    /// that says so, since no other copy can be made beside the pool's thread.
    ///
    /// Workers keep the program's descriptors open, but for standard input. A shared array that was there when the pool was built is
    /// mapped in them, and cannot be frozen while they live. The program's
    /// [`crate::Process`] handles mean nothing in them.
    Fork,
    /// Workers are threads of this process: the same interface for comparison and debugging. A crash takes the program along;
    /// options for processes (`env`, `threads_per_worker`) have no effect; a panic is also reported by the program's own panic
    /// hook, and its [`crate::RemotePanic`] has no location; dropping the pool waits for the tasks that run.
    Thread,
    /// Tasks run in the thread that builds the pool, one after the other, whenever it waits for one or begins one: for debugging, and for
    /// comparison. There is one worker, whatever [`crate::PoolBuilder::workers`] says. What is said of [`StartMethod::Thread`] holds here
    /// too. A call from another thread, or from one of the pool's own tasks, is an error; a task that was begun has ended when
    /// [`crate::Pool::apply_async`] returns.
    InProcess,
}

impl std::fmt::Display for StartMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StartMethod::ForkServer => "forkserver",
            StartMethod::Spawn => "spawn",
            StartMethod::Fork => "fork",
            StartMethod::Thread => "thread",
            StartMethod::InProcess => "inprocess",
        })
    }
}
