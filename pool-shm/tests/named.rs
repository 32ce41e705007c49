//! Arrays with names: whose they are, what they may be called, who removes
//! them. A child is this same test binary, told by its environment what to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use ndarray::{Array2, Ix1, Ix2, IxDyn, ShapeBuilder, array};
use num_complex::Complex;
use pool_shm::{NamedArray, RawArray, named};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

const NAME: &str = "POOL_SHM_TEST_NAME";
const FULL: &str = "POOL_SHM_TEST_FULL";

/// A name that no other test and no other run has, and that is gone at the
/// end even if the test fails.
struct Unique(String);

impl Unique {
    fn new(what: &str) -> Self {
        Unique(format!("pool-shm-test-{what}-{}", std::process::id()))
    }

    fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.0)
    }
}

impl Drop for Unique {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

/// A child that makes a named array, and stays until it is ended.
fn start_maker(name: &Unique) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "makes_a_named_array", "--nocapture"])
        .env(NAME, &name.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let made = lines.map(Result::unwrap).any(|line| line.contains("made"));
    assert!(made, "the child should have made the array");
    child
}

/// The child's side: does nothing in an ordinary run.
#[test]
fn makes_a_named_array() {
    let Ok(name) = std::env::var(NAME) else {
        return;
    };
    let array = NamedArray::<f64, _>::create(&name, (2, 3)).unwrap();
    // SAFETY: nobody else has attached yet.
    unsafe { array.raw().view_mut() }.fill(1.5);
    writeln!(std::io::stdout(), "made").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn an_array_is_attached_by_its_name_and_its_maker_removes_it() {
    let name = Unique::new("attach");
    let child = start_maker(&name);
    let array = NamedArray::<f64, Ix2>::attach(&name.0).unwrap();
    assert!(!array.is_owner());
    // SAFETY: the child does not write any more.
    let view = unsafe { array.raw().view() };
    assert_eq!(view, Array2::from_elem((2, 3), 1.5));
    let mut child = child;
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!name.path().exists());
    // Whoever has it keeps the memory.
    // SAFETY: as above.
    assert_eq!(unsafe { array.raw().view() }.sum(), 9.0);
    assert!(
        NamedArray::<f64, Ix2>::attach(&name.0)
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn who_is_attached_does_not_remove_the_name() {
    let name = Unique::new("guest");
    let made = NamedArray::<i32, _>::create(&name.0, 10).unwrap();
    drop(NamedArray::<i32, Ix1>::attach(&name.0).unwrap());
    assert!(name.path().exists() && made.is_owner());
    drop(made);
    assert!(!name.path().exists());
}

#[test]
fn what_is_left_stays_until_somebody_removes_it() {
    let name = Unique::new("left");
    let made = NamedArray::<i32, _>::create(&name.0, (2, 3).f()).unwrap();
    // SAFETY: nobody else has it.
    let mut view = unsafe { made.raw().view_mut() };
    view[[1, 2]] = 7;
    made.leave().unwrap();
    let again = NamedArray::<i32, Ix2>::attach(&name.0).unwrap();
    // SAFETY: nobody writes it.
    let view = unsafe { again.raw().view() };
    assert_eq!(view, array![[0, 0, 0], [0, 0, 7]]);
    assert_eq!(view.strides(), [1, 2]);
    named::remove(&name.0).unwrap();
    assert!(named::remove(&name.0).unwrap_err().is_not_found());
}

#[test]
fn only_this_user_may_open_it_and_the_data_begin_at_the_first_byte() {
    let name = Unique::new("mode");
    let made = NamedArray::<u16, _>::create(&name.0, 3000).unwrap();
    // SAFETY: nobody else has it.
    unsafe { made.raw().view_mut() }.fill(0x1234);
    let meta = fs::metadata(name.path()).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    // Two pages of elements and one for the stamp.
    assert_eq!(meta.len(), 3 * 4096);
    let bytes = fs::read(name.path()).unwrap();
    assert!(
        bytes[..6000]
            .chunks(2)
            .all(|pair| pair == 0x1234_u16.to_ne_bytes())
    );
}

/// A sweep removes what the dead of any test left: one test that sweeps at a time.
fn sweeping() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_sweep_removes_what_the_dead_left_and_nothing_else() {
    let _turn = sweeping();
    let dead = Unique::new("dead");
    let mut child = start_maker(&dead);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dead.path().exists());

    let [left, living, plain, short] = ["kept", "living", "plain", "short"].map(Unique::new);
    NamedArray::<u8, _>::create(&left.0, 1)
        .unwrap()
        .leave()
        .unwrap();
    let mut alive = start_maker(&living);
    fs::write(plain.path(), vec![0; 8192]).unwrap();
    fs::write(short.path(), [1]).unwrap();
    let name = Unique::new("ours");
    let ours = NamedArray::<u8, _>::create(&name.0, 1).unwrap();

    let removed = named::sweep().unwrap();
    assert!(removed.contains(&dead.0), "{removed:?}");
    assert!(!dead.path().exists());
    for kept in [&left, &living, &plain, &short] {
        assert!(kept.path().exists(), "{}", kept.0);
    }
    assert!(NamedArray::<u8, Ix1>::attach(ours.name()).is_ok());
    drop(alive.stdin.take());
    alive.wait().unwrap();
}

#[test]
fn a_stamp_of_a_dead_process_under_a_living_lock_is_not_swept() {
    let _turn = sweeping();
    // As of a maker in another container, or of one whose fork lives on.
    let name = Unique::new("locked");
    let mut child = start_maker(&name);
    let file = File::open(name.path()).unwrap();
    file.lock_shared().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    named::sweep().unwrap();
    assert!(name.path().exists());
    // A child that another test starts meanwhile may have a copy of `file`.
    file.unlock().unwrap();
    named::sweep().unwrap();
    assert!(!name.path().exists());
}

#[test]
fn another_file_under_the_old_name_is_not_removed() {
    let name = Unique::new("replaced");
    let made = NamedArray::<u8, _>::create(&name.0, 1).unwrap();
    fs::remove_file(name.path()).unwrap();
    fs::write(name.path(), "somebody else's").unwrap();
    drop(made);
    assert_eq!(fs::read(name.path()).unwrap(), b"somebody else's");
}

#[test]
fn names_that_cannot_be_are_refused() {
    for (name, text) in [
        ("", "empty"),
        ("a/b", "slash"),
        (&"n".repeat(300), "300 bytes"),
    ] {
        let error = NamedArray::<f64, _>::create(name, 1).unwrap_err();
        assert!(error.is_invalid_name());
        assert!(error.to_string().contains(text), "{error}");
        assert!(
            NamedArray::<f64, Ix1>::attach(name)
                .unwrap_err()
                .is_invalid_name()
        );
        assert!(named::remove(name).unwrap_err().is_invalid_name());
    }
}

#[test]
fn a_name_that_is_taken_and_one_that_is_not_there() {
    let name = Unique::new("taken");
    let error = NamedArray::<f64, Ix1>::attach(&name.0).unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains(&name.0), "{error}");
    let _made = NamedArray::<f64, _>::create(&name.0, 1).unwrap();
    let error = NamedArray::<f64, _>::create(&name.0, 1).unwrap_err();
    assert!(error.is_taken());
    assert!(error.to_string().contains("sweep"), "{error}");
}

