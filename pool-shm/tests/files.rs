//! Arrays in files: every access, both orders, all types, and an error for
//! whatever a file can be instead.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use ndarray::{Array2, Axis, Ix0, Ix1, Ix2, IxDyn, ShapeBuilder, array};
use num_complex::Complex;
use pool_shm::file::{CopyOnWrite, ReadOnly};
use pool_shm::{AxisChunks, Blocks, Element, FileArray, LeaseCache, RawArray, ShmError};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

type Matrix = FileArray<f64, Ix2>;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("array.npy");
    (dir, path)
}

fn names(dir: &tempfile::TempDir) -> usize {
    fs::read_dir(dir.path()).unwrap().count()
}

/// Creates a finished file of the numbers from 0 on.
fn counted(path: &Path, rows: usize, columns: usize) {
    let mut array = Matrix::create(path, (rows, columns)).unwrap();
    for (i, x) in array.view_mut().iter_mut().enumerate() {
        *x = i as f64;
    }
    array.finish().unwrap();
}

/// Opens for reading.
fn open(path: &Path) -> Result<FileArray<f64, Ix2, ReadOnly>, ShmError> {
    // SAFETY: nobody writes the file meanwhile: it is in this test's directory.
    unsafe { FileArray::open(path) }
}

/// Opens for reading and writing.
fn open_mut(path: &Path) -> Result<Matrix, ShmError> {
    // SAFETY: as for `open`.
    unsafe { FileArray::open_mut(path) }
}

/// Opens for changes that are not kept.
fn open_private(path: &Path) -> Result<FileArray<f64, Ix2, CopyOnWrite>, ShmError> {
    // SAFETY: as for `open`.
    unsafe { FileArray::open_private(path) }
}

/// A child that has a copy of this process's descriptor of the file in `dir`,
/// as any child has between its fork and its exec.
struct Heir(Child);

impl Heir {
    fn of(dir: &tempfile::TempDir) -> Self {
        // Two steps, since every other test is opening and closing as well.
        let stdout = Stdio::from(duplicate(dir));
        let mut cat = Command::new("cat"); // until the end of its input
        let child = cat.stdin(Stdio::piped()).stdout(stdout).spawn().unwrap();
        Heir(child)
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// A second descriptor of the open file in `dir`, which has one lock with the
/// first.
fn duplicate(dir: &tempfile::TempDir) -> OwnedFd {
    let pid = rustix::process::getpid();
    let this = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let numbers = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let is_it = fs::read_link(entry.path()).is_ok_and(|link| link.starts_with(dir.path()));
        is_it.then(|| entry.file_name().to_str().unwrap().parse().unwrap())
    });
    let numbers: Vec<i32> = numbers.collect();
    assert_eq!(
        numbers.len(),
        1,
        "one open file in {}",
        dir.path().display()
    );
    let flags = rustix::process::PidfdGetfdFlags::empty();
    rustix::process::pidfd_getfd(this, numbers[0], flags).unwrap()
}

#[test]
fn a_lock_ends_with_its_array_whoever_has_a_copy_of_the_descriptor() {
    let (dir, path) = scratch();
    // Each kind of end: a file that is finished, written, and read.
    let created = Matrix::create(&path, (4, 4)).unwrap();
    let heir = Heir::of(&dir);
    created.finish().unwrap();
    let written = open_mut(&path).expect("it was finished");
    drop(heir);
    let heir = Heir::of(&dir);
    assert!(open(&path).unwrap_err().is_busy());
    drop(written);
    let read = open(&path).expect("the writer is gone");
    drop(heir);
    let heir = Heir::of(&dir);
    assert!(open_mut(&path).unwrap_err().is_busy());
    drop(read);
    assert!(open_mut(&path).is_ok(), "the reader is gone");
    drop(heir);
}

#[test]
fn a_file_has_its_name_when_it_is_finished_and_not_before() {
    let (dir, path) = scratch();
    let mut array = Matrix::create(&path, (3, 4)).unwrap();
    array.view_mut()[[2, 3]] = 5.0;
    array.flush().unwrap();
    assert_eq!(names(&dir), 0);
    array.finish().unwrap();
    assert_eq!(names(&dir), 1);
    drop(Matrix::create(dir.path().join("other.npy"), (3, 4)).unwrap());
    assert_eq!(names(&dir), 1);
    let read: Array2<f64> = ndarray_npy::read_npy(&path).unwrap();
    assert_eq!((read.sum(), read[[2, 3]]), (5.0, 5.0));
}

