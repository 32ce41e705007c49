//! A single child process that runs one function and returns its value.

mod builder;
pub(crate) mod child;
pub(crate) mod outcome;

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pool_shm::Segment;
use pool_shm::transfer::Exports;

pub use self::builder::ProcessBuilder;
pub(crate) use self::child::enter;
use self::outcome::{Outcome, OutcomeFile};
use crate::codec;
use crate::error::{PoolError, TaskError, WorkerExit};
use crate::sys::{self, Ask};
use crate::task::Sendable;

/// A child process that runs one function and returns its value, of type `R`.
///
/// For work that is not cut into tasks: something that runs beside the program for long, that must be stopped from outside, or that
/// may crash. For many tasks use a [`Pool`](crate::Pool).
///
/// # Guarantees
///
/// * [`Process::join`] gives the value, the panic, or how the process ended, and never waits for one that is gone.
/// * A process ends with its program, however that ends, also when it is busy or stopped. It ends with its handle too, unless
///   [`ProcessBuilder::daemon`] says otherwise.
/// * It runs in a process of its own: none of the program's memory, descriptors, threads or locks is in it (but see
///   [`ProcessBuilder::fork`]). Its standard input is empty; output and errors go where the program's go.
/// * SIGINT ends it as any program: an interrupt at the terminal reaches it, since it belongs to the terminal's group.
///
/// ```
/// use pool_core::Process;
///
/// let process = Process::spawn(|n: u64| (1..=n).product::<u64>(), 10)?;
/// assert_ne!(process.pid(), std::process::id());
/// assert_eq!(process.join()?, 3_628_800);
///
/// let error = Process::spawn(|code: i32| -> () { std::process::exit(code) }, 3)?.join().unwrap_err();
/// assert_eq!(error.exit(), pool_core::WorkerExit::Code(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a process is killed when its handle is dropped"]
pub struct Process<R> {
    name: String,
    pid: u32,
    pidfd: OwnedFd,
    /// How it ended, once that was asked for: a process can be reaped once.
    exit: Mutex<Option<WorkerExit>>,
    outcome: OutcomeFile,
    /// By this the child says that its value waits to be taken over; none once that is done.
    socket: Option<OwnedFd>,
    /// What the child said.
    said: Option<Box<Outcome>>,
    daemon: bool,
    /// The write end of its life-line.
    _life: OwnedFd,
    /// What its argument refers to.
    _argument: (Option<Segment>, Exports),
    value: PhantomData<fn() -> R>,
}

/// Why a process has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It panicked, could not decode its argument, or could not encode its value.
    #[error("process `{name}` (pid {pid}): {error}")]
    Failed {
        /// The name of the process.
        name: String,
        /// Its process id.
        pid: u32,
        /// How it ended; after a panic with status 101, as every Rust program.
        exit: WorkerExit,
        /// What happened.
        error: TaskError,
    },
    /// It ended before it returned.
    #[error("process `{name}` (pid {pid}) ended without a value: {exit}")]
    Ended {
        /// The name of the process.
        name: String,
        /// Its process id.
        pid: u32,
        /// How it ended.
        exit: WorkerExit,
    },
}

impl ProcessError {
    /// How the process ended.
    pub fn exit(&self) -> WorkerExit {
        match self {
            ProcessError::Failed { exit, .. } | ProcessError::Ended { exit, .. } => *exit,
        }
    }

    /// What the process said of its end: a panic, say.
    pub fn task(&self) -> Option<&TaskError> {
        match self {
            ProcessError::Failed { error, .. } => Some(error),
            ProcessError::Ended { .. } => None,
        }
    }
}

impl Process<()> {
    /// A process with options.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }
}

impl<R: Sendable> Process<R> {
    /// Starts a process that runs `task` with `argument`: the program is executed again, but its `main` is not run. About 1 ms.
    ///
    /// `task` is a `fn` item or a closure that captures nothing, as for a pool.
    ///
    /// # Errors
    ///
    /// An argument that cannot be encoded, and a process that the system refuses.
    pub fn spawn<F, A>(task: F, argument: A) -> Result<Process<R>, PoolError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Sendable,
    {
        Process::builder().spawn(task, argument)
    }

    /// Waits until the process has ended, and returns its value.
    ///
    /// A value that holds shared arrays, queues or locks keeps its process until it is joined: they lie in that process's care.
    ///
    /// # Errors
    ///
    /// Why there is no value: a panic with its message and where it was, or the exit status or signal.
    pub fn join(mut self) -> Result<R, ProcessError> {
        let exit = loop {
            if let Some(exit) = self.await_end(None) {
                break exit;
            }
        };
        self.value(exit)
    }

