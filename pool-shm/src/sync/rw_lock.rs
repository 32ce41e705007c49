//! A value that many may read or one may write.

use super::home::{self, BODY, Label};
use super::wait::Wait;
use super::{LockError, RawMutex, protocol};
use crate::{Segment, ShmError};
use bytemuck::Pod;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MAGIC: [u8; 8] = *b"rwlock01";
const STATE: usize = BODY;
const WANTED: usize = BODY + 4;
const GATE: usize = BODY + 64;
const LOCKS: usize = GATE + RawMutex::SIZE;
const VALUE: usize = LOCKS + READERS * RawMutex::SIZE;

/// How many read at once. A writer takes as many locks, so more would cost it more.
const READERS: usize = 32;

/// A value in shared memory that many threads of many processes may read at once, or one may write.
///
/// A writer that waits goes before readers that come later. A thread that reads must not read again before it lets go: with a writer between the two, that
/// is a deadlock. Up to 32 read at once; more wait. Reading costs little more than a [`Mutex`](super::Mutex), writing about a microsecond.
///
/// # Deaths
/// The death of a reader is nothing. After the death of a writer, every reader and the next writer get [`LockError::OwnerDied`] with their guard: readers are
/// told until a writer has had the lock and given it back, which says that the value is in order again.
///
/// # Examples
/// ```
/// use pool_shm::sync::RwLock;
///
/// let limits = RwLock::new([0.0_f64, 1.0])?;
/// {
///     let ours = limits.read().expect("no writer has died");
///     assert_eq!(ours[1], 1.0);
///     let theirs = || limits.read().expect("no writer has died")[0];
///     assert_eq!(std::thread::scope(|s| s.spawn(theirs).join().unwrap()), 0.0);
/// }
/// limits.write().expect("no writer has died")[1] = 2.0;
/// assert_eq!(*limits.read().expect("no writer has died"), [0.0, 2.0]);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct RwLock<T: Pod> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    segment: Segment,
    gate: RawMutex,
    locks: Box<[RawMutex]>,
    value: PhantomData<fn() -> T>,
}

/// The value, for reading. It does not leave its thread.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: Pod> {
    inner: &'a Inner<T>,
    _hold: protocol::ReadHold<'a>,
}

/// The value, for writing. It does not leave its thread.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: Pod> {
    inner: &'a Inner<T>,
    _hold: protocol::WriteHold<'a>,
}

home::handle!(RwLock<T: Pod>);

/// A guard for reading, or why not.
type Reading<'a, T> = Result<RwLockReadGuard<'a, T>, LockError<RwLockReadGuard<'a, T>>>;
/// A guard for writing, or why not.
type Writing<'a, T> = Result<RwLockWriteGuard<'a, T>, LockError<RwLockWriteGuard<'a, T>>>;

impl<T: Pod> RwLock<T> {
    /// Makes a segment with `value` in it.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "values are aligned to 64 bytes at most"
            )
        };
        let label = Label::new::<T>(MAGIC, READERS);
        let segment = home::create(label, VALUE - BODY + size_of::<T>())?;
        segment.cells::<T>(VALUE, 1)?.set(0, value);
        RawMutex::init(&segment, GATE)?;
        RawMutex::init_many(&segment, LOCKS, READERS)?;
        Self::attach(segment)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<T>(&segment, MAGIC, "read-write lock")?;
        segment.cells::<T>(VALUE, 1)?;
        let gate = RawMutex::attach(&segment, GATE)?;
        let locks = RawMutex::attach_many(&segment, LOCKS, READERS)?;
        Ok(Self {
            inner: Arc::new(Inner {
                segment,
                gate,
                locks,
                value: PhantomData,
            }),
        })
    }

    /// Waits until nobody writes, and reads.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard if a writer died and none came after it; [`LockError::Deadlock`] if this thread writes;
    /// [`LockError::Damaged`].
    pub fn read(&self) -> Reading<'_, T> {
        self.read_by(Wait::Forever)
    }

    /// Reads if nobody writes or waits for writing.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; [`LockError::OwnerDied`] as for [`read`](Self::read); [`LockError::Damaged`].
    pub fn try_read(&self) -> Reading<'_, T> {
        self.read_by(Wait::No)
    }

    /// Waits for reading for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Reading<'_, T> {
        self.read_by(Wait::at_most(timeout))
    }

    /// Waits until nobody else reads or writes, and writes.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard if the writer before died; [`LockError::Deadlock`] if this thread reads or writes;
    /// [`LockError::Damaged`].
    pub fn write(&self) -> Writing<'_, T> {
        self.write_by(Wait::Forever)
    }

    /// Writes if nobody reads or writes.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; [`LockError::OwnerDied`] as for [`write`](Self::write); [`LockError::Damaged`].
    pub fn try_write(&self) -> Writing<'_, T> {
        self.write_by(Wait::No)
    }

    /// Waits for writing for `timeout` at most. Readers that come meanwhile wait behind it.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Writing<'_, T> {
        self.write_by(Wait::at_most(timeout))
    }

    fn read_by(&self, wait: Wait) -> Reading<'_, T> {
        let wrap = |hold| RwLockReadGuard {
            inner: &self.inner,
            _hold: hold,
        };
        let hold = self.inner.protocol().read(home(), wait);
        hold.map(wrap).map_err(|error| error.map(wrap))
    }

    fn write_by(&self, wait: Wait) -> Writing<'_, T> {
        let wrap = |hold| RwLockWriteGuard {
            inner: &self.inner,
            _hold: hold,
        };
        let hold = self.inner.protocol().write(wait);
        hold.map(wrap).map_err(|error| error.map(wrap))
    }
}

