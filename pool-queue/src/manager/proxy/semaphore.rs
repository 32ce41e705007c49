//! Semaphores that the server holds.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{expect_reply, proxy, within};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{Make, Op, Reply, SemaphoreOp, Wait};
use crate::manager::value::Object;

/// A number of permits.
///
/// A permit that was taken comes back when its [`Permit`] is dropped, and also when the process that holds it ends.
pub struct SemaphoreProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(SemaphoreProxy);

/// Permits that were taken. They are given back when this is dropped.
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a SemaphoreProxy,
    permits: u64,
}

impl Permit<'_> {
    /// Keeps the permits for good: nobody gives them back but a call of [`SemaphoreProxy::release`].
    pub fn forget(self) {
        let permits = self.permits;
        // If the manager is gone, so are the permits.
        let _ = self
            .semaphore
            .operate(SemaphoreOp::Forget { permits }, Wait::Now);
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let permits = self.permits;
        // If the manager is gone, so are the permits.
        let _ = self
            .semaphore
            .operate(SemaphoreOp::Release { permits }, Wait::Now);
    }
}

impl SemaphoreProxy {
    /// Waits for a permit and takes it.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn acquire(&self) -> Result<Permit<'_>, ManagerError> {
        self.take(1, Wait::Forever)
    }

    /// Waits for several permits and takes them at once.
    ///
    /// # Errors
    ///
    /// More than a bounded semaphore has; the manager is gone.
    pub fn acquire_many(&self, permits: u64) -> Result<Permit<'_>, ManagerError> {
        self.take(permits, Wait::Forever)
    }

    /// Takes a permit if there is one.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`] if not, or if others wait already; the manager is gone.
    pub fn try_acquire(&self) -> Result<Permit<'_>, ManagerError> {
        self.take(1, Wait::Now)
    }

    /// Waits for a permit for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; the manager is gone.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, ManagerError> {
        self.take(1, within(timeout))
    }

    /// Adds permits, whoever took them.
    ///
    /// # Errors
    ///
    /// [`ManagerError::TooManyReleases`] for a bounded semaphore; the manager is gone.
    pub fn release(&self, permits: u64) -> Result<(), ManagerError> {
        expect_reply!(self.operate(SemaphoreOp::Release { permits }, Wait::Now), Reply::Done => ())
    }

    /// How many permits were free at one moment of this call.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn available(&self) -> Result<u64, ManagerError> {
        expect_reply!(self.operate(SemaphoreOp::Available, Wait::Now), Reply::Number(number) => number)
    }

    fn take(&self, permits: u64, wait: Wait) -> Result<Permit<'_>, ManagerError> {
        expect_reply!(
            self.operate(SemaphoreOp::Acquire { permits }, wait),
            Reply::Done => Permit { semaphore: self, permits }
        )
    }

    fn operate(&self, op: SemaphoreOp, wait: Wait) -> Result<Reply, ManagerError> {
        self.object.operate(Op::Semaphore(op), wait)
    }
}

impl Manager {
    /// A semaphore with so many permits; more may be added.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn semaphore(&self, permits: u64) -> Result<SemaphoreProxy, ManagerError> {
        self.make_semaphore(permits, None)
    }

    /// A semaphore that never has more permits than at its start: giving back too much is an error.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn bounded_semaphore(&self, permits: u64) -> Result<SemaphoreProxy, ManagerError> {
        self.make_semaphore(permits, Some(permits))
    }

    fn make_semaphore(
        &self,
        permits: u64,
        bound: Option<u64>,
    ) -> Result<SemaphoreProxy, ManagerError> {
        let object = self.make::<SemaphoreProxy>(Make::Semaphore { permits, bound })?;
        Ok(SemaphoreProxy::of(object))
    }
}
