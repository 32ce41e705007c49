//! A fixed number of records that any process reads and changes, each as a whole.

use super::home::{self, BODY, Label};
use super::wait::Wait;
use super::{LockError, RawMutex, protocol};
use crate::error::Kind;
use crate::{Cells, Segment, ShmError};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"records1";
const WHAT: &str = "table of records";
/// Rows share locks: row `i` has lock `i % STRIPES`.
const STRIPES: usize = 64;
const LOCKS: usize = BODY;

/// A fixed number of records in shared memory; any process may read a record at any time and change it as a whole.
///
/// What `multiprocessing.shared_memory.ShareableList` is for, with types: each row is plain data ([`Pod`]), numbers, `Complex`, a struct that derives `Pod`,
/// with [`FixedStr`](crate::FixedStr) for texts. Reading needs no lock, never waits for a writer and never sees half a row. Changes of one row are
/// made one after the other; rows far apart do not stand in each other's way.
///
/// # Deaths
/// A process that is killed inside `set` or `update` has changed the row or not; nothing is half-written, so there is no [`LockError::OwnerDied`].
///
/// # Examples
/// ```
/// use pool_shm::{FixedStr, RecordTable};
///
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Station {
///     position: [f64; 2],
///     name: FixedStr<24>,
///     visits: u32,
/// }
///
/// let name = FixedStr::new("Zürich")?;
/// let stations = RecordTable::from_rows(&[Station { position: [47.4, 8.5], name, visits: 0 }; 3])?;
/// let same = stations.clone(); // normally in another process
/// same.update(1, |row| Station { visits: row.visits + 1, ..row })?;
/// assert_eq!(stations.get(1).visits, 1);
/// assert_eq!(stations.get(1).name.as_str()?, "Zürich");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ShareableList")]
pub struct RecordTable<T: Pod> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    segment: Segment,
    rows: usize,
    locks: Box<[RawMutex]>,
    value: PhantomData<fn() -> T>,
}

home::handle!(RecordTable<T: Pod>);

impl<T: Pod> RecordTable<T> {
    /// A table of so many rows, all zeros.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn zeros(rows: usize) -> Result<Self, ShmError> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "rows are aligned to 64 bytes at most"
            )
        };
        let label = Label::new::<T>(MAGIC, rows);
        let end = Self::end(rows).ok_or_else(|| too_large::<T>(rows))?;
        let segment = home::create(label, end - BODY)?;
        RawMutex::init_many(&segment, LOCKS, stripes(rows))?;
        Self::attach_rows(segment, rows)
    }

    /// A table of these rows.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn from_rows(rows: &[T]) -> Result<Self, ShmError> {
        let table = Self::zeros(rows.len())?;
        for (i, row) in rows.iter().enumerate() {
            // Nobody else has the table: the first twin is the one that counts.
            table.inner.cell(i, 0).set(0, *row);
        }
        Ok(table)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        let label = home::check::<T>(&segment, MAGIC, WHAT)?;
        let rows = usize::try_from(label.count).unwrap_or(usize::MAX);
        Self::attach_rows(segment, rows)
    }

    /// Attaches to a table of exactly so many rows.
    pub(super) fn attach_rows(segment: Segment, rows: usize) -> Result<Self, ShmError> {
        let label = home::check::<T>(&segment, MAGIC, WHAT)?;
        let end = Self::end(rows).ok_or_else(|| too_large::<T>(rows))?;
        segment.cells::<u8>(0, end)?;
        if label.count != rows as u64 {
            return Err(Kind::Mismatch {
                what: "numbers of rows",
                of: WHAT,
                asked: rows.to_string(),
                found: label.count.to_string(),
            }
            .into());
        }
        let locks = RawMutex::attach_many(&segment, LOCKS, stripes(rows))?;
        Ok(Self {
            inner: Arc::new(Inner {
                segment,
                rows,
                locks,
                value: PhantomData,
            }),
        })
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If `i` is not less than [`len`](Self::len).
    #[must_use]
    pub fn get(&self, i: usize) -> T {
        let inner = &*self.inner;
        inner.twins(i).read(|twin| inner.cell(i, twin).get(0))
    }

    /// Stores row `i`.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] from inside `update` of this row or of one that shares its lock; [`LockError::Damaged`].
    ///
    /// # Panics
    /// If `i` is not less than [`len`](Self::len).
    pub fn set(&self, i: usize, row: T) -> Result<(), LockError<()>> {
        self.update(i, |_| row).map(drop)
    }

    /// Replaces row `i` by what `change` makes of it, which is returned. A panic of `change` changes nothing.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    ///
    /// # Panics
    /// If `i` is not less than [`len`](Self::len), and as `change` does.
    pub fn update(&self, i: usize, change: impl FnOnce(T) -> T) -> Result<T, LockError<()>> {
        self.inner.update(i, Wait::Forever, change)
    }

    /// As [`update`](Self::update), but waits for another one that changes the row, or one that shares its lock, for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`set`](Self::set).
    ///
    /// # Panics
    /// As for [`update`](Self::update).
    pub fn update_timeout(
        &self,
        i: usize,
        timeout: Duration,
        change: impl FnOnce(T) -> T,
    ) -> Result<T, LockError<()>> {
        self.inner.update(i, Wait::at_most(timeout), change)
    }

    /// The rows, one after the other; each is whole, but others may change meanwhile.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Bytes of one twin, so that each is aligned.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Where the words of the rows begin, which of the two twins counts.
    fn versions(rows: usize) -> usize {
        LOCKS + stripes(rows) * RawMutex::SIZE
    }

    /// Where the twins begin.
    fn twins(rows: usize) -> Option<usize> {
        let words = rows.checked_mul(size_of::<u64>())?;
        let end = Self::versions(rows).checked_add(words)?;
        end.checked_next_multiple_of(64)
    }

    fn end(rows: usize) -> Option<usize> {
        let twins = rows.checked_mul(2)?.checked_mul(Self::pitch()?)?;
        Self::twins(rows)?.checked_add(twins)
    }

    /// From one twin to the next, in bytes.
    fn pitch() -> Option<usize> {
        Self::STRIDE.checked_next_multiple_of(align_of::<T>())
    }
}

