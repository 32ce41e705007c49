//! One number that any process changes.

use super::{Atomic, AtomicElement};
use crate::sync::home::{self, BODY, Label};
use crate::{Segment, ShmError};
use std::ops::Deref;
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"atomic01";

/// One number in shared memory that any process changes by atomic operations; see [`Atomic`] for these.
///
/// Clones, and copies made by serialising (as a task's argument, say), are the same number.
///
/// ```
/// use pool_shm::AtomicValue;
///
/// let count = AtomicValue::new(0_u64)?;
/// let same = count.clone(); // normally in another process
/// same.fetch_add(2);
/// assert_eq!(count.load(), 2);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct AtomicValue<T: AtomicElement> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    segment: Segment,
    number: std::marker::PhantomData<fn() -> T>,
}

home::handle!(AtomicValue<T: AtomicElement>);

impl<T: AtomicElement> AtomicValue<T> {
    /// Makes a segment with `value` in it.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        let label = Label::new::<T>(MAGIC, 1);
        let number = Self::attach(home::create(label, size_of::<T>())?)?;
        number.store(value);
        Ok(number)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<T>(&segment, MAGIC, "atomic value")?;
        let number = std::marker::PhantomData;
        Ok(Self {
            inner: Arc::new(Inner { segment, number }),
        })
    }
}

impl<T: AtomicElement> Deref for AtomicValue<T> {
    type Target = Atomic<T>;

    fn deref(&self) -> &Atomic<T> {
        (self.inner.segment.get(BODY)).expect("every segment has a page at least")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_lose_no_addition() {
        let sum = AtomicValue::new(0.0_f64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        sum.fetch_add(0.5);
                    }
                });
            }
        });
        assert_eq!(sum.load(), 2000.0);
    }

    #[test]
    fn every_operation_gives_the_number_before() {
        let int = AtomicValue::new(-3_i16).unwrap();
        assert_eq!(int.fetch_sub(2), -3);
        assert_eq!(int.fetch_min(-9), -5);
        assert_eq!(int.fetch_max(6), -9);
        assert_eq!(int.fetch_and(3), 6);
        assert_eq!(int.fetch_or(8), 2);
        assert_eq!(int.fetch_xor(2), 10);
        assert_eq!(int.swap(1), 8);
        assert_eq!(int.fetch_update(|old| old * 5), 1);
        assert_eq!(int.compare_exchange(4, 0), Err(5));
        assert_eq!(format!("{:?}", *int), "5");
        let float = AtomicValue::new(2.0_f32).unwrap();
        assert_eq!(float.fetch_sub(0.5), 2.0);
        assert_eq!(float.fetch_min(-1.0), 1.5);
        assert_eq!(float.fetch_max(f32::NAN), -1.0);
        assert_eq!(float.swap(-0.0), -1.0);
        assert_eq!(float.compare_exchange(0.0, 1.0), Err(0.0), "bits decide");
    }

    #[test]
    fn another_number_is_refused() {
        let number = AtomicValue::new(1_u32).unwrap();
        let bytes = postcard::to_allocvec(&number).unwrap();
        assert!(postcard::from_bytes::<AtomicValue<f32>>(&bytes).is_err());
        assert_eq!(
            postcard::from_bytes::<AtomicValue<u32>>(&bytes)
                .unwrap()
                .load(),
            1
        );
    }
}
