//! Plain data in shared memory, copied in and out.
//!
//! Another process may write what we read. A plain access would be a data
//! race, so every access here is atomic, by words of the machine and relaxed:
//! a value that is being written is seen torn, but nothing worse happens.
//!
//! Long runs are copied by the processor's own instruction for that where there
//! is one. It stands in inline assembly: to the compiler it does what a loop of
//! relaxed accesses by bytes would do, several times as fast.

use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// A run of plain values in a segment. Values are copied in and out, so there
/// is never a reference to what another process may write.
///
/// A value that is read while another process writes it may be a mixture of
/// both; order and exclusion are up to a lock or to an atomic beside it.
pub struct Cells<'a, T> {
    start: *mut T,
    len: usize,
    segment: PhantomData<&'a [AtomicU8]>,
}

impl<T> Clone for Cells<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Cells<'_, T> {}

// SAFETY: all access is by atomic operations on plain data.
unsafe impl<T: Pod> Send for Cells<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Cells<'_, T> {}

impl<'a, T: Pod> Cells<'a, T> {
    /// # Safety
    ///
    /// `start` must be aligned, and valid for reads and writes of `len` values
    /// during `'a`; everyone in this process accesses them atomically, or
    /// under an exclusion that also keeps the holders of these cells away.
    pub(crate) unsafe fn new(start: *mut T, len: usize) -> Self {
        Cells {
            start,
            len,
            segment: PhantomData,
        }
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of value `i`.
    ///
    /// # Panics
    ///
    /// If `i` is not less than [`len`](Self::len).
    #[must_use]
    pub fn get(&self, i: usize) -> T {
        let mut value = [T::zeroed()];
        self.read_into(i, &mut value);
        value[0]
    }

    /// Stores value `i`.
    ///
    /// # Panics
    ///
    /// If `i` is not less than [`len`](Self::len).
    pub fn set(&self, i: usize, value: T) {
        self.write_from(i, &[value]);
    }

    /// Copies the values from `start` on, as many as `to` has.
    ///
    /// # Panics
    ///
    /// If they do not lie within [`len`](Self::len).
    pub fn read_into(&self, start: usize, to: &mut [T]) {
        let from = self.locate(start, to.len());
        let to = bytemuck::cast_slice_mut::<T, u8>(to);
        // SAFETY: `locate` has checked that as many bytes as `to` has lie at
        // `from`, and `new` that they are valid.
        unsafe { load(from, to) }
    }

    /// Appends copies of all values to `to`.
    ///
    /// ```
    /// use pool_shm::Segment;
    ///
    /// let segment = Segment::create(64)?;
    /// segment.cells::<u16>(8, 2)?.write_from(0, &[7, 9]);
    /// let mut values = vec![5];
    /// segment.cells::<u16>(8, 3)?.append_to(&mut values);
    /// assert_eq!(values, [5, 7, 9, 0]);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    pub fn append_to(&self, to: &mut Vec<T>) {
        let (before, bytes) = (to.len(), self.len * size_of::<T>());
        if !HAS_BLOCKS || bytes < LONG {
            to.resize(before + self.len, T::zeroed());
            return self.read_into(0, &mut to[before..]);
        }
        to.reserve(self.len);
        let spare = to.spare_capacity_mut().as_mut_ptr();
        // SAFETY: `new` vouches for all our values, and there is room for as
        // many behind those of `to`.
        unsafe { copy_block(self.start.cast(), spare.cast(), bytes) };
        // SAFETY: they were copied, and any bytes are a value.
        unsafe { to.set_len(before + self.len) };
    }

    /// Stores values from `start` on, as many as `from` has.
    ///
    /// # Panics
    ///
    /// If they do not lie within [`len`](Self::len).
    pub fn write_from(&self, start: usize, from: &[T]) {
        let to = self.locate(start, from.len());
        let from = bytemuck::cast_slice::<T, u8>(from);
        // SAFETY: as in `read_into`.
        unsafe { store(to, from) }
    }

