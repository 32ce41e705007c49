//! Numbers that every process reads and changes at once.

mod array;
mod cell;
mod value;

pub use array::AtomicArray;
pub use cell::{Atomic, AtomicElement, AtomicInteger};
pub use value::AtomicValue;
