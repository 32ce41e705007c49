//! What is said between clients and the server.

use std::time::Duration;

use pool_shm::SegmentHandle;
use serde::{Deserialize, Serialize};

use super::error::ManagerError;

/// A value that the server keeps without knowing its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Blob {
    #[serde(with = "serde_bytes")]
    pub(crate) bytes: Vec<u8>,
    /// The objects whose proxies are in it, one number for each proxy.
    pub(crate) refs: Vec<u64>,
}

/// How long an operation may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wait {
    Now,
    For(Duration),
    Forever,
}

/// Who holds a lock: a thread of a process, by a number that the process gave it.
pub(crate) type Holder = u64;

/// The order in which a queue gives things back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    Fifo,
    Lifo,
    Priority,
}

/// What kind of object is to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Make {
    Queue {
        order: Order,
        joinable: bool,
    },
    Dict,
    List,
    Set,
    Semaphore {
        permits: u64,
        bound: Option<u64>,
    },
    Condition,
    Barrier {
        parties: u64,
    },
    /// Something that lives in shared memory; the server keeps it and tells where it is.
    Shared(SegmentHandle),
    /// A value of the user's, made by this function from these bytes.
    /// Calls of it run one after the other, or side by side if it is `parallel`.
    Hosted {
        function: u64,
        argument: Blob,
        parallel: bool,
    },
}

/// What a client asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first message of every connection. `session` names one that this process has already, and shows that it is its own.
    Hello {
        executable: u64,
        session: Option<(u64, u64)>,
    },
    /// The type is a fingerprint of what the object holds.
    Make {
        make: Make,
        type_name: String,
    },
    /// One more proxy of this object in this process.
    Open(u64),
    /// One proxy less. There is no reply.
    Close(u64),
    /// A proxy of the object is under way: keep it for the time of a lease.
    Lease(u64),
    /// A proxy of `object` goes into the queue in shared memory `holder`, or comes out of it.
    Pin {
        holder: u64,
        object: u64,
    },
    Unpin {
        holder: u64,
        object: u64,
    },
    /// Something that an object does.
    Do {
        object: u64,
        op: Op,
        wait: Wait,
    },
    /// A call of a hosted object.
    Call {
        object: u64,
        function: u64,
        argument: Blob,
    },
    ClearPoison(u64),
    /// What the manager holds.
    Count,
    /// The server ends.
    Shutdown,
}

