//! Starting workers.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::body::{Body, Process};
use super::book::{Failure, Place};
use super::crew::Station;
use super::watch::{GRACE, TRIES, Watcher};
use crate::atomic::Ordering;
use crate::dispatch::control::status;
use crate::dispatch::order::Order;
use crate::error::WorkerExit;
use crate::nest::Nest;
use crate::start::StartMethod;
use crate::start::boot::{self, Life, Role};
use crate::start::fork_server::{ForkServer, Forked};
use crate::sys;
use crate::worker::Worker;

impl Watcher {
    /// Starts workers of these numbers, each with the order that it begins with; as many as there are places for.
    pub(super) fn start(&mut self, workers: &[(usize, Order)]) {
        let mut lives = match self.next_lives(workers) {
            Ok(lives) => lives,
            Err(failure) => return self.fail(failure),
        };
        let started = match self.plan.method {
            StartMethod::Spawn => Ok(lives.iter().map(|life| self.spawn(*life)).collect()),
            StartMethod::Thread => Ok(lives.iter().map(|life| self.start_thread(*life)).collect()),
            StartMethod::InProcess => Ok(Vec::new()), // its worker is there as long as the pool
            StartMethod::ForkServer | StartMethod::Fork => self
                .fork(&lives)
                .or_else(|error| self.fork_anew(&mut lives, error)),
        };
        let results: Vec<io::Result<Body>> = match started {
            Ok(results) => results,
            Err(error) => {
                return self.fail(Failure::Start {
                    what: format!("{error}{}", sys::limit_hint(&error)),
                });
            }
        };
        let mut failure = None;
        for (life, result) in lives.into_iter().zip(results) {
            match result {
                Ok(body) => self.take_in(life, body),
                Err(error) => {
                    failure.get_or_insert(Failure::Start {
                        what: format!("worker {}: {error}{}", life.worker, sys::limit_hint(&error)),
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

    fn take_in(&mut self, life: Life, body: Body) {
        let mut book = self.core.book();
        let place = &mut book.places[life.slot];
        (place.pid, place.alive) = (body.pid(), true);
        book.crew.counts.started += 1;
        drop(book);
        tracing::debug!(
            pool = self.plan.setup.name,
            worker = life.worker,
            pid = body.pid(),
            "a worker was started"
        );
        if self.bodies.len() <= life.slot {
            self.bodies.resize_with(life.slot + 1, || None);
        }
        self.bodies[life.slot] = Some(body);
    }

    /// Places for new workers. If there are not enough, some have to wait until another worker has left.
    fn next_lives(&mut self, workers: &[(usize, Order)]) -> Result<Vec<Life>, Failure> {
        let mut lives = Vec::with_capacity(workers.len());
        let mut book = self.core.book();
        let mut slot = 0;
        for (worker, order) in workers {
            let is_taken = |place: &Place| place.alive || place.post.station != Station::Vacant;
            while book.places.get(slot).is_some_and(is_taken) {
                slot += 1;
            }
            if slot >= self.core.control.capacity() {
                break;
            }
            if book.places.len() <= slot {
                self.core.clear_lines(&book, slot);
                let ready = self.core.control.use_slots(slot + 1);
                ready.map_err(|error| Failure::Start {
                    what: format!("there is no memory for worker {worker}: {error}"),
                })?;
                book.places.resize_with(slot + 1, Place::default);
            }
            lives.push(self.next_life(&mut book.places[slot], slot, *worker, *order));
        }
        Ok(lives)
    }

    fn next_life(&self, place: &mut Place, slot: usize, worker: usize, order: Order) -> Life {
        place.generation += 1;
        place.pid = 0; // not known yet
        place.post.worker = worker;
        place.post.started = Some(Instant::now());
        place.post.station = match order {
            Order::StandBy => Station::StandingBy,
            Order::Serve | Order::Leave => Station::Serving,
        };
        self.core.control.slot(slot).duty.begin(order);
        Life {
            slot,
            generation: place.generation,
            worker,
        }
    }

    fn spawn(&self, life: Life) -> io::Result<Body> {
        let (setup, env) = (&self.plan.setup, &self.plan.env);
        let (control, ties) = (&self.core.control, &self.plan.ties);
        let (mut child, _) = boot::launch(Role::Worker(life), setup, env, control, ties)?;
        match sys::pidfd_open(child.id()) {
            Ok(pidfd) => Ok(Body::Process(Process {
                pid: child.id(),
                pidfd,
                child: Some(child),
            })),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn fork(&mut self, lives: &[Life]) -> io::Result<Vec<io::Result<Body>>> {
        let pids = match &self.server {
            Some(server) => server.fork(lives.to_vec())?,
            None if self.plan.method == StartMethod::Fork => {
                return Err(io::Error::other(
                    "the copy of the program from which workers were forked has ended, and no other can be made beside the threads that run now",
                ));
            }
            None => self.fork_first(lives)?,
        };
        let body = |pid: u32| {
            Ok(Body::Process(Process {
                pid,
                pidfd: sys::pidfd_open(pid)?,
                child: None,
            }))
        };
        Ok(pids.into_iter().map(|pid| pid.and_then(body)).collect())
    }

    /// Starts a fork server, which begins with these workers.
    fn fork_first(&mut self, lives: &[Life]) -> io::Result<Forked> {
        let (setup, env) = (&self.plan.setup, &self.plan.env);
        let (control, ties) = (&self.core.control, &self.plan.ties);
        match ForkServer::start(setup, env, control, ties, lives) {
            Ok((server, pids)) => {
                self.server = Some(server);
                Ok(pids)
            }
            Err(error) => {
                lives.iter().for_each(|life| self.bury_untold(life.slot));
                Err(error)
            }
        }
    }

    /// The same with another fork server: this one has just ended, or does not answer.
    fn fork_anew(
        &mut self,
        lives: &mut [Life],
        error: io::Error,
    ) -> io::Result<Vec<io::Result<Body>>> {
        if self.server.is_none() || self.failed_starts + 1 >= TRIES {
            return Err(error);
        }
        self.failed_starts += 1;
        self.lose_server(); // those that were lost are started when this is done
        for life in lives.iter_mut() {
            let slot = life.slot;
            let order = self.core.control.slot(slot).duty.order();
            self.bury_untold(slot);
            let mut book = self.core.book();
            *life = self.next_life(&mut book.places[slot], slot, life.worker, order);
        }
        self.fork(lives)
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
        let mut book = self.core.book();
        book.places[slot].pid = pid;
        self.core.bury(&mut book, slot, WorkerExit::Unknown);
    }

    fn start_thread(&self, life: Life) -> io::Result<Body> {
        let (control, setup) = (self.core.control.clone(), self.plan.setup.clone());
        let kick = self.core.kick.try_clone()?;
        let thread = std::thread::Builder::new()
            .name(format!("{}-{}", setup.name, life.worker))
            .spawn(move || {
                Nest::exchange(Some(setup.nest));
                let live = || {
                    let kick = kick.try_clone().ok();
                    Worker::new(control.clone(), life, &setup.terms, kick).live(&setup, None)
                };
                // A panic of ours, not of a task: as any end that comes too early.
                let lived = catch_unwind(AssertUnwindSafe(live));
                if lived.is_err() {
                    tracing::error!(worker = life.worker, "a worker's thread has panicked");
                }
                let word = &control.slot(life.slot).status;
                let failed = [status::INITIALIZER_FAILED, status::REFUSED];
                if !failed.contains(&word.load(Ordering::Relaxed)) {
                    word.store(status::GONE, Ordering::Release); // SYNC: slot-status
                }
                sys::eventfd_kick(kick.as_fd());
            });
        thread.map(Body::Thread)
    }
}
