//! Events, in shared memory, and barriers, which the server holds.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_shm::sync::Event;

use super::shared::Shared;
use super::{expect_reply, proxy, shared_proxy, within};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{BarrierOp, Make, Op, Reply, Wait};
use crate::manager::value::Object;
use crate::wait::LOOK;

/// A flag that processes wait for.
///
/// It lies in shared memory: only a wait looks after the manager now and then, since with it those may be gone who would set the flag.
pub struct EventProxy {
    shared: Shared<Event>,
}

shared_proxy!(EventProxy, Event);

impl EventProxy {
    /// Sets the flag and wakes all who wait.
    ///
    /// # Errors
    ///
    /// None: it goes on when the manager is gone.
    pub fn set(&self) -> Result<(), ManagerError> {
        self.shared.set();
        Ok(())
    }

    /// Takes the flag back.
    ///
    /// # Errors
    ///
    /// None: it goes on when the manager is gone.
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.shared.clear();
        Ok(())
    }

    /// Whether the flag was set at one moment of this call.
    ///
    /// # Errors
    ///
    /// None: it goes on when the manager is gone.
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        Ok(self.shared.is_set())
    }

    /// Waits until the flag is set.
    ///
    /// # Errors
    ///
    /// The manager is gone and the flag is not set.
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.wait_until(None)
    }

    /// Waits until the flag is set, for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; the manager is gone and the flag is not set.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), ManagerError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<(), ManagerError> {
        loop {
            let left = deadline.map_or(LOOK, |end| end.saturating_duration_since(Instant::now()));
            if self.shared.wait_timeout(left.min(LOOK)) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(ManagerError::Timeout);
            }
            self.shared.object.session.check()?;
        }
    }
}

/// A place where a number of threads, of any processes, wait for each other.
///
/// If one of those who wait dies, has no more time or aborts, the barrier is broken: all get [`ManagerError::Broken`] until it is reset.
pub struct BarrierProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(BarrierProxy);

impl BarrierProxy {
    /// Waits until all parties are here. The number of those who came before: one of them gets 0.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Broken`]; the manager is gone.
    pub fn wait(&self) -> Result<u64, ManagerError> {
        self.arrive(Wait::Forever)
    }

    /// The same for `timeout` at most; then the barrier is broken for all.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u64, ManagerError> {
        self.arrive(within(timeout))
    }

    /// Breaks the barrier.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn abort(&self) -> Result<(), ManagerError> {
        expect_reply!(self.operate(BarrierOp::Abort, Wait::Now), Reply::Done => ())
    }

    /// Makes the barrier as it was at its start. Those who wait get [`ManagerError::Broken`].
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn reset(&self) -> Result<(), ManagerError> {
        expect_reply!(self.operate(BarrierOp::Reset, Wait::Now), Reply::Done => ())
    }

    /// How many wait now.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn waiting(&self) -> Result<u64, ManagerError> {
        expect_reply!(self.operate(BarrierOp::State, Wait::Now), Reply::Numbers(waiting, _) => waiting)
    }

    /// Whether it is broken.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn is_broken(&self) -> Result<bool, ManagerError> {
        expect_reply!(self.operate(BarrierOp::State, Wait::Now), Reply::Numbers(_, broken) => broken != 0)
    }

    fn arrive(&self, wait: Wait) -> Result<u64, ManagerError> {
        expect_reply!(
            self.operate(BarrierOp::Wait { arrived: None }, wait),
            Reply::Number(index) => index
        )
    }

    fn operate(&self, op: BarrierOp, wait: Wait) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Barrier(op), wait)
    }
}

impl Manager {
    /// A flag that processes wait for, not set.
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn event(&self) -> Result<EventProxy, ManagerError> {
        let no_memory = "cannot get shared memory for an event";
        let event = Event::new().map_err(|error| ManagerError::system(no_memory, error))?;
        self.share(event).map(|shared| EventProxy { shared })
    }

    /// A place where `parties` threads wait for each other; 0 is taken as 1.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn barrier(&self, parties: u64) -> Result<BarrierProxy, ManagerError> {
        let object = self.make::<BarrierProxy>(Make::Barrier { parties })?;
        Ok(BarrierProxy::of(object))
    }
}
