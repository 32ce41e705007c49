//! What was got from a managed queue and is not done yet.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use pool_core::Sendable;

use super::backing::{Backing, Bounded, Held, not_got, patience};
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
    item: Option<Item<T>>,
}

enum Item<T> {
    /// In shared memory, and the objects whose proxies are in the value, which the queue keeps.
    Memory {
        claim: Claim<T>,
        queue: Arc<Object>,
        pinned: Vec<u64>,
    },
    Server {
        value: T,
        ticket: u64,
        attempts: u32,
        queue: Held<JoinableQueue<T>>,
    },
}

impl<T: Sendable> ManagedClaim<T> {
    pub(super) fn get(
        queue: &Backing<JoinableQueue<T>>,
        wait: Wait,
    ) -> Result<ManagedClaim<T>, ManagerError> {
        let item = match queue {
            Backing::Memory(queue) => {
                let (claim, pinned) = queue.wait(wait, |time| {
                    let get = || Bounded::get(&**queue, patience(time));
                    value::claiming(&queue.object, get).map_err(not_got)
                })?;
                let queue = Arc::clone(&queue.object);
                Item::Memory {
                    claim,
                    queue,
                    pinned,
                }
            }
            Backing::Server(queue) => {
                let got = queue.get(wait)?;
                let ticket = got.ticket;
                match got.value {
                    Ok(value) => Item::Server {
                        value,
                        ticket,
                        attempts: got.attempts.saturating_add(1),
                        queue: queue.clone(),
                    },
                    Err(error) => {
                        // What cannot be decoded is done: nobody could do more.
                        queue.tell(QueueOp::TaskDone { ticket }, Wait::Now)?;
                        return Err(error);
                    }
                }
            }
        };
        Ok(ManagedClaim { item: Some(item) })
    }
}

impl<T> ManagedClaim<T> {
    /// Reports the item done, and gives its value.
    ///
    /// # Errors
    ///
    /// The manager is gone and the queue is without a bound; something wrote over the queue.
    ///
    /// # Panics
    ///
    /// If it is called in a fork of the process that got the item, which does not have it.
    pub fn task_done(mut self) -> Result<T, ManagerError> {
        match self.item.take().expect("taken here only") {
            Item::Memory {
                claim,
                queue,
                pinned,
            } => {
                let done = claim.task_done();
                let value = done.map_err(|damage| ManagerError::system("the queue", damage))?;
                value::unpin(&queue, pinned);
                Ok(value)
            }
            Item::Server {
                value,
                ticket,
                queue,
                ..
            } => {
                queue.tell(QueueOp::TaskDone { ticket }, Wait::Now)?;
                Ok(value)
            }
        }
    }

    /// How often the item was got, this time included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        match self.there() {
            Item::Memory { claim, .. } => claim.attempts(),
            Item::Server { attempts, .. } => *attempts,
        }
    }

    fn there(&self) -> &Item<T> {
        self.item.as_ref().expect("there until it is done")
    }
}

impl<T> Deref for ManagedClaim<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.there() {
            Item::Memory { claim, .. } => claim,
            Item::Server { value, .. } => value,
        }
    }
}

impl<T> DerefMut for ManagedClaim<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self.item.as_mut().expect("there until it is done") {
            Item::Memory { claim, .. } => claim,
            Item::Server { value, .. } => value,
        }
    }
}

impl<T> Drop for ManagedClaim<T> {
    fn drop(&mut self) {
        // In shared memory the claim itself gives the item back.
        if let Some(Item::Server { ticket, queue, .. }) = &self.item {
            // If the manager is gone, so is the queue.
            let _ = queue.tell(QueueOp::GiveBack { ticket: *ticket }, Wait::Now);
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
