//! The array with locks built in.

use super::slice::rows_of_slice;
use super::{Placed, RawArray, SharedArray, raw_view};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use crate::segment::Segment;
use crate::sync::home::{self, BODY, Label};
use crate::sync::protocol::{Stripes, StripesHold};
use crate::sync::wait::Wait;
use crate::sync::{LockError, RawMutex};
use ndarray::{
    ArrayRef, ArrayView, ArrayViewMut, Axis, Dimension, RawArrayViewMut, ShapeBuilder, Slice,
    SliceArg,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What stands before its description when it travels, so that no other array is taken for it.
const TAG: [u8; 4] = *b"lock";
const MAGIC: [u8; 8] = *b"stripes1";
const WHAT: &str = "locks of an array";

/// An array in shared memory that any process may read and write while it holds the lock; or, with stripes, those rows whose locks it holds.
///
/// Clones, and copies made by serialising (as a task's argument, say), are the same array and the same locks. A guard gives views of ndarray, of all
/// or of the rows that were asked for, and stays in its thread. Rows are along the first axis; stripes are runs of neighbouring rows with a lock each.
/// A thread that holds rows must not ask for more unless they are behind those it has: others may ask in the opposite order.
///
/// # Deaths
/// The death of a holder does not block the others: whoever locks any of its stripes next gets [`LockError::OwnerDied`] with the guard, since their rows
/// may be half-written. Each stripe is reported until a guard with all of its rows has been given back: one that was asked for them, or
/// [`widened`](LockedArrayGuard::widen) to them. A guard of a [part](LockedArray::slice) never has all of them.
///
/// # Examples
/// ```
/// use pool_shm::{LockedArray, SharedArray};
///
/// let total = LockedArray::<f64, _>::zeros((3, 2))?;
/// let same = total.clone(); // normally in another process
/// same.lock().expect("no holder has died").view_mut().row_mut(1).fill(2.0);
/// assert_eq!(total.lock().expect("no holder has died").view().sum(), 4.0);
///
/// let rows = LockedArray::striped(SharedArray::<f64, _>::zeros((100, 4))?, 10)?;
/// let mut first = rows.lock_rows(0..10).expect("no holder has died");
/// first.view_mut().fill(1.0);
/// let other = || rows.try_lock_rows(10..12).is_ok(); // of another stripe
/// assert!(std::thread::scope(|scope| scope.spawn(other).join().unwrap()));
/// # drop(first);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct LockedArray<T, D> {
    /// Its memory is always writable.
    placed: Placed<T, D>,
    locks: Arc<Locks>,
    /// Of which rows it is a part, if it is one.
    part: Option<Part>,
}

/// Rows of the whole array, in some of whose elements a part consists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    rows: Range<usize>,
    /// How many the whole array has.
    all: usize,
}

/// The segment of the locks, one for each run of neighbouring rows.
struct Locks {
    segment: Segment,
    stripes: Box<[RawMutex]>,
}

/// The lock, or the locks of some rows, held; dropping it gives them back.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct LockedArrayGuard<'a, T, D> {
    placed: &'a Placed<T, D>,
    rows: Range<usize>,
    /// All rows that the locks protect.
    protected: Range<usize>,
    /// Whether the rows have no elements but those that it shows.
    whole: bool,
    hold: StripesHold<'a>,
}

/// The guard, or why not.
type Locked<'a, T, D> = Result<LockedArrayGuard<'a, T, D>, LockError<LockedArrayGuard<'a, T, D>>>;

impl<T: Element, D: Dimension> LockedArray<T, D> {
    /// The most stripes that it can have.
    pub const MAX_STRIPES: usize = 1024;

    /// An array of zeros under one lock, as [`SharedArray::zeros`].
    ///
    /// # Errors
    /// As for [`SharedArray::zeros`].
    pub fn zeros(shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        Self::over(RawArray::zeros(shape)?, 1)
    }

    /// A copy of any array or view under one lock, as [`SharedArray::from_array`].
    ///
    /// # Errors
    /// As for [`SharedArray::zeros`].
    pub fn from_array(source: &ArrayRef<T, D>) -> Result<Self, ShmError> {
        Self::new(SharedArray::from_array(source)?)
    }

    /// The same memory under one lock, without a copy; a small array is copied, as by [`SharedArray::into_raw`].
    ///
    /// # Errors
    /// As for [`SharedArray::into_raw`] and [`Segment::create`].
    pub fn new(array: SharedArray<T, D>) -> Result<Self, ShmError> {
        Self::striped(array, 1)
    }

