//! Segments: what they hold, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pool_shm::{Segment, SegmentHandle, ShmError};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// The fields of a handle, to forge others.
#[derive(Clone, Serialize, Deserialize)]
struct Forged {
    pid: u32,
    fd: i32,
    id: (u64, u64),
    len: u64,
    regular: bool,
}

fn fields(handle: &SegmentHandle) -> Forged {
    postcard::from_bytes(&postcard::to_allocvec(handle).unwrap()).unwrap()
}

fn forge(fields: &Forged) -> SegmentHandle {
    postcard::from_bytes(&postcard::to_allocvec(fields).unwrap()).unwrap()
}

/// The error of attaching to `handle` in a process that has not mapped it.
fn refused(fields: &Forged) -> ShmError {
    Segment::attach(&forge(fields)).unwrap_err()
}

/// A handle for `fd`, as a peer could send it.
fn handle_of(fd: &OwnedFd) -> Forged {
    let stat = rustix::fs::fstat(fd).unwrap();
    Forged {
        pid: std::process::id(),
        fd: fd.as_raw_fd(),
        id: (stat.st_dev, stat.st_ino),
        len: stat.st_size as u64,
        regular: false,
    }
}

fn memfd() -> OwnedFd {
    rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap()
}

#[test]
fn a_new_segment_is_zero_and_whole_pages() {
    for len in [0, 1, 4096, 100_000] {
        let segment = Segment::create(len).unwrap();
        assert!(segment.len() >= len.max(1) && segment.len().is_multiple_of(4096));
        assert!(!segment.is_empty());
        let mut bytes = vec![1; segment.len()];
        let cells = segment.cells::<u8>(0, segment.len()).unwrap();
        cells.read_into(0, &mut bytes);
        assert!(bytes.iter().all(|&b| b == 0));
    }
}

#[test]
fn attaching_in_one_process_gives_the_same_mapping() {
    let ours = Segment::create(4096).unwrap();
    let theirs = Segment::attach(&ours.handle()).unwrap();
    assert_eq!(ours.as_ptr(), theirs.as_ptr());
    let copy = rustix::io::fcntl_dupfd_cloexec(ours.fd(), 0).unwrap();
    assert_eq!(Segment::from_fd(copy).unwrap().as_ptr(), ours.as_ptr());
    theirs
        .get::<AtomicU64>(8)
        .unwrap()
        .store(3, Ordering::Relaxed);
    assert_eq!(ours.get::<AtomicU64>(8).unwrap().load(Ordering::Relaxed), 3);
}

#[test]
fn a_received_descriptor_is_mapped_after_the_first_owner_is_gone() {
    let first = Segment::create(4096).unwrap();
    first
        .get::<AtomicU64>(0)
        .unwrap()
        .store(5, Ordering::Relaxed);
    let (id, copy) = (first.id(), first.fd().try_clone_to_owned().unwrap());
    drop(first);
    let second = Segment::from_fd(copy).unwrap();
    assert_eq!(second.id(), id);
    assert_eq!(
        second.get::<AtomicU64>(0).unwrap().load(Ordering::Relaxed),
        5
    );
}

#[test]
fn ranges_outside_and_unaligned_are_refused() {
    let segment = Segment::create(4096).unwrap();
    let len = segment.len();
    assert!(segment.get::<AtomicU64>(len - 8).is_ok());
    for (offset, count) in [(len, 1), (len - 8, 2), (0, usize::MAX), (usize::MAX - 7, 1)] {
        let error = segment.slice::<AtomicU64>(offset, count).unwrap_err();
        assert!(error.is_out_of_bounds(), "{error}");
        assert!(
            error.to_string().contains(&format!("offset {offset}")),
            "{error}"
        );
    }
    let error = segment.cells::<f64>(4, 1).unwrap_err();
    assert!(error.is_out_of_bounds());
    assert!(
        error
            .to_string()
            .starts_with("offset 4 is not a multiple of 8"),
        "{error}"
    );
    assert!(segment.cells::<f64>(len, 0).unwrap().is_empty());
}

#[test]
fn a_segment_keeps_its_length() {
    let segment = Segment::create(8192).unwrap();
    for len in [0, 4096, 1 << 20] {
        let error = rustix::fs::ftruncate(segment.fd(), len).unwrap_err();
        assert_eq!(error, rustix::io::Errno::PERM);
    }
}

