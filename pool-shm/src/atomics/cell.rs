//! One number in shared memory, changed by atomic operations.

use crate::element::Element;
use crate::shared::Shared;
use crate::sync::protocol::change_bits;
use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// The numbers of which there are atomic ones: the integers up to 64 bits, `f32` and `f64`.
pub trait AtomicElement: Element + fmt::Debug + operations::Operations {}

/// The integers among them, which also have operations on bits.
pub trait AtomicInteger: AtomicElement + operations::Bits {}

/// A number that many threads of many processes change at once, each operation as one step.
///
/// What a process wrote before it changed the number is seen by who reads that change (each operation acquires and releases). Integers wrap around; floats
/// are changed by repeated compare-and-swap, so sums of them depend on the order as always.
///
/// # Deaths
/// A process that is killed has made an operation or not.
///
/// ```
/// let sum = pool_shm::AtomicValue::new(0.5_f64)?;
/// assert_eq!(sum.fetch_add(1.0), 0.5);
/// assert_eq!(sum.fetch_max(7.0), 1.5);
/// assert_eq!(sum.compare_exchange(7.0, 8.0), Ok(7.0));
/// assert_eq!(sum.load(), 8.0);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[repr(transparent)]
pub struct Atomic<T: AtomicElement>(T::Word);

// SAFETY: a transparent wrapper of an integer atomic: no invalid pattern, no padding, no destructor.
unsafe impl<T: AtomicElement> Shared for Atomic<T> {}

impl<T: AtomicElement> Atomic<T> {
    /// The number.
    #[must_use]
    pub fn load(&self) -> T {
        T::load(&self.0)
    }

    /// Stores a number.
    pub fn store(&self, value: T) {
        T::store(&self.0, value);
    }

    /// Stores a number and gives the one before.
    pub fn swap(&self, value: T) -> T {
        T::swap(&self.0, value)
    }

    /// Stores `new` if the number is `current`; compares bits, so that 0.0 is not -0.0 and a NaN is itself.
    ///
    /// # Errors
    /// The number that it is instead.
    pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
        T::compare_exchange(&self.0, current, new)
    }

    /// Adds and gives the number before.
    pub fn fetch_add(&self, value: T) -> T {
        T::fetch_add(&self.0, value)
    }

    /// Subtracts and gives the number before.
    pub fn fetch_sub(&self, value: T) -> T {
        T::fetch_sub(&self.0, value)
    }

    /// Keeps the smaller of the two and gives the number before.
    pub fn fetch_min(&self, value: T) -> T {
        T::fetch_min(&self.0, value)
    }

    /// Keeps the larger of the two and gives the number before.
    pub fn fetch_max(&self, value: T) -> T {
        T::fetch_max(&self.0, value)
    }

    /// Replaces the number by what `change` makes of it and gives the one before. `change` is called again whenever somebody else was faster.
    pub fn fetch_update(&self, mut change: impl FnMut(T) -> T) -> T {
        let mut current = self.load();
        loop {
            match self.compare_exchange(current, change(current)) {
                Ok(before) => return before,
                Err(now) => current = now,
            }
        }
    }
}

impl<T: AtomicInteger> Atomic<T> {
    /// Keeps the bits that both have and gives the number before.
    pub fn fetch_and(&self, value: T) -> T {
        T::fetch_and(&self.0, value)
    }

    /// Sets bits and gives the number before.
    pub fn fetch_or(&self, value: T) -> T {
        T::fetch_or(&self.0, value)
    }

    /// Turns bits over and gives the number before.
    pub fn fetch_xor(&self, value: T) -> T {
        T::fetch_xor(&self.0, value)
    }
}

impl<T: AtomicElement> fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}

mod operations {
    use crate::shared::Shared;

    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Operations: Sized {
        type Word: Shared;
        fn load(word: &Self::Word) -> Self;
        fn store(word: &Self::Word, value: Self);
        fn swap(word: &Self::Word, value: Self) -> Self;
        fn compare_exchange(word: &Self::Word, current: Self, new: Self) -> Result<Self, Self>;
        fn fetch_add(word: &Self::Word, value: Self) -> Self;
        fn fetch_sub(word: &Self::Word, value: Self) -> Self;
        fn fetch_min(word: &Self::Word, value: Self) -> Self;
        fn fetch_max(word: &Self::Word, value: Self) -> Self;
    }

    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Bits: Operations {
        fn fetch_and(word: &Self::Word, value: Self) -> Self;
        fn fetch_or(word: &Self::Word, value: Self) -> Self;
        fn fetch_xor(word: &Self::Word, value: Self) -> Self;
    }
}

