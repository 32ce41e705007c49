//! Queues that the server holds: those without a bound.

use std::collections::{BTreeMap, HashMap};

use super::effects::{Effects, Who};
use crate::manager::error::ManagerError;
use crate::manager::message::{Blob, Order, QueueOp, Reply};

/// Where a value stands: its rank, and when it came. The second is unique.
type Place = (u64, u64);

#[derive(Debug)]
struct Item {
    value: Blob,
    /// How often it was taken.
    attempts: u32,
}

/// What was got and is not done yet, by its ticket: when it came.
type Taken = BTreeMap<u64, (Place, Item)>;

#[derive(Debug)]
pub(crate) struct Queue {
    order: Order,
    /// The first is the next one out, except in a queue that gives the last one first.
    items: BTreeMap<Place, Item>,
    came: u64,
    closed: bool,
    /// Of a joinable queue: what each client has. It keeps the values, to give them back.
    taken: Option<HashMap<u64, Taken>>,
}

impl Queue {
    pub(crate) fn new(order: Order, joinable: bool) -> Queue {
        Queue {
            order,
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
            QueueOp::Put { rank, value } => {
                effects.keep(value);
                self.came += 1;
                let rank = if self.order == Order::Priority {
                    *rank
                } else {
                    0
                };
                let item = Item {
                    value: value.clone(),
                    attempts: 0,
                };
                self.items.insert((rank, self.came), item);
                Reply::Done
            }
            QueueOp::Get => match self.take() {
                Some((place, item)) => self.give(who, place, item, effects),
                // What is with consumers may come back.
                None if self.closed && !self.is_taken() => return Some(Err(ManagerError::Closed)),
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
                items.values().for_each(|item| effects.release(&item.value));
                Reply::Number(items.len() as u64)
            }
            QueueOp::TaskDone { ticket } => match self.untake(who.session, *ticket) {
                Some((_, item)) => {
                    effects.release(&item.value);
                    Reply::Done
                }
                None => return Some(Err(ManagerError::NotHeld)),
            },
            QueueOp::GiveBack { ticket } => match self.give_back(who.session, *ticket) {
                Some(_) => Reply::Done,
                None => return Some(Err(ManagerError::NotHeld)),
            },
            QueueOp::Join if self.is_taken() || !self.items.is_empty() => return None,
            QueueOp::Join => Reply::Done,
        };
        Some(Ok(reply))
    }

    fn take(&mut self) -> Option<(Place, Item)> {
        match self.order {
            Order::Lifo => self.items.pop_last(),
            Order::Fifo | Order::Priority => self.items.pop_first(),
        }
    }

    fn give(&mut self, who: Who, place: Place, mut item: Item, effects: &mut Effects) -> Reply {
        let (rank, ticket) = place;
        let reply = Reply::Item {
            rank,
            ticket,
            attempts: item.attempts,
            value: item.value.clone(),
        };
        match &mut self.taken {
            Some(taken) => {
                item.attempts = item.attempts.saturating_add(1);
                let own = taken.entry(who.session).or_default();
                own.insert(ticket, (place, item));
            }
            None => effects.release(&item.value),
        }
        reply
    }

    /// Whether consumers have items that are not done.
    fn is_taken(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| !taken.is_empty())
    }

    /// Takes an item out of a client's hands, if it is there.
    fn untake(&mut self, session: u64, ticket: u64) -> Option<(Place, Item)> {
        let taken = self.taken.as_mut()?;
        let own = taken.get_mut(&session)?;
        let found = own.remove(&ticket);
        if own.is_empty() {
            taken.remove(&session);
        }
        found
    }

    /// Puts an item that a client has back to its place; the objects whose proxies are in it.
    pub(crate) fn give_back(&mut self, session: u64, ticket: u64) -> Option<Vec<u64>> {
        let (place, item) = self.untake(session, ticket)?;
        let refs = item.value.refs.clone();
        self.items.insert(place, item);
        Some(refs)
    }

    /// A client is gone: what it had got and not done is there again, where it was.
    pub(crate) fn forget(&mut self, session: u64) {
        if let Some(own) = self.taken.as_mut().and_then(|taken| taken.remove(&session)) {
            self.items.extend(own.into_values());
        }
    }

    /// Every value in its keeping.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Blob> {
        let taken = self.taken.iter().flat_map(HashMap::values);
        let taken = taken.flat_map(BTreeMap::values).map(|(_, item)| item);
        self.items.values().chain(taken).map(|item| &item.value)
    }
}
