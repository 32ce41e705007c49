//! The array in a file.

use super::create::{Unfinished, create};
use super::error::{error, system};
use super::{npy, open};
use crate::array::{Layout, Memory, Placed, RawArray};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::{self, FileSegment};
use ndarray::{ArrayView, ArrayViewMut, Dimension, ShapeBuilder};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nobody writes the file.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {}

/// The array's owner writes the file, and those to whom it lends blocks.
#[derive(Clone, Copy, Debug)]
pub enum ReadWrite {}

/// The owner writes memory of its own; the file stays as it is.
#[derive(Clone, Copy, Debug)]
pub enum CopyOnWrite {}

/// What may be done with a [`FileArray`]: [`ReadOnly`], [`ReadWrite`] or
/// [`CopyOnWrite`].
pub trait FileAccess: sealed::Sealed {}

impl FileAccess for ReadOnly {}
impl FileAccess for ReadWrite {}
impl FileAccess for CopyOnWrite {}

mod sealed {
    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Sealed {}

    impl Sealed for super::ReadOnly {}
    impl Sealed for super::ReadWrite {}
    impl Sealed for super::CopyOnWrite {}
}

/// An array in a file, which may be larger than memory: see [`file`](crate::file).
///
/// Elements are those of NumPy: integers of up to 64 bits, `f32`, `f64`,
/// `Complex<f32>`, `Complex<f64>`, in C or Fortran order; `u8` also reads truth
/// values. Raw files hold any [`Element`].
///
/// ```
/// use ndarray::{Axis, Ix2};
/// use pool_shm::FileArray;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("matrix.npy");
/// let mut matrix = FileArray::<f64, Ix2>::create(&path, (1000, 10))?;
/// matrix.view_mut().row_mut(1).fill(3.0);
/// matrix.finish()?; // now the file has its name
///
/// // SAFETY: nobody else knows the directory.
/// let matrix = unsafe { FileArray::<f64, Ix2>::open(&path) }?;
/// assert_eq!(matrix.view().sum_axis(Axis(1))[1], 30.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileArray<T, D, A = ReadWrite> {
    placed: Placed<T, D>,
    segment: FileSegment,
    path: PathBuf,
    unfinished: Option<Unfinished>,
    access: PhantomData<A>,
}

impl<T: Element, D: Dimension> FileArray<T, D> {
    /// A new `.npy` file of zeros, column-major after `.f()`.
    ///
    /// The file gets its name by [`finish`](Self::finish): until then nobody
    /// else can open it, and if this process drops the array or is killed,
    /// nothing is left. It has room on the disk for all elements.
    ///
    /// # Errors
    ///
    /// `is_taken` if the name exists; `is_out_of_space` if the disk, a quota
    /// or a limit leaves too little room; `is_not_found` if there is no such
    /// directory; `is_denied`; `is_mismatch` if NumPy has no such elements;
    /// `is_invalid_shape`; any other failure of the operating system.
    pub fn create(
        path: impl AsRef<Path>,
        shape: impl ShapeBuilder<Dim = D>,
    ) -> Result<Self, ShmError> {
        let path = path.as_ref();
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        let header = npy::header(T::dtype(), layout.shape(), layout.is_column_major());
        let header = header.map_err(|problem| error(path, problem))?;
        Self::make(path, &header, layout)
    }

    /// As [`create`](Self::create), but a file with nothing but the elements.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create); also `is_invalid_shape` for a shape
    /// without elements.
    pub fn create_raw(
        path: impl AsRef<Path>,
        shape: impl ShapeBuilder<Dim = D>,
    ) -> Result<Self, ShmError> {
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        layout.check_not_empty()?;
        Self::make(path.as_ref(), &[], layout)
    }

    fn make(path: &Path, header: &[u8], layout: Layout<D>) -> Result<Self, ShmError> {
        let (file, unfinished) = create(path, header, layout.len() * size_of::<T>())?;
        let segment = FileSegment::map(Arc::new(file), segment::FileAccess::Write)?;
        let memory = Memory::File(segment.clone());
        let placed = Placed::at(memory, header.len() as u64, layout)?;
        let mut array = Self::new(path, (segment, placed));
        array.unfinished = Some(unfinished);
        Ok(array)
    }

