//! Arrays in files: larger than memory, kept after the program's end, and
//! shared with NumPy.
//!
//! A [`FileArray`] is a file, mapped: a `.npy` file as NumPy writes and reads
//! it, or raw elements from an offset on. It is cut into blocks and lent to
//! tasks like a [`SharedArray`](crate::SharedArray); workers map the file, so
//! nothing is copied, and what does not fit into memory goes to the disk and
//! comes back as it is needed.
//!
//! | `np.memmap` | here | who may write |
//! |---|---|---|
//! | `"w+"` | [`FileArray::create`] | its owner, and those to whom it lends blocks |
//! | `"r+"` | [`FileArray::open_mut`] | the same |
//! | `"r"` | [`FileArray::open`] | nobody |
//! | `"c"` | [`FileArray::open_private`] | its owner; the file stays as it is |
//!
//! # Why some are `unsafe`
//!
//! The memory of a mapped file changes when anybody writes the file, and it is
//! gone when anybody truncates it; no kernel has a lock against that. Whoever
//! opens a file that has a name promises that nobody does. A file that is
//! being created has no name until [`finish`](FileArray::finish), so nobody
//! can open it by accident, and `create` is safe.
//!
//! As a help, not as a proof, the files are locked (`flock`): of those that
//! use this library, either one writes a file or any number read it. The lock
//! is given up when the array is dropped, even while a child process that is
//! just being started has a copy of the descriptor. A file
//! that was truncated is reported by the next call that lends blocks and by
//! [`check`](FileArray::check); a process that had touched what is gone was
//! ended by SIGBUS.
//!
//! # Errors, not signals
//!
//! A disk that is full is an error of `create` and of `open_mut`: both put
//! blocks of the disk behind the whole array first (where the file system
//! cannot reserve, `create` writes zeros).

mod array;
mod create;
mod error;
mod npy;
mod open;

pub use array::{CopyOnWrite, FileAccess, FileArray, FinishError, ReadOnly, ReadWrite};
pub(crate) use error::FileError;
#[cfg(fuzzing)]
pub(crate) use npy::parse;