/// Operations of the built-in objects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Op {
    Queue(QueueOp),
    Dict(DictOp),
    List(ListOp),
    Set(SetOp),
    Semaphore(SemaphoreOp),
    Condition(ConditionOp),
    Barrier(BarrierOp),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum QueueOp {
    Put {
        rank: u64,
        value: Blob,
    },
    Get,
    Len,
    Close,
    IsClosed,
    Clear,
    /// An item that this client took of a joinable queue is done.
    TaskDone {
        ticket: u64,
    },
    /// It is not done, and goes back to its place.
    GiveBack {
        ticket: u64,
    },
    Join,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum DictOp {
    Get(Blob),
    Set(Blob, Blob),
    SetDefault(Blob, Blob),
    Remove(Blob),
    Contains(Blob),
    Len,
    Items,
    PopItem,
    Extend(Vec<(Blob, Blob)>),
    Clear,
    /// Puts `new` for `key` if what is there is still `old`; none means no entry.
    Replace {
        key: Blob,
        old: Option<Vec<u8>>,
        new: Option<Blob>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ListOp {
    Push(Blob),
    Extend(Vec<Blob>),
    /// Takes the element at this place, or the last.
    Pop(Option<u64>),
    Get(u64),
    Set(u64, Blob),
    Insert(u64, Blob),
    /// Takes the first that is equal away.
    RemoveValue(Blob),
    Index(Blob),
    Count(Blob),
    Len,
    All,
    Reverse,
    Clear,
    /// Puts these elements if the list is still what it was in this version.
    Replace {
        version: u64,
        values: Vec<Blob>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum SetOp {
    Insert(Blob),
    Remove(Blob),
    Contains(Blob),
    Len,
    All,
    Pop,
    Extend(Vec<Blob>),
    Clear,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum SemaphoreOp {
    Acquire {
        permits: u64,
    },
    Release {
        permits: u64,
    },
    /// Permits that were taken for good: their holder's death does not give them back.
    Forget {
        permits: u64,
    },
    Available,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ConditionOp {
    Acquire {
        holder: Holder,
    },
    Release {
        holder: Holder,
    },
    /// Lets the lock go, waits to be notified, and takes the lock again.
    Wait {
        holder: Holder,
        phase: Phase,
    },
    /// Wakes so many; the caller holds the lock.
    Notify {
        holder: Holder,
        count: u64,
    },
}

/// How far a waiter at a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Begin,
    Waiting(u64),
    /// It takes the lock again; whether it was notified, or its time is over.
    Back {
        notified: bool,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum BarrierOp {
    /// Arrives in this generation, once it has; none before.
    Wait {
        arrived: Option<(u64, u64)>,
    },
    Abort,
    Reset,
    /// How many wait, and whether it is broken.
    State,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Welcome {
        session: u64,
        secret: u64,
        manager: u64,
        executable: u64,
        limit: u64,
        lease: Duration,
    },
    Opened {
        id: u64,
        type_name: String,
        shared: Option<SegmentHandle>,
    },
    Done,
    Bool(bool),
    Number(u64),
    Numbers(u64, u64),
    Value(Option<Blob>),
    /// Of a queue.
    Item {
        rank: u64,
        /// What a joinable queue knows it by until it is done.
        ticket: u64,
        /// How often it had been taken before.
        attempts: u32,
        value: Blob,
    },
    Values {
        version: u64,
        values: Vec<Blob>,
    },
    Pairs(Vec<(Blob, Blob)>),
    /// The lock is held now; whether its last holder died with it.
    Locked {
        owner_died: bool,
    },
    Error(ManagerError),
}

impl Reply {
    /// The values in it, whose proxies become the receiver's.
    pub(crate) fn blobs(&self) -> Box<dyn Iterator<Item = &Blob> + '_> {
        match self {
            Reply::Value(value) => Box::new(value.iter()),
            Reply::Item { value, .. } => Box::new(std::iter::once(value)),
            Reply::Values { values, .. } => Box::new(values.iter()),
            Reply::Pairs(pairs) => Box::new(pairs.iter().flat_map(|(key, value)| [key, value])),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl Request {
    /// The values that the request brings.
    pub(crate) fn blobs(&self) -> Vec<&Blob> {
        match self {
            Request::Make {
                make: Make::Hosted { argument, .. },
                ..
            }
            | Request::Call { argument, .. } => vec![argument],
            Request::Do { op, .. } => op.blobs(),
            _ => Vec::new(),
        }
    }
}

impl Op {
    /// The values that the operation brings.
    pub(crate) fn blobs(&self) -> Vec<&Blob> {
        match self {
            Op::Queue(QueueOp::Put { value, .. }) => vec![value],
            Op::Dict(op) => match op {
                DictOp::Set(key, value) | DictOp::SetDefault(key, value) => vec![key, value],
                DictOp::Extend(pairs) => {
                    pairs.iter().flat_map(|(key, value)| [key, value]).collect()
                }
                DictOp::Replace {
                    key,
                    new: Some(new),
                    ..
                } => vec![key, new],
                _ => Vec::new(),
            },
            Op::List(op) => match op {
                ListOp::Push(value) | ListOp::Set(_, value) | ListOp::Insert(_, value) => {
                    vec![value]
                }
                ListOp::Extend(values) | ListOp::Replace { values, .. } => values.iter().collect(),
                _ => Vec::new(),
            },
            Op::Set(SetOp::Insert(value)) => vec![value],
            Op::Set(SetOp::Extend(values)) => values.iter().collect(),
            _ => Vec::new(),
        }
    }
}