#[test]
fn descriptors_are_closed_on_exec() {
    let segment = Segment::create(1).unwrap();
    let flags = rustix::io::fcntl_getfd(segment.fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn a_sparse_segment_is_reserved_in_parts() {
    let segment = Segment::create_sparse(1 << 30).unwrap();
    let blocks = || rustix::fs::fstat(segment.fd()).unwrap().st_blocks;
    assert_eq!(blocks(), 0);
    segment.reserve(4096..20480).unwrap();
    assert!(blocks() * 512 >= 16384);
    segment.reserve(5..5).unwrap();
    for range in [0..segment.len() + 1, usize::MAX - 1..usize::MAX] {
        assert!(segment.reserve(range).unwrap_err().is_out_of_bounds());
    }
}

#[test]
fn more_than_the_machine_has_is_an_error_with_numbers() {
    let error = Segment::create(1 << 46).unwrap_err();
    assert!(error.is_out_of_memory());
    let text = error.to_string();
    assert!(
        text.contains(&format!("need {} bytes", 1_u64 << 46)),
        "{text}"
    );
    assert!(text.contains("available to the system"), "{text}");
    assert!(text.contains("available to the cgroup"), "{text}");
    assert!(text.contains("drop arrays that are done"), "{text}");
    let sparse = Segment::create_sparse(1 << 46).unwrap();
    assert!(sparse.reserve(0..1 << 45).unwrap_err().is_out_of_memory());
    for len in [usize::MAX, isize::MAX as usize] {
        assert!(Segment::create(len).is_err());
    }
}

#[test]
fn a_handle_whose_segment_is_gone_is_refused() {
    let segment = Segment::create(100).unwrap();
    let mut handle = fields(&segment.handle());
    drop(segment);
    handle.fd = 1_000_000;
    let error = refused(&handle);
    assert!(error.is_gone());
    assert!(error.to_string().contains("has closed it"), "{error}");
    handle.pid = i32::MAX as u32;
    let error = refused(&handle);
    assert!(error.is_gone());
    assert!(error.to_string().contains("has ended"), "{error}");
}

#[test]
fn a_handle_for_something_else_is_refused_with_both_sides() {
    let (a, b) = (Segment::create(100).unwrap(), Segment::create(100).unwrap());
    let mut handle = fields(&a.handle());
    handle.id.1 += 1_000_000_007;
    handle.fd = b.fd().as_raw_fd();
    let error = refused(&handle);
    assert!(error.is_gone() && error.is_mismatch());
    let text = error.to_string();
    assert!(
        text.contains(&format!("asked for {:x}:{}", handle.id.0, handle.id.1)),
        "{text}"
    );
    assert!(text.contains(&format!("found {}", b.id())), "{text}");
}

#[test]
fn a_handle_with_a_wrong_length_is_refused() {
    let segment = Segment::create(100).unwrap();
    for len in [0, 99, segment.len() as u64 * 2, u64::MAX] {
        let error = refused(&Forged {
            len,
            ..fields(&segment.handle())
        });
        assert!(error.is_mismatch());
        let text = error.to_string();
        assert!(text.contains(&format!(
            "asked for {len} bytes, found {} bytes",
            segment.len()
        )));
    }
}

#[test]
fn what_is_not_a_sealed_memfd_is_refused() {
    let unsealed = memfd();
    rustix::fs::ftruncate(&unsealed, 4096).unwrap();
    let half = memfd();
    rustix::fs::ftruncate(&half, 4096).unwrap();
    rustix::fs::fcntl_add_seals(&half, SealFlags::SHRINK).unwrap();
    let empty = memfd();
    rustix::fs::fcntl_add_seals(&empty, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let file: OwnedFd = std::fs::File::open("/proc/self/exe").unwrap().into();
    let (pipe, _writer) = std::io::pipe().unwrap();
    for fd in [unsealed, half, empty, file, pipe.into()] {
        let handle = handle_of(&fd);
        // Opening the running program for writing fails before it is looked at.
        let error = refused(&handle);
        assert!(!error.is_gone(), "{error}");
        let error = Segment::from_fd(fd).unwrap_err();
        assert!(error.is_mismatch(), "{error}");
    }
}

#[test]
fn what_is_sealed_against_writing_is_refused() {
    let fd = memfd();
    rustix::fs::ftruncate(&fd, 4096).unwrap();
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)
        .unwrap();
    let error = refused(&handle_of(&fd));
    assert!(error.is_frozen(), "{error}");
}

#[test]
fn handles_travel_and_errors_come_through_serde() {
    let segment = Segment::create(100).unwrap();
    let bytes = postcard::to_allocvec(&segment).unwrap();
    let again: Segment = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(again.id(), segment.id());
    let handle = Forged {
        len: 1,
        ..fields(&segment.handle())
    };
    let json = postcard::to_allocvec(&handle).unwrap();
    assert!(postcard::from_bytes::<Segment>(&json).is_err());
}
