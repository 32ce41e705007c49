//! Nothing stays behind: no descriptor, no mapping, no name. One test only,
//! since it counts what the whole process has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Axis, Ix2};
use pool_shm::{
    ArrayHandle, AxisChunksMut, Blocks, LeaseCache, RawArray, Segment, SharedArray, transfer,
};

/// Descriptors, mappings of memfds and names of shared memory.
fn everything() -> (usize, usize, usize) {
    let count = |dir| std::fs::read_dir(dir).map_or(0, Iterator::count);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memfds = maps.lines().filter(|line| line.contains("/memfd:pool-shm"));
    (count("/proc/self/fd"), memfds.count(), count("/dev/shm"))
}

fn use_everything() {
    let segment = Segment::create(100).unwrap();
    let (bytes, exports) = transfer::export(|| postcard::to_allocvec(&segment).unwrap());
    drop(segment);
    let segment: Segment = postcard::from_bytes(&bytes).unwrap();
    drop((segment, exports));

    let mut array = SharedArray::<f64, _>::zeros((100, 10)).unwrap();
    let mut cache = LeaseCache::default();
    let (blocks, plan) = array.axis_chunks_mut(Axis(0), 7).plan().unwrap();
    let attached = <AxisChunksMut<'_, f64, Ix2>>::attach(&plan, &mut cache).unwrap();
    assert_eq!(blocks, 15);
    drop(attached);
    cache.clear();
    let handle = array.into_handle().unwrap();
    let bytes = postcard::to_allocvec(&handle).unwrap();
    let received: ArrayHandle<f64, Ix2> = postcard::from_bytes(&bytes).unwrap();
    let frozen = received.claim().unwrap().freeze().unwrap();
    drop((frozen.clone(), handle));
    drop(RawArray::<u8, _>::zeros(10).unwrap());
    assert!(Segment::create(1 << 46).is_err());
    assert!(
        SharedArray::<f64, _>::zeros(3)
            .unwrap()
            .into_complex()
            .is_err()
    );
}

#[test]
fn nothing_is_left_behind() {
    let before = everything();
    use_everything();
    assert_eq!(everything(), before);
}
