//! The atomics of the protocols: core's, or loom's in a model.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Declares a structure of atomics that lives in the control segment, or on the heap in a model.
macro_rules! control_layout {
    ($($(#[$attr:meta])* $vis:vis struct $name:ident { $($(#[$fattr:meta])* $fvis:vis $field:ident : $ty:ty),* $(,)? })*) => {
        $(
            #[cfg(not(loom))]
            pool_shm::shared_layout! {
                $(#[$attr])* #[derive(Debug)] $vis struct $name { $($(#[$fattr])* $fvis $field : $ty),* }
            }
            #[cfg(loom)]
            $(#[$attr])* #[derive(Debug, Default)] $vis struct $name { $($(#[$fattr])* $fvis $field : $ty),* }
        )*
    };
}
pub(crate) use control_layout;
