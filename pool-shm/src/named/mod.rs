//! Arrays with a name, which an unrelated program attaches to: NumPy by
//! `multiprocessing.shared_memory.SharedMemory(name)`, and this library by
//! [`NamedArray::attach`].
//!
//! ```
//! use ndarray::{Ix2, array};
//! use num_complex::Complex;
//! use pool_shm::NamedArray;
//!
//! let name = format!("doc-{}", std::process::id());
//! let ours = NamedArray::<Complex<f64>, _>::create(&name, (3, 3))?;
//! // SAFETY: nobody else knows the name, and no other view lives.
//! let mut view = unsafe { ours.raw().view_mut() };
//! view[[0, 1]] = Complex::i();
//!
//! // Normally in another process.
//! let theirs = NamedArray::<Complex<f64>, Ix2>::attach(&name)?;
//! // SAFETY: as above.
//! assert_eq!(unsafe { theirs.raw().view() }[[0, 1]], Complex::i());
//! drop(ours); // takes the name away; who is attached keeps the memory
//! assert!(NamedArray::<Complex<f64>, Ix2>::attach(&name).is_err());
//! # Ok::<(), pool_shm::ShmError>(())
//! ```
//!
//! # What lies where
//!
//! A name is a file of that name in `/dev/shm`, as POSIX shared memory has it.
//! It holds the elements from its first byte on, so that other programs see
//! plain data, then, in a page of its own at the end, a stamp: what the
//! elements are, and who made it. (A second file could be left alone, and not
//! every kernel keeps attributes of such files.) The file appears under its
//! name when all of this is there, so a process that is killed while it makes
//! one leaves nothing.
//!
//! # Who may do what
//!
//! Mode 0600: processes of the same user. Any of them may write the elements
//! at any time, and, unlike a [`Segment`](crate::Segment), may truncate the
//! file; whoever then touches what is gone is ended by SIGBUS. The kernel
//! cannot seal a file that has a name. So the array is a
//! [`RawArray`](crate::RawArray), whose views are `unsafe`; nothing here relies
//! on what others wrote, and the stamp is read once and checked.
//!
//! # Who removes it
//!
//! Its maker, when it drops the array, unless it was told to
//! [`leave`](NamedArray::leave) it. If the maker was killed, [`sweep`] removes
//! it: only what bears our stamp, belongs to this user, was not left on
//! purpose, and whose maker's process (by id and start time) is gone. A living
//! maker also holds a lock on the file, which ends with its process, so one in
//! another container, whose process ids mean nothing here, is safe too.
//!
//! Python before 3.13 also removes a segment at the exit of any process that
//! attached to it; see [`NamedArray`].

mod array;
mod error;
mod name;
mod stamp;
mod sweep;

pub use array::NamedArray;
pub(crate) use error::NameError;
#[cfg(fuzzing)]
pub(crate) use name::file_of;
#[cfg(fuzzing)]
pub(crate) use stamp::{Maker, PAGE as STAMP_PAGE, Stamp};
pub use sweep::{remove, sweep};
