//! A real Python with a real NumPy: it attaches to our segments and loads our
//! files, and we its.
//!
//! `POOL_SHM_PYTHON` names the interpreter, which must then have NumPy;
//! without it `python3` is tried, and the tests are skipped, with a message, if
//! it has none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use ndarray::{Array2, Ix1, Ix2, Ix3, array};
use num_complex::Complex;
use pool_shm::{FileArray, NamedArray};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The interpreter, if there is one with NumPy.
fn python() -> Option<OsString> {
    let given = std::env::var_os("POOL_SHM_PYTHON");
    let python = given.clone().unwrap_or_else(|| "python3".into());
    let tried = Command::new(&python)
        .args(["-c", "import numpy; print(numpy.__version__)"])
        .stderr(Stdio::null())
        .output();
    if tried.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    assert!(
        given.is_none(),
        "POOL_SHM_PYTHON names an interpreter without NumPy: {tried:?}"
    );
    eprintln!("skipped: python3 has no NumPy; POOL_SHM_PYTHON can name one that has");
    None
}

/// What every script begins with. Python before 3.13 would remove the names
/// of segments that it only attached to.
const PRELUDE: &str = "
import sys
import numpy as np
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

def attach(name):
    if sys.version_info >= (3, 13):
        return SharedMemory(name=name, track=False)
    shm = SharedMemory(name=name)
    resource_tracker.unregister(shm._name, 'shared_memory')
    return shm
";

fn command(python: &OsString, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", &format!("{PRELUDE}{script}")]);
    command.args(arguments);
    command
}