    /// As [`new`](Self::new), under so many locks for runs of neighbouring rows. Of more stripes than rows, those without rows are unused.
    ///
    /// # Errors
    /// `is_mismatch` unless there are 1 to [`MAX_STRIPES`](Self::MAX_STRIPES) stripes; and as for [`new`](Self::new).
    pub fn striped(array: SharedArray<T, D>, stripes: usize) -> Result<Self, ShmError> {
        Self::over(array.into_raw()?, stripes)
    }

    fn over(array: RawArray<T, D>, stripes: usize) -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, stripes);
        let count = home::count(label, Self::MAX_STRIPES, WHAT)?;
        let segment = home::create(label, count * RawMutex::SIZE)?;
        let stripes = RawMutex::init_many(&segment, BODY, count)?;
        Ok(Self {
            placed: array.into_placed(),
            locks: Arc::new(Locks { segment, stripes }),
            part: None,
        })
    }

    fn attach(
        array: RawArray<T, D>,
        segment: Segment,
        part: Option<Part>,
    ) -> Result<Self, ShmError> {
        if let Some(Part { rows, all }) = &part
            && (rows.start > rows.end || rows.end > *all)
        {
            return Err(Kind::Mismatch {
                what: "rows",
                of: "part of a locked array",
                asked: format!("{rows:?}"),
                found: format!("{all} rows"),
            }
            .into());
        }
        let label = home::check::<()>(&segment, MAGIC, WHAT)?;
        let count = home::count(label, Self::MAX_STRIPES, WHAT)?;
        let stripes = RawMutex::attach_many(&segment, BODY, count)?;
        Ok(Self {
            placed: array.into_placed(),
            locks: Arc::new(Locks { segment, stripes }),
            part,
        })
    }

    /// A part of the array, any that ndarray can slice, also backwards: the same memory under the same locks, with a shape and strides of its own. It can be
    /// sent like the array.
    ///
    /// Whoever locks a part, or rows of one, waits for the stripes of all rows of the array in which the part has elements; a part of a part has those
    /// of the part that it was made of. Since rows may have elements outside the part, a guard of a part cannot repair them: the death of a holder is
    /// reported until somebody has locked and given back the whole rows.
    ///
    /// # Errors
    /// `is_invalid_cut` if the slice does not lie in the array.
    ///
    /// # Examples
    /// ```
    /// use ndarray::s;
    /// use pool_shm::{LockedArray, SharedArray};
    ///
    /// let rows = LockedArray::striped(SharedArray::<f64, _>::zeros((100, 4))?, 10)?;
    /// let part = rows.slice(s![..20;-1, 1])?;
    /// part.lock().expect("no holder has died").view_mut().fill(1.0);
    /// assert_eq!(rows.lock_rows(19..20).expect("no holder has died").view()[[0, 1]], 1.0);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    pub fn slice<I: SliceArg<D>>(&self, slice: I) -> Result<LockedArray<T, I::OutDim>, ShmError> {
        let placed = self.placed.slice(&slice)?;
        let whole = || {
            let all = self.rows();
            let rows = rows_of_slice(slice.as_ref(), all);
            Part { rows, all }
        };
        Ok(LockedArray {
            placed,
            locks: Arc::clone(&self.locks),
            part: Some(self.part.clone().unwrap_or_else(whole)),
        })
    }

    /// Waits until nobody holds any row, and takes all.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard; [`LockError::Deadlock`] if this thread holds a row already; [`LockError::Damaged`].
    pub fn lock(&self) -> Locked<'_, T, D> {
        self.lock_by(0..self.rows(), Wait::Forever)
    }

    /// Takes all rows if nobody holds one.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; [`LockError::OwnerDied`] with the guard; [`LockError::Damaged`].
    pub fn try_lock(&self) -> Locked<'_, T, D> {
        self.lock_by(0..self.rows(), Wait::No)
    }

    /// Waits for all rows for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Locked<'_, T, D> {
        self.lock_by(0..self.rows(), Wait::at_most(timeout))
    }

    /// Waits for the stripes of these rows; the guard's views show these rows only.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock); [`LockError::Deadlock`] if this thread holds one of the stripes.
    ///
    /// # Panics
    /// If the range does not lie in the first axis.
    pub fn lock_rows(&self, rows: Range<usize>) -> Locked<'_, T, D> {
        self.lock_by(rows, Wait::Forever)
    }

    /// Takes the stripes of these rows if nobody holds one of them.
    ///
    /// # Errors
    /// As for [`try_lock`](Self::try_lock).
    ///
    /// # Panics
    /// As for [`lock_rows`](Self::lock_rows).
    pub fn try_lock_rows(&self, rows: Range<usize>) -> Locked<'_, T, D> {
        self.lock_by(rows, Wait::No)
    }

    /// Waits for the stripes of these rows for `timeout` at most.
    ///
    /// # Errors
    /// As for [`lock_timeout`](Self::lock_timeout).
    ///
    /// # Panics
    /// As for [`lock_rows`](Self::lock_rows).
    pub fn lock_rows_timeout(&self, rows: Range<usize>, timeout: Duration) -> Locked<'_, T, D> {
        self.lock_by(rows, Wait::at_most(timeout))
    }

    /// How many locks there are.
    #[must_use]
    pub fn stripes(&self) -> usize {
        self.locks.stripes.len()
    }

    fn lock_by(&self, rows: Range<usize>, wait: Wait) -> Locked<'_, T, D> {
        let all = self.rows();
        assert!(
            rows.start <= rows.end && rows.end <= all,
            "the rows {rows:?} do not lie in an array of {all} rows"
        );
        let whole = self.part.is_none();
        let (which, covered, protected) = match &self.part {
            None => {
                let which = stripes_of(&rows, all, self.stripes());
                let protected = rows_of(&which, all, self.stripes());
                // The first and the last stripe may have rows that were not asked for.
                let first = usize::from(protected.start < rows.start);
                let last = which.len() - usize::from(rows.end < protected.end);
                (which, first..last, protected)
            }
            Some(part) => {
                let which = stripes_of(&part.rows, part.all, self.stripes());
                (which, 0..0, 0..all)
            }
        };
        let stripes = Stripes {
            locks: &self.locks.stripes[which],
            covered,
        };
        let wrap = |hold| LockedArrayGuard {
            placed: &self.placed,
            rows,
            protected,
            whole,
            hold,
        };
        match stripes.lock(wait) {
            Ok(hold) => Ok(wrap(hold)),
            Err(error) => Err(error.map(wrap)),
        }
    }

    /// The length of the first axis; an array without axes is one row.
    fn rows(&self) -> usize {
        self.placed.layout().shape().first().copied().unwrap_or(1)
    }
}

