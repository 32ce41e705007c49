//! The watcher: one thread per pool that starts workers, notices their deaths, replaces them and, at the end, stops them.
//!
//! It sleeps in `poll` on the pidfd of every process of the pool and on a counter that wakes it. It lives as long as the pool,
//! so the signal that workers get when the thread that started them ends comes when it should.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as StdOrdering};
use std::time::{Duration, Instant};

use super::body::Body;
use super::book::Failure;
use super::core::Core;
use super::crew::{Farewell, Station};
use super::info::WorkerEnd;
use super::pace::Pace;
use super::staff::{self, Move, View};
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::dispatch::order::{Order, Wish};
use crate::error::{Hook, Overtime, TaskError, WorkerDeath, WorkerExit};
use crate::start::StartMethod;
use crate::start::boot::{Setup, Ties};
use crate::start::fork_server::ForkServer;
use crate::sys;

/// A pool that cannot start a worker in so many tries gives up.
pub(super) const TRIES: u32 = 3;
/// One that has had all its workers: somebody who kills workers may hit some before they are ready.
const TRIES_LATER: u32 = 30;
/// How long workers without a task get to leave, beside what their exit hooks may take.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What a pool is made of, for its watcher.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) method: StartMethod,
    pub(crate) setup: Setup,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) ties: Ties,
    pub(crate) pace: Pace,
}

/// The state of the watcher.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(super) core: Arc<Core>,
    pub(super) plan: Plan,
    closing: Arc<AtomicBool>,
    pub(super) server: Option<ForkServer>,
    /// What runs the worker in each place.
    pub(super) bodies: Vec<Option<Body>>,
    pub(super) failed_starts: u32,
    been_ready: bool,
}

