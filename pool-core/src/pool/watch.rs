//! The watcher: one thread per pool that starts workers, notices their deaths, replaces them and, at the end, stops them.
//!
//! It sleeps in `poll` on the pidfd of every process of the pool and on a counter that wakes it. It lives as long as the pool,
//! so the signal that workers get when the thread that started them ends comes when it should.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as StdOrdering};
use std::time::{Duration, Instant};

use super::book::Failure;
use super::core::Core;
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::error::{TaskError, WorkerDeath, WorkerExit};
use crate::nest::Nest;
use crate::start::StartMethod;
use crate::start::boot::{self, Role, Setup, Ties};
use crate::start::fork_server::ForkServer;
use crate::sys;
use crate::worker::{First, Worker};

/// A pool that cannot start a worker in so many tries gives up.
const TRIES: u32 = 3;
/// One that has had all its workers: somebody who kills workers may hit some before they are ready.
const TRIES_LATER: u32 = 30;
/// How long workers without a task get to leave.
const GRACE: Duration = Duration::from_secs(2);

/// A worker process.
#[derive(Debug)]
struct Process {
    pid: u32,
    pidfd: OwnedFd,
    /// Started by this process itself, so that it can reap it.
    child: Option<std::process::Child>,
}

/// The state of the watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) core: Arc<Core>,
    pub(crate) method: StartMethod,
    pub(crate) workers: usize,
    pub(crate) setup: Setup,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) ties: Ties,
    pub(crate) closing: Arc<AtomicBool>,
    server: Option<ForkServer>,
    processes: Vec<Option<Process>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    failed_starts: u32,
    been_ready: bool,
}

impl Watcher {
    pub(crate) fn new(
        core: Arc<Core>,
        method: StartMethod,
        workers: usize,
        setup: Setup,
        env: Vec<(String, String)>,
        ties: Ties,
        closing: Arc<AtomicBool>,
    ) -> Watcher {
        let processes = (0..workers).map(|_| None).collect();
        Watcher {
            core,
            method,
            workers,
            setup,
            env,
            ties,
            closing,
            server: None,
            processes,
            threads: Vec::new(),
            failed_starts: 0,
            been_ready: false,
        }
    }

    /// The same with a fork server that is there already.
    pub(crate) fn with_server(self, server: Option<ForkServer>) -> Watcher {
        Watcher { server, ..self }
    }

    /// Watches until the pool closes.
    pub(crate) fn run(mut self) {
        match self.method {
            StartMethod::Thread => self.start_threads(),
            StartMethod::InProcess => {} // its worker is there already
            StartMethod::ForkServer | StartMethod::Spawn | StartMethod::Fork => {
                self.start((0..self.workers).collect());
            }
        }
        while !self.closing.load(StdOrdering::Acquire) {
            if let Err(error) = self.watch() {
                self.fail(Failure::Start {
                    what: format!("the processes of the pool cannot be watched: {error}"),
                });
            }
        }
        self.shut_down();
    }

    /// Sleeps until something happens, and deals with it.
    fn watch(&mut self) -> io::Result<()> {
        let wait = {
            let mut book = self.core.book();
            self.core.judge(&mut book)
        };
        self.kill_condemned();
        let (server_died, dead) = self.poll(wait)?;
        sys::eventfd_clear(self.core.kick.as_fd());
        self.note_ready();
        let lost: Vec<usize> = if server_died {
            self.lose_server() // every worker was its child
        } else {
            dead.into_iter().inspect(|slot| self.bury(*slot)).collect()
        };
        {
            let mut book = self.core.book();
            book.drain_all(&self.core.control);
            self.core.reap(&mut book);
            self.core.publish_backlog(&mut book);
        }
        self.core.wake_followers();
        self.kill_condemned();
        if self.core.control.header().distress.load(Ordering::Acquire) != 0 {
            self.fail(Failure::Overwritten);
        }
        let failed = self.core.book().failure.is_some();
        if !lost.is_empty() && !failed && !self.closing.load(StdOrdering::Acquire) {
            self.start(lost);
        }
        Ok(())
    }

