//! Moving an array to another process.

use super::owner::Owner;
use super::{Description, Memory, Placed, SharedArray};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::{Segment, SegmentFile};
use crate::transfer;
use ndarray::Dimension;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// An array that its owner has given away
/// ([`SharedArray::into_handle`](crate::SharedArray::into_handle)).
///
/// It can be sent to any process, also several times and by way of others.
/// Whoever calls [`claim`](Self::claim) first becomes the owner; everyone else
/// gets an error. So there is never more than one owner: the offer is a
/// numbered word in the array's own segment, taken by one compare-and-swap.
/// Nobody has the memory mapped through a handle, so the new owner can freeze
/// the array at once. If nobody claims it, the memory goes with the last
/// handle.
///
/// ```
/// use pool_shm::{ArrayHandle, SharedArray};
///
/// let handle = SharedArray::from_elem(10, 1.5)?.into_handle()?;
/// let bytes = postcard::to_allocvec(&handle)?; // a task's result, say
/// let received: ArrayHandle<f64, ndarray::Ix1> = postcard::from_bytes(&bytes)?;
/// let array = received.claim()?;
/// assert_eq!(array.view().sum(), 15.0);
/// assert!(handle.claim().unwrap_err().is_claimed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ArrayHandle<T, D> {
    file: Arc<SegmentFile>,
    offered: Offered,
    array: PhantomData<fn() -> (T, D)>,
}

/// What travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offered {
    array: Description,
    /// The number of the offer.
    offer: u64,
}

impl<T: Element, D: Dimension> ArrayHandle<T, D> {
    pub(super) fn new(owner: Owner, placed: Placed<T, D>) -> Result<Self, ShmError> {
        let array = Description::of(&placed);
        let header = placed.memory().clone();
        let (file, _lessees) = owner.unmap(placed);
        // Only when nobody else has the array mapped it is offered.
        let offer = header.header(0)?.offer();
        Ok(ArrayHandle {
            file,
            offered: Offered { array, offer },
            array: PhantomData,
        })
    }

    /// The number of elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.offered.array.shape
    }

    /// Becomes the owner of the array.
    ///
    /// # Errors
    ///
    /// `is_claimed` if somebody else has become it; `is_mismatch` if the
    /// segment does not hold what the handle says; a failure of the operating
    /// system to map it.
    pub fn claim(self) -> Result<SharedArray<T, D>, ShmError> {
        let layout = self.offered.array.layout::<T, D>()?;
        let segment = Segment::map(self.file)?;
        let placed = Placed::new(Memory::Writable(segment.clone()), 0, layout)?;
        let header = placed.header()?;
        header.claim(self.offered.offer, segment.id())?;
        let array = SharedArray::from_parts(Owner::new(segment), placed);
        Ok(array.gathered())
    }
}

impl<T, D> fmt::Debug for ArrayHandle<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayHandle")
            .field("dtype", &self.offered.array.dtype)
            .field("shape", &self.offered.array.shape)
            .field("segment", &self.file.id())
            .finish()
    }
}

impl<T: Element, D: Dimension> Serialize for ArrayHandle<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        transfer::collect(&self.file);
        // A handle may be passed on: the next one opens this process's file.
        let mut offered = self.offered.clone();
        offered.array.segment = self.file.handle();
        offered.serialize(serializer)
    }
}

impl<'de, T: Element, D: Dimension> Deserialize<'de> for ArrayHandle<T, D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let offered = Offered::deserialize(deserializer)?;
        open(offered).map_err(ShmError::into_serde)
    }
}

/// Opens the segment at once, so that the sender may let it go.
fn open<T: Element, D: Dimension>(offered: Offered) -> Result<ArrayHandle<T, D>, ShmError> {
    offered.array.layout::<T, D>()?;
    let file = crate::transfer::reach(&offered.array.segment)?;
    Ok(ArrayHandle {
        file,
        offered,
        array: PhantomData,
    })
}