    fn locate(&self, start: usize, count: usize) -> *mut u8 {
        assert!(
            start <= self.len && count <= self.len - start,
            "{count} values from {start} on do not lie in {} cells",
            self.len
        );
        self.start.wrapping_add(start).cast()
    }
}

impl<T> fmt::Debug for Cells<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells")
            .field("type", &std::any::type_name::<T>())
            .field("len", &self.len)
            .finish()
    }
}

const WORD: usize = size_of::<u64>();

/// From so many bytes on the processor's instruction is faster than a loop,
/// also on processors where it takes long to begin.
const LONG: usize = 1024;

/// Copies from shared memory to `to`.
///
/// # Safety
///
/// `from` is valid for atomic reads of as many bytes as `to` has.
unsafe fn load(from: *const u8, to: &mut [u8]) {
    if HAS_BLOCKS && to.len() >= LONG {
        // SAFETY: the caller vouches for `from`; `to` is ours.
        return unsafe { copy_block(from, to.as_mut_ptr(), to.len()) };
    }
    let (head, words) = split(from, to.len());
    let (to_head, rest) = to.split_at_mut(head);
    let (to_words, to_tail) = rest.split_at_mut(words * WORD);
    // SAFETY: the three parts lie one after the other in the valid range.
    unsafe { load_bytes(from, to_head) };
    // SAFETY: as above, and `split` has made this part aligned.
    unsafe { load_words(from.wrapping_add(head), to_words) };
    // SAFETY: as above.
    unsafe { load_bytes(from.wrapping_add(head + words * WORD), to_tail) };
}

/// Copies `from` to shared memory.
///
/// # Safety
///
/// `to` is valid for atomic writes of as many bytes as `from` has.
unsafe fn store(to: *mut u8, from: &[u8]) {
    if HAS_BLOCKS && from.len() >= LONG {
        // SAFETY: the caller vouches for `to`; `from` is borrowed.
        return unsafe { copy_block(from.as_ptr(), to, from.len()) };
    }
    let (head, words) = split(to, from.len());
    let (from_head, rest) = from.split_at(head);
    let (from_words, from_tail) = rest.split_at(words * WORD);
    // SAFETY: the three parts lie one after the other in the valid range.
    unsafe { store_bytes(to, from_head) };
    // SAFETY: as above, and `split` has made this part aligned.
    unsafe { store_words(to.wrapping_add(head), from_words) };
    // SAFETY: as above.
    unsafe { store_bytes(to.wrapping_add(head + words * WORD), from_tail) };
}

/// Whether [`copy_block`] can be used.
const HAS_BLOCKS: bool = cfg!(all(target_arch = "x86_64", not(miri)));

/// Copies `len` bytes, as relaxed accesses by bytes in some order would.
///
/// # Safety
///
/// `from` is valid for reads and `to` for writes of `len` bytes, which do not
/// overlap; whoever else accesses the shared one of them at the same time does
/// so atomically.
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy_block(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: it reads and writes what the caller vouches for; the direction
    // flag is clear, as everywhere between two statements.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_block(_from: *const u8, _to: *mut u8, _len: usize) {
    unreachable!("`HAS_BLOCKS` says so")
}

/// The bytes before the first aligned word, and the number of whole words.
fn split(at: *const u8, len: usize) -> (usize, usize) {
    let head = at.addr().wrapping_neg() % WORD;
    let head = head.min(len);
    (head, (len - head) / WORD)
}

/// # Safety
///
/// `from` is valid for atomic reads of as many bytes as `to` has.
unsafe fn load_bytes(from: *const u8, to: &mut [u8]) {
    for (i, byte) in to.iter_mut().enumerate() {
        // SAFETY: `i` is within the range that the caller vouches for.
        *byte = unsafe { AtomicU8::from_ptr(from.wrapping_add(i).cast_mut()) }.load(Relaxed);
    }
}