    /// Waits; whether the fork server died, and which workers.
    fn poll(&self, timeout: Option<Duration>) -> io::Result<(bool, Vec<usize>)> {
        let mut fds = vec![self.core.kick.as_fd()];
        fds.extend(self.server.as_ref().map(ForkServer::pidfd));
        let slots: Vec<(usize, BorrowedFd<'_>)> = self
            .processes
            .iter()
            .enumerate()
            .filter_map(|(slot, process)| Some((slot, process.as_ref()?.pidfd.as_fd())))
            .collect();
        fds.extend(slots.iter().map(|(_, fd)| *fd));
        let readable = sys::poll_readable(&fds, timeout)?;
        let before = fds.len() - slots.len();
        let server_died = self.server.is_some() && readable[1];
        let dead = slots
            .iter()
            .zip(&readable[before..])
            .filter(|(_, readable)| **readable)
            .map(|((slot, _), _)| *slot)
            .collect();
        Ok((server_died, dead))
    }

    /// Takes note of workers that have become ready, or whose initializer failed.
    fn note_ready(&mut self) {
        for slot in 0..self.workers {
            let word = self.core.control.slot(slot).status.load(Ordering::Acquire); // SYNC: slot-status
            let mut book = self.core.book();
            let Some(place) = book
                .places
                .get_mut(slot)
                .filter(|place| place.alive && !place.ready)
            else {
                continue;
            };
            if word == status::READY {
                place.ready = true;
                self.failed_starts = 0;
                self.been_ready = true;
            } else if word == status::INITIALIZER_FAILED && book.failure.is_none() {
                book.drain(&self.core.control, slot);
                let unsaid = || TaskError::Initializer {
                    message: "the worker did not say why".to_owned(),
                };
                let cause = book.initializer_failure.take().unwrap_or_else(unsaid);
                drop(book);
                self.fail(Failure::Initializer {
                    worker: slot,
                    cause,
                });
            }
        }
    }

    /// Starts a worker in each of these slots.
    fn start(&mut self, slots: Vec<usize>) {
        let mut workers = self.next_lives(slots);
        let started = match self.method {
            StartMethod::Spawn => Ok(workers.iter().map(|worker| self.spawn(*worker)).collect()),
            _ => self
                .fork(&workers)
                .or_else(|error| self.fork_anew(&mut workers, error)),
        };
        let results: Vec<io::Result<Process>> = match started {
            Ok(results) => results,
            Err(error) => {
                return self.fail(Failure::Start {
                    what: format!("{error}{}", sys::limit_hint(&error)),
                });
            }
        };
        let mut failure = None;
        for ((slot, _), result) in workers.into_iter().zip(results) {
            match result {
                Ok(process) => {
                    let mut book = self.core.book();
                    (book.places[slot].pid, book.places[slot].alive) = (process.pid, true);
                    drop(book);
                    self.processes[slot] = Some(process);
                }
                Err(error) => {
                    failure.get_or_insert(Failure::Start {
                        what: format!("worker {slot}: {error}{}", sys::limit_hint(&error)),
                    });
                }
            }
        }
        // Only now: every process that was started is known, so none is forgotten.
        if let Some(failure) = failure {
            return self.fail(failure);
        }
        self.core.control.signal_event(); // whoever builds the pool waits until its processes are known
        self.core.kick(); // one may have become ready, or died, before its process was known
    }

    fn next_lives(&mut self, slots: Vec<usize>) -> Vec<(usize, u32)> {
        slots
            .into_iter()
            .map(|slot| (slot, self.next_life(slot)))
            .collect()
    }

    fn next_life(&mut self, slot: usize) -> u32 {
        let mut book = self.core.book();
        if book.places.len() <= slot {
            book.places.resize_with(slot + 1, Default::default);
        }
        book.places[slot].generation += 1;
        book.places[slot].generation
    }

    fn spawn(&self, (slot, generation): (usize, u32)) -> io::Result<Process> {
        let role = Role::Worker { slot, generation };
        let (mut child, _) =
            boot::launch(role, &self.setup, &self.env, &self.core.control, &self.ties)?;
        match sys::pidfd_open(child.id()) {
            Ok(pidfd) => Ok(Process {
                pid: child.id(),
                pidfd,
                child: Some(child),
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn fork(&mut self, workers: &[(usize, u32)]) -> io::Result<Vec<io::Result<Process>>> {
        let server = match &self.server {
            Some(server) => server,
            None if self.method == StartMethod::Fork => {
                return Err(io::Error::other(
                    "the copy of the program from which workers were forked has ended, and no other can be made beside the threads that run now",
                ));
            }
            None => self.server.insert(ForkServer::start(
                &self.setup,
                &self.env,
                &self.core.control,
                &self.ties,
            )?),
        };
        let pids = server.fork(workers.to_vec())?;
        Ok(pids
            .into_iter()
            .map(|pid| {
                pid.and_then(|pid| {
                    Ok(Process {
                        pid,
                        pidfd: sys::pidfd_open(pid)?,
                        child: None,
                    })
                })
            })
            .collect())
    }

    /// The same with another fork server: this one has just ended, or does not answer.
    fn fork_anew(
        &mut self,
        workers: &mut Vec<(usize, u32)>,
        error: io::Error,
    ) -> io::Result<Vec<io::Result<Process>>> {
        if self.server.is_none() || self.failed_starts + 1 >= TRIES {
            return Err(error);
        }
        self.failed_starts += 1;
        let lost = self.lose_server();
        for (slot, _) in workers.iter() {
            self.bury_untold(*slot);
        }
        workers.extend(self.next_lives(lost));
        self.fork(workers)
    }

    /// The server may have forked a worker for this slot before it ended without an answer. That worker ends with it, but may have
    /// claimed something by then.
    fn bury_untold(&self, slot: usize) {
        let pid = self.core.control.slot(slot).pid.swap(0, Ordering::AcqRel);
        if pid == 0 {
            return;
        }
        // Its end is on the way; bounded, because by now the number may be somebody else's.
        if let Ok(pidfd) = sys::pidfd_open(pid) {
            let _ = sys::poll_readable(&[pidfd.as_fd()], Some(GRACE));
        }
        self.core
            .bury(&mut self.core.book(), slot, WorkerExit::Unknown);
    }

    fn start_threads(&mut self) {
        for slot in 0..self.workers {
            let generation = self.next_life(slot);
            self.core.book().places[slot].alive = true;
            let (control, setup, kick) = (
                self.core.control.clone(),
                self.setup.clone(),
                self.core.kick.try_clone(),
            );
            let thread = std::thread::Builder::new()
                .name(format!("{}-{slot}", self.setup.name))
                .spawn(move || {
                    Nest::exchange(Some(setup.nest));
                    let argument = setup
                        .initializer
                        .as_ref()
                        .map(|(descriptor, place)| (*descriptor, place.read()));
                    let mut worker = Worker::new(control, slot, generation, kick.ok());
                    if worker.initialize(First::of(&argument), setup.seed) {
                        worker.serve();
                    }
                });
            match thread {
                Ok(thread) => self.threads.push(thread),
                Err(error) => {
                    return self.fail(Failure::Start {
                        what: format!("thread {slot}: {error}"),
                    });
                }
            }
        }
    }

    /// A worker has ended: settles its account, and gives up if too many have ended before they were ready.
    fn bury(&mut self, slot: usize) {
        if let Some(failure) = self.settle(slot) {
            self.note_failed_start(failure);
        }
    }

    fn note_failed_start(&mut self, failure: Failure) {
        self.failed_starts += 1;
        if self.failed_starts >= self.tries() {
            self.fail(failure);
        }
    }

    fn tries(&self) -> u32 {
        if self.been_ready { TRIES_LATER } else { TRIES }
    }

    /// Takes the exit of a worker that has ended and settles its account; the failure that it is if it never was ready.
    fn settle(&mut self, slot: usize) -> Option<Failure> {
        let process = self.processes[slot].take()?;
        let exit = match (&process.child, &self.server) {
            (Some(_), _) => sys::reap_child(process.pidfd.as_fd()),
            (None, Some(server)) => server.reap(process.pid),
            (None, None) => WorkerExit::Unknown,
        };
        tracing::debug!(slot, pid = process.pid, %exit, "a worker has ended");
        let report = &self.core.control.slot(slot).report;
        let initializing = report.item.load(Ordering::Acquire) % 2 == 1;
        let mut book = self.core.book();
        let ready = book.places[slot].ready;
        self.core.bury(&mut book, slot, exit);
        drop(book);
        (!ready).then(|| self.failed_start(slot, process.pid, exit, initializing))
    }

    fn failed_start(&self, slot: usize, pid: u32, exit: WorkerExit, initializing: bool) -> Failure {
        if initializing {
            let cause = TaskError::WorkerDied(WorkerDeath {
                worker: slot,
                pid,
                exit,
                attempts: self.tries(),
            });
            return Failure::Initializer {
                worker: slot,
                cause,
            };
        }
        let hint = "can the program be executed again (/proc mounted, not run through a loader or wrapper)?";
        let what = format!(
            "worker {slot} (pid {pid}) ended with {exit} before it was ready, as did {} before it: {hint}",
            self.tries() - 1
        );
        Failure::Start { what }
    }

    /// The fork server has ended, and its workers with it; the slots that were theirs.
    fn lose_server(&mut self) -> Vec<usize> {
        if let Some(server) = self.server.take() {
            let exit = server.end();
            tracing::warn!(%exit, "the fork server has ended; starting another one");
        }
        let slots: Vec<usize> = (0..self.workers)
            .filter(|slot| self.processes[*slot].is_some())
            .collect();
        for slot in &slots {
            if let Some(process) = &self.processes[*slot] {
                sys::kill(process.pidfd.as_fd());
                self.await_end(process);
            }
        }
        let failures: Vec<Failure> = slots.iter().filter_map(|slot| self.settle(*slot)).collect();
        // One cause, however many it took along.
        if let Some(failure) = failures.into_iter().next() {
            self.note_failed_start(failure);
        }
        slots
    }

    /// Workers whose stream was overwritten cannot be believed any more; others have a task that is late, or was cancelled.
    fn kill_condemned(&self) {
        let book = self.core.book();
        for process in self
            .processes
            .iter()
            .zip(&book.places)
            .filter_map(|(process, place)| process.as_ref().filter(|_| place.is_condemned()))
        {
            sys::kill(process.pidfd.as_fd());
        }
    }

    /// The pool runs nothing any more: ends every worker, then tells whoever waits.
    fn fail(&mut self, failure: Failure) {
        self.core.book().failure.get_or_insert(failure);
        self.end_all();
        {
            let mut book = self.core.book();
            book.buried = true;
            self.core.abandon(&mut book);
        }
        self.core.control.ring_all();
        self.core.wake_followers();
    }

    /// Kills what is left and waits until it is gone.
    fn end_all(&mut self) {
        for process in self.processes.iter().flatten() {
            sys::kill(process.pidfd.as_fd());
        }
        for slot in 0..self.processes.len() {
            if let Some(process) = self.processes[slot].take() {
                self.await_end(&process);
                let exit = match (&process.child, &self.server) {
                    (Some(_), _) => sys::reap_child(process.pidfd.as_fd()),
                    (None, Some(server)) => server.reap(process.pid),
                    (None, None) => WorkerExit::Unknown,
                };
                self.core.bury(&mut self.core.book(), slot, exit);
            }
        }
        if let Some(server) = self.server.take() {
            server.end();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    fn await_end(&self, process: &Process) {
        // Killed: the only thing to wait for is the kernel.
        while !sys::poll_readable(&[process.pidfd.as_fd()], None).is_ok_and(|ended| ended[0]) {}
    }

    /// Lets workers without a task leave, and kills the others.
    fn shut_down(&mut self) {
        self.core.control.orders().leave.store(1, Ordering::Release); // SYNC: leave
        self.core.control.ring_all();
        let end = Instant::now() + GRACE;
        while self.processes.iter().flatten().next().is_some() {
            for (slot, process) in self.processes.iter().enumerate() {
                let begun = self
                    .core
                    .control
                    .slot(slot)
                    .report
                    .item
                    .load(Ordering::Acquire)
                    % 2
                    == 1;
                if let Some(process) = process.as_ref().filter(|_| begun || Instant::now() >= end) {
                    sys::kill(process.pidfd.as_fd());
                }
            }
            let left = end
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            let Ok((_, dead)) = self.poll(Some(left)) else {
                break;
            };
            sys::eventfd_clear(self.core.kick.as_fd());
            dead.into_iter().for_each(|slot| self.bury(slot));
        }
        self.fail(Failure::Closed);
    }
}
