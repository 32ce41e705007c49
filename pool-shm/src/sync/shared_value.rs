//! One value that any process reads and changes.

use super::{LockError, RecordTable};
use crate::{Segment, ShmError};
use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// A value in shared memory that any process may read at any time and change as a whole: `update` loses no other update.
///
/// Reading needs no lock and never waits for a writer. Changes are made under a lock, one after the other. For a single number that is only added to,
/// [`AtomicValue`](crate::AtomicValue) is faster; to use a value in place, or for longer, take a [`Mutex`](super::Mutex).
///
/// # Deaths
/// A process that is killed inside `set` or `update` has changed the value or not: nobody ever sees half of it, so there is no
/// [`LockError::OwnerDied`].
///
/// # Examples
/// ```
/// use pool_shm::SharedValue;
///
/// let best = SharedValue::new([f64::INFINITY, 0.0])?; // a cost, and where it was found
/// let same = best.clone(); // normally in another process
/// same.update(|best| if 3.5 < best[0] { [3.5, 0.25] } else { best })?;
/// assert_eq!(best.get(), [3.5, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Value")]
pub struct SharedValue<T: Pod> {
    /// A table of one row.
    row: RecordTable<T>,
}

impl<T: Pod> SharedValue<T> {
    /// Makes a segment with `value` in it.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        let row = RecordTable::from_rows(&[value])?;
        Ok(Self { row })
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        let row = RecordTable::attach_rows(segment, 1)?;
        Ok(Self { row })
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> T {
        self.row.get(0)
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] from inside `update` of the same value; [`LockError::Damaged`].
    pub fn set(&self, value: T) -> Result<(), LockError<()>> {
        self.row.set(0, value)
    }

    /// Replaces the value by what `change` makes of it, which is returned. A panic of `change` changes nothing.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn update(&self, change: impl FnOnce(T) -> T) -> Result<T, LockError<()>> {
        self.row.update(0, change)
    }

    /// As [`update`](Self::update), but waits for another one that changes it for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`set`](Self::set).
    pub fn update_timeout(
        &self,
        timeout: Duration,
        change: impl FnOnce(T) -> T,
    ) -> Result<T, LockError<()>> {
        self.row.update_timeout(0, timeout, change)
    }
}

impl<T: Pod> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        Self {
            row: self.row.clone(),
        }
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedValue").field(&self.get()).finish()
    }
}

impl<T: Pod> Serialize for SharedValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::deserialize(deserializer)?;
        Self::attach(segment).map_err(ShmError::into_serde)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_update_is_lost_and_none_is_seen_torn() {
        let value = SharedValue::new([0_u64; 9]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        value.update(|value| value.map(|part| part + 1)).unwrap();
                        let seen = value.get();
                        assert!(seen.iter().all(|part| *part == seen[0]), "{seen:?}");
                    }
                });
            }
        });
        assert_eq!(value.get(), [3000; 9]);
    }

    #[test]
    fn an_update_inside_an_update_is_refused() {
        let value = SharedValue::new(1_u8).unwrap();
        let outer = value.update(|old| {
            assert!(matches!(value.set(7), Err(LockError::Deadlock)));
            assert_eq!(value.get(), 1);
            old + 1
        });
        assert_eq!(outer.unwrap(), 2);
        let panics = || value.update(|_| panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(value.get(), 2);
        let again = value.update_timeout(Duration::ZERO, |old| old + 1);
        assert_eq!(again.unwrap(), 3);
    }

    #[test]
    fn a_table_of_more_rows_is_no_value() {
        let table = RecordTable::from_rows(&[1_u8, 2]).unwrap();
        let bytes = postcard::to_allocvec(&table).unwrap();
        assert!(postcard::from_bytes::<SharedValue<u8>>(&bytes).is_err());
        let value = SharedValue::new(5_u8).unwrap();
        let bytes = postcard::to_allocvec(&value).unwrap();
        assert!(postcard::from_bytes::<SharedValue<i8>>(&bytes).is_err());
        let same: SharedValue<u8> = postcard::from_bytes(&bytes).unwrap();
        same.set(6).unwrap();
        assert_eq!(value.get(), 6);
    }
}
