//! Limits of the process: an error each, never a signal. One test only, since
//! it changes the limits of the whole process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array2, Ix2};
use pool_shm::{FrozenArray, Segment, SharedArray, ShmError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;

/// Runs `f` with the soft limit of `resource` at `limit`.
fn limited<R>(resource: Resource, limit: u64, f: impl FnOnce() -> R) -> R {
    let before = getrlimit(resource);
    let current = Some(limit);
    setrlimit(resource, Rlimit { current, ..before }).unwrap();
    let result = f();
    setrlimit(resource, before).unwrap();
    result
}

fn create() -> ShmError {
    SharedArray::<u8, _>::zeros(1 << 20).unwrap_err()
}

/// Ten thousand small arrays, frozen together, are made, sent and received.
fn freeze_many() {
    let source: Vec<_> = (0..10_000)
        .map(|i| Array2::from_shape_fn((i % 5, i % 7), |(row, column)| i + 10 * row + column))
        .collect();
    let views = source.iter().enumerate().map(|(i, array)| {
        // Every other one column-major, and some with gaps.
        let view = if i % 2 == 0 { array.view() } else { array.t() };
        let step = if i % 3 == 0 { -2 } else { 1 };
        view.slice_move(ndarray::s![..;step, ..])
    });
    let views: Vec<_> = views.collect();
    let frozen = FrozenArray::from_arrays(views.iter().cloned()).unwrap();
    let sent = postcard::to_allocvec(&frozen).unwrap();
    let received: Vec<FrozenArray<usize, Ix2>> = postcard::from_bytes(&sent).unwrap();
    assert_eq!(received.len(), 10_000);
    for ((ours, theirs), view) in frozen.iter().zip(&received).zip(&views) {
        assert_eq!(ours.view(), view);
        assert_eq!(theirs.view(), view);
        assert!(ours.view().as_ptr().addr().is_multiple_of(64) || view.is_empty());
    }
}

/// One by one, each has a segment: past the limit comes an error that keeps
/// the array.
fn freeze_one_by_one() {
    let array = |i: usize| SharedArray::from_elem(10, i).unwrap();
    let mut frozen = Vec::new();
    let (error, left) = loop {
        match array(frozen.len()).freeze() {
            Ok(array) => frozen.push(array),
            Err(error) => break (error.to_string(), error.into_array().unwrap()),
        }
    };
    assert!(error.contains("ulimit -n"), "{error}");
    assert_eq!(left.view()[9], frozen.len());
    assert!(frozen.len() < 64);
}

#[test]
fn limits_are_errors() {
    limited(Resource::Nofile, 64, freeze_many);
    limited(Resource::Nofile, 64, freeze_one_by_one);

    let error = limited(Resource::Fsize, 1 << 19, create);
    assert!(error.is_out_of_memory());
    let text = error.to_string();
    assert!(
        text.contains("524288 bytes") && text.contains("ulimit -f"),
        "{text}"
    );

    let error = limited(Resource::Nofile, 0, create);
    assert!(error.is_out_of_descriptors());
    let text = error.to_string();
    assert!(
        text.contains("in this process") && text.contains("ulimit -n"),
        "{text}"
    );
    assert!(error.source().is_some());

    // Less than is in use already, so that no new map fits.
    let error = limited(Resource::As, 1 << 20, create);
    assert!(error.is_out_of_memory());
    assert!(error.to_string().contains("ulimit -v"), "{error}");

    // Nothing was left half made: the next one works.
    assert!(Segment::create(1 << 20).is_ok());
}
