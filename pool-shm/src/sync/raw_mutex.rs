//! A robust lock at an offset of a segment.
//!
//! Layout, 64 bytes aligned to 64: a state word, the system's mutex, a note. The state word tells a mutex from zeros and from one whose making was cut short.
//! The note is a word for whoever builds something on the lock, in the same cache line.

use super::LockError;
use crate::error::Kind;
use crate::sys::robust::{self, Acquired, Place, Refused};
use crate::{Segment, ShmError};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const UNMADE: u64 = 0;
/// Somebody is making the mutex, or was killed while doing so.
const MAKING: u64 = u64::from_le_bytes(*b"mutex-00");
const READY: u64 = u64::from_le_bytes(*b"mutex-01");

/// Longest single wait by the system's clock, which people can set: the deadline itself is by the clock that only goes forward.
const SLICE: Duration = Duration::from_secs(1);

/// A lock that processes share and that outlives its holder, at an offset of a segment; it protects whatever you say it does.
///
/// When the thread that holds it ends, or its process is killed or executes another program, the next one to lock it gets the lock as
/// [`LockError::OwnerDied`], with the guard, so that it can repair what was left half-done. That report comes once: the lock is in order again.
///
/// It is not recursive (a second lock by the same thread is an error) and not fair. A process maps a segment once, and a lock keeps that mapping
/// until it is given back, even if the guard is forgotten: the system could not tell of its holder's death otherwise.
///
/// # Trust
/// The words of the lock itself are the C library's: a process that overwrites them on purpose can disturb everyone who uses this lock. Hand segments to
/// programs of your own only.
///
/// # Examples
/// ```
/// use pool_shm::Segment;
/// use pool_shm::sync::RawMutex;
///
/// let segment = Segment::create(4096)?;
/// let mutex = RawMutex::init(&segment, 0)?;
/// let again = RawMutex::attach(&segment, 0)?; // normally in another process
/// let guard = mutex.lock().expect("no holder has died");
/// assert!(std::thread::scope(|s| s.spawn(|| again.try_lock().is_err()).join().unwrap()));
/// drop(guard);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct RawMutex {
    segment: Segment,
    offset: usize,
    /// Whether somebody holds the lock through this very value.
    held: AtomicBool,
}

/// The lock, held; dropping it gives the lock back.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RawMutexGuard<'a> {
    mutex: &'a RawMutex,
    /// The lock belongs to a thread, so a guard does not leave its thread.
    not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard offers nothing at all.
unsafe impl Sync for RawMutexGuard<'_> {}

impl RawMutex {
    /// Bytes that a mutex takes.
    pub const SIZE: usize = 64;
    /// What its offset must be a multiple of.
    pub const ALIGN: usize = 64;

    /// Makes a mutex of the [`SIZE`](Self::SIZE) zeroed bytes at `offset`.
    ///
    /// # Errors
    /// `is_out_of_bounds` if they do not lie in the segment or are not aligned; `is_mismatch` if there is a mutex or something else already;
    /// or the system has no such mutexes.
    pub fn init(segment: &Segment, offset: usize) -> Result<Self, ShmError> {
        let mutex = Self::locate(segment, offset)?;
        let claimed =
            mutex
                .state()
                .compare_exchange(UNMADE, MAKING, Ordering::Relaxed, Ordering::Relaxed);
        if let Err(found) = claimed {
            return Err(mismatch("64 zeroed bytes", found));
        }
        // SAFETY: the place was checked by `locate`; the state word went from zero to "making" by this call alone, so nobody uses it yet.
        unsafe { robust::init(mutex.place()) }.map_err(|code| Kind::System {
            doing: "make a robust mutex in shared memory",
            source: std::io::Error::from_raw_os_error(code),
        })?;
        // SYNC: mutex-made
        mutex.state().store(READY, Ordering::Release);
        Ok(mutex)
    }

    /// Uses the mutex that was made at `offset`, by whatever process.
    ///
    /// # Errors
    /// `is_out_of_bounds` as for [`init`](Self::init); `is_mismatch` if no mutex has been made there.
    pub fn attach(segment: &Segment, offset: usize) -> Result<Self, ShmError> {
        let mutex = Self::locate(segment, offset)?;
        // SYNC: mutex-made
        match mutex.state().load(Ordering::Acquire) {
            READY => Ok(mutex),
            found => Err(mismatch("a mutex", found)),
        }
    }

