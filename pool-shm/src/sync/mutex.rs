//! A value and the lock that protects it, in a segment of their own.

use super::home::{KIND_BITS, kind};
use super::{LockError, RawMutex, RawMutexGuard};
use crate::{Segment, ShmError};
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Offsets in the segment: the lock, a word that describes the value, the value.
const LOCK: usize = 0;
const KIND: usize = RawMutex::SIZE;
const VALUE: usize = 2 * RawMutex::SIZE;

/// A value in shared memory that one thread of one process at a time can use.
///
/// Clones, and copies made by serialising (as a task's argument, say), are the same lock and the same value. The value is plain data ([`Pod`]): numbers,
/// `Complex`, arrays of them, structs that derive `Pod`. An uncontended lock and unlock takes some tens of nanoseconds.
///
/// The death of a holder does not block the others: the next one gets [`LockError::OwnerDied`] with the guard. See [`RawMutex`] for the details,
/// and for a lock inside a segment of yours.
///
/// # Examples
/// ```
/// use pool_shm::sync::Mutex;
///
/// let mutex = Mutex::new([0.0_f64; 3])?;
/// let same = mutex.clone();
/// mutex.lock().expect("no holder has died")[1] = 2.5;
/// assert_eq!(*same.lock().expect("no holder has died"), [0.0, 2.5, 0.0]);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct Mutex<T: Pod> {
    shared: Arc<RawMutex>,
    segment: Segment,
    value: PhantomData<T>,
}

/// The lock, held, and the value.
///
/// A guard does not leave its thread, and nobody else touches the value while it lives.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct MutexGuard<'a, T: Pod> {
    mutex: &'a Mutex<T>,
    lock: RawMutexGuard<'a>,
}

impl<T: Pod> Mutex<T> {
    const FITS: () = assert!(
        align_of::<T>() <= 64,
        "values are aligned to 64 bytes at most"
    );

    /// Makes a segment with `value` in it.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        let () = Self::FITS;
        let segment = Segment::create(VALUE + size_of::<T>())?;
        segment.cells::<T>(VALUE, 1)?.set(0, value);
        segment
            .get::<AtomicU64>(KIND)?
            .store(kind::<T>(), Ordering::Relaxed);
        let shared = Arc::new(RawMutex::init(&segment, LOCK)?);
        Ok(Self {
            shared,
            segment,
            value: PhantomData,
        })
    }

    /// Waits until the lock is free, or its holder dead, and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard; [`LockError::Deadlock`] if this thread holds it already; [`LockError::Damaged`].
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError<MutexGuard<'_, T>>> {
        self.wrap(self.shared.lock())
    }

    /// Takes the lock if it is free or its holder dead.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if somebody holds it; [`LockError::OwnerDied`] with the guard; [`LockError::Damaged`].
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockError<MutexGuard<'_, T>>> {
        self.wrap(self.shared.try_lock())
    }

    /// Waits for the lock for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MutexGuard<'_, T>, LockError<MutexGuard<'_, T>>> {
        self.wrap(self.shared.lock_timeout(timeout))
    }

    /// Waits for the lock until `deadline` at most.
    ///
    /// # Errors
    /// As for [`lock_timeout`](Self::lock_timeout).
    pub fn lock_until(
        &self,
        deadline: Instant,
    ) -> Result<MutexGuard<'_, T>, LockError<MutexGuard<'_, T>>> {
        self.wrap(self.shared.lock_until(deadline))
    }

    pub(super) fn wrap<'a>(
        &'a self,
        lock: Result<RawMutexGuard<'a>, LockError<RawMutexGuard<'a>>>,
    ) -> Result<MutexGuard<'a, T>, LockError<MutexGuard<'a, T>>> {
        let wrap = |lock| MutexGuard { mutex: self, lock };
        lock.map(wrap).map_err(|error| error.map(wrap))
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        let () = Self::FITS;
        let shared = Arc::new(RawMutex::attach(&segment, LOCK)?);
        segment.cells::<T>(VALUE, 1)?;
        let found = segment.get::<AtomicU64>(KIND)?.load(Ordering::Relaxed);
        if found != kind::<T>() {
            return Err(crate::error::Kind::Mismatch {
                what: "types",
                of: "value under a lock",
                asked: format!("{} of {} bytes", std::any::type_name::<T>(), size_of::<T>()),
                found: format!("another type, of {} bytes", found >> KIND_BITS),
            }
            .into());
        }
        Ok(Self {
            shared,
            segment,
            value: PhantomData,
        })
    }

    /// The lock's part of a guard, to be given back to [`wrap`](Self::wrap).
    pub(super) fn unwrap<'a>(guard: MutexGuard<'a, T>) -> (&'a Self, RawMutexGuard<'a>) {
        (guard.mutex, guard.lock)
    }

    fn place(&self) -> *mut T {
        self.segment.as_ptr().wrapping_add(VALUE).cast()
    }
}

impl<T: Pod> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            segment: self.segment.clone(),
            value: PhantomData,
        }
    }
}

impl<T: Pod> std::fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mutex")
            .field("segment", &self.segment.id())
            .finish_non_exhaustive()
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MutexGuard")
            .field("value", &**self)
            .field("lock", &self.lock)
            .finish()
    }
}

impl<T: Pod> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::deserialize(deserializer)?;
        Self::attach(segment).map_err(serde::de::Error::custom)
    }
}

impl<T: Pod> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: in bounds and aligned (checked when made or attached), any bits are a `T: Pod`, and the lock keeps every other user away while `self` lives.
        unsafe { &*self.mutex.place() }
    }
}

impl<T: Pod> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed exclusively.
        unsafe { &mut *self.mutex.place() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serialised_handle_is_the_same_lock() {
        let mutex = Mutex::new(1_i64).unwrap();
        let bytes = postcard::to_allocvec(&mutex).unwrap();
        let same: Mutex<i64> = postcard::from_bytes(&bytes).unwrap();
        let mut guard = mutex.lock().unwrap();
        *guard += 1;
        let refused = std::thread::scope(|s| s.spawn(|| same.try_lock().is_err()).join().unwrap());
        assert!(refused);
        drop(guard);
        assert_eq!(*same.lock().unwrap(), 2);
    }

    #[test]
    fn a_handle_read_as_another_type_is_refused() {
        let mutex = Mutex::new([1.0_f32; 2]).unwrap();
        let bytes = postcard::to_allocvec(&mutex).unwrap();
        assert!(postcard::from_bytes::<Mutex<f64>>(&bytes).is_err());
        let error = Mutex::<u8>::attach(mutex.segment.clone()).unwrap_err();
        assert!(error.to_string().contains("8 bytes"), "{error}");
    }

    #[test]
    fn a_holder_that_ends_leaves_a_guard_with_its_news() {
        let mutex = Mutex::new(7_u8).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(mutex.lock().unwrap()));
        });
        let error = mutex.lock().unwrap_err();
        assert!(error.to_string().contains("died"));
        assert_eq!(*error.recover().unwrap(), 7);
        assert_eq!(*mutex.lock().unwrap(), 7);
    }

    #[test]
    fn errors_can_be_sent_on() {
        fn sendable<T: Send + Sync + 'static>() {}
        sendable::<LockError<()>>();
        sendable::<Mutex<f64>>();
    }
}
