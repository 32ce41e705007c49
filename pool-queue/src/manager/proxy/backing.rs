//! Where a managed queue is: in shared memory if it is bounded, else in the server.

use std::any::type_name;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use pool_core::Sendable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::Shared;
use super::{expect_reply, proxy};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Blob, Make, Op, Order, QueueOp, Reply, Wait};
use crate::manager::value::{self, Object};
use crate::wait;
use crate::{
    Claim, GetError, JoinableQueue, LifoQueue, Message, Priority, PriorityQueue, PutError, Queue,
    QueueError,
};

/// A queue in shared memory, as its proxy uses it.
pub(super) trait Bounded: Sendable {
    type Value: Message;
    /// What getting gives.
    type Got;

    fn put(
        &self,
        rank: u64,
        value: Self::Value,
        wait: wait::Wait,
    ) -> Result<(), PutError<Self::Value>>;
    fn get(&self, wait: wait::Wait) -> Result<Self::Got, GetError>;
    fn len(&self) -> usize;
    fn capacity(&self) -> usize;
    fn close(&self);
    fn is_closed(&self) -> bool;
}

macro_rules! bounded {
    ($queue:ident<$($kind:ident: $bound:ident),+>, $got:ty, |$own:ident, $rank:ident, $value:ident, $wait:ident| $put:expr, $get:expr) => {
        impl<$($kind: $bound),+> Bounded for $queue<$($kind),+> {
            type Value = T;
            type Got = $got;

            fn put(&self, $rank: u64, $value: T, $wait: wait::Wait) -> Result<(), PutError<T>> {
                let $own = self;
                $put
            }

            fn get(&self, $wait: wait::Wait) -> Result<$got, GetError> {
                let $own = self;
                $get
            }

            fn len(&self) -> usize {
                self.len()
            }

            fn capacity(&self) -> usize {
                self.capacity()
            }

            fn close(&self) {
                self.close();
            }

            fn is_closed(&self) -> bool {
                self.is_closed()
            }
        }
    };
}

bounded!(
    Queue<T: Message>, T,
    |queue, _rank, value, wait| queue.put_waiting(value, wait),
    queue.get_waiting(wait)
);
bounded!(
    LifoQueue<T: Message>, T,
    |queue, rank, value, wait| queue.backlog.put(rank, value, wait),
    queue.one(wait)
);
bounded!(
    PriorityQueue<K: Priority, T: Message>, (K, T),
    |queue, rank, value, wait| queue.backlog.put(rank, value, wait),
    queue.one(wait)
);
bounded!(
    JoinableQueue<T: Message>, Claim<T>,
    |queue, rank, value, wait| queue.backlog.put(rank, value, wait),
    queue.one(wait)
);

/// A queue that the server holds, of the same values as `Q`.
pub(super) struct Held<Q> {
    pub(super) object: Arc<Object>,
    holds: PhantomData<fn(Q) -> Q>,
}

proxy!(Held<Q>);

/// A value that the server gave out.
pub(super) struct Item {
    pub(super) rank: u64,
    pub(super) ticket: u64,
    pub(super) attempts: u32,
    pub(super) value: Blob,
}

impl<Q> Held<Q> {
    pub(super) fn get(&self, wait: Wait) -> Result<Item, ManagerError> {
        let reply = self.object.operate(Op::Queue(QueueOp::Get), wait);
        expect_reply!(
            reply,
            Reply::Item { rank, ticket, attempts, value } => Item { rank, ticket, attempts, value }
        )
    }

    pub(super) fn decode<T: Sendable>(&self, value: Blob) -> Result<T, ManagerError> {
        value::decode(&self.object.session, value)
    }

    fn put<T: Sendable>(&self, rank: u64, value: &T, wait: Wait) -> Result<(), ManagerError> {
        let value = value::encode(&self.object.session, value)?;
        self.tell(QueueOp::Put { rank, value }, wait)
    }

    pub(super) fn tell(&self, op: QueueOp, wait: Wait) -> Result<(), ManagerError> {
        expect_reply!(self.object.operate(Op::Queue(op), wait), Reply::Done => ())
    }

    fn count(&self, op: QueueOp) -> Result<usize, ManagerError> {
        let reply = self.object.operate(Op::Queue(op), Wait::Now);
        expect_reply!(reply, Reply::Number(number) => usize::try_from(number).unwrap_or(usize::MAX))
    }
}

/// Where the queue of a proxy is.
pub(super) enum Backing<Q> {
    Memory(Shared<Q>),
    Server(Held<Q>),
}

impl<Q: Bounded> Backing<Q> {
    pub(super) fn in_memory(
        manager: &Manager,
        queue: Result<Q, QueueError>,
    ) -> Result<Self, ManagerError> {
        let queue = queue.map_err(|error| ManagerError::system("cannot make a queue", error))?;
        manager.share(queue).map(Backing::Memory)
    }

    pub(super) fn in_server(
        manager: &Manager,
        order: Order,
        joinable: bool,
    ) -> Result<Self, ManagerError> {
        let make = Make::Queue { order, joinable };
        Ok(Backing::Server(Held::of(manager.make::<Held<Q>>(make)?)))
    }

    pub(super) fn put(&self, rank: u64, value: Q::Value, wait: Wait) -> Result<(), ManagerError>
    where
        Q::Value: Sendable,
    {
        match self {
            Backing::Server(queue) => queue.put(rank, &value, wait),
            Backing::Memory(queue) => {
                let put = || Bounded::put(&**queue, rank, value, queue.patience(wait));
                let put = value::putting(&queue.object, put).map_err(not_put);
                queue.explain(put)
            }
        }
    }