/// The stripes of some of `all` rows: each but the last has as many rows. No rows need a stripe as well, so that a whole empty array is locked by one.
fn stripes_of(rows: &Range<usize>, all: usize, stripes: usize) -> Range<usize> {
    let run = all.div_ceil(stripes).max(1);
    let first = (rows.start / run).min(stripes - 1);
    let last = rows.end.saturating_sub(1).max(rows.start) / run;
    first..last.min(stripes - 1) + 1
}

/// The rows of some stripes.
fn rows_of(which: &Range<usize>, all: usize, stripes: usize) -> Range<usize> {
    let run = all.div_ceil(stripes).max(1);
    let start = |stripe: usize| stripe.saturating_mul(run).min(all);
    start(which.start)..start(which.end)
}

impl<T: Element, D: Dimension> LockedArrayGuard<'_, T, D> {
    /// The same locks with all the rows that they protect: for repairing what a dead holder left. Of a part, all of its rows, which repairs nothing.
    ///
    /// ```
    /// use pool_shm::sync::LockError;
    /// use pool_shm::{LockedArray, SharedArray};
    ///
    /// let rows = LockedArray::striped(SharedArray::<f64, _>::zeros((100, 4))?, 10)?;
    /// let guard = match rows.lock_rows(17..18) {
    ///     Err(LockError::OwnerDied(guard)) => {
    ///         let mut guard = guard.widen(); // to the rows 10..20
    ///         guard.view_mut().fill(0.0);
    ///         guard
    ///     }
    ///     guard => guard.expect("a lock of one's own"),
    /// };
    /// # assert_eq!(guard.rows(), 17..18);
    /// # assert_eq!(guard.widen().rows(), 10..20);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    pub fn widen(mut self) -> Self {
        self.rows = self.protected.clone();
        if self.whole {
            self.hold.cover_all();
        }
        self
    }

    /// The rows, for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: in bounds and aligned, any bits are a `T`; the locks keep everybody else away from these rows while `self` lives.
        unsafe { self.raw_view().deref_into_view() }
    }

    /// The rows, for writing.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: as in `view`; no two indices are the same element (the layout's invariant), and `self` is borrowed exclusively.
        unsafe { self.raw_view().deref_into_view_mut() }
    }

    /// Which rows of the array they are.
    #[must_use]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    fn raw_view(&self) -> RawArrayViewMut<T, D> {
        let layout = self.placed.layout();
        let mut view = raw_view(self.placed.data(), layout.dim(), layout.strides());
        if !layout.shape().is_empty() {
            view.slice_axis_inplace(Axis(0), Slice::from(self.rows.clone()));
        }
        view
    }
}

