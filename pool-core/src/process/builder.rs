//! The options of a single process, and starting it.

use std::any::type_name;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use pool_shm::Segment;
use pool_shm::transfer::{self, Exports};

use super::Process;
use super::child::{self, Main, Order};
use super::outcome::OutcomeFile;
use crate::codec;
use crate::error::{PoolError, PoolErrorKind};
use crate::nest::Nest;
use crate::start::{self, boot, environment};
use crate::sys;
use crate::task::Sendable;

/// Builds a [`Process`]. Made by [`Process::builder`].
///
/// ```
/// use pool_core::Process;
///
/// let process = Process::builder()
///     .name("counter")
///     .env("OMP_NUM_THREADS", "1")
///     .spawn(|name: String| std::env::var(name).unwrap(), "OMP_NUM_THREADS".to_owned())?;
/// assert_eq!(process.join()?, "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder starts a process only when `spawn` or `fork` is called"]
pub struct ProcessBuilder {
    name: String,
    env: Vec<(String, String)>,
    daemon: bool,
    service: Option<Service>,
}

/// What is different for a process that serves others.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Service {
    /// It is not tied to the life of its program.
    pub(super) outlives: bool,
}

/// What the child and its handle share, as the program's process has it.
pub(super) struct Ends {
    pub(super) outcome: OutcomeFile,
    ours: OwnedFd,
    pub(super) theirs: OwnedFd,
    pub(super) lifeline: OwnedFd,
    /// The write end of the life-line.
    life: OwnedFd,
}

impl Ends {
    fn make() -> io::Result<Ends> {
        let (ours, theirs) = sys::socketpair()?;
        let (lifeline, life) = sys::pipe()?;
        Ok(Ends {
            outcome: OutcomeFile::create()?,
            ours,
            theirs,
            lifeline,
            life,
        })
    }
}

impl ProcessBuilder {
    pub(super) fn new() -> ProcessBuilder {
        ProcessBuilder {
            name: "process".to_owned(),
            env: Vec::new(),
            daemon: true,
            service: None,
        }
    }

    /// The name of the process, in errors and for `ps` (15 bytes of it). Default: `process`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets an environment variable in the process.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What happens when the handle is dropped while the process runs. `true`, the default: the process is killed, so nothing is ever
    /// left running. `false`: dropping waits until it has ended. (Python's words, where "dropped" is the program's end.)
    ///
    /// When the program itself ends, or is killed, the process is killed in both cases.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    pub(crate) fn service(mut self, outlives: bool) -> Self {
        self.service = Some(Service { outlives });
        self
    }

    /// See [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`]; a name, or a variable, with a NUL in it or another character that the system cannot take.
    pub fn spawn<F, A, R>(self, task: F, argument: A) -> Result<Process<R>, PoolError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Sendable,
        R: Sendable,
    {
        let _ = task; // its type says everything
        let nest = self.admit()?;
        let descriptor = Main::<F, A, R>::DESCRIPTOR;
        let descriptor = descriptor.identity().ok_or(PoolErrorKind::ForeignTask {
            task: type_name::<F>(),
        })?;
        let mut bytes = Vec::new();
        let (encoded, exports) = transfer::export(|| codec::append(&argument, &mut bytes));
        encoded.map_err(|message| PoolErrorKind::EncodeArgument { index: 0, message })?;
        let (place, segment) = boot::Place::store(bytes).map_err(PoolErrorKind::Memory)?;
        let order = Order::new(descriptor, place, self.name.clone(), nest, self.service);
        let ends = Ends::make().map_err(refused)?;
        let (pid, pidfd) = self.execute(&order, &ends).map_err(refused)?;
        Ok(self.handle(pid, pidfd, ends, (segment, exports)))
    }

    /// Copies this process: `body` runs in the copy and may capture, also by reference, whatever the program holds. Nothing of it is
    /// sent; pages are shared until one side writes to them.
    ///
    /// The copy holds the program's descriptors too; standard input alone is replaced. Values that the program owns are not dropped
    /// in it. The program's other [`Process`] handles mean nothing there.
    ///
    /// # Errors
    ///
    /// If this process has other threads: a lock that one of them holds would stay locked in the copy for ever. The error tells their
    /// number and names; a pool has a thread of its own, so fork before making one. Otherwise as [`Process::spawn`].
    ///
    /// ```no_run
    /// use pool_core::Process;
    ///
    /// let table: Vec<u64> = (0..1_000_000).collect();
    /// let process = Process::builder().fork(|| table.iter().sum::<u64>())?;
    /// assert_eq!(process.join()?, 499_999_500_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fork<R: Sendable>(self, body: impl FnOnce() -> R) -> Result<Process<R>, PoolError> {
        let nest = self.admit()?;
        let ends = Ends::make().map_err(refused)?;
        start::before_fork()?;
        let pid = sys::fork_alone(|| {
            sys::close_copies(&[ends.ours.as_fd(), ends.life.as_fd()]);
            let what = (self.name.as_str(), nest, self.service);
            child::continue_as(what, &self.env, &ends, body)
        })
        .map_err(refused)?;
        let pidfd = sys::pidfd_open(pid).map_err(refused)?;
        Ok(self.handle(pid, pidfd, ends, (None, Exports::default())))
    }

    fn admit(&self) -> Result<Nest, PoolError> {
        if !start::is_entered() {
            return Err(PoolErrorKind::NotEntered.into());
        }
        environment::check(&self.name, &self.env)?;
        Nest::here().below(None, 1)
    }

    /// Executes the program again and hands the order over.
    fn execute(&self, order: &Order, ends: &Ends) -> io::Result<(u32, OwnedFd)> {
        let bytes = postcard::to_stdvec(order).map_err(io::Error::other)?;
        let fds = [ends.outcome.fd(), ends.lifeline.as_fd()];
        sys::send_with_fds(ends.ours.as_fd(), &bytes, &fds)?;
        let theirs = ends.theirs.try_clone()?;
        let mut child = boot::program(theirs, &self.env)
            .env(boot::PROCESS_VARIABLE, std::process::id().to_string())
            .spawn()?;
        match sys::pidfd_open(child.id()) {
            Ok(pidfd) => Ok((child.id(), pidfd)),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn handle<R>(
        self,
        pid: u32,
        pidfd: OwnedFd,
        ends: Ends,
        argument: (Option<Segment>, Exports),
    ) -> Process<R> {
        Process {
            name: self.name,
            pid,
            pidfd,
            exit: Mutex::new(None),
            outcome: ends.outcome,
            socket: Some(ends.ours),
            said: None,
            daemon: self.daemon,
            _life: ends.life,
            _argument: argument,
            value: PhantomData,
        }
    }
}

fn refused(source: io::Error) -> PoolErrorKind {
    PoolErrorKind::Start {
        what: format!(
            "the system refuses a process or what it needs ({source}){}",
            sys::limit_hint(&source)
        ),
        source: Some(source),
    }
}