#[test]
fn other_elements_shapes_and_lengths_are_refused() {
    let name = Unique::new("other");
    let _made = NamedArray::<f64, _>::create(&name.0, (3, 4)).unwrap();
    let error = NamedArray::<i64, Ix2>::attach(&name.0).unwrap_err();
    assert!(
        error.is_mismatch() && error.to_string().contains("elements i64"),
        "{error}"
    );
    let error = NamedArray::<f64, Ix1>::attach(&name.0).unwrap_err();
    assert!(
        error.is_mismatch() && error.to_string().contains("asked for 1, found 2"),
        "{error}"
    );
    assert!(NamedArray::<f64, IxDyn>::attach(&name.0).is_ok());
    let error = NamedArray::<Complex<f64>, _>::attach_plain(&name.0, 1000).unwrap_err();
    assert!(error.is_mismatch());
    let text = error.to_string();
    assert!(text.contains("has 8192 bytes, 16000 are needed"), "{text}");
    assert!(
        NamedArray::<u8, _>::create("x", (0, 3))
            .unwrap_err()
            .is_invalid_shape()
    );

    let plain = Unique::new("no-stamp");
    fs::write(plain.path(), vec![0; 4096]).unwrap();
    let error = NamedArray::<f64, Ix2>::attach(&plain.0).unwrap_err();
    assert!(
        error.is_mismatch() && error.to_string().contains("attach_plain"),
        "{error}"
    );
    assert!(NamedArray::<f64, _>::attach_plain(&plain.0, 512).is_ok());
    let directory = Unique::new("directory");
    fs::create_dir(directory.path()).unwrap();
    assert!(NamedArray::<f64, Ix2>::attach(&directory.0).is_err());
    fs::remove_dir(directory.path()).unwrap();
}

