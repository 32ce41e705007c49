//! What users of shared memory look for first, a test for each: see
//! `docs/features.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, Axis, Ix1, Ix2, ShapeBuilder};
use num_complex::Complex;
use pool_shm::{AxisChunks, Blocks, Element, FrozenArray, LeaseCache, SharedArray};

/// A struct of fields that C would understand.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Particle {
    place: [f64; 3],
    charge: f32,
    kind: u32,
}

/// Another one of the same size.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Pixel {
    channels: [f32; 8],
}

#[test]
fn struct_elements_are_shared_like_numbers() {
    let particle = |i: usize| Particle {
        place: [i as f64, 0.5, -1.0],
        charge: 1.5,
        kind: i as u32 % 3,
    };
    let mut array = SharedArray::from_shape_fn(1000, particle).unwrap();
    array.view_mut()[3].kind = 77;
    let plan = array.axis_chunks(Axis(0), 10).plan().unwrap().1;
    type Chunks<'a> = AxisChunks<'a, Particle, Ix1>;
    let attached = Chunks::attach(&plan, &mut LeaseCache::default()).unwrap();
    // SAFETY: `array` is not written meanwhile.
    let block = unsafe { Chunks::block(&attached, 50) }.unwrap();
    assert_eq!(block.view()[7], particle(507));
    let frozen = array.freeze().unwrap();
    let sent = postcard::to_allocvec(&frozen).unwrap();
    let received: FrozenArray<Particle, Ix1> = postcard::from_bytes(&sent).unwrap();
    assert_eq!(
        (received.view()[2], received.view()[3].kind),
        (particle(2), 77)
    );
    assert!(postcard::from_bytes::<FrozenArray<Pixel, Ix1>>(&sent).is_err());
}

#[test]
fn every_array_is_aligned_to_64_bytes() {
    fn check<T: Element>() {
        for len in [0, 1, 3, 1000, 100_000] {
            let array = SharedArray::<T, _>::zeros(len).unwrap();
            assert!(array.view().as_ptr().addr().is_multiple_of(64));
            let frozen = array.freeze().unwrap();
            assert!(frozen.view().as_ptr().addr().is_multiple_of(64));
        }
    }
    check::<u8>();
    check::<u16>();
    check::<f32>();
    check::<f64>();
    check::<Complex<f64>>();
    check::<Particle>();
    check::<u128>();
}

/// Bytes and calls by which this thread has written to files.
fn written() -> Option<[u64; 2]> {
    let io = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    let field = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    Some([field("wchar:"), field("syscw:")])
}

#[test]
fn a_big_array_is_made_by_one_copy_not_by_element() {
    // An array of 1.6 MB, copied by the kernel; one of 16 MB lies in huge pages where there are some, and is copied through the map.
    for (rows, column_major) in [(200, false), (200, true), (2000, false), (2000, true)] {
        let shape = (rows, 1000).set_f(column_major);
        let source = Array2::from_shape_fn(shape, |(i, j)| (i * 1000 + j) as f64);
        let before = written();
        let array = SharedArray::from_array(&source).unwrap();
        if let (Some(before), Some(after)) = (before, written()) {
            let bytes = (source.len() * 8) as u64;
            let by_kernel = after[0] - before[0];
            assert!(
                rows > 200 || by_kernel >= bytes,
                "the kernel did not copy it"
            );
            assert!(
                after[1] - before[1] < 10,
                "copied in {} pieces",
                after[1] - before[1]
            );
        }
        assert_eq!(array.view(), source);
    }
}

#[test]
fn memory_is_there_before_it_is_touched() {
    let frozen = SharedArray::<f64, Ix2>::zeros((1000, 1000))
        .unwrap()
        .freeze()
        .unwrap();
    let handle = serde_json::to_value(&frozen).unwrap();
    let path = format!("/proc/self/fd/{}", handle["segment"]["fd"]);
    let stat = rustix::fs::stat(path).unwrap();
    assert!(
        stat.st_blocks * 512 >= 8_000_000,
        "{} blocks",
        stat.st_blocks
    );
}

#[test]
fn use_after_close_is_impossible() {
    // What has not been let go everywhere is there; views cannot outlive what
    // they are of, which the compiler sees (the documentation of `AxisChunksMut`).
    let frozen = SharedArray::from_elem(100_000, 2.0)
        .unwrap()
        .freeze()
        .unwrap();
    let part = frozen.slice(ndarray::s![10..;7]).unwrap();
    let message = postcard::to_allocvec(&frozen).unwrap();
    let mine = frozen.to_private().unwrap();
    drop(frozen);
    assert!(part.view().iter().all(|&x| x == 2.0));
    drop(part);
    assert_eq!(mine.view().sum(), 200_000.0);
    // The handle of what is gone is an error.
    assert!(postcard::from_bytes::<FrozenArray<f64, Ix1>>(&message).is_err());
}