super::geometry::geometry!(LockedArray);

impl<T, D: Clone> Clone for LockedArray<T, D> {
    fn clone(&self) -> Self {
        Self {
            placed: self.placed.clone(),
            locks: Arc::clone(&self.locks),
            part: self.part.clone(),
        }
    }
}

impl<T: Element, D: Dimension> fmt::Debug for LockedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "LockedArray", &self.placed)
    }
}

impl<T: Element + fmt::Debug, D: Dimension> fmt::Debug for LockedArrayGuard<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedArrayGuard")
            .field("rows", &self.rows)
            .field("view", &self.view())
            .finish()
    }
}

impl<T: Element, D: Dimension> Serialize for LockedArray<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let array = RawArray::from_placed(self.placed.clone());
        (TAG, &self.locks.segment, array, &self.part).serialize(serializer)
    }
}

impl<'de, T: Element, D: Dimension> Deserialize<'de> for LockedArray<T, D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let (tag, segment, array, part) = <([u8; 4], Segment, _, _)>::deserialize(deserializer)?;
        if tag != TAG {
            return Err(serde::de::Error::custom(format!(
                "a handle of another kind of array: asked for {TAG:?}, found {tag:?}"
            )));
        }
        Self::attach(array, segment, part).map_err(ShmError::into_serde)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix0, Ix1, Ix2};

    fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(f).join().unwrap())
    }

    #[test]
    fn a_part_is_locked_with_the_rows_in_which_it_lies() {
        let rows = SharedArray::<u32, Ix2>::zeros((8, 3)).unwrap();
        let array = LockedArray::striped(rows, 4).unwrap();
        let part = array.slice(ndarray::s![2..6;-3, 1..]).unwrap();
        assert_eq!(part.shape(), [2, 2]);
        let sent = postcard::to_allocvec(&part).unwrap();
        let sent: LockedArray<u32, Ix2> = postcard::from_bytes(&sent).unwrap();
        let of_part = part.slice(ndarray::s![0, ..]).unwrap();
        let inside = || array.try_lock_rows(3..4).is_err() && array.try_lock_rows(4..5).is_err();
        let outside = || array.try_lock_rows(0..2).is_ok() && array.try_lock_rows(6..8).is_ok();
        let check = |guard: &dyn fmt::Debug| {
            assert!(elsewhere(inside) && elsewhere(outside), "{guard:?}");
        };
        check(&part.lock().unwrap());
        check(&sent.lock_rows(0..1).unwrap());
        check(&of_part.lock().unwrap());
        sent.lock().unwrap().view_mut()[[0, 0]] = 7;
        assert_eq!(array.lock().unwrap().view()[[5, 1]], 7);
        assert!(
            array
                .slice(ndarray::s![..9, ..])
                .unwrap_err()
                .is_invalid_cut()
        );
    }

    #[test]
    fn a_part_of_rows_that_are_not_there_is_refused() {
        let array = LockedArray::<u32, Ix2>::zeros((8, 3)).unwrap();
        let mut part = array.slice(ndarray::s![2..6, ..]).unwrap();
        for rows in [2..9, Range { start: 7, end: 6 }] {
            part.part = Some(Part { rows, all: 8 });
            let sent = serde_json::to_string(&part).unwrap();
            let error = serde_json::from_str::<LockedArray<u32, Ix2>>(&sent).unwrap_err();
            assert!(error.to_string().contains("8 rows"), "{error}");
        }
    }

    #[test]
    fn a_death_stays_reported_until_the_whole_rows_are_repaired() {
        let array = LockedArray::<u32, Ix2>::zeros((4, 4)).unwrap();
        let part = array.slice(ndarray::s![.., 0]).unwrap();
        let died = || std::mem::forget(array.lock().unwrap());
        elsewhere(died); // a thread that ends is as good as a process
        for _ in 0..2 {
            let told = elsewhere(|| match part.lock() {
                Err(LockError::OwnerDied(guard)) => guard.widen().rows() == (0..4),
                _ => false,
            });
            assert!(told);
        }
        assert!(elsewhere(|| matches!(
            array.lock(),
            Err(LockError::OwnerDied(_))
        )));
        assert!(elsewhere(|| part.lock().is_ok()));
    }

    #[test]
    fn each_row_has_one_stripe_and_they_ascend() {
        for all in [0, 1, 2, 7, 64, 100] {
            for stripes in [1, 2, 3, 7, 64] {
                let of = |i: usize| stripes_of(&(i..i + 1), all, stripes);
                let mut last = 0;
                for i in 0..all {
                    assert_eq!(of(i).len(), 1);
                    assert!(of(i).start >= last && of(i).end <= stripes);
                    last = of(i).start;
                    let own = rows_of(&of(i), all, stripes);
                    assert!(own.contains(&i) && own.clone().all(|j| of(j) == of(i)));
                    for j in i..all {
                        let run = stripes_of(&(i..j + 1), all, stripes);
                        assert_eq!(run, of(i).start..of(j).end);
                    }
                }
                for i in 0..=all {
                    assert_eq!(stripes_of(&(i..i), all, stripes).len(), 1);
                }
            }
        }
    }

    #[test]
    fn rows_under_different_locks_are_used_at_once() {
        let array = SharedArray::<u32, _>::zeros((6, 2)).unwrap();
        let array = LockedArray::striped(array, 3).unwrap();
        let mut middle = array.lock_rows(3..4).unwrap();
        assert_eq!(middle.rows(), 3..4);
        assert_eq!(middle.view().shape(), [1, 2]);
        middle.view_mut().fill(5);
        let last = || {
            array
                .try_lock_rows(4..6)
                .map(|mut rows| rows.view_mut().fill(7))
                .is_ok()
        };
        assert!(elsewhere(last));
        let same_stripe = || array.try_lock_rows(2..3).is_err();
        assert!(elsewhere(same_stripe));
        let limit = Duration::from_millis(1);
        assert!(elsewhere(|| matches!(
            array.lock_timeout(limit),
            Err(LockError::Timeout)
        )));
        assert!(matches!(array.lock(), Err(LockError::Deadlock)));
        drop(middle);
        let whole = array.lock().unwrap();
        assert_eq!(whole.view().column(0).to_vec(), [0, 0, 0, 5, 7, 7]);
    }

    #[test]
    fn the_end_of_a_holder_is_told_for_its_rows() {
        let array = SharedArray::<u8, _>::zeros(8).unwrap();
        let array = LockedArray::striped(array, 4).unwrap();
        elsewhere(|| std::mem::forget(array.lock_rows(2..5).unwrap()));
        drop(array.lock_rows(0..2).expect("another stripe"));
        // One that gives up half-way takes no news with it.
        let last = array.lock_rows(6..8).unwrap();
        assert!(elsewhere(|| matches!(
            array.try_lock(),
            Err(LockError::WouldBlock)
        )));
        drop(last);
        for rows in [2..4, 5..6, 4..5] {
            let told = array.lock_rows(rows);
            assert!(matches!(told, Err(LockError::OwnerDied(_))));
        }
        drop(
            array
                .lock_rows(3..4)
                .expect("told to one that had all its rows"),
        );
        let Err(LockError::OwnerDied(guard)) = array.lock_rows(4..5) else {
            panic!("nobody had all rows of the stripe yet");
        };
        assert_eq!(guard.widen().rows(), 4..6);
        drop(array.lock().unwrap());
    }

    #[test]
    fn arrays_without_axes_or_rows_have_a_lock() {
        let scalar = LockedArray::<f64, Ix0>::zeros(()).unwrap();
        scalar.lock().unwrap().view_mut().fill(2.0);
        assert_eq!(scalar.lock().unwrap().view().sum(), 2.0);
        let empty = LockedArray::<f64, Ix2>::zeros((0, 4)).unwrap();
        let guard = empty.lock().unwrap();
        assert_eq!(guard.view().shape(), [0, 4]);
        assert!(elsewhere(|| empty.try_lock().is_err()));
    }

    #[test]
    fn a_handle_is_the_same_array_and_no_other_kind() {
        let array = LockedArray::from_array(&ndarray::arr1(&[1.0, 2.0])).unwrap();
        let bytes = postcard::to_allocvec(&array).unwrap();
        let same: LockedArray<f64, Ix1> = postcard::from_bytes(&bytes).unwrap();
        let guard = array.lock().unwrap();
        assert!(elsewhere(|| same.try_lock().is_err()));
        drop(guard);
        assert_eq!(same.lock().unwrap().view()[1], 2.0);
        assert!(postcard::from_bytes::<LockedArray<f32, Ix1>>(&bytes).is_err());
        assert!(postcard::from_bytes::<crate::AtomicArray<f64, Ix1>>(&bytes).is_err());
        let error = LockedArray::striped(SharedArray::<u8, _>::zeros(1).unwrap(), 0).unwrap_err();
        assert!(error.is_mismatch());
    }
}
