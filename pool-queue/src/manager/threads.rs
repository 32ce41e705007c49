//! The threads of the server that run the user's code: as many as are needed at once, kept for a while.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_core::remote::{self, Function};

use super::engine::{Cell, Completion, Job, Produced};
use super::error::ManagerError;
use crate::sys;

/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_secs(10);

/// What a function of the user's gets and gives.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) cell: Option<Cell>,
    pub(crate) argument: Vec<u8>,
    pub(crate) produced: Option<Result<Produced, ManagerError>>,
}

/// Where threads leave what came of their jobs, and ring for it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    completions: Mutex<Vec<Completion>>,
    bell: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Mailbox> {
        Ok(Mailbox {
            completions: Mutex::default(),
            bell: sys::bell()?,
        })
    }

    pub(crate) fn bell(&self) -> impl AsFd + '_ {
        self.bell.as_fd()
    }

    pub(crate) fn take(&self) -> Vec<Completion> {
        sys::silence(self.bell.as_fd());
        std::mem::take(&mut *lock(&self.completions))
    }

    fn put(&self, completion: Completion) {
        lock(&self.completions).push(completion);
        sys::ring(self.bell.as_fd());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: usize,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
}

/// The threads.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
}

impl Threads {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Threads {
        Threads {
            shared: Arc::default(),
            mailbox,
        }
    }

    /// Has a thread run the job: an idle one, or a new one.
    pub(crate) fn run(&self, job: Job) {
        let mut queue = lock(&self.shared.queue);
        queue.jobs.push_back(job);
        let enough = queue.idle >= queue.jobs.len();
        drop(queue);
        if enough {
            self.shared.more.notify_one();
            return;
        }
        let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
        let started = std::thread::Builder::new()
            .name("manager-call".to_owned())
            .spawn(move || work(&shared, &mailbox));
        if let Err(error) = started {
            self.give_up(&error);
        }
    }

    /// No thread can be had: if there is none at all, the jobs fail.
    fn give_up(&self, error: &std::io::Error) {
        let jobs = std::mem::take(&mut lock(&self.shared.queue).jobs);
        for job in jobs {
            if let Job::Run { ticket, .. } = job {
                let result = Err(ManagerError::system(
                    "no thread can be had for a call",
                    error,
                ));
                self.mailbox.put(Completion { ticket, result });
            }
        }
    }
}

fn work(shared: &Shared, mailbox: &Mailbox) {
    while let Some(job) = next(shared) {
        match job {
            Job::Drop(cell) => {
                // A destructor that panics harms nobody else, and nobody waits for it.
                let _ = remote::catch(|| drop(cell));
            }
            Job::Run {
                ticket,
                function,
                argument,
                cell,
            } => {
                let result = run(function, argument, cell);
                mailbox.put(Completion { ticket, result });
            }
        }
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut queue = lock(&shared.queue);
    if let Some(job) = queue.jobs.pop_front() {
        return Some(job);
    }
    queue.idle += 1;
    let (mut queue, _) = shared
        .more
        .wait_timeout_while(queue, IDLE, |queue| queue.jobs.is_empty())
        .unwrap_or_else(PoisonError::into_inner);
    queue.idle -= 1;
    queue.jobs.pop_front()
}

fn run(function: u64, argument: Vec<u8>, cell: Option<Cell>) -> Result<Produced, ManagerError> {
    let function = Function::find(function).ok_or(ManagerError::NoFunction)?;
    let mut invocation = Invocation {
        cell,
        argument,
        produced: None,
    };
    remote::catch(|| function.run(&mut invocation)).map_err(ManagerError::Call)?;
    invocation.produced.unwrap_or(Err(ManagerError::NoFunction))
}
