//! What can go wrong: with a pool ([`PoolError`]) and with one task ([`TaskError`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkerExit {
    /// It ended by itself with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone, and nobody could tell how: its fork server died with it.
    Unknown,
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WorkerExit::Code(code) => write!(f, "exit status {code}"),
            WorkerExit::Signal(signal) => match signal_name(signal) {
                Some((name, meaning)) => write!(f, "signal {signal} ({name}: {meaning})"),
                None => write!(f, "signal {signal}"),
            },
            WorkerExit::Unknown => f.write_str("an exit that nobody could observe"),
        }
    }
}

/// The usual name of a signal and what it most often means for a worker.
fn signal_name(signal: i32) -> Option<(&'static str, &'static str)> {
    Some(match signal {
        1 => ("SIGHUP", "hang-up"),
        2 => ("SIGINT", "interrupt"),
        4 => (
            "SIGILL",
            "illegal instruction, perhaps code built for another processor",
        ),
        6 => ("SIGABRT", "abort, failed assertion or out of memory"),
        7 => (
            "SIGBUS",
            "access to memory that has nothing behind it, perhaps a mapped file that was truncated",
        ),
        8 => ("SIGFPE", "integer division by zero"),
        9 => (
            "SIGKILL",
            "killed from outside, perhaps by the out-of-memory killer",
        ),
        11 => ("SIGSEGV", "invalid memory access or stack overflow"),
        13 => ("SIGPIPE", "broken pipe"),
        15 => ("SIGTERM", "asked to end"),
        24 => ("SIGXCPU", "limit of CPU time"),
        25 => ("SIGXFSZ", "limit of file size"),
        31 => ("SIGSYS", "forbidden system call"),
        _ => return None,
    })
}

/// A panic of a task, as it was seen in the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RemotePanic {
    /// The panic's message; for a payload that is no text, a description of that.
    pub message: String,
    /// `file:line:column` of the panic, if the worker could tell.
    pub location: Option<String>,
    /// The worker's backtrace, without the frames around the task; with them if the variable is `full`. Captured if
    /// `RUST_BACKTRACE` (or `RUST_LIB_BACKTRACE`) asks for it, as everywhere in Rust: resolving its names costs about 0.2 s per worker.
    pub backtrace: Option<String>,
}

impl RemotePanic {
    pub(crate) fn new(
        message: String,
        location: Option<String>,
        backtrace: Option<String>,
    ) -> RemotePanic {
        RemotePanic {
            message,
            location,
            backtrace,
        }
    }
}

impl fmt::Display for RemotePanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.message)?;
        if let Some(location) = &self.location {
            write!(f, " (at {location})")?;
        }
        Ok(())
    }
}

/// A worker that died while it ran a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerDeath {
    /// Number of the worker in its pool, from 0.
    pub worker: usize,
    /// Its process id.
    pub pid: u32,
    /// How it ended.
    pub exit: WorkerExit,
    /// How often the task had been begun.
    pub attempts: u32,
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "worker {} (pid {}) died while it ran the task: {}",
            self.worker, self.pid, self.exit
        )?;
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, ", and so did the {} attempts before", attempts - 1),
        }
    }
}

/// A task that took longer than its job allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MissedDeadline {
    /// Index of the task, as in [`Current::index`](crate::Current::index).
    pub index: u64,
    /// How long it might take.
    pub limit: Duration,
    /// Number of the worker in its pool, from 0.
    pub worker: usize,
    /// Process id of the worker, which was killed.
    pub pid: u32,
    /// How often the task had been begun.
    pub attempts: u32,
}

impl fmt::Display for MissedDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task {} ran for more than its deadline of {:?}, so worker {} (pid {}) was killed",
            self.index, self.limit, self.worker, self.pid
        )?;
        match self.attempts {
            0 | 1 => Ok(()),
            attempts => write!(f, ", attempt {attempts}"),
        }
    }
}

