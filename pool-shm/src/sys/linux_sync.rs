//! Waiting on Linux: futexes in shared memory, and mutexes that tell when their owner has died.

/// Waiting on a word of shared memory.
pub(crate) mod futex {
    use core::sync::atomic::AtomicU32;
    use core::time::Duration;
    use rustix::io::Errno;
    use rustix::thread::futex::{self, Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags};
    use rustix::time::ClockId;

    /// Sleeps while `word` holds `expected`, for `timeout` at most; may return early for no reason.
    pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
        let timeout = Timespec::try_from(timeout).ok();
        // A wake, another value, a signal and the end of the time all lead the caller to look again.
        let _ = futex::wait(word, Flags::empty(), expected, timeout.as_ref());
    }

    /// Sleeps while each word holds what is expected of it, for `timeout` at most; may return early for no reason.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], timeout: Duration) {
        let Some((first, expected)) = words.first() else {
            return;
        };
        let waiters: Vec<Wait> = words
            .iter()
            .map(|(word, expected)| {
                let mut waiter = Wait::new();
                waiter.val = u64::from(*expected);
                waiter.uaddr = WaitPtr::new(word.as_ptr().cast());
                waiter.flags = WaitFlags::SIZE_U32;
                waiter
            })
            .collect();
        let deadline = deadline_in(timeout);
        let slept = futex::waitv(
            &waiters,
            WaitvFlags::empty(),
            Some(&deadline),
            ClockId::Monotonic,
        );
        // As in `wait`, but for a kernel that has no such call, or takes fewer words.
        if matches!(slept, Err(Errno::NOSYS | Errno::INVAL | Errno::PERM)) {
            wait(first, *expected, timeout.min(Duration::from_millis(1)));
        }
    }

    /// Who sleeps longer looks again meanwhile.
    const LONGEST: Duration = Duration::from_secs(3600);

    fn deadline_in(timeout: Duration) -> Timespec {
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        let timeout = timeout.min(LONGEST);
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or_default();
        let nanos = now.tv_nsec + i64::from(timeout.subsec_nanos());
        Timespec {
            tv_sec: now.tv_sec + seconds + nanos / 1_000_000_000,
            tv_nsec: nanos % 1_000_000_000,
        }
    }

    /// Wakes up to `count` sleepers of `word` and returns how many there were.
    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        let count = count.min(i32::MAX.unsigned_abs());
        let woken = futex::wake(word, Flags::empty(), count).unwrap_or(0);
        u32::try_from(woken).unwrap_or(u32::MAX)
    }
}

/// Mutexes whose lock passes on when its holder dies: pthread mutexes, process-shared, robust, error-checking.
pub(crate) mod robust {
    use core::mem::MaybeUninit;
    use core::ptr::NonNull;
    use core::time::Duration;

    /// Bytes that one mutex takes.
    pub(crate) const SIZE: usize = size_of::<libc::pthread_mutex_t>();

    /// Where a mutex lies.
    pub(crate) type Place = NonNull<libc::pthread_mutex_t>;

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

    /// Makes a mutex of the bytes at `place`.
    ///
    /// # Safety
    /// `place` is valid for writes, aligned to 8, and no thread uses these bytes as a mutex.
    pub(crate) unsafe fn init(place: Place) -> Result<(), i32> {
        let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attr = attributes.as_mut_ptr();
        // SAFETY: the place is valid for writes, and init is what makes attributes of it.
        check(unsafe { libc::pthread_mutexattr_init(attr) })?;
        // SAFETY: initialised one line above.
        let shared =
            unsafe { libc::pthread_mutexattr_setpshared(attr, libc::PTHREAD_PROCESS_SHARED) };
        // SAFETY: as above.
        let robust = unsafe { libc::pthread_mutexattr_setrobust(attr, libc::PTHREAD_MUTEX_ROBUST) };
        // SAFETY: as above.
        let kind = unsafe { libc::pthread_mutexattr_settype(attr, libc::PTHREAD_MUTEX_ERRORCHECK) };
        check(shared)?;
        check(robust)?;
        check(kind)?;
        // SAFETY: the caller vouches for the place; the attributes are initialised.
        let made = unsafe { libc::pthread_mutex_init(place.as_ptr(), attr) };
        // SAFETY: initialised above, not used afterwards.
        check(unsafe { libc::pthread_mutexattr_destroy(attr) })?;
        check(made)
    }

    /// Waits for the lock for as long as it takes.
    ///
    /// # Safety
    /// `place` holds a mutex made by [`init`], mapped until it is unlocked.
    pub(crate) unsafe fn lock(place: Place) -> Result<Acquired, Refused> {
        // SAFETY: as this function demands.
        let code = unsafe { libc::pthread_mutex_lock(place.as_ptr()) };
        // SAFETY: as this function demands; the code is of this mutex.
        unsafe { outcome(place, code) }
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Safety
    /// As for [`lock`].
    pub(crate) unsafe fn try_lock(place: Place) -> Result<Acquired, Refused> {
        // SAFETY: as this function demands.
        let code = unsafe { libc::pthread_mutex_trylock(place.as_ptr()) };
        // SAFETY: as this function demands; the code is of this mutex.
        unsafe { outcome(place, code) }
    }

    /// Waits for the lock for `timeout` at most, by the clock that people set: keep it short and ask again.
    ///
    /// # Safety
    /// As for [`lock`].
    pub(crate) unsafe fn lock_for(place: Place, timeout: Duration) -> Result<Acquired, Refused> {
        let deadline = realtime_after(timeout);
        // SAFETY: as this function demands; the time is valid.
        let code = unsafe { libc::pthread_mutex_timedlock(place.as_ptr(), &raw const deadline) };
        // SAFETY: as this function demands; the code is of this mutex.
        unsafe { outcome(place, code) }
    }

    /// Gives the lock back.
    ///
    /// # Safety
    /// The calling thread holds it, obtained through this very mapping.
    pub(crate) unsafe fn unlock(place: Place) {
        // SAFETY: as this function demands. An error is only possible if somebody overwrote the mutex, and then there is nothing to give back.
        let _ = unsafe { libc::pthread_mutex_unlock(place.as_ptr()) };
    }

    /// # Safety
    /// `code` is what an attempt to lock the mutex at `place` has just returned to this thread.
    unsafe fn outcome(place: Place, code: i32) -> Result<Acquired, Refused> {
        match code {
            0 => Ok(Acquired::Clean),
            libc::EOWNERDEAD => {
                // SAFETY: this thread has the lock, from a dead owner: what `consistent` asks for.
                check(unsafe { libc::pthread_mutex_consistent(place.as_ptr()) })
                    .map_err(Refused::Damaged)?;
                Ok(Acquired::OwnerDied)
            }
            libc::EBUSY | libc::ETIMEDOUT => Err(Refused::Busy),
            libc::EDEADLK => Err(Refused::Deadlock),
            code => Err(Refused::Damaged(code)),
        }
    }

    fn realtime_after(timeout: Duration) -> libc::timespec {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let nanos = now.tv_nsec + i64::from(timeout.subsec_nanos());
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        libc::timespec {
            tv_sec: now
                .tv_sec
                .saturating_add(seconds)
                .saturating_add(nanos / 1_000_000_000),
            tv_nsec: nanos % 1_000_000_000,
        }
    }

    fn check(code: i32) -> Result<(), i32> {
        if code == 0 { Ok(()) } else { Err(code) }
    }
}