#[test]
fn a_segment_of_another_user_is_refused() {
    let _turn = sweeping();
    let name = Unique::new("foreign");
    fs::write(name.path(), vec![0; 4096]).unwrap();
    if std::os::unix::fs::chown(name.path(), Some(54_321), None).is_err() {
        eprintln!("skipped: only root can give a file to another user");
        return;
    }
    let error = NamedArray::<f64, _>::attach_plain(&name.0, 1).unwrap_err();
    assert!(error.is_denied());
    assert!(error.to_string().contains("user 54321"), "{error}");
    assert!(named::remove(&name.0).unwrap_err().is_denied());
    named::sweep().unwrap();
    assert!(name.path().exists());
}

#[test]
fn a_truncated_segment_is_an_error_of_the_next_look() {
    let name = Unique::new("short");
    let made = NamedArray::<f64, _>::create(&name.0, 1000).unwrap();
    made.check().unwrap();
    let file = File::options().write(true).open(name.path()).unwrap();
    file.set_len(100).unwrap();
    let error = made.check().unwrap_err();
    assert!(error.is_truncated(), "{error}");
    assert!(
        NamedArray::<f64, Ix1>::attach(&name.0)
            .unwrap_err()
            .is_mismatch()
    );
}

#[test]
fn the_array_of_a_name_travels() {
    let name = Unique::new("travels");
    let made = NamedArray::<f64, _>::create(&name.0, 10).unwrap();
    let message = serde_json::to_string(made.raw()).unwrap();
    let same: RawArray<f64, Ix1> = serde_json::from_str(&message).unwrap();
    // SAFETY: nobody else has it, and no other view lives.
    unsafe { same.view_mut() }.fill(2.0);
    // SAFETY: as above.
    assert_eq!(unsafe { made.raw().view() }.sum(), 20.0);
}

/// The child's side: does nothing in an ordinary run.
#[test]
fn fills_a_small_directory() {
    let Ok(name) = std::env::var(FULL) else {
        return;
    };
    let names = || fs::read_dir("/dev/shm").unwrap().count();
    let small = NamedArray::<u8, _>::create(&name, 1 << 19).unwrap();
    let error = NamedArray::<u8, _>::create("another", 1 << 20).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    let need = format!("{} bytes", (1 << 20) + 4096);
    assert!(error.to_string().contains(&need), "{error}");
    assert_eq!(names(), 1);
    // What it had begun was given back.
    drop(small);
    assert!(NamedArray::<u8, _>::create("another", 900 << 10).is_ok());
    assert_eq!(names(), 0);
}

#[test]
fn a_full_directory_of_names_is_an_error() {
    let mounted = |program: &Path| {
        let script = "mount -t tmpfs -o size=1m none /dev/shm && exec \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(program);
        command
    };
    match mounted(Path::new("true")).status() {
        Ok(status) if status.success() => {}
        refused => {
            eprintln!("skipped: this user cannot mount a file system ({refused:?})");
            return;
        }
    }
    let child = mounted(&std::env::current_exe().unwrap())
        .args(["--exact", "fills_a_small_directory"])
        .env(FULL, "small")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn too_much_memory_is_an_error_and_leaves_no_name() {
    let name = Unique::new("large");
    let error = NamedArray::<u8, _>::create(&name.0, 1 << 45).unwrap_err();
    assert!(error.is_out_of_memory());
    assert!(
        error
            .to_string()
            .contains(&format!("need {} bytes", (1_u64 << 45) + 4096)),
        "{error}"
    );
    assert!(!name.path().exists());
}