    /// Gets a value that leaves the queue at once.
    pub(super) fn get(
        &self,
        wait: Wait,
        make: impl FnOnce(u64, Q::Value) -> Q::Got,
    ) -> Result<Q::Got, ManagerError>
    where
        Q::Value: Sendable,
    {
        match self {
            Backing::Server(queue) => {
                let item = queue.get(wait)?;
                Ok(make(item.rank, queue.decode(item.value)?))
            }
            Backing::Memory(queue) => {
                let get = || Bounded::get(&**queue, queue.patience(wait));
                let got = value::getting(&queue.object, get).map_err(not_got);
                queue.explain(got)
            }
        }
    }

    pub(super) fn len(&self) -> Result<usize, ManagerError> {
        match self {
            Backing::Memory(queue) => Ok(Bounded::len(&**queue)),
            Backing::Server(queue) => queue.count(QueueOp::Len),
        }
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        match self {
            Backing::Memory(queue) => Some(Bounded::capacity(&**queue)),
            Backing::Server(_) => None,
        }
    }

    pub(super) fn close(&self) -> Result<(), ManagerError> {
        match self {
            Backing::Memory(queue) => {
                Bounded::close(&**queue);
                Ok(())
            }
            Backing::Server(queue) => queue.tell(QueueOp::Close, Wait::Now),
        }
    }

    pub(super) fn is_closed(&self) -> Result<bool, ManagerError> {
        match self {
            Backing::Memory(queue) => Ok(Bounded::is_closed(&**queue)),
            Backing::Server(queue) => {
                let reply = queue
                    .object
                    .operate(Op::Queue(QueueOp::IsClosed), Wait::Now);
                expect_reply!(reply, Reply::Bool(closed) => closed)
            }
        }
    }

    /// Takes out what is there, each by `take_one` if the queue is in shared memory.
    pub(super) fn clear(
        &self,
        take_one: impl Fn() -> Result<(), ManagerError>,
    ) -> Result<usize, ManagerError> {
        let queue = match self {
            Backing::Server(queue) => return queue.count(QueueOp::Clear),
            Backing::Memory(queue) => queue,
        };
        // Not more than there were: producers may go on.
        let there = Bounded::len(&**queue);
        for taken in 0..there {
            match take_one() {
                Ok(()) | Err(ManagerError::Decode { .. }) => {}
                Err(ManagerError::WouldBlock | ManagerError::Closed) => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(there)
    }
}

impl<Q> Backing<Q> {
    pub(super) fn object(&self) -> &Arc<Object> {
        match self {
            Backing::Memory(queue) => &queue.object,
            Backing::Server(queue) => &queue.object,
        }
    }
}

impl<Q: Clone> Clone for Backing<Q> {
    fn clone(&self) -> Self {
        match self {
            Backing::Memory(queue) => Backing::Memory(queue.clone()),
            Backing::Server(queue) => Backing::Server(queue.clone()),
        }
    }
}

impl<Q> fmt::Debug for Backing<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self {
            Backing::Memory(_) => "shared memory",
            Backing::Server(_) => "the manager",
        };
        f.debug_struct(type_name::<Q>())
            .field("in", &place)
            .field("object", &self.object().id)
            .field("manager", &self.object().session.address)
            .finish_non_exhaustive()
    }
}

impl<Q> PartialEq for Backing<Q> {
    fn eq(&self, other: &Self) -> bool {
        let name = |backing: &Self| (backing.object().session.manager, backing.object().id);
        name(self) == name(other)
    }
}

impl<Q> Hash for Backing<Q> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.object().id.hash(state);
    }
}

impl<Q> Serialize for Backing<Q> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name: Result<&Shared<Q>, &Held<Q>> = match self {
            Backing::Memory(queue) => Ok(queue),
            Backing::Server(queue) => Err(queue),
        };
        name.serialize(serializer)
    }
}

impl<'de, Q: Sendable> Deserialize<'de> for Backing<Q> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match Result::<Shared<Q>, Held<Q>>::deserialize(deserializer)? {
                Ok(queue) => Backing::Memory(queue),
                Err(queue) => Backing::Server(queue),
            },
        )
    }
}

fn not_put<T>(error: PutError<T>) -> ManagerError {
    match error {
        PutError::Full(_) => ManagerError::WouldBlock,
        PutError::Timeout(_) => ManagerError::Timeout,
        PutError::Closed(_) => ManagerError::Closed,
        PutError::TooLarge { need, capacity, .. } => ManagerError::TooLarge {
            len: need as u64,
            limit: capacity as u64,
        },
        PutError::Encode { reason, .. } => {
            value::take_failure().unwrap_or(ManagerError::Encode { reason })
        }
        other => ManagerError::system("the queue's memory", other),
    }
}

pub(super) fn not_got(error: GetError) -> ManagerError {
    match error {
        GetError::Empty => ManagerError::WouldBlock,
        GetError::Timeout => ManagerError::Timeout,
        GetError::Closed => ManagerError::Closed,
        GetError::Decode(error) => value::take_failure().unwrap_or_else(|| ManagerError::Decode {
            type_name: error.type_name().to_owned(),
            reason: error.reason().to_owned(),
        }),
        other => ManagerError::system("the queue's memory", other),
    }
}
