//! From an array with an owner to one that nobody can write.

use super::owner::{Lessees, Owner};
use super::{FrozenArray, Layout, Memory, Placed, SharedArray};
use crate::element::Element;
use crate::error::{Kind, ShmError, system};
use crate::segment::{FrozenSegment, Segment, SegmentFile};
use crate::sys;
use ndarray::Dimension;
use std::fmt;
use std::io;
use std::sync::Arc;

/// How often sealing is tried while somebody has the segment mapped.
const ATTEMPTS: usize = 8;

/// Freezing failed; the array is still there, unfrozen.
///
/// `?` turns it into its [`ShmError`] and drops the array.
pub struct FreezeError<T, D> {
    error: ShmError,
    left: Left<T, D>,
}

/// What is left of an array that could not be frozen.
enum Left<T, D> {
    /// All of it.
    Array(SharedArray<T, D>),
    /// Its segment, which is not mapped any more.
    Segment {
        file: Arc<SegmentFile>,
        lessees: Lessees,
        layout: Layout<D>,
    },
}

impl<T: Element, D: Dimension> FreezeError<T, D> {
    /// The array was not touched.
    pub(super) fn kept(array: SharedArray<T, D>, error: ShmError) -> Self {
        let left = Left::Array(array);
        FreezeError { error, left }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &ShmError {
        &self.error
    }

    /// The array, mapped again.
    ///
    /// # Errors
    ///
    /// A failure of the operating system to map it.
    pub fn into_array(self) -> Result<SharedArray<T, D>, ShmError> {
        let (file, lessees, layout) = match self.left {
            Left::Array(array) => return Ok(array),
            Left::Segment {
                file,
                lessees,
                layout,
            } => (file, lessees, layout),
        };
        let segment = Segment::map(file)?;
        lessees.give_to(&segment);
        let placed = Placed::new(Memory::Writable(segment.clone()), 0, layout)?;
        Ok(SharedArray::from_parts(Owner::new(segment), placed))
    }
}

impl<T, D> From<FreezeError<T, D>> for ShmError {
    fn from(error: FreezeError<T, D>) -> Self {
        error.error
    }
}

impl<T, D> fmt::Display for FreezeError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T, D> fmt::Debug for FreezeError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreezeError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T, D> std::error::Error for FreezeError<T, D> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

pub(super) fn freeze<T: Element, D: Dimension>(
    owner: Owner,
    placed: Placed<T, D>,
) -> Result<FrozenArray<T, D>, FreezeError<T, D>> {
    let layout = placed.layout().clone();
    let (file, lessees) = owner.unmap(placed);
    let frozen = seal(&file, &lessees)
        .and_then(|()| FrozenSegment::map(Arc::clone(&file)))
        .and_then(|segment| Placed::new(Memory::Frozen(segment), 0, layout.clone()));
    match frozen {
        Ok(placed) => Ok(FrozenArray::from_placed(placed)),
        Err(error) => Err(FreezeError {
            error,
            left: Left::Segment {
                file,
                lessees,
                layout,
            },
        }),
    }
}

/// Seals a file that this process does not map any more.
pub(super) fn seal(file: &SegmentFile, lessees: &Lessees) -> Result<(), ShmError> {
    for _ in 0..ATTEMPTS {
        match sys::seal_write(file.fd()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::yield_now();
                lessees.release(file.id());
            }
            Err(error) => return Err(system("seal a segment against writing", error).into()),
        }
    }
    let users = sys::writers(file.id().ino);
    Err(Kind::Busy {
        id: file.id().to_string(),
        users: users.join(", "),
    }
    .into())
}