    /// Opens a `.npy` file for reading and writing.
    ///
    /// Parts of the file that were never written get room on the disk.
    ///
    /// # Safety
    ///
    /// While the array lives, nobody reads, writes or truncates the file but
    /// through it and the blocks that it lends, in this process or in another.
    ///
    /// # Errors
    ///
    /// `is_not_found`; `is_denied` if it may not be written; `is_busy` if
    /// another array of it is open; `is_mismatch` if it is no `.npy` file, of
    /// other elements (big-endian ones too) or of another number of axes;
    /// `is_truncated` if it is too short; `is_out_of_space`; any other failure
    /// of the operating system.
    pub unsafe fn open_mut(path: impl AsRef<Path>) -> Result<Self, ShmError> {
        Self::open_npy(path.as_ref(), segment::FileAccess::Write)
    }

    /// Opens a file whose elements begin at byte `offset`, for reading and
    /// writing.
    ///
    /// # Safety
    ///
    /// As for [`open_mut`](Self::open_mut).
    ///
    /// # Errors
    ///
    /// As for [`open_mut`](Self::open_mut).
    pub unsafe fn open_raw_mut(
        path: impl AsRef<Path>,
        shape: impl ShapeBuilder<Dim = D>,
        offset: u64,
    ) -> Result<Self, ShmError> {
        Self::open_elements(path.as_ref(), segment::FileAccess::Write, shape, offset)
    }

    /// Opens a `.npy` file for reading.
    ///
    /// # Safety
    ///
    /// While the array lives, nobody writes or truncates the file, in this
    /// process or in another.
    ///
    /// # Errors
    ///
    /// As for [`FileArray::open_mut`]; `is_busy` if another array writes it.
    pub unsafe fn open(path: impl AsRef<Path>) -> Result<FileArray<T, D, ReadOnly>, ShmError> {
        FileArray::open_npy(path.as_ref(), segment::FileAccess::Read)
    }

    /// Opens a file whose elements begin at byte `offset`, for reading.
    ///
    /// # Safety
    ///
    /// As for [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub unsafe fn open_raw(
        path: impl AsRef<Path>,
        shape: impl ShapeBuilder<Dim = D>,
        offset: u64,
    ) -> Result<FileArray<T, D, ReadOnly>, ShmError> {
        FileArray::open_elements(path.as_ref(), segment::FileAccess::Read, shape, offset)
    }

    /// Opens a `.npy` file; what is written stays in this process and takes
    /// memory of its own, page by page. The kernel gives that memory as it is
    /// written: it is the one array here whose memory is not reserved.
    ///
    /// It cannot be lent: workers would see the file, not the changes.
    ///
    /// # Safety
    ///
    /// As for [`FileArray::open`].
    ///
    /// # Errors
    ///
    /// As for [`FileArray::open`].
    pub unsafe fn open_private(
        path: impl AsRef<Path>,
    ) -> Result<FileArray<T, D, CopyOnWrite>, ShmError> {
        FileArray::open_npy(path.as_ref(), segment::FileAccess::Private)
    }

    /// As [`open_private`](FileArray::open_private), for a file whose elements
    /// begin at byte `offset`.
    ///
    /// # Safety
    ///
    /// As for [`FileArray::open`].
    ///
    /// # Errors
    ///
    /// As for [`FileArray::open`].
    pub unsafe fn open_raw_private(
        path: impl AsRef<Path>,
        shape: impl ShapeBuilder<Dim = D>,
        offset: u64,
    ) -> Result<FileArray<T, D, CopyOnWrite>, ShmError> {
        FileArray::open_elements(path.as_ref(), segment::FileAccess::Private, shape, offset)
    }

    /// Writes what was changed, by blocks too, to the disk, and waits for it.
    ///
    /// # Errors
    ///
    /// A failure of the disk.
    pub fn flush(&self) -> Result<(), ShmError> {
        let flushed = self.segment.flush();
        flushed.map_err(|source| system(&self.path, "write it to the disk", 0, source))
    }

    /// Writes everything to the disk and gives a file that was created its
    /// name. From then on others can open it.
    ///
    /// # Errors
    ///
    /// `is_taken` if something has got the name meanwhile, or a failure of
    /// the disk; the error holds the array ([`FinishError::into_array`]).
    pub fn finish(mut self) -> Result<(), FinishError<T, D>> {
        let mut finished = self.flush();
        if let (Ok(()), Some(unfinished)) = (&finished, &mut self.unfinished) {
            finished = unfinished.finish(self.segment.file().fd());
        }
        finished.map_err(|error| {
            let array = Box::new(self);
            FinishError { error, array }
        })
    }

    /// A view for writing.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: the file has no name, or whoever opened it has promised that
        // nobody else uses it; `self` is mutably borrowed, so nothing is lent.
        unsafe { self.placed.view_mut() }
    }

    /// Gives up exclusive use: anyone may then read and write, as in Python. A
    /// file that was not finished never gets its name.
    #[must_use]
    pub fn into_raw(self) -> RawArray<T, D> {
        RawArray::from_placed(self.placed)
    }
}