    /// Waits until the lock is free, or its holder dead, and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard; [`LockError::Deadlock`] if this thread holds it already; [`LockError::Damaged`].
    pub fn lock(&self) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        // SAFETY: made and checked by `init` or `attach`; `Drop` keeps the mapping while it is held.
        let outcome = unsafe { robust::lock(self.place()) };
        self.guard(outcome)
    }

    /// Takes the lock if it is free or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if somebody holds it (this thread included); [`LockError::OwnerDied`] with the guard; [`LockError::Damaged`].
    pub fn try_lock(&self) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        match self.attempt() {
            Err(LockError::Deadlock) => Err(LockError::WouldBlock),
            outcome => outcome,
        }
    }

    /// As [`try_lock`](Self::try_lock), but [`LockError::Deadlock`] if this thread holds it.
    pub(crate) fn attempt(&self) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        // SAFETY: as in `lock`.
        let outcome = unsafe { robust::try_lock(self.place()) };
        self.guard(outcome)
    }

    /// Waits for the lock until `deadline` at most. A free lock is taken even if the deadline has passed.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`lock`](Self::lock).
    pub fn lock_until(
        &self,
        deadline: Instant,
    ) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        // SAFETY: as in `lock`.
        let mut outcome = unsafe { robust::try_lock(self.place()) };
        while outcome == Err(Refused::Busy) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LockError::Timeout);
            }
            // SAFETY: as in `lock`.
            outcome = unsafe { robust::lock_for(self.place(), left.min(SLICE)) };
        }
        self.guard(outcome)
    }

    /// Waits for the lock for `timeout` at most.
    ///
    /// # Errors
    /// As for [`lock_until`](Self::lock_until).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.lock_until(deadline),
            None => self.lock(),
        }
    }

    /// A word beside the lock, zero at first, for whoever builds something on it.
    pub(crate) fn note(&self) -> &AtomicU64 {
        self.segment
            .get(self.offset + NOTE)
            .expect("the range was checked when the mutex was located")
    }

    /// The guard of a lock whose guard was forgotten.
    ///
    /// # Safety
    /// The calling thread holds the lock, and no other guard of it exists.
    pub(crate) unsafe fn resume(&self) -> RawMutexGuard<'_> {
        RawMutexGuard {
            mutex: self,
            not_send: PhantomData,
        }
    }

    /// Makes `count` mutexes, one behind the other.
    pub(crate) fn init_many(
        segment: &Segment,
        offset: usize,
        count: usize,
    ) -> Result<Box<[Self]>, ShmError> {
        (0..count)
            .map(|i| Self::init(segment, offset + i * Self::SIZE))
            .collect()
    }

    /// Uses the mutexes that [`init_many`](Self::init_many) made.
    pub(crate) fn attach_many(
        segment: &Segment,
        offset: usize,
        count: usize,
    ) -> Result<Box<[Self]>, ShmError> {
        (0..count)
            .map(|i| Self::attach(segment, offset + i * Self::SIZE))
            .collect()
    }

    fn guard(
        &self,
        outcome: Result<Acquired, Refused>,
    ) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        let acquired = match outcome {
            Ok(acquired) => acquired,
            Err(Refused::Busy) => return Err(LockError::WouldBlock),
            Err(Refused::Deadlock) => return Err(LockError::Deadlock),
            Err(Refused::Damaged(code)) => return Err(LockError::Damaged { code }),
        };
        self.held.store(true, Ordering::Relaxed);
        let guard = RawMutexGuard {
            mutex: self,
            not_send: PhantomData,
        };
        match acquired {
            Acquired::Clean => Ok(guard),
            Acquired::OwnerDied => Err(LockError::OwnerDied(guard)),
        }
    }

    /// A mutex that is not known to be one yet.
    fn locate(segment: &Segment, offset: usize) -> Result<Self, ShmError> {
        segment.locate::<Words>(offset, 1)?;
        Ok(Self {
            segment: segment.clone(),
            offset,
            held: AtomicBool::new(false),
        })
    }

    fn state(&self) -> &AtomicU64 {
        self.segment
            .get(self.offset)
            .expect("the range was checked when the mutex was located")
    }

    fn place(&self) -> Place {
        let start = self.segment.as_ptr().wrapping_add(self.offset + STATE_SIZE);
        Place::new(start.cast()).expect("a mapping is not at address zero")
    }
}

impl Drop for RawMutex {
    fn drop(&mut self) {
        if *self.held.get_mut() {
            // The guard was forgotten. If the segment were unmapped now, the kernel would not find the lock when this thread ends, and it would stay locked for ever.
            std::mem::forget(self.segment.clone());
        }
    }
}

impl<'a> RawMutexGuard<'a> {
    /// The lock that it holds.
    pub(crate) fn mutex(&self) -> &'a RawMutex {
        self.mutex
    }
}