    /// The same, waiting at most `timeout`.
    ///
    /// # Errors
    ///
    /// The handle itself if the process has not ended by then; the inner result is that of [`Process::join`].
    ///
    /// ```
    /// use pool_core::Process;
    /// use std::time::Duration;
    ///
    /// let process = Process::spawn(|()| std::thread::park(), ())?; // parks for ever
    /// let process = process.join_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(process.is_alive());
    /// process.terminate();
    /// assert_eq!(process.join().unwrap_err().exit(), pool_core::WorkerExit::Signal(15));
    /// # Ok::<(), pool_core::PoolError>(())
    /// ```
    #[expect(
        clippy::result_large_err,
        reason = "the handle itself comes back, to be waited for again"
    )]
    pub fn join_timeout(mut self, timeout: Duration) -> Result<Result<R, ProcessError>, Self> {
        match self.await_end(Instant::now().checked_add(timeout)) {
            Some(exit) => Ok(self.value(exit)),
            None => Err(self),
        }
    }

    fn value(&mut self, exit: WorkerExit) -> Result<R, ProcessError> {
        let (name, pid) = (self.name.clone(), self.pid);
        let said = self.said.take().map(|said| *said);
        let said = said.or_else(|| self.outcome.read());
        let error = match said {
            None => return Err(ProcessError::Ended { name, pid, exit }),
            Some(Outcome::Failed(error)) => error,
            Some(Outcome::Value(bytes, _held)) => match codec::read(&bytes) {
                Ok(value) => return Ok(value),
                Err(message) => TaskError::DecodeResult { message },
            },
        };
        Err(ProcessError::Failed {
            name,
            pid,
            exit,
            error,
        })
    }
}

impl<R> Process<R> {
    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        let ended = sys::poll_readable(&[self.pidfd.as_fd()], Some(Duration::ZERO));
        !ended.is_ok_and(|ended| ended[0])
    }

    /// How it ended; none while it runs. A process that returned its value ended with status 0, one that panicked with 101.
    pub fn exit(&self) -> Option<WorkerExit> {
        (!self.is_alive()).then(|| self.reap())
    }

    /// Its process id. No other process gets this number before the handle is gone.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name: that of the builder, or `process`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it to end: SIGTERM. One that has ended already is no error.
    pub fn terminate(&self) {
        sys::ask(self.pidfd.as_fd(), Ask::Terminate);
    }

    /// Interrupts it: SIGINT, which ends it unless it handles the signal.
    pub fn interrupt(&self) {
        sys::ask(self.pidfd.as_fd(), Ask::Interrupt);
    }

    /// Ends it at once: SIGKILL. It cannot refuse, and none of its destructors are run.
    pub fn kill(&self) {
        sys::kill(self.pidfd.as_fd());
    }

    /// Waits until it has ended, at most until `end`, and takes its value over when it offers that.
    fn await_end(&mut self, end: Option<Instant>) -> Option<WorkerExit> {
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let mut waited = vec![self.pidfd.as_fd()];
            waited.extend(self.socket.as_ref().map(AsFd::as_fd));
            let readable = sys::poll_readable(&waited, left).unwrap_or_default();
            if readable.first() == Some(&true) {
                return Some(self.reap());
            }
            if readable.get(1) == Some(&true) {
                self.take_over();
            } else if left == Some(Duration::ZERO) {
                return None;
            }
        }
    }

    /// Opens the segments that the value names, and lets the child go.
    fn take_over(&mut self) {
        if let Some(socket) = self.socket.take()
            && let Ok(Some(_)) = sys::read_byte(socket.as_fd())
        {
            self.said = self.outcome.read().map(Box::new);
        } // closing the socket says that it is done
    }

    fn reap(&self) -> WorkerExit {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        *exit.get_or_insert_with(|| sys::reap_child(self.pidfd.as_fd()))
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("pid", &self.pid)
            .field("exit", &self.exit())
            .finish_non_exhaustive()
    }
}

impl<R> AsFd for Process<R> {
    /// A descriptor that becomes readable when the process has ended, for `poll` and the like.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl<R> Drop for Process<R> {
    /// A process that still runs is killed, or waited for if it is no daemon ([`ProcessBuilder::daemon`]).
    fn drop(&mut self) {
        if self.daemon {
            self.kill();
        }
        // Nobody wants the value any more: closing the socket lets a child go that offers it.
        self.socket = None;
        while self.is_alive() && self.await_end(None).is_none() {}
        self.reap();
    }
}