impl Watcher {
    pub(crate) fn new(core: Arc<Core>, plan: Plan, closing: Arc<AtomicBool>) -> Watcher {
        Watcher {
            core,
            plan,
            closing,
            server: None,
            bodies: Vec::new(),
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
        self.staff();
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
        let judged = {
            let mut book = self.core.book();
            self.core.judge(&mut book)
        };
        self.kill_condemned();
        let wait = judged.into_iter().chain(self.next_alarm()).min();
        let (server_died, dead) = self.poll(wait)?;
        sys::eventfd_clear(self.core.kick.as_fd());
        self.note_words();
        if server_died {
            self.lose_server(); // every worker was its child
        } else {
            dead.into_iter().for_each(|slot| self.bury(slot));
        }
        self.read();
        self.kill_condemned();
        // Nobody but `shut_down` tells all workers to leave: they would, and so would those that replace them.
        let told_to_leave = self.core.control.orders().leave.load(Ordering::Relaxed) != 0;
        if told_to_leave || self.core.control.header().distress.load(Ordering::Acquire) != 0 {
            self.fail(Failure::Overwritten);
        }
        self.sound_alarms();
        if !self.closing.load(StdOrdering::Acquire) {
            self.staff();
        }
        Ok(())
    }

    /// Reads what the workers have sent, and passes it on.
    fn read(&mut self) {
        {
            let mut book = self.core.book();
            book.drain_all(&self.core.control);
            self.core.reap(&mut book);
            self.core.publish_backlog(&mut book);
            // One that leaves may wait until what it sent has been taken over.
            let leaving = |place: &super::book::Place| place.post.leaving.is_some();
            for (slot, place) in book.places.iter().enumerate() {
                if place.alive && leaving(place) {
                    self.core.control.rouse(slot);
                }
            }
        }
        self.core.wake_followers();
    }

    /// Waits; whether the fork server died, and which workers.
    fn poll(&self, timeout: Option<Duration>) -> io::Result<(bool, Vec<usize>)> {
        let mut fds = vec![self.core.kick.as_fd()];
        fds.extend(self.server.as_ref().map(ForkServer::pidfd));
        let slots: Vec<(usize, BorrowedFd<'_>)> = self
            .bodies
            .iter()
            .enumerate()
            .filter_map(|(slot, body)| Some((slot, body.as_ref()?.pidfd()?)))
            .collect();
        fds.extend(slots.iter().map(|(_, fd)| *fd));
        let readable = sys::poll_readable(&fds, timeout)?;
        let before = fds.len() - slots.len();
        let server_died = self.server.is_some() && readable[1];
        let dead = slots
            .iter()
            .zip(&readable[before..])
            .filter(|(_, readable)| **readable)
            .map(|((slot, _), _)| *slot);
        Ok((server_died, dead.chain(self.ended_threads()).collect()))
    }

    /// Workers that were threads and are done.
    fn ended_threads(&self) -> impl Iterator<Item = usize> {
        let is_thread = |body: &Option<Body>| matches!(body, Some(Body::Thread(_)));
        let threads = self.bodies.iter().enumerate();
        let threads = threads.filter(move |(_, body)| is_thread(body));
        threads
            .map(|(slot, _)| slot)
            .filter(|slot| self.status(*slot) == status::GONE)
    }

    pub(super) fn status(&self, slot: usize) -> u32 {
        self.core.control.slot(slot).status.load(Ordering::Acquire) // SYNC: slot-status
    }

    /// Takes note of workers that have become ready, that leave, or that could not get ready.
    fn note_words(&mut self) {
        let mut failure = None;
        let mut guard = self.core.book();
        let book = &mut *guard;
        for slot in 0..book.places.len() {
            let word = self.status(slot);
            let place = &mut book.places[slot];
            if !place.alive {
                continue;
            }
            let leaves_now = word == status::LEAVING && place.post.leaving.is_none();
            if leaves_now {
                place.post.leaving = Some(Instant::now());
                self.core.offer_dealt_again(book);
            }
            let place = &mut book.places[slot];
            let worker = place.post.worker;
            match word {
                _ if place.ready => {}
                status::READY | status::LEAVING => {
                    place.ready = true;
                    self.failed_starts = 0;
                    self.been_ready = true;
                }
                status::INITIALIZER_FAILED | status::REFUSED if book.failure.is_none() => {
                    book.drain(&self.core.control, slot);
                    let cause = book.initializer_failure.take().unwrap_or_else(unsaid);
                    failure.get_or_insert(match (word, cause) {
                        (status::REFUSED, TaskError::Initializer { message }) => {
                            Failure::Start { what: message }
                        }
                        (_, cause) => Failure::Initializer { worker, cause },
                    });
                }
                _ => {}
            }
        }
        drop(guard);
        if let Some(failure) = failure {
            self.fail(failure);
        }
    }

    /// Sees to it that the workers that there should be are there, and no others.
    fn staff(&mut self) {
        let moves = {
            let mut book = self.core.book();
            if book.failure.is_some() {
                return;
            }
            self.plan.pace.balance(&self.core, &mut book);
            let views: Vec<View> = book
                .places
                .iter()
                .enumerate()
                .filter(|(_, place)| place.post.station != Station::Vacant)
                .map(|(slot, place)| self.view(slot, place))
                .collect();
            staff::plan(book.crew.target, &book.crew.away, &views)
        };
        let mut start = Vec::new();
        for step in moves {
            match step {
                Move::Start(worker) => start.push((worker, Order::Serve)),
                Move::StartStandBy(worker) => start.push((worker, Order::StandBy)),
                Move::Serve(slot) => {
                    self.core.book().places[slot].post.station = Station::Serving;
                    self.core.control.order(slot, Order::Serve);
                }
                Move::Dismiss(slot, end) => {
                    let mut book = self.core.book();
                    let post = &mut book.places[slot].post;
                    tracing::debug!(
                        pool = self.plan.setup.name,
                        worker = post.worker,
                        ?end,
                        "a worker is to leave"
                    );
                    post.station = Station::Dismissed(end);
                    self.core.control.order(slot, Order::Leave);
                }
            }
        }
        if !start.is_empty() {
            self.start(&start);
        }
    }

    fn view(&self, slot: usize, place: &super::book::Place) -> View {
        let wish = self.core.control.slot(slot).duty.wish();
        View {
            slot,
            worker: place.post.worker,
            station: place.post.station,
            ready: place.ready,
            leaving: place.post.leaving.is_some() || self.status(slot) == status::GONE,
            wish: wish.map(|wish| match wish {
                Wish::MaxTasks => WorkerEnd::MaxTasks,
                Wish::MaxMemory => WorkerEnd::MaxMemory,
            }),
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
        let body = self.bodies[slot].take()?;
        let (pid, exit) = (body.pid(), body.reap(self.server.as_ref()));
        let report = &self.core.control.slot(slot).report;
        let initializing = report.item.load(Ordering::Acquire) % 2 == 1;
        let mut book = self.core.book();
        book.drain(&self.core.control, slot);
        let place = &book.places[slot];
        let (ready, late) = (place.ready, place.post.late);
        let (worker, station) = (place.post.worker, place.post.station);
        let left = matches!(self.status(slot), status::LEAVING | status::GONE);
        let end = match (station, late) {
            (_, Some(Hook::Initializer)) => WorkerEnd::LateInitializer,
            (Station::Dismissed(end), _) if left => end,
            _ if left || self.closing.load(StdOrdering::Acquire) => WorkerEnd::Closed,
            _ => WorkerEnd::Died(exit),
        };
        tracing::debug!(pool = self.plan.setup.name, worker, pid, %exit, ?end, "a worker has ended");
        if left && self.plan.setup.terms.exit_hook.is_some() {
            let farewell = self.farewell(&mut book, slot, pid, exit);
            book.crew.farewells.push(farewell);
        }
        book.crew.note_end(worker, end);
        self.core.bury(&mut book, slot, exit);
        drop(book);
        (!ready).then(|| self.failed_start(worker, pid, exit, late, initializing))
    }

    /// What came of the exit hook of a worker that has left.
    fn farewell(
        &self,
        book: &mut super::book::Book,
        slot: usize,
        pid: u32,
        exit: WorkerExit,
    ) -> Farewell {
        let post = &mut book.places[slot].post;
        let gathered = std::mem::take(&mut post.farewell);
        let worker = post.worker;
        let (result, held) = gathered.first().unwrap_or_else(|| {
            let error = match post.late {
                Some(hook) => self.overtime(hook, worker, pid),
                None => TaskError::WorkerDied(WorkerDeath {
                    worker,
                    pid,
                    exit,
                    attempts: 1,
                }),
            };
            (Err(error), Vec::new())
        });
        Farewell {
            worker,
            pid,
            result,
            held,
        }
    }

    fn overtime(&self, hook: Hook, worker: usize, pid: u32) -> TaskError {
        TaskError::Overtime(Overtime {
            hook,
            worker,
            pid,
            limit: self.plan.pace.limit(hook),
        })
    }

    fn failed_start(
        &self,
        worker: usize,
        pid: u32,
        exit: WorkerExit,
        late: Option<Hook>,
        initializing: bool,
    ) -> Failure {
        let cause = match late {
            Some(hook) => Some(self.overtime(hook, worker, pid)),
            None => initializing.then_some(TaskError::WorkerDied(WorkerDeath {
                worker,
                pid,
                exit,
                attempts: self.tries(),
            })),
        };
        if let Some(cause) = cause {
            return Failure::Initializer { worker, cause };
        }
        let hint = "can the program be executed again (/proc mounted, not run through a loader or wrapper)?";
        let what = format!(
            "worker {worker} (pid {pid}) ended with {exit} before it was ready, as did {} before it: {hint}",
            self.tries() - 1
        );
        Failure::Start { what }
    }

    /// The fork server has ended, and its workers with it.
    pub(super) fn lose_server(&mut self) {
        if let Some(server) = self.server.take() {
            let exit = server.end();
            tracing::warn!(pool = self.plan.setup.name, %exit, "the fork server has ended; starting another one");
        }
        let slots: Vec<usize> = (0..self.bodies.len())
            .filter(|slot| self.bodies[*slot].is_some())
            .collect();
        for body in self.bodies.iter().flatten() {
            body.kill();
            body.await_end();
        }
        let failures: Vec<Failure> = slots.iter().filter_map(|slot| self.settle(*slot)).collect();
        // One cause, however many it took along.
        if let Some(failure) = failures.into_iter().next() {
            self.note_failed_start(failure);
        }
    }

    /// Workers whose stream was overwritten cannot be believed any more; others have a task that is late, or was cancelled.
    fn kill_condemned(&self) {
        let book = self.core.book();
        for body in self
            .bodies
            .iter()
            .zip(&book.places)
            .filter_map(|(body, place)| body.as_ref().filter(|_| place.is_condemned()))
        {
            body.kill();
        }
    }

    /// The pool runs nothing any more: ends every worker, then tells whoever waits.
    pub(super) fn fail(&mut self, failure: Failure) {
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
        for body in self.bodies.iter().flatten() {
            body.kill();
        }
        if self.plan.method == StartMethod::Thread {
            self.order_all_to_leave(); // they cannot be killed
        }
        for slot in 0..self.bodies.len() {
            if let Some(body) = &self.bodies[slot] {
                body.await_end();
                self.settle(slot);
            }
        }
        if let Some(server) = self.server.take() {
            server.end();
        }
    }

    fn order_all_to_leave(&self) {
        self.core.control.orders().leave.store(1, Ordering::Release); // SYNC: leave
        self.core.control.ring_all();
    }

    /// Lets workers without a task leave, and kills the others.
    fn shut_down(&mut self) {
        self.order_all_to_leave();
        let end = Instant::now() + GRACE.max(self.plan.pace.limit(Hook::ExitHook));
        let is_process = |body: &&Body| body.pidfd().is_some();
        while self.bodies.iter().flatten().any(|body| is_process(&body)) {
            for (slot, body) in self.bodies.iter().enumerate() {
                let Some(body) = body else { continue };
                let place = self.core.control.slot(slot);
                let begun = place.report.item.load(Ordering::Acquire) % 2 == 1;
                let leaving = self.status(slot) == status::LEAVING; // then what it has begun is its exit hook
                if (begun && !leaving) || Instant::now() >= end {
                    body.kill();
                }
            }
            self.note_words();
            self.sound_alarms();
            let left = end
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            let left = self.next_alarm().map_or(left, |alarm| alarm.min(left));
            let Ok((_, dead)) = self.poll(Some(left)) else {
                break;
            };
            sys::eventfd_clear(self.core.kick.as_fd());
            dead.into_iter().for_each(|slot| self.bury(slot));
            self.read();
        }
        self.fail(Failure::Closed);
    }
}

fn unsaid() -> TaskError {
    TaskError::Initializer {
        message: "the worker did not say why".to_owned(),
    }
}