macro_rules! integers {
    ($($int:ty: $word:ident),* $(,)?) => {$(
        impl AtomicElement for $int {}
        impl AtomicInteger for $int {}

        // SYNC: atomic-number. Stores and changes release, loads and changes acquire.
        impl operations::Operations for $int {
            type Word = std::sync::atomic::$word;

            fn load(word: &Self::Word) -> Self {
                word.load(Acquire)
            }

            fn store(word: &Self::Word, value: Self) {
                word.store(value, Release);
            }

            fn swap(word: &Self::Word, value: Self) -> Self {
                word.swap(value, AcqRel)
            }

            fn compare_exchange(word: &Self::Word, current: Self, new: Self) -> Result<Self, Self> {
                word.compare_exchange(current, new, AcqRel, Acquire)
            }

            fn fetch_add(word: &Self::Word, value: Self) -> Self {
                word.fetch_add(value, AcqRel)
            }

            fn fetch_sub(word: &Self::Word, value: Self) -> Self {
                word.fetch_sub(value, AcqRel)
            }

            fn fetch_min(word: &Self::Word, value: Self) -> Self {
                word.fetch_min(value, AcqRel)
            }

            fn fetch_max(word: &Self::Word, value: Self) -> Self {
                word.fetch_max(value, AcqRel)
            }
        }

        impl operations::Bits for $int {
            fn fetch_and(word: &Self::Word, value: Self) -> Self {
                word.fetch_and(value, AcqRel)
            }

            fn fetch_or(word: &Self::Word, value: Self) -> Self {
                word.fetch_or(value, AcqRel)
            }

            fn fetch_xor(word: &Self::Word, value: Self) -> Self {
                word.fetch_xor(value, AcqRel)
            }
        }
    )*};
}

integers! {
    i8: AtomicI8, i16: AtomicI16, i32: AtomicI32, i64: AtomicI64, isize: AtomicIsize,
    u8: AtomicU8, u16: AtomicU16, u32: AtomicU32, u64: AtomicU64, usize: AtomicUsize,
}

/// Changes a float, as one step, and gives the float before.
macro_rules! change_float {
    ($word:expr, $float:ident, |$old:ident| $new:expr) => {
        $float::from_bits(change_bits!($word, |bits| {
            let $old = $float::from_bits(bits);
            $new.to_bits()
        }))
    };
}

macro_rules! floats {
    ($($float:ident: $word:ident),* $(,)?) => {$(
        impl AtomicElement for $float {}

        // SYNC: atomic-number. As for integers.
        impl operations::Operations for $float {
            type Word = std::sync::atomic::$word;

            fn load(word: &Self::Word) -> Self {
                $float::from_bits(word.load(Acquire))
            }

            fn store(word: &Self::Word, value: Self) {
                word.store(value.to_bits(), Release);
            }

            fn swap(word: &Self::Word, value: Self) -> Self {
                $float::from_bits(word.swap(value.to_bits(), AcqRel))
            }

            fn compare_exchange(word: &Self::Word, current: Self, new: Self) -> Result<Self, Self> {
                word.compare_exchange(current.to_bits(), new.to_bits(), AcqRel, Acquire)
                    .map($float::from_bits)
                    .map_err($float::from_bits)
            }

            fn fetch_add(word: &Self::Word, value: Self) -> Self {
                change_float!(word, $float, |old| (old + value))
            }

            fn fetch_sub(word: &Self::Word, value: Self) -> Self {
                change_float!(word, $float, |old| (old - value))
            }

            fn fetch_min(word: &Self::Word, value: Self) -> Self {
                change_float!(word, $float, |old| old.min(value))
            }

            fn fetch_max(word: &Self::Word, value: Self) -> Self {
                change_float!(word, $float, |old| old.max(value))
            }
        }
    )*};
}

floats! { f32: AtomicU32, f64: AtomicU64 }