/// # Safety
///
/// As for [`load_bytes`], and `from` is aligned to a word.
unsafe fn load_words(from: *const u8, to: &mut [u8]) {
    let (words, _) = to.as_chunks_mut::<WORD>();
    for (i, word) in words.iter_mut().enumerate() {
        let at = from.wrapping_add(i * WORD).cast_mut().cast::<u64>();
        // SAFETY: `at` is aligned and within the range of the caller.
        *word = unsafe { AtomicU64::from_ptr(at) }
            .load(Relaxed)
            .to_ne_bytes();
    }
}

/// # Safety
///
/// `to` is valid for atomic writes of as many bytes as `from` has.
unsafe fn store_bytes(to: *mut u8, from: &[u8]) {
    for (i, byte) in from.iter().enumerate() {
        // SAFETY: `i` is within the range that the caller vouches for.
        unsafe { AtomicU8::from_ptr(to.wrapping_add(i)) }.store(*byte, Relaxed);
    }
}

/// # Safety
///
/// As for [`store_bytes`], and `to` is aligned to a word.
unsafe fn store_words(to: *mut u8, from: &[u8]) {
    let (words, _) = from.as_chunks::<WORD>();
    for (i, word) in words.iter().enumerate() {
        let at = to.wrapping_add(i * WORD).cast::<u64>();
        // SAFETY: `at` is aligned and within the range of the caller.
        unsafe { AtomicU64::from_ptr(at) }.store(u64::from_ne_bytes(*word), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use crate::Segment;

    #[test]
    fn any_offset_and_length_is_copied_and_nothing_else() {
        let segment = Segment::create(64).unwrap();
        let bytes = segment.cells::<u8>(0, 64).unwrap();
        for start in 0..20 {
            for len in 0..30 {
                bytes.write_from(0, &[0xff; 64]);
                let data: Vec<u8> = (1..=len).collect();
                bytes.write_from(start, &data);
                let mut all = [0; 64];
                bytes.read_into(0, &mut all);
                let mut expected = [0xff; 64];
                expected[start..start + data.len()].copy_from_slice(&data);
                assert_eq!(all, expected);
                let mut back = vec![0; data.len()];
                bytes.read_into(start, &mut back);
                assert_eq!(back, data);
            }
        }
    }

    #[test]
    fn long_runs_are_copied_and_nothing_else() {
        const LEN: usize = 3 * super::LONG;
        let segment = Segment::create(LEN).unwrap();
        let bytes = segment.cells::<u8>(0, LEN).unwrap();
        for (start, len) in [
            (0, LEN),
            (1, super::LONG),
            (7, super::LONG + 9),
            (64, super::LONG - 1),
        ] {
            bytes.write_from(0, &[0xff; LEN]);
            let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            bytes.write_from(start, &data);
            let mut expected = vec![0xff; LEN];
            expected[start..start + len].copy_from_slice(&data);
            let mut all = vec![0; LEN];
            bytes.read_into(0, &mut all);
            assert_eq!(all, expected);
            let mut back = vec![0; len];
            bytes.read_into(start, &mut back);
            assert_eq!(back, data);
            let mut appended = vec![5; 3];
            let some = segment.cells::<u8>(start, len).unwrap();
            some.append_to(&mut appended);
            assert_eq!((&appended[..3], &appended[3..]), (&[5; 3][..], &data[..]));
        }
    }

    #[test]
    #[should_panic(expected = "1 values from 4 on do not lie in 4 cells")]
    fn an_index_past_the_end_panics() {
        let segment = Segment::create(64).unwrap();
        let _ = segment.cells::<u32>(0, 4).unwrap().get(4);
    }

    #[test]
    #[should_panic(expected = "do not lie in")]
    fn a_start_near_the_maximum_does_not_wrap() {
        let segment = Segment::create(64).unwrap();
        segment
            .cells::<u32>(0, 4)
            .unwrap()
            .write_from(usize::MAX, &[1, 2]);
    }
}
