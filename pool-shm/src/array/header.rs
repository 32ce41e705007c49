//! The 64 bytes before an array's elements: what they are and who owns them.

use crate::element::{DType, Element};
use crate::error::{Kind, ShmError};
use crate::segment::SegmentId;
use std::any::type_name;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the elements begin, in bytes; also their alignment.
pub(crate) const DATA_OFFSET: usize = 64;

/// `pool-shm` and the version of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"poolshm\x01");

crate::shared_layout! {
    /// What stands before the elements.
    #[derive(Debug)]
    pub(crate) struct Header {
        magic: AtomicU64,
        element: [AtomicU64; 2],
        bytes: AtomicU64,
        /// Twice the number of times that ownership was offered, plus 1 while
        /// it is on offer: see `ArrayHandle`.
        offers: AtomicU64,
    }
}

const _: () = assert!(size_of::<Header>() <= DATA_OFFSET);

impl Header {
    /// Describes a new array of `bytes` bytes.
    pub(crate) fn fill(&self, dtype: DType, bytes: usize) {
        // Nobody else knows the segment yet, or (of an array that takes the
        // memory of another one) everybody who did has given it back, and
        // whatever tells them of the array orders these stores before their loads.
        for (word, code) in self.element.iter().zip(dtype.base().code()) {
            word.store(code, Ordering::Relaxed);
        }
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Relaxed);
    }

    /// How many bytes of elements `T` it says there are.
    pub(crate) fn bytes<T: Element>(&self) -> Result<usize, ShmError> {
        let magic = self.magic.load(Ordering::Relaxed);
        if magic != MAGIC {
            return Err(mismatch(
                "headers",
                format!("an array ({MAGIC:016x})"),
                format!("{magic:016x}"),
            ));
        }
        let found = [0, 1].map(|i| self.element[i].load(Ordering::Relaxed));
        let asked = T::dtype().base().code();
        if found != asked {
            return Err(mismatch(
                "element types",
                format!("{} (code {asked:x?})", type_name::<T>()),
                format!("code {found:x?}"),
            ));
        }
        let bytes = self.bytes.load(Ordering::Relaxed);
        let part = T::dtype().base().size();
        if !bytes.is_multiple_of(part as u64) {
            let asked = format!("a multiple of {part} bytes");
            return Err(mismatch("lengths", asked, bytes.to_string()));
        }
        usize::try_from(bytes).map_err(|_| Kind::TooLarge { len: bytes }.into())
    }

    /// Puts the ownership of the array on offer and gives the number of the
    /// offer. Only the owner calls this.
    pub(crate) fn offer(&self) -> u64 {
        // SYNC: array-offer
        self.offers.fetch_or(1, Ordering::Release) | 1
    }

    /// Takes an offer. Of all that try, one gets it.
    pub(crate) fn claim(&self, offer: u64, id: SegmentId) -> Result<(), ShmError> {
        let offers = &self.offers;
        let owned = offer.wrapping_add(1);
        // SYNC: array-offer
        let claim = || offers.compare_exchange(offer, owned, Ordering::Acquire, Ordering::Relaxed);
        if offer.is_multiple_of(2) || claim().is_err() {
            return Err(Kind::Claimed { id: id.to_string() }.into());
        }
        Ok(())
    }
}

fn mismatch(what: &'static str, asked: String, found: String) -> ShmError {
    Kind::Mismatch {
        what,
        of: "array",
        asked,
        found,
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    #[test]
    fn an_offer_is_taken_once() {
        let segment = Segment::create(DATA_OFFSET).unwrap();
        let header = segment.get::<Header>(0).unwrap();
        assert!(header.claim(0, segment.id()).is_err());
        let first = header.offer();
        assert!(header.claim(first, segment.id()).is_ok());
        assert!(header.claim(first, segment.id()).is_err());
        let second = header.offer();
        assert_ne!(first, second);
        assert!(header.claim(first, segment.id()).is_err());
        assert!(header.claim(second, segment.id()).is_ok());
    }
}
