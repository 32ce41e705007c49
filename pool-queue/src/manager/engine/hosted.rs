//! Values of the user's: calls of one run one after the other, those of several side by side.
//!
//! The engine decides whose turn it is; threads of the server run what it hands out ([`Job`]) and bring back what came of it
//! ([`Completion`]).

use std::collections::VecDeque;

use pool_core::TaskError;

use super::Engine;
use super::effects::Who;
use super::object::{Body, Cell, Hosted};
use crate::manager::error::ManagerError;
use crate::manager::message::{Blob, Reply};

/// What a thread of the server is to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Runs a function; over the value of an object, or to make one.
    Run {
        ticket: u64,
        function: u64,
        argument: Vec<u8>,
        cell: Option<Cell>,
    },
    /// Drops a value.
    Drop(Cell),
}

/// What came of a job.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) ticket: u64,
    pub(crate) result: Result<Produced, ManagerError>,
}

#[derive(Debug)]
pub(crate) enum Produced {
    /// The serialised result of a call.
    Result(Blob),
    /// The value of a new object.
    Value(Cell),
}

/// What a running function is for.
#[derive(Debug)]
pub(crate) enum Work {
    Make { parallel: bool, type_name: String },
    Call { object: u64 },
}

/// A function that runs, or waits for its turn.
#[derive(Debug)]
pub(super) struct Running {
    who: Who,
    request: u64,
    work: Work,
    /// Proxies in the argument; they are kept until it has run. The object is kept likewise.
    kept: Vec<u64>,
    job: Option<Job>,
    /// Nobody waits for the result any more.
    is_forgotten: bool,
}

impl Engine {
    /// Has a function run, now or when it is its turn.
    pub(super) fn start(
        &mut self,
        who: Who,
        request: u64,
        function: u64,
        argument: Blob,
        work: Work,
    ) -> Result<(), ManagerError> {
        if !self
            .sessions
            .get(&who.session)
            .is_some_and(|session| session.same_executable)
        {
            return Err(ManagerError::OtherExecutable);
        }
        let ticket = self.number();
        let mut kept = argument.refs;
        let mut cell = None;
        let mut is_turn = true;
        if let Work::Call { object: id } = work {
            let Body::Hosted(hosted) = &mut self.object(id)?.body else {
                return Err(ManagerError::refused("only hosted objects can be called"));
            };
            if let Some(reason) = &hosted.poison {
                let reason = reason.clone();
                return Err(ManagerError::Poisoned { reason });
            }
            cell = Some(hosted.cell.clone());
            is_turn = hosted.parallel || hosted.running == 0;
            if is_turn {
                hosted.running += 1;
            } else {
                hosted.pending.push_back(ticket);
            }
            kept.push(id);
        }
        self.keep(&kept);
        let job = Job::Run {
            ticket,
            function,
            argument: argument.bytes,
            cell,
        };
        let job = if is_turn {
            self.jobs.push(job);
            None
        } else {
            Some(job)
        };
        let running = Running {
            who,
            request,
            work,
            kept,
            job,
            is_forgotten: false,
        };
        self.running.insert(ticket, running);
        if let Some(connection) = self.connections.get_mut(&who.connection) {
            connection.is_busy = true;
        }
        Ok(())
    }

    /// A function has returned, or failed.
    pub(crate) fn finish(&mut self, completion: Completion) {
        let Some(running) = self.running.remove(&completion.ticket) else {
            return;
        };
        let Running {
            who,
            request,
            work,
            kept,
            is_forgotten,
            ..
        } = running;
        let result = match (completion.result, work) {
            (
                Ok(Produced::Value(cell)),
                Work::Make {
                    parallel,
                    type_name,
                },
            ) => {
                if is_forgotten {
                    self.jobs.push(Job::Drop(cell));
                    self.release(kept);
                    return;
                }
                let hosted = Hosted {
                    cell,
                    parallel,
                    running: 0,
                    pending: VecDeque::new(),
                    poison: None,
                };
                Ok(self.insert(who.session, Body::Hosted(hosted), type_name))
            }
            (Ok(Produced::Result(blob)), Work::Call { object }) => {
                self.next_call(object, None);
                if !is_forgotten {
                    self.deliver(who.session, &blob.refs);
                }
                Ok(Reply::Value(Some(blob)))
            }
            (Err(error), Work::Call { object }) => {
                let panic = match &error {
                    ManagerError::Call(TaskError::Panicked(panic)) => Some(panic.to_string()),
                    _ => None,
                };
                self.next_call(object, panic);
                Err(error)
            }
            (Err(error), Work::Make { .. }) => Err(error),
            (Ok(_), _) => Err(ManagerError::refused(
                "a function of another kind was named",
            )),
        };
        if !is_forgotten {
            self.answer(who.connection, request, result);
        }
        self.release(kept);
    }

    /// A call of the object has ended, by a panic if there is one: the next one runs.
    fn next_call(&mut self, object: u64, panic: Option<String>) {
        let Ok(object) = self.object(object) else {
            return;
        };
        let Body::Hosted(hosted) = &mut object.body else {
            return;
        };
        hosted.running = hosted.running.saturating_sub(1);
        if let Some(reason) = panic.filter(|_| !hosted.parallel) {
            hosted.poison = Some(reason.clone());
            for ticket in std::mem::take(&mut hosted.pending) {
                let reason = reason.clone();
                self.refuse(ticket, ManagerError::Poisoned { reason });
            }
            return;
        }
        let Some(ticket) = hosted.pending.pop_front() else {
            return;
        };
        hosted.running += 1;
        let job = self
            .running
            .get_mut(&ticket)
            .and_then(|next| next.job.take());
        self.jobs.extend(job);
    }

    fn refuse(&mut self, ticket: u64, error: ManagerError) {
        if let Some(running) = self.running.remove(&ticket) {
            self.answer(running.who.connection, running.request, Err(error));
            self.release(running.kept);
        }
    }

    /// Who asked is gone: what has not begun does not, and no result is kept.
    pub(super) fn forget_calls(&mut self, connection: u64) {
        let own = self.running.iter_mut();
        let own = own.filter(|(_, running)| running.who.connection == connection);
        let mut pending = Vec::new();
        for (ticket, running) in own {
            running.is_forgotten = true;
            if let (Some(_), Work::Call { object }) = (&running.job, &running.work) {
                pending.push((*ticket, *object));
            }
        }
        for (ticket, id) in pending {
            if let Ok(object) = self.object(id)
                && let Body::Hosted(hosted) = &mut object.body
            {
                hosted.pending.retain(|other| *other != ticket);
            }
            if let Some(running) = self.running.remove(&ticket) {
                self.release(running.kept);
            }
        }
    }
}