impl<T: Element, D: Dimension> FileArray<T, D, CopyOnWrite> {
    /// A view for writing, which does not change the file.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: what is written is this mapping's own, what is not is the
        // file's, which nobody changes as whoever opened it has promised;
        // `self` is mutably borrowed.
        unsafe { self.placed.view_mut() }
    }
}

impl<T: Element, D: Dimension, A: FileAccess> FileArray<T, D, A> {
    fn new(path: &Path, (segment, placed): (FileSegment, Placed<T, D>)) -> Self {
        FileArray {
            placed,
            segment,
            path: path.to_owned(),
            unfinished: None,
            access: PhantomData,
        }
    }

    fn open_npy(path: &Path, access: segment::FileAccess) -> Result<Self, ShmError> {
        Ok(Self::new(path, open::npy(path, access)?))
    }

    fn open_elements(
        path: &Path,
        access: segment::FileAccess,
        shape: impl ShapeBuilder<Dim = D>,
        offset: u64,
    ) -> Result<Self, ShmError> {
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        Ok(Self::new(path, open::raw(path, access, offset, layout)?))
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: the file has no name, or whoever opened it has promised that
        // nobody else writes it; `self` is borrowed, so nothing is lent for
        // writing.
        unsafe { self.placed.view() }
    }

    /// The file that it was opened as or will be named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file still is as long as the array.
    ///
    /// After a call that failed since a worker was ended by SIGBUS, this says
    /// whether the file was truncated.
    ///
    /// # Errors
    ///
    /// `is_truncated`.
    pub fn check(&self) -> Result<(), ShmError> {
        self.segment.file().check_length()
    }

    pub(crate) fn placed(&self) -> &Placed<T, D> {
        &self.placed
    }

    /// The number of elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.placed.layout().shape()
    }

    /// The shape as a value of ndarray.
    #[must_use]
    pub fn raw_dim(&self) -> D {
        self.placed.layout().dim().clone()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.placed.layout().len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

crate::array::lend!(FileArray);
crate::array::lend_mut!(FileArray);

/// A name with two parameters, as the macro has them.
type ReadOnlyArray<T, D> = FileArray<T, D, ReadOnly>;

crate::array::lend!(ReadOnlyArray);

impl<T: Element, D: Dimension, A> fmt::Debug for FileArray<T, D, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileArray")
            .field("path", &self.path)
            .field("dtype", &T::dtype())
            .field("shape", &self.placed.layout().shape())
            .field("access", &std::any::type_name::<A>())
            .finish()
    }
}

/// A file could not be finished; the array is still there.
///
/// `?` turns it into its [`ShmError`] and drops the array.
pub struct FinishError<T, D> {
    error: ShmError,
    array: Box<FileArray<T, D>>,
}

impl<T, D> FinishError<T, D> {
    /// Why.
    #[must_use]
    pub fn error(&self) -> &ShmError {
        &self.error
    }

    /// The array, as it was.
    #[must_use]
    pub fn into_array(self) -> FileArray<T, D> {
        *self.array
    }
}

impl<T, D> From<FinishError<T, D>> for ShmError {
    fn from(error: FinishError<T, D>) -> Self {
        error.error
    }
}

impl<T, D> fmt::Display for FinishError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T, D> fmt::Debug for FinishError<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinishError")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T, D> std::error::Error for FinishError<T, D> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}