impl Drop for RawMutexGuard<'_> {
    fn drop(&mut self) {
        self.mutex.held.store(false, Ordering::Relaxed);
        // SAFETY: a guard is made only with the lock held and does not leave its thread; there is one mapping per process and segment.
        unsafe { robust::unlock(self.mutex.place()) }
    }
}

const STATE_SIZE: usize = size_of::<AtomicU64>();
/// Where the note lies.
const NOTE: usize = RawMutex::SIZE - size_of::<AtomicU64>();
const _: () = assert!(STATE_SIZE + robust::SIZE <= NOTE);

/// The place that a mutex takes.
#[repr(C, align(64))]
struct Words([u8; RawMutex::SIZE]);

fn mismatch(asked: &str, found: u64) -> ShmError {
    let found = match found {
        UNMADE => "zeros: no mutex was made there".to_owned(),
        MAKING => {
            "a mutex whose making is not finished: its maker is at it, or was killed".to_owned()
        }
        READY => "a mutex".to_owned(),
        word => format!("something else ({word:#018x})"),
    };
    Kind::Mismatch {
        what: "contents",
        of: "place of a mutex",
        asked: asked.to_owned(),
        found,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment {
        Segment::create(4096).unwrap()
    }

    #[test]
    fn a_second_lock_by_the_same_thread_is_an_error() {
        let segment = segment();
        let mutex = RawMutex::init(&segment, 64).unwrap();
        let guard = mutex.lock().unwrap();
        assert!(matches!(mutex.lock(), Err(LockError::Deadlock)));
        assert!(matches!(mutex.try_lock(), Err(LockError::WouldBlock)));
        drop(guard);
        drop(mutex.lock().unwrap());
    }

    #[test]
    fn it_excludes_and_counts_right() {
        let segment = segment();
        RawMutex::init(&segment, 0).unwrap();
        let count = segment.cells::<u64>(64, 1).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mutex = RawMutex::attach(&segment, 0).unwrap();
                    for _ in 0..1000 {
                        let _guard = mutex.lock().unwrap();
                        count.set(0, count.get(0) + 1);
                    }
                });
            }
        });
        assert_eq!(count.get(0), 4000);
    }

    #[test]
    fn a_timeout_passes_while_another_thread_holds_it() {
        let segment = segment();
        let mutex = RawMutex::init(&segment, 0).unwrap();
        let guard = mutex.lock().unwrap();
        let other = || mutex.lock_timeout(Duration::from_millis(5)).map(drop);
        let refused = std::thread::scope(|s| s.spawn(|| other().is_err()).join().unwrap());
        assert!(refused);
        drop(guard);
        assert!(mutex.lock_timeout(Duration::ZERO).is_ok());
        assert!(mutex.lock_timeout(Duration::MAX).is_ok());
    }

    #[test]
    fn the_end_of_the_holding_thread_is_reported_once() {
        let segment = segment();
        let mutex = RawMutex::init(&segment, 0).unwrap();
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| std::mem::forget(mutex.lock().unwrap()));
            ended.join().unwrap();
        });
        // The kernel marks the lock when the thread is really gone, which may be after `join`: a blocking lock waits for that.
        let Err(LockError::OwnerDied(guard)) = mutex.lock() else {
            panic!("the death of the holder was not reported");
        };
        drop(guard);
        drop(mutex.lock().unwrap());
    }

    #[test]
    fn a_forgotten_guard_keeps_the_mapping() {
        let segment = segment();
        let id = segment.id();
        let handle = segment.handle();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mutex = RawMutex::init(&segment, 0).unwrap();
                std::mem::forget(mutex.lock().unwrap());
            });
        });
        // Still there although nobody owns a clone any more: the lock's holder died with it mapped.
        let segment = Segment::attach(&handle).unwrap();
        assert_eq!(segment.id(), id);
        let mutex = RawMutex::attach(&segment, 0).unwrap();
        assert!(matches!(mutex.lock(), Err(LockError::OwnerDied(_))));
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        let segment = segment();
        assert!(RawMutex::attach(&segment, 0).unwrap_err().is_mismatch());
        assert!(RawMutex::init(&segment, 32).unwrap_err().is_out_of_bounds());
        assert!(
            RawMutex::init(&segment, 4096)
                .unwrap_err()
                .is_out_of_bounds()
        );
        RawMutex::init(&segment, 0).unwrap();
        assert!(RawMutex::init(&segment, 0).unwrap_err().is_mismatch());
        segment.cells::<u64>(64, 1).unwrap().set(0, MAKING);
        let unfinished = RawMutex::attach(&segment, 64).unwrap_err();
        assert!(
            unfinished.to_string().contains("not finished"),
            "{unfinished}"
        );
    }
}
