//! What arrays are made of.

use bytemuck::Pod;
use num_complex::Complex;
use serde::{Deserialize, Serialize};
use std::any::{TypeId, type_name};
use std::fmt;

/// A type that an array can hold: every integer and float, `Complex<f32>`,
/// `Complex<f64>`, and any other [`bytemuck::Pod`] type of at least one byte.
///
/// Implemented for all of them; there is nothing to implement.
///
/// ```
/// use pool_shm::{DType, Element};
///
/// assert_eq!(f64::dtype(), DType::F64);
/// assert_eq!(<num_complex::Complex<f64>>::dtype().to_string(), "Complex<f64>");
/// ```
pub trait Element: Pod + Send + Sync {
    /// The name of this type in handles.
    #[must_use]
    fn dtype() -> DType {
        DType::of::<Self>()
    }
}

impl<T: Pod + Send + Sync> Element for T {}

/// The real types of which there are complex arrays: `f32` and `f64`.
pub trait Real: Element + sealed::Sealed {}

impl Real for f32 {}
impl Real for f64 {}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Sealed {}

    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $type:ty, $name:literal;)*) => {
        /// The type of an array's elements, as handles and headers say it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum DType {
            $($(#[$doc])* $variant,)*
            /// Any other plain data.
            Other {
                /// Size in bytes.
                size: u32,
                /// Alignment in bytes.
                align: u32,
                /// A hash of the type's name.
                name: u64,
            },
        }

        impl DType {
            /// The name of `T`.
            fn of<T: Pod>() -> DType {
                let id = TypeId::of::<T>();
                $(if id == TypeId::of::<$type>() {
                    return DType::$variant;
                })*
                DType::Other {
                    size: u32::try_from(size_of::<T>()).unwrap_or(u32::MAX),
                    align: u32::try_from(align_of::<T>()).unwrap_or(u32::MAX),
                    name: hash(type_name::<T>()),
                }
            }

            /// The size of an element in bytes.
            #[must_use]
            pub fn size(self) -> usize {
                match self {
                    $(DType::$variant => size_of::<$type>(),)*
                    DType::Other { size, .. } => size as usize,
                }
            }
        }

        impl fmt::Display for DType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(DType::$variant => f.write_str($name),)*
                    DType::Other { size, align, name } => {
                        write!(f, "a type of {size} bytes aligned to {align} (name {name:016x})")
                    }
                }
            }
        }
    };
}

dtypes! {
    /// `i8`
    I8 = i8, "i8";
    /// `i16`
    I16 = i16, "i16";
    /// `i32`
    I32 = i32, "i32";
    /// `i64`
    I64 = i64, "i64";
    /// `i128`
    I128 = i128, "i128";
    /// `isize`
    Isize = isize, "isize";
    /// `u8`
    U8 = u8, "u8";
    /// `u16`
    U16 = u16, "u16";
    /// `u32`
    U32 = u32, "u32";
    /// `u64`
    U64 = u64, "u64";
    /// `u128`
    U128 = u128, "u128";
    /// `usize`
    Usize = usize, "usize";
    /// `f32`
    F32 = f32, "f32";
    /// `f64`
    F64 = f64, "f64";
    /// `Complex<f32>`, two `f32`
    Complex32 = Complex<f32>, "Complex<f32>";
    /// `Complex<f64>`, two `f64`; NumPy's complex128
    Complex64 = Complex<f64>, "Complex<f64>";
}

impl DType {
    /// The type whose memory this one is made of: a complex array may be seen
    /// as one of real numbers and back.
    pub(crate) fn base(self) -> DType {
        match self {
            DType::Complex32 => DType::F32,
            DType::Complex64 => DType::F64,
            other => other,
        }
    }

    /// The numbers by which a header says it.
    pub(crate) fn code(self) -> [u64; 2] {
        match self {
            DType::Other { size, align, name } => [u64::from(size) << 32 | u64::from(align), name],
            known => [0, hash(&known.to_string())],
        }
    }
}

/// FNV-1a, 64 bits: the same in every process, unlike std's.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    struct Point {
        x: f32,
        y: f32,
    }

    #[test]
    fn types_of_equal_size_differ() {
        assert_ne!(<[f32; 2]>::dtype(), Point::dtype());
        assert_ne!(<[f32; 2]>::dtype().code(), Point::dtype().code());
        assert_ne!(u64::dtype().code(), i64::dtype().code());
        assert_eq!(Point::dtype(), Point::dtype());
        assert_eq!(Point::dtype().size(), 8);
    }

    #[test]
    fn complex_numbers_are_pairs() {
        assert_eq!(Complex::<f64>::dtype().base(), f64::dtype());
        assert_eq!(Complex::<f32>::dtype().size(), 8);
    }
}