#[test]
fn a_name_that_is_taken_is_refused_and_loses_nothing() {
    let (_dir, path) = scratch();
    let array = Matrix::create(&path, (2, 2)).unwrap();
    fs::write(&path, "mine").unwrap();
    let error = array.finish().unwrap_err();
    assert!(error.error().is_taken(), "{error}");
    let array = error.into_array();
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let error = Matrix::create(&path, (2, 2)).unwrap_err();
    assert!(error.is_taken());
    assert!(error.to_string().contains("array.npy"), "{error}");
    fs::remove_file(&path).unwrap();
    array.finish().unwrap();
    assert_eq!(open(&path).unwrap().view(), Array2::<f64>::zeros((2, 2)));
}

#[test]
fn what_is_written_through_an_array_is_in_the_file() {
    let (_dir, path) = scratch();
    counted(&path, 3, 4);
    let mut array = open_mut(&path).unwrap();
    array.view_mut()[[0, 0]] = 100.0;
    array.flush().unwrap();
    drop(array);
    let read: Array2<f64> = ndarray_npy::read_npy(&path).unwrap();
    assert_eq!(read.sum(), 166.0);
    assert_eq!(open(&path).unwrap().view(), read);
}

#[test]
fn changes_of_a_copy_on_write_array_stay_in_the_process() {
    let (_dir, path) = scratch();
    counted(&path, 100, 100);
    let before = fs::read(&path).unwrap();
    let mut array = open_private(&path).unwrap();
    array.view_mut().fill(1.0);
    assert_eq!(array.view().sum(), 10_000.0);
    // Others read the file meanwhile.
    assert_eq!(open(&path).unwrap().view()[[99, 99]], 9999.0);
    drop(array);
    assert!(before == fs::read(&path).unwrap());
}

fn round_trip<T>(value: T)
where
    T: Element + PartialEq + ndarray_npy::ReadableElement + ndarray_npy::WritableElement,
{
    for column_major in [false, true] {
        let (_dir, path) = scratch();
        let shape = (2, 3).set_f(column_major);
        let mut ours = FileArray::<T, Ix2>::create(&path, shape).unwrap();
        ours.view_mut()[[1, 0]] = value;
        ours.finish().unwrap();
        let theirs: Array2<T> = ndarray_npy::read_npy(&path).unwrap();
        assert!(theirs[[1, 0]] == value);
        assert_eq!(theirs.is_standard_layout(), !column_major);
        fs::remove_file(&path).unwrap();
        ndarray_npy::write_npy(&path, &theirs).unwrap();
        // SAFETY: nobody writes the file meanwhile.
        let again = unsafe { FileArray::<T, Ix2>::open(&path) }.unwrap();
        assert!(again.view() == theirs);
        assert_eq!(again.view().strides(), theirs.strides());
    }
}

#[test]
fn all_types_of_numpy_in_both_orders() {
    round_trip(-1_i8);
    round_trip(-2_i16);
    round_trip(-3_i32);
    round_trip(-4_i64);
    round_trip(1_u8);
    round_trip(2_u16);
    round_trip(3_u32);
    round_trip(4_u64);
    round_trip(0.5_f32);
    round_trip(0.25_f64);
    round_trip(Complex::new(1.0_f32, -2.0));
    round_trip(Complex::new(1.0_f64, -2.0));
}

#[test]
fn truth_values_are_read_as_bytes() {
    let (_dir, path) = scratch();
    ndarray_npy::write_npy(&path, &array![true, false, true]).unwrap();
    // SAFETY: nobody writes the file meanwhile.
    let flags = unsafe { FileArray::<u8, Ix1>::open(&path) }.unwrap();
    assert_eq!(flags.view(), array![1, 0, 1]);
    drop(flags);
    // SAFETY: as above.
    let error = unsafe { FileArray::<u8, Ix1>::open_mut(&path) }.unwrap_err();
    assert!(error.to_string().contains("truth values"), "{error}");
}

#[test]
fn any_number_of_axes_and_axes_of_length_zero() {
    for shape in [&[][..], &[7], &[0, 3], &[2, 3, 4, 5]] {
        let (_dir, path) = scratch();
        let array = FileArray::<i32, IxDyn>::create(&path, IxDyn(shape)).unwrap();
        assert_eq!(array.shape(), shape);
        array.finish().unwrap();
        // SAFETY: nobody writes the file meanwhile.
        let again = unsafe { FileArray::<i32, IxDyn>::open(&path) }.unwrap();
        assert_eq!(again.shape(), shape);
        assert_eq!(again.view().len(), shape.iter().product::<usize>());
    }
    let (_dir, path) = scratch();
    FileArray::<i32, Ix0>::create(&path, ())
        .unwrap()
        .finish()
        .unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("are <i4, asked for f64 (<f8)"), "{error}");
    // SAFETY: nobody writes the file meanwhile.
    let error = unsafe { FileArray::<i32, Ix2>::open(&path) }.unwrap_err();
    assert!(
        error.to_string().contains("asked for 2, found 0"),
        "{error}"
    );
}

