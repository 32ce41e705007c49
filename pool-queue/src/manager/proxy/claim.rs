//! What was got from a managed queue and is not done yet.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use pool_core::Sendable;

use super::backing::{Backing, Bounded, Held, not_got};
use super::shared::Shared;
use crate::manager::error::ManagerError;
use crate::manager::message::{QueueOp, Wait};
use crate::manager::value::{self, Object};
use crate::{Claim, JoinableQueue};

/// An item that was got and is not done yet; from [`JoinableQueueProxy::get`](super::JoinableQueueProxy::get).
///
/// It belongs to the process that got it and may move between its threads. Dropping it says that the item is not done: it goes back to its
/// place in the queue, as it does when the process ends.
#[must_use = "call `task_done` when the item is done; dropping it gives it back"]
pub struct ManagedClaim<T> {
    item: Item<T>,
}

enum Item<T> {
    Memory(InMemory<T>),
    Server {
        value: T,
        attempts: u32,
        ticket: Ticket<T>,
    },
}

/// A claim of a queue in shared memory, which keeps the objects whose proxies are in the value.
struct InMemory<T> {
    claim: Option<Claim<T>>,
    pinned: Vec<u64>,
    queue: Arc<Object>,
}

/// What the server knows an item by. It is given back when this is dropped.
struct Ticket<T> {
    queue: Held<JoinableQueue<T>>,
    number: u64,
    is_done: bool,
}

impl<T: Sendable> ManagedClaim<T> {
    pub(super) fn get(
        queue: &Backing<JoinableQueue<T>>,
        wait: Wait,
    ) -> Result<ManagedClaim<T>, ManagerError> {
        let item = match queue {
            Backing::Memory(queue) => Item::Memory(InMemory::get(queue, wait)?),
            Backing::Server(queue) => {
                let item = queue.get(wait)?;
                let ticket = Ticket {
                    queue: queue.clone(),
                    number: item.ticket,
                    is_done: false,
                };
                match queue.decode(item.value) {
                    Ok(value) => Item::Server {
                        value,
                        attempts: item.attempts.saturating_add(1),
                        ticket,
                    },
                    Err(error) => {
                        // What cannot be decoded is done: nobody could do more.
                        ticket.done()?;
                        return Err(error);
                    }
                }
            }
        };
        Ok(ManagedClaim { item })
    }
}

impl<T> ManagedClaim<T> {
    /// Reports the item done, and gives its value.
    ///
    /// # Errors
    ///
    /// The manager is gone and the queue is without a bound; something wrote over the queue; or this is a fork of the process that got the item,
    /// which does not have it. The item is not done then.
    pub fn task_done(self) -> Result<T, ManagerError> {
        match self.item {
            Item::Memory(claim) => claim.done(),
            Item::Server { value, ticket, .. } => ticket.done().map(|()| value),
        }
    }

    /// How often the item was got, this time included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match &self.item {
            Item::Memory(claim) => claim.there().attempts(),
            Item::Server { attempts, .. } => *attempts,
        }
    }
}

/// Why a claim that is not done is there.
const THERE: &str = "there until it is done";

impl<T> InMemory<T> {
    fn there(&self) -> &Claim<T> {
        self.claim.as_ref().expect(THERE)
    }

    fn done(mut self) -> Result<T, ManagerError> {
        if !self.there().is_ours() {
            let reason = "this process is a copy of the one that got the item";
            return Err(ManagerError::refused(reason));
        }
        let claim = self.claim.take().expect(THERE);
        let done = claim.task_done();
        let value = done.map_err(|damage| ManagerError::system("the queue", damage))?;
        value::unpin(&self.queue, self.pinned.drain(..));
        Ok(value)
    }
}

impl<T: Sendable> InMemory<T> {
    fn get(queue: &Shared<JoinableQueue<T>>, wait: Wait) -> Result<Self, ManagerError> {
        let get = || Bounded::get(&**queue, queue.patience(wait));
        let got = value::claiming(&queue.object, get).map_err(not_got);
        let (claim, pinned) = queue.explain(got)?;
        Ok(InMemory {
            claim: Some(claim),
            pinned,
            queue: Arc::clone(&queue.object),
        })
    }
}

impl<T> Drop for InMemory<T> {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let is_lost = claim.is_ours() && !claim.goes_back();
        drop(claim);
        if is_lost {
            value::unpin(&self.queue, self.pinned.drain(..));
        }
    }
}

impl<T> Ticket<T> {
    fn done(mut self) -> Result<(), ManagerError> {
        let ticket = self.number;
        self.queue.tell(QueueOp::TaskDone { ticket }, Wait::Now)?;
        self.is_done = true;
        Ok(())
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if !self.is_done {
            let ticket = self.number;
            // If the manager is gone, so is the queue.
            let _ = self.queue.tell(QueueOp::GiveBack { ticket }, Wait::Now);
        }
    }
}

impl<T> Deref for ManagedClaim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.item {
            Item::Memory(claim) => claim.there(),
            Item::Server { value, .. } => value,
        }
    }
}

impl<T> DerefMut for ManagedClaim<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.item {
            Item::Memory(claim) => claim.claim.as_mut().expect(THERE),
            Item::Server { value, .. } => value,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for ManagedClaim<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedClaim")
            .field("value", &**self)
            .field("attempts", &self.attempts())
            .finish()
    }
}