/// What runs in a worker beside its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Hook {
    /// Before its first task ([`PoolBuilder::initializer`](crate::PoolBuilder::initializer)).
    Initializer,
    /// After its last ([`PoolBuilder::exit_hook`](crate::PoolBuilder::exit_hook)).
    ExitHook,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::Initializer => "initializer",
            Hook::ExitHook => "exit hook",
        })
    }
}

/// A hook that took longer than the pool's builder allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Overtime {
    /// Which hook.
    pub hook: Hook,
    /// Number of the worker in its pool, from 0.
    pub worker: usize,
    /// Its process id.
    pub pid: u32,
    /// How long the hook may take.
    pub limit: Duration,
}

impl fmt::Display for Overtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Overtime {
            hook,
            worker,
            pid,
            limit,
        } = self;
        let option = match hook {
            Hook::Initializer => "initializer_timeout",
            Hook::ExitHook => "exit_timeout",
        };
        write!(
            f,
            "the {hook} of worker {worker} (pid {pid}) took longer than {limit:?}, so the worker was killed: make it shorter, or give it more time (option `{option}`)"
        )
    }
}

/// Why one task has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked. Its worker goes on with the next task.
    #[error("the task {0}")]
    Panicked(RemotePanic),
    /// The worker died while it ran the task. Other tasks are not affected. A block that the task was writing may be half
    /// written.
    #[error("{0}")]
    WorkerDied(WorkerDeath),
    /// The task ran for longer than [`Job::deadline`](crate::Job::deadline) allows. Its worker was killed; other tasks are not
    /// affected. A block that the task was writing may be half written.
    #[error("{0}")]
    DeadlineExceeded(MissedDeadline),
    /// The argument did not arrive: its `Deserialize` failed, or an array in it could not be attached.
    #[error("the argument could not be decoded in the worker: {message}")]
    DecodeArgument {
        /// What the decoder said.
        message: String,
    },
    /// The initializer returned this error.
    #[error("the initializer returned an error: {message}")]
    Initializer {
        /// What it returned.
        message: String,
    },
    /// The initializer or the exit hook took too long.
    #[error("{0}")]
    Overtime(Overtime),
    /// The task ran, but its result could not be encoded.
    #[error("the result could not be encoded in the worker: {message}")]
    EncodeResult {
        /// What the encoder said.
        message: String,
    },
    /// The task ran, but its result could not be decoded in the pool's process.
    #[error("the result could not be decoded: {message}")]
    DecodeResult {
        /// What the decoder said.
        message: String,
    },
    /// The task was cancelled before it began, or while it ran by [`TaskHandle::cancel_now`](crate::TaskHandle::cancel_now); or
    /// its pool was stopped before it began.
    #[error("the task was cancelled")]
    Cancelled,
}

/// Why a pool could not be made, or a call could not be carried out.
///
/// Ask with the `is_…` methods what kind of error it is; [`PoolError::task`] has the task's own error if one failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct PoolError {
    kind: Box<PoolErrorKind>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolErrorKind {
    #[error("option `{option}` cannot be {value}: {accepted}")]
    Option {
        option: &'static str,
        value: String,
        accepted: String,
    },
    #[error("the workers could not be started: {what}")]
    Start {
        what: String,
        #[source]
        source: Option<std::io::Error>,
    },
    #[error("the initializer failed in worker {worker}: {}", in_initializer(cause))]
    Initializer {
        worker: usize,
        #[source]
        cause: TaskError,
    },
    #[error("task {index}{} failed: {error}", of_job(job.as_deref()))]
    Task {
        index: u64,
        job: Option<Arc<str>>,
        #[source]
        error: TaskError,
    },
    #[error("the pool is broken and runs no more tasks: {cause}")]
    Broken { cause: String },
    #[error("the pool was closed and begins no more calls: make another one, or close it later")]
    Closed,
    #[error(
        "the task runs on a thread, which cannot be killed: it was told to end, which it learns from `Current::is_cancelled`; make the pool with processes to kill tasks"
    )]
    NotKillable,
    #[error("argument {index} could not be encoded: {message}")]
    EncodeArgument { index: u64, message: String },
    #[error(
        "{task} is not part of the main executable, so no worker can find it: tasks have to be linked into the program itself, not into a shared library that it loads"
    )]
    ForeignTask { task: &'static str },
    #[error("a worker cannot make a pool before it is ready: its initializer has to return first")]
    NotEntered,
    #[error(
        "a process cannot be copied beside other threads: it has {} ({}), and a lock that one of them holds would stay locked in the copy for ever; fork before threads are started, also before another pool is made, or use the start method `forkserver`",
        threads.len(),
        threads.join(", ")
    )]
    Threads { threads: Vec<String> },
    #[error(
        "a pool of start method `inprocess` runs its tasks in the thread that built it: call it there, and not from inside of its tasks"
    )]
    OtherThread,
    #[error(
        "this would be {depth} deep (pools and processes made inside of each other), more than the limit of {limit}: does a task make a pool that runs the same task? `max_depth` of the builder sets the limit"
    )]
    TooDeep { depth: u32, limit: u32 },
    #[error("{what} takes {bytes} bytes, more than there is room for: run the call in parts")]
    TooLarge { what: &'static str, bytes: usize },
    #[error(transparent)]
    Memory(#[from] pool_shm::ShmError),
}

/// The job as it reads behind a task's index.
fn of_job(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" of `{name}`"))
}

