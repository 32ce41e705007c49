//! An array of numbers that any process changes.

use super::{Atomic, AtomicElement};
use crate::ShmError;
use crate::array::{Placed, RawArray, SharedArray, raw_view};
use ndarray::{Array, ArrayRef, ArrayView, Dimension, IndexLonger, NdIndex, ShapeBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Index;

/// What stands before its description when it travels, so that no other array is taken for it.
const TAG: [u8; 4] = *b"atom";

/// An array in shared memory whose elements any process changes by atomic operations, without a lock: counts, histograms, flags, running sums.
///
/// Elements are chosen by index (`array[[i, j]]`) or through [`view`](Self::view); see [`Atomic`] for the operations. Clones, and copies
/// made by serialising (as a task's argument, say), are the same array.
///
/// ```
/// use pool_shm::AtomicArray;
///
/// let histogram = AtomicArray::<u64, _>::zeros((2, 3))?;
/// let same = histogram.clone(); // normally in another process
/// same[[1, 2]].fetch_add(5);
/// assert_eq!(histogram.to_array(), ndarray::array![[0, 0, 0], [0, 0, 5]]);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// ```compile_fail,E0277
/// pool_shm::AtomicArray::<[f64; 2], _>::zeros(3).unwrap(); // no number that can be changed in one step
/// ```
pub struct AtomicArray<T, D> {
    /// Its memory is always writable.
    placed: Placed<T, D>,
}

impl<T: AtomicElement, D: Dimension> AtomicArray<T, D> {
    /// An array of zeros, as [`SharedArray::zeros`].
    ///
    /// # Errors
    /// As for [`SharedArray::zeros`].
    pub fn zeros(shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        Ok(Self {
            placed: RawArray::zeros(shape)?.into_placed(),
        })
    }

    /// A copy of any array or view, as [`SharedArray::from_array`].
    ///
    /// # Errors
    /// As for [`SharedArray::zeros`].
    pub fn from_array(source: &ArrayRef<T, D>) -> Result<Self, ShmError> {
        Self::new(SharedArray::from_array(source)?)
    }

    /// The same memory, without a copy: from now on any process changes it. A small array is copied, as by [`SharedArray::into_raw`].
    ///
    /// # Errors
    /// As for [`SharedArray::into_raw`].
    pub fn new(array: SharedArray<T, D>) -> Result<Self, ShmError> {
        Ok(Self {
            placed: array.into_raw()?.into_placed(),
        })
    }

    /// All elements, to be read and changed.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, Atomic<T>, D> {
        let layout = self.placed.layout();
        let numbers = raw_view(self.placed.data(), layout.dim(), layout.strides());
        let elements = numbers.cast::<Atomic<T>>();
        // SAFETY: the elements lie in a mapping that `self` keeps, aligned (an atomic has the size and alignment of its number), any bits are an
        // `Atomic`, and nobody makes plain references to them: the array was given up for good.
        unsafe { elements.deref_into_view() }
    }

    /// A copy of the numbers. Each is read in one step, but others may change meanwhile.
    #[must_use]
    pub fn to_array(&self) -> Array<T, D> {
        self.view().map(Atomic::load)
    }

    /// Stores a number in every element.
    pub fn fill(&self, value: T) {
        self.view().iter().for_each(|element| element.store(value));
    }
}

impl<T: AtomicElement, D: Dimension, I: NdIndex<D>> Index<I> for AtomicArray<T, D> {
    type Output = Atomic<T>;

    /// # Panics
    /// If there is no such element.
    fn index(&self, index: I) -> &Atomic<T> {
        IndexLonger::index(&self.view(), index)
    }
}

crate::array::geometry!(AtomicArray);

impl<T, D: Clone> Clone for AtomicArray<T, D> {
    fn clone(&self) -> Self {
        Self {
            placed: self.placed.clone(),
        }
    }
}

impl<T: AtomicElement, D: Dimension> fmt::Debug for AtomicArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::array::debug(f, "AtomicArray", &self.placed)
    }
}

impl<T: AtomicElement, D: Dimension> Serialize for AtomicArray<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (TAG, RawArray::from_placed(self.placed.clone())).serialize(serializer)
    }
}

impl<'de, T: AtomicElement, D: Dimension> Deserialize<'de> for AtomicArray<T, D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let (tag, array) = <([u8; 4], RawArray<T, D>)>::deserialize(deserializer)?;
        if tag != TAG {
            return Err(serde::de::Error::custom(format!(
                "a handle of another kind of array: asked for {TAG:?}, found {tag:?}"
            )));
        }
        Ok(Self {
            placed: array.into_placed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix1, Ix2, array};

    #[test]
    fn elements_of_either_order_are_chosen_by_index() {
        let source = array![[1, 2, 3], [4, 5, 6]];
        for array in [
            AtomicArray::<i32, _>::from_array(&source).unwrap(),
            AtomicArray::from_array(&source.t().as_standard_layout().t()).unwrap(),
        ] {
            array[(1, 0)].fetch_sub(10);
            assert_eq!(array.view()[[1, 0]].load(), -6);
            assert_eq!(array.to_array(), array![[1, 2, 3], [-6, 5, 6]]);
            array.fill(7);
            assert_eq!(array.to_array().sum(), 42);
        }
    }

    #[test]
    fn a_handle_is_the_same_array_and_no_other_kind() {
        let array = AtomicArray::<f64, Ix1>::zeros(4).unwrap();
        let bytes = postcard::to_allocvec(&array).unwrap();
        let same: AtomicArray<f64, Ix1> = postcard::from_bytes(&bytes).unwrap();
        same[3].fetch_add(1.5);
        assert_eq!(array[3].load(), 1.5);
        assert!(postcard::from_bytes::<AtomicArray<u64, Ix1>>(&bytes).is_err());
        assert!(postcard::from_bytes::<AtomicArray<f64, Ix2>>(&bytes).is_err());
        let locked = crate::LockedArray::<f64, Ix1>::zeros(4).unwrap();
        let bytes = postcard::to_allocvec(&locked).unwrap();
        assert!(postcard::from_bytes::<AtomicArray<f64, Ix1>>(&bytes).is_err());
    }

    #[test]
    #[should_panic(expected = "out of bounds")]
    fn an_element_past_the_end_panics() {
        let array = AtomicArray::<u8, _>::zeros(2).unwrap();
        array[2].store(1);
    }
}
