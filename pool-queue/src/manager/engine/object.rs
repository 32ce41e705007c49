//! An object: what it holds, who keeps it, and who waits for it.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pool_shm::Segment;

use super::containers::{Dict, List, Set};
use super::effects::{Effects, Who};
use super::locks::{Barrier, Condition, Semaphore};
use super::queue::Queue;
use crate::manager::error::ManagerError;
use crate::manager::message::{BarrierOp, Blob, ConditionOp, Make, Op, Reply, SemaphoreOp};

/// A value of the user's; the thread that runs a call has it locked.
pub(crate) type Cell = Arc<Mutex<Box<dyn Any + Send>>>;

#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) type_name: String,
    /// Proxies in clients, in containers and under way.
    pub(crate) refs: u64,
    /// Until when it stays without any.
    pub(crate) lease: Option<Instant>,
    pub(crate) body: Body,
    /// Connections whose operations wait, first come first.
    pub(crate) parked: VecDeque<u64>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Queue(Queue),
    Dict(Dict),
    List(List),
    Set(Set),
    Semaphore(Semaphore),
    Condition(Condition),
    Barrier(Barrier),
    Shared(Shared),
    Hosted(Hosted),
}

/// Something in shared memory.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segment: Segment,
    /// Proxies that lie in it, if it is a queue: how many of each object.
    pub(crate) pins: HashMap<u64, u64>,
}

/// A value of the user's.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) cell: Cell,
    pub(crate) parallel: bool,
    pub(crate) running: u64,
    /// Calls that wait for their turn.
    pub(crate) pending: VecDeque<u64>,
    pub(crate) poison: Option<String>,
}

impl Body {
    /// The built-in object that is asked for; hosted ones are made elsewhere.
    pub(crate) fn make(make: &Make) -> Result<Body, ManagerError> {
        Ok(match make {
            Make::Queue { order, joinable } => Body::Queue(Queue::new(*order, *joinable)),
            Make::Dict => Body::Dict(Dict::default()),
            Make::List => Body::List(List::default()),
            Make::Set => Body::Set(Set::default()),
            Make::Semaphore { permits, bound } => Body::Semaphore(Semaphore::new(*permits, *bound)),
            Make::Condition => Body::Condition(Condition::default()),
            Make::Barrier { parties } => Body::Barrier(Barrier::new(*parties)),
            Make::Shared(handle) => Body::Shared(Shared {
                segment: Segment::attach(handle)
                    .map_err(|error| ManagerError::system("cannot attach shared memory", error))?,
                pins: HashMap::new(),
            }),
            Make::Hosted { .. } => return Err(ManagerError::NoFunction),
        })
    }

    /// Does an operation, or nothing if it has to wait; then `op` remembers how far it got.
    pub(crate) fn attempt(
        &mut self,
        who: Who,
        op: &mut Op,
        effects: &mut Effects,
    ) -> Option<Result<Reply, ManagerError>> {
        match (self, op) {
            (Body::Queue(queue), Op::Queue(op)) => queue.attempt(who, op, effects),
            (Body::Dict(dict), Op::Dict(op)) => Some(dict.run(op.clone(), effects)),
            (Body::List(list), Op::List(op)) => Some(list.run(op.clone(), effects)),
            (Body::Set(set), Op::Set(op)) => Some(set.run(op.clone(), effects)),
            (Body::Semaphore(semaphore), Op::Semaphore(op)) => semaphore.attempt(who, op),
            (Body::Condition(condition), Op::Condition(op)) => condition.attempt(who, op),
            (Body::Barrier(barrier), Op::Barrier(op)) => barrier.attempt(op),
            _ => Some(Err(ManagerError::refused(
                "the object is of a kind that knows no such operation",
            ))),
        }
    }

    /// Whether `op` must not overtake those who wait already.
    pub(crate) fn keeps_order(&self, op: &Op) -> bool {
        matches!(
            op,
            Op::Semaphore(SemaphoreOp::Acquire { .. }) | Op::Condition(ConditionOp::Acquire { .. })
        ) && matches!(self, Body::Semaphore(_))
    }

    /// The time of a waiting operation is over: what is answered, or nothing if it has to go on waiting.
    pub(crate) fn time_over(&mut self, op: &mut Op) -> Option<ManagerError> {
        match (self, op) {
            (Body::Condition(condition), Op::Condition(ConditionOp::Wait { phase, .. })) => {
                let goes_on = condition.time_over(phase);
                (!goes_on).then_some(ManagerError::Timeout)
            }
            (Body::Barrier(barrier), Op::Barrier(BarrierOp::Wait { arrived })) => {
                barrier.abandon(*arrived);
                Some(ManagerError::Timeout)
            }
            _ => Some(ManagerError::Timeout),
        }
    }

    /// Who waited with this operation is gone.
    pub(crate) fn abandon(&mut self, op: &Op) {
        match (self, op) {
            (Body::Condition(condition), Op::Condition(ConditionOp::Wait { phase, .. })) => {
                condition.abandon(*phase);
            }
            (Body::Barrier(barrier), Op::Barrier(BarrierOp::Wait { arrived })) => {
                barrier.abandon(*arrived);
            }
            _ => {}
        }
    }

    /// A client is gone, and with it what it held of this object.
    pub(crate) fn forget(&mut self, session: u64) {
        match self {
            Body::Queue(queue) => queue.forget(session),
            Body::Semaphore(semaphore) => semaphore.forget(session),
            Body::Condition(condition) => condition.forget(session),
            _ => {}
        }
    }

    /// The objects whose proxies are in its keeping, one number for each proxy.
    pub(crate) fn keeps(&self) -> Vec<u64> {
        let refs = |blob: &Blob| blob.refs.clone();
        match self {
            Body::Queue(queue) => queue.values().flat_map(refs).collect(),
            Body::Dict(dict) => dict.values().flat_map(refs).collect(),
            Body::List(list) => list.values().flat_map(refs).collect(),
            Body::Set(set) => set.values().flat_map(refs).collect(),
            Body::Shared(shared) => {
                let pins = shared.pins.iter();
                pins.flat_map(|(id, count)| (0..*count).map(|_| *id))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}
