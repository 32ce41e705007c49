//! Limits of the process: an error each, never a signal. One test only, since
//! it changes the limits of the whole process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use pool_shm::{Segment, SharedArray, ShmError};
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

#[test]
fn limits_are_errors() {
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