impl<T: Pod> Inner<T> {
    fn update(
        &self,
        i: usize,
        wait: Wait,
        change: impl FnOnce(T) -> T,
    ) -> Result<T, LockError<()>> {
        let twins = self.twins(i);
        // Who died with the lock left the old row or the new one.
        let (_lock, _) = LockError::split(wait.lock(&self.locks[i % STRIPES]))?;
        let row = change(self.cell(i, twins.current()).get(0));
        twins.write(|twin| self.cell(i, twin).set(0, row));
        Ok(row)
    }

    /// The word of row `i`.
    fn twins(&self, i: usize) -> protocol::Twins<'_> {
        assert!(
            i < self.rows,
            "there is no row {i} in a table of {} rows",
            self.rows
        );
        let at = RecordTable::<T>::versions(self.rows) + i * size_of::<u64>();
        protocol::Twins {
            version: (self.segment.get(at)).expect("the range was checked when it was attached"),
        }
    }

    fn cell(&self, i: usize, twin: usize) -> Cells<'_, T> {
        let pitch = RecordTable::<T>::pitch().unwrap_or(usize::MAX);
        let start = RecordTable::<T>::twins(self.rows).unwrap_or(usize::MAX);
        let at = start.saturating_add((2 * i + twin).saturating_mul(pitch));
        (self.segment.cells(at, 1)).expect("the range was checked when it was attached")
    }
}

fn stripes(rows: usize) -> usize {
    rows.min(STRIPES)
}

fn too_large<T>(rows: usize) -> ShmError {
    Kind::InvalidShape {
        shape: vec![rows],
        reason: format!(
            "rows of {} bytes do not fit the address space",
            size_of::<T>()
        ),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_size_stand_apart() {
        fn check<T: Pod + PartialEq + std::fmt::Debug>(row: impl Fn(usize) -> T) {
            let rows: Vec<T> = (0..200).map(&row).collect();
            let table = RecordTable::from_rows(&rows).unwrap();
            assert!(table.iter().eq(rows.iter().copied()));
            for i in (0..200).step_by(3) {
                table.set(i, row(i + 1000)).unwrap();
            }
            let expected = (0..200).map(|i| row(if i % 3 == 0 { i + 1000 } else { i }));
            assert!(table.iter().eq(expected));
        }
        check(|i| i as u8);
        check(|i| [i as u8; 3]);
        check(|i| [i as u16; 5]);
        check(|i| i as u128);
        check(|i| [i as f64; 40]);
        check(|_| ());
        assert!(RecordTable::<u8>::zeros(0).unwrap().is_empty());
    }

    #[test]
    fn too_many_rows_and_forged_counts_are_refused() {
        let error = RecordTable::<[u64; 4]>::zeros(usize::MAX / 8).unwrap_err();
        assert!(error.is_invalid_shape(), "{error}");
        let table = RecordTable::<u64>::zeros(10).unwrap();
        let segment = table.inner.segment.clone();
        for forged in [11, 1 << 20, u64::MAX, 1 << 60] {
            segment.cells::<u64>(0, 3).unwrap().set(1, forged);
            let outcome = RecordTable::<u64>::attach(segment.clone());
            match forged {
                // The segment has a page more than it needs; what lies there is no lock.
                11 => assert!(outcome.unwrap_err().is_mismatch()),
                _ => drop(outcome.unwrap_err()),
            }
        }
    }

    #[test]
    #[should_panic(expected = "there is no row 3 in a table of 3 rows")]
    fn a_row_past_the_end_panics() {
        let _ = RecordTable::<u8>::zeros(3).unwrap().get(3);
    }
}