#[test]
fn raw_files_from_an_offset() {
    let (_dir, path) = scratch();
    let mut file = File::create(&path).unwrap();
    file.write_all(&[0xff; 16]).unwrap();
    for i in 0_i32..6 {
        file.write_all(&i.to_ne_bytes()).unwrap();
    }
    drop(file);
    type Raw = FileArray<i32, Ix2>;
    // SAFETY: nobody writes the file meanwhile.
    let array = unsafe { Raw::open_raw(&path, (2, 3), 16) }.unwrap();
    assert_eq!(array.view(), array![[0, 1, 2], [3, 4, 5]]);
    drop(array);
    // SAFETY: as above.
    let mut array = unsafe { Raw::open_raw_mut(&path, (3, 2).f(), 16) }.unwrap();
    assert_eq!(array.view(), array![[0, 3], [1, 4], [2, 5]]);
    array.view_mut()[[0, 0]] = 9;
    drop(array);
    assert_eq!(fs::read(&path).unwrap()[16..20], 9_i32.to_ne_bytes());
    // SAFETY: as above.
    let mut array = unsafe { Raw::open_raw_private(&path, (1, 2), 20) }.unwrap();
    array.view_mut().fill(7);
    assert_eq!(fs::read(&path).unwrap()[20..24], 1_i32.to_ne_bytes());

    // SAFETY: as above.
    let error = unsafe { Raw::open_raw(&path, (1, 2), 18) }.unwrap_err();
    assert!(error.to_string().contains("not a multiple of 4"), "{error}");
    // SAFETY: as above.
    let error = unsafe { Raw::open_raw(&path, (2, 3), 20) }.unwrap_err();
    assert!(error.is_truncated());
    assert!(
        error.to_string().contains("44 bytes") && error.to_string().contains("has 40"),
        "{error}"
    );
    // SAFETY: as above.
    let error = unsafe { Raw::open_raw(&path, (2, 3), u64::MAX - 3) }.unwrap_err();
    assert!(error.is_truncated(), "{error}");
}

#[test]
fn a_raw_file_holds_any_plain_data() {
    let (dir, path) = scratch();
    let error = FileArray::<u128, Ix1>::create(&path, 3).unwrap_err();
    assert!(error.to_string().contains("use the raw form"), "{error}");
    let mut array = FileArray::<u128, Ix1>::create_raw(&path, 3).unwrap();
    array.view_mut().fill(u128::MAX);
    array.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), [0xff; 48]);
    assert!(FileArray::<u128, Ix1>::create_raw(dir.path().join("empty"), 0).is_err());
}

