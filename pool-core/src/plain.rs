//! Results that are written in place: plain numbers, known by their type, stored by atomic words of their own size.

use std::any::{Any, TypeId};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use num_complex::{Complex32, Complex64};
use pool_shm::{Segment, ShmError};

/// Hands the numbers to a macro of which every bit pattern is a value, without padding.
macro_rules! plain_numbers {
    ($macro:ident) => {
        $macro!(
            u64, i64, f64, usize, isize, u32, i32, f32, u8, i8, u16, i16, u128, i128, Complex64,
            Complex32
        )
    };
}

/// Whether `R` is such a number, or nothing at all.
fn is_plain<R: 'static>() -> bool {
    macro_rules! one_of {
        ($($plain:ty),*) => { $(TypeId::of::<R>() == TypeId::of::<$plain>())||* };
    }
    TypeId::of::<R>() == TypeId::of::<()>() || plain_numbers!(one_of)
}

/// Bytes of a result of type `R` that is written in place; none if `R` has to be encoded.
pub(crate) fn size<R: 'static>() -> Option<usize> {
    is_plain::<R>().then_some(size_of::<R>())
}

/// Where the results of a job are, as words of the results' size.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Results<'a> {
    Nothing(usize),
    Bytes(&'a [AtomicU8]),
    Halves(&'a [AtomicU16]),
    Words(&'a [AtomicU32]),
    Doubles(&'a [AtomicU64]),
    Quads(&'a [[AtomicU64; 2]]),
}

impl<'a> Results<'a> {
    /// The results at `offset`: `count` of `size` bytes each. No number has another size than these.
    pub(crate) fn new(
        segment: &'a Segment,
        offset: usize,
        count: usize,
        size: usize,
    ) -> Result<Self, ShmError> {
        Ok(match size {
            1 => Results::Bytes(segment.slice(offset, count)?),
            2 => Results::Halves(segment.slice(offset, count)?),
            4 => Results::Words(segment.slice(offset, count)?),
            8 => Results::Doubles(segment.slice(offset, count)?),
            16 => Results::Quads(segment.slice(offset, count)?),
            _ => Results::Nothing(count),
        })
    }

    /// Writes result `index`.
    ///
    /// # Panics
    ///
    /// If `R` is not a number of the words' size, or there is no such place.
    #[inline]
    pub(crate) fn set<R: 'static>(&self, index: usize, result: R) {
        const RELAXED: Ordering = Ordering::Relaxed; // published with the chunk's word
        // The size of `R` is known when this is compiled, so one comparison is left.
        match (size_of::<R>(), *self) {
            (0, Results::Nothing(count)) => assert!(index < count),
            (1, Results::Bytes(words)) => words[index].store(bits(result), RELAXED),
            (2, Results::Halves(words)) => words[index].store(bits(result), RELAXED),
            (4, Results::Words(words)) => words[index].store(bits(result), RELAXED),
            (8, Results::Doubles(words)) => words[index].store(bits(result), RELAXED),
            (16, Results::Quads(words)) => {
                let [low, high]: [u64; 2] = bits(result);
                words[index][0].store(low, RELAXED);
                words[index][1].store(high, RELAXED);
            }
            (size, _) => panic!(
                "only numbers are written in place, by words of their size, not {size} bytes"
            ),
        }
    }
}

/// The results of a job once they were written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    segment: &'a Segment,
    offset: usize,
    count: usize,
}

impl<'a> Written<'a> {
    /// The results at `offset`.
    pub(crate) fn new(segment: &'a Segment, offset: usize, count: usize) -> Self {
        Written {
            segment,
            offset,
            count,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Appends them to `output`.
    ///
    /// # Panics
    ///
    /// If `R` is not plain, or they do not lie in the segment.
    pub(crate) fn append_to<R: 'static>(&self, output: &mut Vec<R>) {
        output.reserve(self.count);
        let output: &mut dyn Any = output;
        macro_rules! append_numbers {
            ($($number:ty),*) => {$(
                if let Some(output) = output.downcast_mut::<Vec<$number>>() {
                    let cells = self.segment.cells::<$number>(self.offset, self.count);
                    return cells.expect("it was allocated").append_to(output);
                }
            )*};
        }
        plain_numbers!(append_numbers);
        let output = output.downcast_mut::<Vec<()>>();
        let output = output.expect("only numbers are written in place");
        output.resize(output.len() + self.count, ());
    }
}

/// The same bits as another type: between a number and the word that holds it.
///
/// # Panics
///
/// If one of them is not plain, or they differ in size.
#[inline]
fn bits<From: 'static, To: 'static>(value: From) -> To {
    assert!(
        size_of::<From>() == size_of::<To>() && is_bits::<From>() && is_bits::<To>(),
        "only numbers are written in place, by words of their size"
    );
    // SAFETY: both are plain: no padding, every bit pattern is a value; and they have the same size.
    unsafe { std::mem::transmute_copy(&value) }
}

fn is_bits<T: 'static>() -> bool {
    is_plain::<T>() || TypeId::of::<T>() == TypeId::of::<[u64; 2]>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<R: Copy + PartialEq + std::fmt::Debug + 'static>(values: [R; 3]) {
        let segment = Segment::create(4096).unwrap();
        let results = Results::new(&segment, 64, 3, size::<R>().unwrap()).unwrap();
        for (i, value) in values.into_iter().enumerate() {
            results.set(i, value);
        }
        let mut output = vec![values[2]];
        Written::new(&segment, 64, 3).append_to(&mut output);
        assert_eq!(output[1..], values);
    }

    #[test]
    fn numbers_of_every_size_go_in_place_and_come_back() {
        round_trip([(), (), ()]);
        round_trip([i8::MIN, 0, -1]);
        round_trip([1u16, 2, u16::MAX]);
        round_trip([1.5f32, f32::MAX, -0.0]);
        round_trip([i64::MIN, 7, i64::MAX]);
        round_trip([u128::MAX, 1 << 64, 3]);
        round_trip([
            Complex64::new(1.0, -2.0),
            Complex64::new(0.0, 3.5),
            Complex64::default(),
        ]);
        round_trip([
            Complex32::new(1.0, -2.0),
            Complex32::new(0.0, 3.5),
            Complex32::default(),
        ]);
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
    #[should_panic(expected = "only numbers")]
    fn other_results_are_refused() {
        let segment = Segment::create(4096).unwrap();
        Results::new(&segment, 0, 1, 1).unwrap().set(0, true);
    }
}
