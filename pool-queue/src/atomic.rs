//! The atomics that protocols are written with: the core library's, or loom's when a model is checked.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Declares structures of atomics that lie in a segment, or on the heap in a model.
macro_rules! words_layout {
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
pub(crate) use words_layout;