/// The cause as it reads for an initializer.
fn in_initializer(cause: &TaskError) -> String {
    match cause {
        TaskError::WorkerDied(WorkerDeath { pid, exit, .. }) => {
            format!("its process (pid {pid}) ended in it: {exit}")
        }
        other => other.to_string(),
    }
}

impl PoolError {
    /// An option of the builder has a value that is not accepted.
    pub fn is_option(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::Option { .. })
    }

    /// Processes could not be started.
    pub fn is_start(&self) -> bool {
        matches!(
            *self.kind,
            PoolErrorKind::Start { .. } | PoolErrorKind::Threads { .. }
        )
    }

    /// Pools or processes are nested deeper than allowed ([`crate::PoolBuilder::max_depth`]).
    pub fn is_too_deep(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::TooDeep { .. })
    }

    /// The initializer failed, panicked, or its worker died in it.
    pub fn is_initializer(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::Initializer { .. })
    }

    /// The pool was closed before the call began ([`crate::Pool::close`]).
    pub fn is_closed(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::Closed)
    }

    /// The pool was stopped, or lost its workers and could not replace them.
    pub fn is_broken(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::Broken { .. })
    }

    /// Shared memory was refused, or an array cannot be cut or lent as it was asked for.
    pub fn is_memory(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::Memory(_))
    }

    /// A task that runs on a thread was to be killed ([`crate::TaskHandle::cancel_now`]).
    pub fn is_not_killable(&self) -> bool {
        matches!(*self.kind, PoolErrorKind::NotKillable)
    }

    /// The name of the job whose task failed, if it has one ([`crate::Job::name`]).
    pub fn job(&self) -> Option<&str> {
        match &*self.kind {
            PoolErrorKind::Task { job, .. } => job.as_deref(),
            _ => None,
        }
    }

    /// The task that failed: its index in the call, or its number among the pool's single tasks, and why. For a failed initializer:
    /// the worker's number, and why.
    pub fn task(&self) -> Option<(u64, &TaskError)> {
        match &*self.kind {
            PoolErrorKind::Task { index, error, .. } => Some((*index, error)),
            PoolErrorKind::Initializer { worker, cause } => Some((*worker as u64, cause)),
            _ => None,
        }
    }
}

impl<K: Into<PoolErrorKind>> From<K> for PoolError {
    fn from(kind: K) -> PoolError {
        PoolError {
            kind: Box::new(kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_travel_between_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<PoolError>();
        check::<TaskError>();
    }

    #[test]
    fn a_death_tells_who_and_how() {
        let death = WorkerDeath {
            worker: 2,
            pid: 4711,
            exit: WorkerExit::Signal(9),
            attempts: 3,
        };
        let text = TaskError::WorkerDied(death).to_string();
        for part in [
            "worker 2",
            "pid 4711",
            "SIGKILL",
            "out-of-memory",
            "2 attempts before",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
}