/// Runs a script to its end and gives what it printed.
fn run(python: &OsString, script: &str, arguments: &[&str]) -> String {
    let output = command(python, script, arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A name that no other run has.
fn unique(what: &str) -> String {
    format!("pool-shm-numpy-{what}-{}", std::process::id())
}

#[test]
fn numpy_reads_and_writes_our_complex_matrix() {
    let Some(python) = python() else { return };
    let name = unique("ours");
    let matrix = NamedArray::<Complex<f64>, _>::create(&name, (3, 3)).unwrap();
    // SAFETY: nobody else has it yet.
    let mut view = unsafe { matrix.raw().view_mut() };
    view[[1, 2]] = Complex::new(1.5, -2.5);
    let script = "
shm = attach(sys.argv[1])
matrix = np.ndarray((3, 3), dtype=np.complex128, buffer=shm.buf)
print(matrix[1, 2], matrix.sum())
matrix[2, 0] = 7 + 8j
del matrix
shm.close()
";
    let seen = run(&python, script, &[&name]);
    assert_eq!(seen, "(1.5-2.5j) (1.5-2.5j)");
    // SAFETY: the other process has ended.
    let view = unsafe { matrix.raw().view() };
    assert_eq!(view[[2, 0]], Complex::new(7.0, 8.0));
    assert_eq!(view.sum(), Complex::new(8.5, 5.5));
    // Its end did not take our name away, nor damage our stamp.
    assert!(NamedArray::<Complex<f64>, Ix2>::attach(&name).is_ok());
}

/// A Python process that made a segment, and waits.
struct Maker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Maker {
    fn start(python: &OsString, name: &str) -> Self {
        let script = "
shm = SharedMemory(create=True, name=sys.argv[1], size=9 * 16)
matrix = np.ndarray((3, 3), dtype=np.complex128, buffer=shm.buf)
matrix[:] = np.arange(9).reshape(3, 3) * 1j
print('made', flush=True)
sys.stdin.readline()
print(matrix.sum(), flush=True)
del matrix
shm.close()
shm.unlink()
";
        let mut command = command(python, script, &[name]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut maker = Maker { child, lines };
        assert_eq!(maker.line(), "made");
        maker
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

#[test]
fn we_read_and_write_a_complex_matrix_of_numpy() {
    let Some(python) = python() else { return };
    let name = unique("theirs");
    let mut maker = Maker::start(&python, &name);
    let error = NamedArray::<Complex<f64>, _>::attach_plain(&name, (3, 300)).unwrap_err();
    assert!(error.is_mismatch(), "{error}");
    let matrix = NamedArray::<Complex<f64>, _>::attach_plain(&name, (3, 3)).unwrap();
    // SAFETY: the other process waits for us.
    let mut view = unsafe { matrix.raw().view_mut() };
    assert_eq!(view.sum(), Complex::new(0.0, 36.0));
    assert_eq!(view[[1, 0]], Complex::new(0.0, 3.0));
    view[[0, 0]] = Complex::new(5.0, 0.0);
    // It is neither ours to remove nor ours to sweep.
    assert!(!pool_shm::named::sweep().unwrap().contains(&name));
    writeln!(maker.child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(maker.line(), "(5+36j)");
    assert!(maker.child.wait().unwrap().success());
    assert!(!Path::new("/dev/shm").join(&name).exists());
}

#[test]
fn numpy_loads_and_maps_our_files() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.npy");
    let mut array = FileArray::<Complex<f32>, Ix2>::create(&path, (2, 3)).unwrap();
    array.view_mut()[[1, 2]] = Complex::new(1.0, -1.0);
    array.finish().unwrap();
    let script = "
array = np.load(sys.argv[1], mmap_mode='r+')
print(array.dtype, array.shape, array[1, 2], array.flags.f_contiguous)
array[0, 0] = 4
array.flush()
";
    let seen = run(&python, script, &[path.to_str().unwrap()]);
    assert_eq!(seen, "complex64 (2, 3) (1-1j) False");
    // SAFETY: the other process has ended.
    let array = unsafe { FileArray::<Complex<f32>, Ix2>::open(&path) }.unwrap();
    assert_eq!(array.view()[[0, 0]], Complex::new(4.0, 0.0));
}

#[test]
fn we_open_the_files_of_numpy_in_every_version_of_the_format() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let script = "
import os
os.chdir(sys.argv[1])
for major in (1, 2, 3):
    for order in 'CF':
        array = np.asarray(np.arange(24, dtype='<i4').reshape(2, 3, 4), order=order)
        with open(f'{major}{order}.npy', 'wb') as file:
            np.lib.format.write_array(file, array, version=(major, 0))
np.save('big.npy', np.arange(3, dtype='>f8'))
np.save('flags.npy', np.array([True, False, True]))
np.save('fields.npy', np.zeros(3, dtype=[('x', '<f8'), ('y', '<i4')]))
np.save('texts.npy', np.array(['a', 'b']))
np.save('objects.npy', np.array([None, {}], dtype=object), allow_pickle=True)
array = np.memmap('plain.dat', dtype='<f8', mode='w+', offset=64, shape=(2, 3))
array[:] = 1.5
array.flush()
";
    run(&python, script, &[dir.path().to_str().unwrap()]);
    for major in 1..=3 {
        for order in ["C", "F"] {
            let path = dir.path().join(format!("{major}{order}.npy"));
            // SAFETY: nobody writes the file any more.
            let array = unsafe { FileArray::<i32, Ix3>::open(&path) }.unwrap();
            let expected = ndarray::Array::from_iter(0..24).into_shape_with_order((2, 3, 4));
            assert_eq!(array.view(), expected.unwrap());
            assert_eq!(array.view().is_standard_layout(), order == "C");
        }
    }
    let refused = |file: &str| {
        // SAFETY: nobody writes the file any more.
        let opened = unsafe { FileArray::<f64, Ix1>::open(dir.path().join(file)) };
        let error = opened.unwrap_err();
        assert!(error.is_mismatch());
        error.to_string()
    };
    assert!(refused("big.npy").contains("big-endian (>f8)"));
    assert!(refused("fields.npy").contains("asked for f64 (<f8)"));
    assert!(refused("texts.npy").contains("<U1"));
    assert!(refused("objects.npy").contains("|O"));
    // SAFETY: nobody writes the file any more.
    let flags = unsafe { FileArray::<u8, Ix1>::open(dir.path().join("flags.npy")) }.unwrap();
    assert_eq!(flags.view(), array![1, 0, 1]);
    let plain = dir.path().join("plain.dat");
    // SAFETY: as above.
    let plain = unsafe { FileArray::<f64, Ix2>::open_raw(plain, (2, 3), 64) }.unwrap();
    assert_eq!(plain.view(), Array2::from_elem((2, 3), 1.5));
}
