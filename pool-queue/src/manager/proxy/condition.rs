//! Conditions that the server holds: a lock, and waiting to be told that something has changed.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guard::{ManagedLockError, holder, obtained};
use super::{expect_reply, proxy, within};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{ConditionOp, Make, Op, Phase, Reply, Wait};
use crate::manager::session::unexpected;
use crate::manager::value::Object;

/// A lock whose holder can wait until another holder says that something has changed.
///
/// A notification reaches exactly as many of those who wait as it says, first come first; one that a dying process took with it goes to the
/// next. There are no spurious wake-ups, but what was true when it was sent may have changed again: look in a loop, or use
/// [`ConditionGuard::wait_for`].
pub struct ConditionProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(ConditionProxy);

/// The lock of a condition, held.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ConditionGuard<'a> {
    condition: &'a ConditionProxy,
    holder: u64,
    stays: PhantomData<Rc<()>>,
}

type Locked<'a> = Result<ConditionGuard<'a>, ManagedLockError<ConditionGuard<'a>>>;

impl ConditionProxy {
    /// Waits until the lock is free and takes it.
    ///
    /// # Errors
    ///
    /// [`ManagedLockError::OwnerDied`] with the guard; the manager is gone.
    pub fn lock(&self) -> Locked<'_> {
        self.acquire(Wait::Forever)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`]; and those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Locked<'_> {
        self.acquire(Wait::Now)
    }

    /// Waits for the lock for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Locked<'_> {
        self.acquire(within(timeout))
    }

    fn acquire(&self, wait: Wait) -> Locked<'_> {
        let holder = holder();
        match self.operate(ConditionOp::Acquire { holder }, wait)? {
            Reply::Locked { owner_died } => {
                let guard = ConditionGuard {
                    condition: self,
                    holder,
                    stays: PhantomData,
                };
                obtained(guard, owner_died)
            }
            other => Err(unexpected(other).into()),
        }
    }

    fn operate(&self, op: ConditionOp, wait: Wait) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Condition(op), wait)
    }
}

impl ConditionGuard<'_> {
    /// Lets the lock go, waits until notified, and takes the lock again.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn wait(&mut self) -> Result<(), ManagerError> {
        self.sleep(Wait::Forever).map(drop)
    }

    /// The same for `timeout` at most, and however long it takes to get the lock again. Whether it was notified.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool, ManagerError> {
        self.sleep(within(timeout))
    }

    /// Waits until `predicate` holds; it is asked with the lock held, at first and after each notification.
    ///
    /// # Errors
    ///
    /// What `predicate` returns; the manager is gone.
    pub fn wait_for(
        &mut self,
        mut predicate: impl FnMut() -> Result<bool, ManagerError>,
    ) -> Result<(), ManagerError> {
        while !predicate()? {
            self.wait()?;
        }
        Ok(())
    }

    /// The same for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`] if it does not hold by then; what `predicate` returns; the manager is gone.
    pub fn wait_for_timeout(
        &mut self,
        mut predicate: impl FnMut() -> Result<bool, ManagerError>,
        timeout: Duration,
    ) -> Result<(), ManagerError> {
        let end = Instant::now().checked_add(timeout);
        while !predicate()? {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            match left {
                Some(Duration::ZERO) => return Err(ManagerError::Timeout),
                Some(left) => drop(self.wait_timeout(left)?),
                None => self.wait()?,
            }
        }
        Ok(())
    }

    /// Wakes one of those who wait, if any does. Whether one did.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn notify_one(&self) -> Result<bool, ManagerError> {
        self.notify(1).map(|woken| woken > 0)
    }

    /// Wakes up to `count` of those who wait; how many.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn notify(&self, count: u64) -> Result<u64, ManagerError> {
        let holder = self.holder;
        let op = ConditionOp::Notify { holder, count };
        expect_reply!(self.condition.operate(op, Wait::Now), Reply::Number(woken) => woken)
    }

    /// Wakes all who wait; how many.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn notify_all(&self) -> Result<u64, ManagerError> {
        self.notify(u64::MAX)
    }

    fn sleep(&mut self, wait: Wait) -> Result<bool, ManagerError> {
        let op = ConditionOp::Wait {
            holder: self.holder,
            phase: Phase::Begin,
        };
        expect_reply!(self.condition.operate(op, wait), Reply::Numbers(notified, _) => notified != 0)
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        let holder = self.holder;
        // If the manager is gone, so is the lock.
        let _ = self
            .condition
            .operate(ConditionOp::Release { holder }, Wait::Now);
    }
}

impl Manager {
    /// A lock whose holder can wait for news of others.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn condition(&self) -> Result<ConditionProxy, ManagerError> {
        Ok(ConditionProxy::of(
            self.make::<ConditionProxy>(Make::Condition)?,
        ))
    }
}
