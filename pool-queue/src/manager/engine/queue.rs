//! Queues that the server holds.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::effects::{Effects, Who};
use crate::manager::error::ManagerError;
use crate::manager::message::{Blob, Order, QueueOp, Reply};

/// Where a value stands: its priority, and when it came.
type Place = (i64, u64);

/// What was got and not finished yet, oldest first.
type Taken = VecDeque<(Place, Blob)>;

#[derive(Debug)]
pub(crate) struct Queue {
    order: Order,
    capacity: u64,
    /// The first is the next one out, except in a queue that gives the last one first.
    items: BTreeMap<Place, Blob>,
    came: u64,
    closed: bool,
    /// Of a joinable queue: what each client has got and not finished. It keeps the values, to give them back.
    taken: Option<HashMap<u64, Taken>>,
}

impl Queue {
    pub(crate) fn new(order: Order, capacity: Option<u64>, joinable: bool) -> Queue {
        Queue {
            order,
            capacity: capacity.unwrap_or(u64::MAX),
            items: BTreeMap::new(),
            came: 0,
            closed: false,
            taken: joinable.then(HashMap::new),
        }
    }

    /// Does the operation, or nothing if it has to wait.
    pub(crate) fn attempt(
        &mut self,
        who: Who,
        op: &QueueOp,
        effects: &mut Effects,
    ) -> Option<Result<Reply, ManagerError>> {
        let reply = match op {
            QueueOp::Put { .. } if self.closed => return Some(Err(ManagerError::Closed)),
            QueueOp::Put { priority, value } => {
                if self.items.len() as u64 >= self.capacity {
                    return None;
                }
                effects.keep(value);
                self.came += 1;
                let priority = if self.order == Order::Priority {
                    *priority
                } else {
                    0
                };
                self.items.insert((priority, self.came), value.clone());
                Reply::Done
            }
            QueueOp::Get => match self.take() {
                Some((place, value)) => {
                    match &mut self.taken {
                        Some(taken) => taken
                            .entry(who.session)
                            .or_default()
                            .push_back((place, value.clone())),
                        None => effects.release(&value),
                    }
                    Reply::Value(Some(value))
                }
                None if self.closed => return Some(Err(ManagerError::Closed)),
                None => return None,
            },
            QueueOp::Len => Reply::Number(self.items.len() as u64),
            QueueOp::IsClosed => Reply::Bool(self.closed),
            QueueOp::Close => {
                self.closed = true;
                Reply::Done
            }
            QueueOp::Clear => {
                let items = std::mem::take(&mut self.items);
                items.values().for_each(|value| effects.release(value));
                Reply::Number(items.len() as u64)
            }
            QueueOp::TaskDone => return Some(self.finish(who, effects)),
            QueueOp::Join => {
                let busy = self.taken.as_ref().is_some_and(|taken| !taken.is_empty());
                if busy || !self.items.is_empty() {
                    return None;
                }
                Reply::Done
            }
        };
        Some(Ok(reply))
    }

    fn take(&mut self) -> Option<(Place, Blob)> {
        match self.order {
            Order::Lifo => self.items.pop_last(),
            Order::Fifo | Order::Priority => self.items.pop_first(),
        }
    }

    fn finish(&mut self, who: Who, effects: &mut Effects) -> Result<Reply, ManagerError> {
        let taken = self.taken.as_mut().ok_or(ManagerError::NotHeld)?;
        let own = taken.get_mut(&who.session);
        let (_, value) = own
            .and_then(VecDeque::pop_front)
            .ok_or(ManagerError::TooManyReleases)?;
        effects.release(&value);
        taken.retain(|_, own| !own.is_empty());
        Ok(Reply::Done)
    }

    /// A client is gone: what it had got and not finished is there again, where it was.
    pub(crate) fn forget(&mut self, session: u64) {
        if let Some(own) = self.taken.as_mut().and_then(|taken| taken.remove(&session)) {
            self.items.extend(own);
        }
    }

    /// Every value in its keeping.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Blob> {
        let taken = self.taken.iter().flat_map(HashMap::values).flatten();
        self.items.values().chain(taken.map(|(_, value)| value))
    }
}
