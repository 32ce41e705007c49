//! Types that may lie in shared memory behind a reference.

use crossbeam::utils::CachePadded;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};

/// A type that several processes may use at once through `&T`.
///
/// Implemented for the integer atomics, arrays of them, and
/// [`CachePadded`]; [`shared_layout!`](crate::shared_layout) makes structs of
/// them. There is none for `AtomicBool`, since another process may write a
/// byte that is no `bool`, and none for pointers.
///
/// # Safety
///
/// * Every pattern of bits is a valid value.
/// * Every byte that means something belongs to an atomic, so that no write by
///   another process is a data race; what padding holds means nothing.
/// * The type has no destructor that matters: none is run.
pub unsafe trait Shared: Sync + Sized {}

macro_rules! shared_atomics {
    ($($atomic:ty),*) => {$(
        // SAFETY: an integer atomic has no invalid pattern, no padding and no
        // destructor.
        unsafe impl Shared for $atomic {}
    )*};
}

shared_atomics!(
    AtomicI8,
    AtomicI16,
    AtomicI32,
    AtomicI64,
    AtomicIsize,
    AtomicU8,
    AtomicU16,
    AtomicU32,
    AtomicU64,
    AtomicUsize
);

// SAFETY: an array has nothing but its elements.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

// SAFETY: beside the value there is only padding.
unsafe impl<T: Shared> Shared for CachePadded<T> {}

/// Declares structs of atomics that may lie in shared memory.
///
/// Each struct becomes `#[repr(C)]` and implements [`Shared`]; a field whose
/// type does not implement it is a compile error.
///
/// ```
/// use pool_shm::{shared_layout, Segment};
/// use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
///
/// shared_layout! {
///     /// What a worker says about itself.
///     #[derive(Debug)]
///     pub struct Slot {
///         /// Its process.
///         pub pid: AtomicU32,
///         /// What it has done.
///         pub done: AtomicU64,
///     }
/// }
///
/// let segment = Segment::create(4096)?;
/// let slots = segment.slice::<Slot>(0, 8)?;
/// slots[3].done.fetch_add(1, Ordering::Relaxed);
/// assert_eq!(slots[3].done.load(Ordering::Relaxed), 1);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// ```compile_fail,E0277
/// pool_shm::shared_layout! {
///     struct Wrong { name: String }
/// }
/// ```
#[macro_export]
macro_rules! shared_layout {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident : $type:ty ),* $(,)?
        }
    )*) => {$(
        $(#[$meta])*
        #[repr(C)]
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field: $type ),*
        }

        // SAFETY: the bounds demand that each field is `Shared`, and beside the
        // fields there is only padding.
        unsafe impl $crate::Shared for $name where $($type: $crate::Shared),* {}
    )*};
}
