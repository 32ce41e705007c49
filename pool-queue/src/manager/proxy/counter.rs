//! Values, arrays and counters in shared memory.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering};

use bytemuck::Pod;
use pool_shm::sync::{LockError, Mutex, RawMutex, RawMutexGuard};
use pool_shm::{Segment, ShmError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shared::Shared;
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;

/// A value under a lock, in shared memory: [`pool_shm::sync::Mutex`] has its methods.
pub type ValueProxy<T> = Shared<Mutex<T>>;

/// A number that any process changes without a lock.
pub type CounterProxy = Shared<Counter>;

/// An array of a fixed length under one lock.
pub type ArrayProxy<T> = Shared<Array<T>>;

/// A number in shared memory.
#[derive(Clone, Debug)]
pub struct Counter(Segment);

impl Counter {
    fn word(&self) -> &AtomicI64 {
        self.0.get(0).expect("a segment has at least a page")
    }

    /// Adds `n`, which may be negative; the value before. It wraps around at the ends of its range.
    pub fn add(&self, n: i64) -> i64 {
        self.word().fetch_add(n, Ordering::AcqRel)
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.word().load(Ordering::Acquire)
    }

    /// Sets the value; the one before.
    pub fn set(&self, value: i64) -> i64 {
        self.word().swap(value, Ordering::AcqRel)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Segment::deserialize(deserializer).map(Counter)
    }
}

/// An array of a fixed length under one lock, in shared memory.
#[derive(Debug)]
pub struct Array<T> {
    segment: Segment,
    holds: PhantomData<fn(T) -> T>,
}

/// Offsets: the lock, the length, the elements.
const LOCK: usize = 0;
const LEN: usize = 64;
const ELEMENTS: usize = 128;

type Held<'a> = Result<RawMutexGuard<'a>, LockError<RawMutexGuard<'a>>>;

impl<T: Pod> Array<T> {
    fn new(values: &[T]) -> Result<Self, ShmError> {
        let segment = Segment::create(ELEMENTS + size_of_val(values))?;
        segment.cells::<u64>(LEN, 1)?.set(0, values.len() as u64);
        segment
            .cells::<T>(ELEMENTS, values.len())?
            .write_from(0, values);
        RawMutex::init(&segment, LOCK)?;
        Ok(Self {
            segment,
            holds: PhantomData,
        })
    }

    /// Runs `body` over a copy of the elements, and writes back what it made of them, under the lock.
    ///
    /// # Errors
    ///
    /// [`ManagerError::OwnerDied`], once, if a process died here before: the elements may be half-written, and the next call takes them as they
    /// are. [`ManagerError::Deadlock`] if `body` uses this array.
    pub fn update<R>(&self, body: impl FnOnce(&mut [T]) -> R) -> Result<R, ManagerError> {
        self.locked(|cells, len| {
            let mut values = vec![T::zeroed(); len];
            cells.read_into(0, &mut values);
            let result = body(&mut values);
            cells.write_from(0, &values);
            result
        })
    }

    /// A copy of all elements at one moment.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.locked(|cells, len| {
            let mut values = vec![T::zeroed(); len];
            cells.read_into(0, &mut values);
            values
        })
    }

    /// The element at `index`, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        self.locked(|cells, len| (index < len).then(|| cells.get(index)))
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::NoElement`]; and as for [`update`](Self::update).
    pub fn set(&self, index: usize, value: T) -> Result<(), ManagerError> {
        self.locked(|cells, len| {
            if index < len {
                cells.set(index, value);
                return Ok(());
            }
            let (index, len) = (index as u64, len as u64);
            Err(ManagerError::NoElement { index, len })
        })?
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let room = self.segment.len().saturating_sub(ELEMENTS) / size_of::<T>().max(1);
        let len = self
            .segment
            .cells::<u64>(LEN, 1)
            .map_or(0, |cell| cell.get(0));
        usize::try_from(len).map_or(room, |len| len.min(room))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn locked<R>(
        &self,
        body: impl FnOnce(pool_shm::Cells<'_, T>, usize) -> R,
    ) -> Result<R, ManagerError> {
        let damaged = |error: ShmError| ManagerError::system("the array's memory", error);
        let mutex = RawMutex::attach(&self.segment, LOCK).map_err(damaged)?;
        let held: Held<'_> = mutex.lock();
        let _guard = held.map_err(|error| match error {
            LockError::OwnerDied(_) => ManagerError::OwnerDied,
            LockError::Deadlock => ManagerError::Deadlock,
            other => ManagerError::system("the array's lock", other),
        })?;
        let len = self.len();
        let cells = self.segment.cells::<T>(ELEMENTS, len).map_err(damaged)?;
        Ok(body(cells, len))
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self {
            segment: self.segment.clone(),
            holds: PhantomData,
        }
    }
}

impl<T> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::deserialize(deserializer)?;
        Ok(Self {
            segment,
            holds: PhantomData,
        })
    }
}

impl Manager {
    /// A value of plain data in shared memory, under a lock.
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn value<T: Pod>(&self, value: T) -> Result<ValueProxy<T>, ManagerError> {
        self.share(Mutex::new(value).map_err(no_memory)?)
    }

    /// An array in shared memory, under a lock.
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn array<T: Pod>(&self, values: &[T]) -> Result<ArrayProxy<T>, ManagerError> {
        self.share(Array::new(values).map_err(no_memory)?)
    }

    /// A number in shared memory that is changed without a lock.
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn counter(&self, value: i64) -> Result<CounterProxy, ManagerError> {
        let counter = Counter(Segment::create(size_of::<AtomicI64>()).map_err(no_memory)?);
        counter.set(value);
        self.share(counter)
    }
}

fn no_memory(error: ShmError) -> ManagerError {
    ManagerError::system("cannot get shared memory", error)
}