#[test]
fn big_endian_elements_are_refused_with_what_to_do() {
    let (_dir, path) = scratch();
    counted(&path, 2, 2);
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(3).position(|w| w == b"<f8").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .write_at(b">", at as u64)
        .unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.is_mismatch());
    let text = error.to_string();
    assert!(
        text.contains("big-endian (>f8)") && text.contains("newbyteorder"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_npy_file_says_so() {
    let (dir, path) = scratch();
    for (bytes, text) in [
        (&b""[..], "does not begin with"),
        (b"hello, world, this is a text", "does not begin with"),
        (b"\x93NUMPY\x01\x00\xff\x00{", "ends within its header"),
        (b"\x93NUMPY\x07\x00\x01\x00\n\n\n", "version 7.0"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.is_mismatch());
        assert!(error.to_string().contains(text), "{error}");
    }
    assert!(open(dir.path()).unwrap_err().is_mismatch());
    assert!(open(Path::new("/dev/null")).unwrap_err().is_mismatch());
    assert!(
        open(&dir.path().join("nothing"))
            .unwrap_err()
            .is_not_found()
    );
    let error = Matrix::create("/nonexistent/array.npy", (1, 1)).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_truncated_file_is_an_error_with_the_numbers() {
    let (_dir, path) = scratch();
    counted(&path, 10, 10);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(128 + 799).unwrap();
    let error = open(&path).unwrap_err();
    assert!(error.is_truncated());
    assert!(
        error.to_string().contains("928 bytes") && error.to_string().contains("has 927"),
        "{error}"
    );
}

#[test]
fn a_file_truncated_while_it_is_open_is_an_error_of_the_next_call() {
    let (_dir, path) = scratch();
    counted(&path, 10, 10);
    let mut array = open_mut(&path).unwrap();
    array.check().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(500).unwrap();
    for error in [
        array.check().unwrap_err(),
        array.axis_chunks(Axis(0), 2).plan().unwrap_err(),
        array.axis_chunks_mut(Axis(0), 2).plan().unwrap_err(),
        array.tiles((2, 2)).plan().unwrap_err(),
        array.tiles_mut((2, 2)).plan().unwrap_err(),
    ] {
        assert!(error.is_truncated());
        let text = error.to_string();
        assert!(
            text.contains("928 bytes") && text.contains("has 500"),
            "{text}"
        );
        assert!(text.contains("array.npy"), "{text}");
    }
}

#[test]
fn a_file_that_may_only_be_read_is_an_error_of_open_mut() {
    let (_dir, path) = scratch();
    counted(&path, 2, 2);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(open(&path).unwrap().view().sum(), 6.0);
    assert_eq!(open_private(&path).unwrap().view().sum(), 6.0);
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may write any file");
        return;
    }
    let error = open_mut(&path).unwrap_err();
    assert!(error.is_denied(), "{error}");
}

#[test]
fn one_array_writes_a_file_or_any_number_read_it() {
    let (_dir, path) = scratch();
    counted(&path, 2, 2);
    let readers = [open(&path).unwrap(), open(&path).unwrap()];
    let error = open_mut(&path).unwrap_err();
    assert!(error.is_busy());
    assert!(error.to_string().contains("uses it"), "{error}");
    drop(readers);
    let writer = open_mut(&path).unwrap();
    for error in [
        open(&path).err(),
        open_private(&path).err(),
        open_mut(&path).err(),
    ] {
        assert!(error.unwrap().is_busy());
    }
    drop(writer);
    assert!(open_mut(&path).is_ok());
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    // Larger than any file system's files, so that no limit of this process
    // has to be changed for it.
    let (dir, path) = scratch();
    let error = FileArray::<u8, Ix1>::create(&path, 1 << 62).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    assert!(error.to_string().contains("no room for"), "{error}");
    assert_eq!(names(&dir), 0);
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_left() {
    // The memory of the machine is a disk that can be asked for too much.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    let size = stat.f_frsize * stat.f_blocks;
    let path = dir.path().join("large.npy");
    let error = FileArray::<u8, Ix1>::create(&path, size as usize + 1).unwrap_err();
    assert!(error.is_out_of_space(), "{error}");
    assert!(
        error.to_string().contains(&format!("{} bytes", size + 129)),
        "{error}"
    );
    assert_eq!(names(&dir), 0);
    let after = rustix::fs::statvfs(dir.path()).unwrap();
    assert!(after.f_bavail * after.f_frsize > size / 2);

    // A file with a hole that no longer fits is refused before it is mapped.
    fs::write(&path, []).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(size + 4096).unwrap();
    // SAFETY: nobody writes the file meanwhile.
    let hole = unsafe { FileArray::<u8, Ix1>::open_raw_mut(&path, size as usize + 4096, 0) };
    assert!(hole.unwrap_err().is_out_of_space());
}

#[test]
fn blocks_of_a_file_are_attached_like_those_of_memory() {
    type Rows<'a> = AxisChunks<'a, f64, Ix2>;
    let (_dir, path) = scratch();
    counted(&path, 7, 3);
    let array = open(&path).unwrap();
    let (count, plan) = array.axis_chunks(Axis(0), 2).plan().unwrap();
    assert_eq!(count, 4);
    let text = serde_json::to_string(&plan).unwrap();
    let plan = serde_json::from_str(&text).unwrap();
    let mut cache = LeaseCache::default();
    let attached = Rows::attach(&plan, &mut cache).unwrap();
    // SAFETY: `array` is there, and nobody writes it.
    let block = unsafe { Rows::block(&attached, 3) }.unwrap();
    assert_eq!(block.view(), array![[18.0, 19.0, 20.0]]);
}

#[test]
fn a_raw_array_over_a_file_travels_and_a_frozen_one_does_not() {
    let (_dir, path) = scratch();
    counted(&path, 2, 3);
    let raw = open_mut(&path).unwrap().into_raw();
    let message = serde_json::to_string(&raw).unwrap();
    let same: RawArray<f64, Ix2> = serde_json::from_str(&message).unwrap();
    // SAFETY: nobody writes meanwhile.
    assert_eq!(unsafe { same.view() }.sum(), 15.0);
    // Whoever could make a frozen array of a file could change what is frozen.
    for frozen in ["true", "false"] {
        let forged = message.replace("\"frozen\":false", &format!("\"frozen\":{frozen}"));
        let refused = serde_json::from_str::<pool_shm::FrozenArray<f64, Ix2>>(&forged);
        assert!(refused.is_err());
    }
    // Nor is memory a file, or a file memory.
    let forged = message.replace("\"regular\":true", "\"regular\":false");
    assert!(serde_json::from_str::<RawArray<f64, Ix2>>(&forged).is_err());
    let memory = serde_json::to_string(&RawArray::<f64, _>::zeros((2, 3)).unwrap()).unwrap();
    let forged = memory.replace("\"regular\":false", "\"regular\":true");
    assert_ne!(forged, memory);
    assert!(serde_json::from_str::<RawArray<f64, Ix2>>(&forged).is_err());
}
