//! Results that are written in place: plain numbers, known by their type, copied as bytes.

use std::any::TypeId;

use num_complex::{Complex32, Complex64};
use pool_shm::{Cells, Segment, ShmError};

/// Whether `R` is a number of which every bit pattern is a value, without padding.
fn is_plain<R: 'static>() -> bool {
    macro_rules! one_of {
        ($($plain:ty),*) => { $(TypeId::of::<R>() == TypeId::of::<$plain>())||* };
    }
    one_of!(
        (),
        u64,
        i64,
        f64,
        usize,
        isize,
        u32,
        i32,
        f32,
        u8,
        i8,
        u16,
        i16,
        u128,
        i128,
        Complex64,
        Complex32
    )
}

/// Bytes of a result of type `R` that is written in place; none if `R` has to be encoded.
pub(crate) fn size<R: 'static>() -> Option<usize> {
    is_plain::<R>().then_some(size_of::<R>())
}

/// Where the results of a job are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Results<'a> {
    bytes: Cells<'a, u8>,
}

impl<'a> Results<'a> {
    /// The results at `offset`: `count` of `size` bytes each.
    pub(crate) fn new(
        segment: &'a Segment,
        offset: usize,
        count: usize,
        size: usize,
    ) -> Result<Self, ShmError> {
        let len = count.saturating_mul(size);
        Ok(Results {
            bytes: segment.cells(if len == 0 { 0 } else { offset }, len)?,
        })
    }

    /// Writes result `index`.
    ///
    /// # Panics
    ///
    /// If `R` is not plain, or there is no such place.
    #[inline]
    pub(crate) fn set<R: 'static>(&self, index: usize, result: R) {
        assert!(is_plain::<R>(), "only plain results are written in place");
        let start = std::ptr::from_ref(&result).cast::<u8>();
        // SAFETY: `R` is one of the numbers above: all of its bytes are initialised, and they live until the end of this call.
        let bytes = unsafe { std::slice::from_raw_parts(start, size_of::<R>()) };
        self.bytes.write_from(index * size_of::<R>(), bytes);
    }

    /// Appends the first `count` results to `output`.
    ///
    /// # Panics
    ///
    /// If `R` is not plain, or there are fewer.
    pub(crate) fn append_to<R: 'static>(&self, count: usize, output: &mut Vec<R>) {
        assert!(is_plain::<R>(), "only plain results are written in place");
        output.reserve(count);
        let spare = output.spare_capacity_mut()[..count].as_mut_ptr();
        // SAFETY: the spare memory belongs to the vector and is as long as asserted by the slice above.
        unsafe { spare.cast::<u8>().write_bytes(0, count * size_of::<R>()) };
        // SAFETY: the same memory, initialised by the line above.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(spare.cast::<u8>(), count * size_of::<R>()) };
        self.bytes.read_into(0, bytes);
        let len = output.len() + count;
        // SAFETY: there is room for `count` more (reserved above), and any bytes are valid numbers.
        unsafe { output.set_len(len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_place_and_come_back() {
        let segment = Segment::create(4096).unwrap();
        let results = Results::new(&segment, 64, 3, size_of::<Complex64>()).unwrap();
        for i in 0..3 {
            results.set(i, Complex64::new(i as f64, -1.0));
        }
        let mut output = vec![Complex64::new(9.0, 9.0)];
        results.append_to(3, &mut output);
        assert_eq!(
            output[1..],
            [0.0, 1.0, 2.0].map(|re| Complex64::new(re, -1.0))
        );
    }

    #[test]
    fn only_numbers_are_plain() {
        assert_eq!(
            (size::<f64>(), size::<()>(), size::<u128>()),
            (Some(8), Some(0), Some(16))
        );
        assert_eq!(
            (
                size::<bool>(),
                size::<char>(),
                size::<String>(),
                size::<(u8, u64)>()
            ),
            (None, None, None, None)
        );
    }

    #[test]
    #[should_panic(expected = "only plain")]
    fn other_results_are_refused() {
        let segment = Segment::create(4096).unwrap();
        Results::new(&segment, 0, 1, 1).unwrap().set(0, true);
    }
}
