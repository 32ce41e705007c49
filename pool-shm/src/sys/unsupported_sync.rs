//! Platforms without shared futexes and robust mutexes: everything says so.

/// Waiting on a word of shared memory.
pub(crate) mod futex {
    use core::sync::atomic::AtomicU32;
    use core::time::Duration;

    /// Gives way to others and returns: the caller looks again.
    pub(crate) fn wait(_word: &AtomicU32, _expected: u32, _timeout: Duration) {
        std::thread::yield_now();
    }

    /// As `wait`.
    pub(crate) fn wait_any(_words: &[(&AtomicU32, u32)], _timeout: Duration) {
        std::thread::yield_now();
    }

    /// Nobody sleeps here.
    pub(crate) fn wake(_word: &AtomicU32, _count: u32) -> u32 {
        0
    }
}

/// Mutexes whose lock passes on when its holder dies: there are none.
pub(crate) mod robust {
    use core::ptr::NonNull;
    use core::time::Duration;

    /// Bytes that one mutex takes.
    pub(crate) const SIZE: usize = 40;

    /// Where a mutex lies.
    pub(crate) type Place = NonNull<u64>;

    const NOT_SUPPORTED: i32 = 95;

    /// How a lock was obtained.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Acquired {
        /// From nobody, or from a holder who gave it back.
        Clean,
        /// From a holder who died; what it protected may be half-written.
        OwnerDied,
    }

    /// Why a lock was not obtained.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Refused {
        /// Somebody holds it, and waited long enough or not asked to wait.
        Busy,
        /// The calling thread holds it already.
        Deadlock,
        /// The bytes are no mutex (any more); the system's error number.
        Damaged(i32),
    }

    /// Refuses.
    ///
    /// # Safety
    /// None is needed; the signature is the same on every platform.
    pub(crate) unsafe fn init(_place: Place) -> Result<(), i32> {
        Err(NOT_SUPPORTED)
    }

    /// Refuses.
    ///
    /// # Safety
    /// As for [`init`].
    pub(crate) unsafe fn lock(_place: Place) -> Result<Acquired, Refused> {
        Err(Refused::Damaged(NOT_SUPPORTED))
    }

    /// Refuses.
    ///
    /// # Safety
    /// As for [`init`].
    pub(crate) unsafe fn try_lock(_place: Place) -> Result<Acquired, Refused> {
        Err(Refused::Damaged(NOT_SUPPORTED))
    }

    /// Refuses.
    ///
    /// # Safety
    /// As for [`init`].
    pub(crate) unsafe fn lock_for(_place: Place, _timeout: Duration) -> Result<Acquired, Refused> {
        Err(Refused::Damaged(NOT_SUPPORTED))
    }

    /// Nothing to give back.
    ///
    /// # Safety
    /// As for [`init`].
    pub(crate) unsafe fn unlock(_place: Place) {}
}