impl<T: Pod> Inner<T> {
    fn protocol(&self) -> protocol::RwLock<'_> {
        let fits = "every segment has a page at least";
        protocol::RwLock {
            gate: &self.gate,
            locks: &self.locks,
            state: self.segment.get(STATE).expect(fits),
            wanted: self.segment.get(WANTED).expect(fits),
        }
    }

    fn place(&self) -> *mut T {
        self.segment.as_ptr().wrapping_add(VALUE).cast()
    }
}

/// The lock that this thread tries first, so that readers seldom meet.
fn home() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HOME: Cell<Option<usize>> = const { Cell::new(None) };
    }
    HOME.with(|home| {
        home.get().unwrap_or_else(|| {
            // Processes begin at different places.
            let process = std::process::id() as usize;
            let new = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % READERS;
            home.set(Some(new));
            new
        })
    })
}

impl<T: Pod> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: in bounds and aligned (checked when attached), any bits are a `T: Pod`, and the lock keeps writers away while `self` lives.
        unsafe { &*self.inner.place() }
    }
}

impl<T: Pod> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: as for reading; the lock keeps everybody else away.
        unsafe { &*self.inner.place() }
    }
}

impl<T: Pod> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { &mut *self.inner.place() }
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RwLockReadGuard").field(&**self).finish()
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RwLockWriteGuard").field(&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(f).join().unwrap())
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let lock = RwLock::new([0_u64; 2]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let mut pair = lock.write().unwrap();
                        pair[0] += 1;
                        pair[1] += 1;
                    }
                });
                scope.spawn(|| {
                    for _ in 0..300 {
                        let pair = lock.read().unwrap();
                        assert_eq!(pair[0], pair[1]);
                    }
                });
            }
        });
        assert_eq!(*lock.read().unwrap(), [600; 2]);
        let reading = lock.read().unwrap();
        assert!(elsewhere(|| lock.try_read().is_ok()));
        assert!(elsewhere(|| matches!(
            lock.try_write(),
            Err(LockError::WouldBlock)
        )));
        let limit = Duration::from_millis(2);
        assert!(elsewhere(|| matches!(
            lock.write_timeout(limit),
            Err(LockError::Timeout)
        )));
        assert!(
            elsewhere(|| lock.try_read().is_ok()),
            "a writer that gave up is still obeyed"
        );
        drop(reading);
        let writing = lock.write().unwrap();
        assert!(elsewhere(|| matches!(
            lock.read_timeout(limit),
            Err(LockError::Timeout)
        )));
        assert!(matches!(lock.read(), Err(LockError::Deadlock)));
        assert!(matches!(lock.write(), Err(LockError::Deadlock)));
        drop(writing);
    }

    #[test]
    fn more_readers_than_locks_wait() {
        let lock = RwLock::new(0_u8).unwrap();
        let held: Vec<_> = (0..READERS).map(|_| lock.read().unwrap()).collect();
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
        assert!(elsewhere(|| {
            matches!(
                lock.read_timeout(Duration::from_millis(2)),
                Err(LockError::Timeout)
            )
        }));
        drop(held);
        drop(lock.read().unwrap());
    }

    #[test]
    fn readers_are_told_of_a_dead_writer_until_one_repairs() {
        let lock = RwLock::new(7_u8).unwrap();
        elsewhere(|| std::mem::forget(lock.write().unwrap()));
        for _ in 0..2 {
            let Err(LockError::OwnerDied(value)) = lock.read() else {
                panic!("the death of the writer was not told");
            };
            assert_eq!(*value, 7);
        }
        let Err(LockError::OwnerDied(mut value)) = lock.write() else {
            panic!("the death of the writer was not told");
        };
        *value = 8;
        drop(value);
        assert_eq!(*lock.read().unwrap(), 8);
        elsewhere(|| std::mem::forget(lock.read().unwrap()));
        assert_eq!(
            *lock.write().unwrap(),
            8,
            "the death of a reader is nothing"
        );
    }
}
