//! Handles that were made to do harm: an error each, and nothing is touched.
//! (Any handle at all: `hostile.rs` and the fuzz targets.)

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Ix1, Ix2, IxDyn, s};
use pool_shm::sync::Mutex;
use pool_shm::{ArrayHandle, FrozenArray, RawArray, Segment, SharedArray, transfer};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// The cause for which `handle` is refused as an `A`.
fn refused<A: DeserializeOwned>(handle: &Value) -> String {
    match serde_json::from_value::<A>(handle.clone()) {
        Ok(_) => panic!("accepted: {handle}"),
        Err(error) => error.to_string(),
    }
}

fn frozen() -> FrozenArray<f64, Ix2> {
    let array = SharedArray::<f64, _>::zeros((4, 6)).unwrap();
    array.freeze().unwrap()
}

/// The handle of an array that is said to lie behind descriptor `fd`.
fn handle_to(fd: BorrowedFd<'_>, len: u64, frozen_: bool) -> Value {
    let stat = rustix::fs::fstat(fd).unwrap();
    let mut handle = serde_json::to_value(frozen()).unwrap();
    handle["frozen"] = json!(frozen_);
    handle["segment"] = json!({
        "pid": std::process::id(),
        "fd": fd.as_raw_fd(),
        "id": {"dev": stat.st_dev, "ino": stat.st_ino},
        "len": len,
        "regular": false,
    });
    handle
}

/// A memfd of a stranger: a page of zeros with these seals.
fn memfd(seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create("stranger", flags).unwrap();
    rustix::fs::ftruncate(&fd, 4096).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn random_bytes_are_refused() {
    let mut state = 1_u64;
    for len in 0..200 {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(postcard::from_bytes::<FrozenArray<f64, IxDyn>>(&bytes).is_err());
        assert!(postcard::from_bytes::<RawArray<u8, IxDyn>>(&bytes).is_err());
        assert!(postcard::from_bytes::<ArrayHandle<f64, IxDyn>>(&bytes).is_err());
        assert!(postcard::from_bytes::<Segment>(&bytes).is_err());
    }
    assert!(transfer::take_failure().is_none_or(|cause| !cause.is_empty()));
}

#[test]
fn a_handle_that_was_cut_off_or_goes_on_is_refused_or_the_same() {
    let array = frozen();
    let bytes = postcard::to_allocvec(&array).unwrap();
    for len in 0..bytes.len() {
        assert!(postcard::from_bytes::<FrozenArray<f64, Ix2>>(&bytes[..len]).is_err());
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(other) = postcard::from_bytes::<FrozenArray<f64, Ix2>>(&changed) {
                assert!(other.len() <= 24 && other.view().sum() == 0.0);
            }
        }
    }
}

#[test]
fn a_shape_whose_product_overflows_is_refused() {
    let array = frozen();
    let good = serde_json::to_value(&array).unwrap();
    let half = 1_u64 << 32;
    for shape in [
        json!([half, half]),
        json!([u64::MAX, u64::MAX]),
        json!([1_u64 << 61, 8]),
        json!([1_u64 << 60, 1]),
        json!([u64::MAX, 0]),
        json!([half, half, 1]),
    ] {
        for strides in [json!([1, 1]), json!([0, 0]), json!([i64::MAX, i64::MIN])] {
            let mut handle = good.clone();
            handle["shape"] = shape.clone();
            handle["strides"] = strides;
            refused::<FrozenArray<f64, Ix2>>(&handle);
            refused::<FrozenArray<f64, IxDyn>>(&handle);
        }
    }
}

#[test]
fn strides_outside_the_segment_are_refused() {
    let array = frozen();
    let good = serde_json::to_value(&array).unwrap();
    for strides in [
        json!([7, 1]),
        json!([-6, 1]),
        json!([6, -1]),
        json!([1000, 1]),
        json!([i64::MAX, 1]),
        json!([i64::MIN, 1]),
        json!([i64::MIN, i64::MIN]),
    ] {
        let mut handle = good.clone();
        handle["strides"] = strides;
        let text = refused::<FrozenArray<f64, Ix2>>(&handle);
        assert!(
            text.contains("do not lie in")
                || text.contains("do not fit")
                || text.contains("strides"),
            "{text}"
        );
    }
    // Backwards from the last element is inside.
    let mut handle = good;
    handle["strides"] = json!([-6, -1]);
    handle["offset"] = json!(64 + 23 * 8);
    assert!(serde_json::from_value::<FrozenArray<f64, Ix2>>(handle.clone()).is_ok());
    handle["offset"] = json!(64 + 24 * 8);
    let text = refused::<FrozenArray<f64, Ix2>>(&handle);
    assert!(
        text.contains("do not lie in an array of 192 bytes"),
        "{text}"
    );
}

#[test]
fn strides_by_which_elements_coincide_are_refused() {
    let raw = RawArray::<f64, _>::zeros((4, 6)).unwrap();
    let good = serde_json::to_value(&raw).unwrap();
    for strides in [json!([0, 1]), json!([1, 1]), json!([3, 1]), json!([5, -1])] {
        let mut handle = good.clone();
        handle["strides"] = strides;
        let text = refused::<RawArray<f64, Ix2>>(&handle);
        assert!(text.contains("an element of its own"), "{text}");
    }
}

#[test]
fn an_offset_outside_its_array_or_between_elements_is_refused() {
    let raw = RawArray::<f64, _>::zeros((4, 6)).unwrap();
    let good = serde_json::to_value(&raw).unwrap();
    for (field, offset, text) in [
        ("offset", 0, "do not lie in an array"),
        ("offset", 56, "do not lie in an array"),
        ("offset", 68, "not a multiple of 8"),
        ("offset", 72, "do not lie in an array"),
        ("offset", 4096, "do not lie in an array"),
        ("offset", 4104, "do not lie in a segment"),
        ("offset", u64::MAX, "do not lie in a segment"),
        ("array", 8, "not a multiple of 64"),
        ("array", 64, "headers"),
        ("array", 4032, "headers"),
        ("array", 4096, "do not lie in a segment"),
        ("array", u64::MAX - 63, "do not lie in a segment"),
    ] {
        let mut handle = good.clone();
        handle[field] = json!(offset);
        let found = refused::<RawArray<f64, Ix2>>(&handle);
        assert!(found.contains(text), "{field} {offset}: {found}");
    }
}

#[test]
fn a_header_within_an_array_reaches_no_further_than_the_segment() {
    // An array whose elements look like the header of a huge one.
    let raw = RawArray::<u64, _>::zeros(60).unwrap();
    let whole = raw.as_ptr().wrapping_byte_sub(64);
    for word in 0..3 {
        // SAFETY: the header lies before the elements, which nobody uses.
        let value = unsafe { *whole.wrapping_add(word) };
        // SAFETY: as above.
        unsafe { *raw.as_ptr().wrapping_add(word) = value };
    }
    let mut handle = serde_json::to_value(&raw).unwrap();
    handle["array"] = json!(64);
    handle["offset"] = json!(128);
    for (bytes, text) in [
        (1 << 20, "segment"),
        (u64::MAX - 7, "segment"),
        (8, "array of 8"),
    ] {
        // SAFETY: as above.
        unsafe { *raw.as_ptr().wrapping_add(3) = bytes };
        let found = refused::<RawArray<u64, Ix1>>(&handle);
        assert!(
            found.contains("do not lie in") && found.contains(text),
            "{found}"
        );
    }
}

#[test]
fn a_descriptor_that_is_no_memfd_is_refused() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let directory = std::fs::File::open("/tmp").unwrap();
    for fd in [
        reader.as_fd(),
        writer.as_fd(),
        socket.as_fd(),
        directory.as_fd(),
    ] {
        for len in [0, 4096] {
            refused::<FrozenArray<f64, Ix2>>(&handle_to(fd, len, true));
            refused::<RawArray<f64, Ix2>>(&handle_to(fd, len, false));
        }
    }
    // A file of the right length.
    let path = std::env::temp_dir().join(format!("pool-shm-attacks-{}", std::process::id()));
    std::fs::write(&path, vec![0; 4096]).unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(file.metadata().unwrap().size(), 4096);
    let text = refused::<RawArray<f64, Ix2>>(&handle_to(file.as_fd(), 4096, false));
    assert!(text.contains("is not a memfd"), "{text}");
}

#[test]
fn a_segment_without_seals_from_a_stranger_is_refused() {
    for seals in [
        SealFlags::empty(),
        SealFlags::GROW,
        SealFlags::SHRINK,
        SealFlags::WRITE,
    ] {
        let fd = memfd(seals);
        let text = refused::<RawArray<f64, Ix2>>(&handle_to(fd.as_fd(), 4096, false));
        assert!(
            text.contains("not sealed against shrinking and growing"),
            "{text}"
        );
        let text = refused::<FrozenArray<f64, Ix2>>(&handle_to(fd.as_fd(), 4096, true));
        assert!(
            text.contains("not sealed against shrinking and growing"),
            "{text}"
        );
    }
    // Sealed like a segment of ours, but writable, or without a header.
    let fd = memfd(SealFlags::GROW | SealFlags::SHRINK);
    let text = refused::<FrozenArray<f64, Ix2>>(&handle_to(fd.as_fd(), 4096, true));
    assert!(text.contains("is not frozen"), "{text}");
    let text = refused::<RawArray<f64, Ix2>>(&handle_to(fd.as_fd(), 4096, false));
    assert!(text.contains("headers"), "{text}");
    let fd = memfd(SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE);
    let text = refused::<FrozenArray<f64, Ix2>>(&handle_to(fd.as_fd(), 4096, true));
    assert!(text.contains("headers"), "{text}");
    let text = refused::<FrozenArray<f64, Ix2>>(&handle_to(fd.as_fd(), 8192, true));
    assert!(text.contains("asked for 8192 bytes, found 4096"), "{text}");
}

#[test]
fn a_handle_of_another_type_is_refused() {
    let array = frozen();
    let handle = serde_json::to_value(&array).unwrap();
    let text = refused::<FrozenArray<i64, Ix2>>(&handle);
    assert!(text.contains("asked for i64, found f64"), "{text}");
    assert!(refused::<FrozenArray<f64, Ix1>>(&handle).contains("numbers of axes"));
    assert!(refused::<RawArray<f64, Ix2>>(&handle).contains("is frozen"));
    refused::<ArrayHandle<f64, Ix2>>(&handle);
    refused::<Segment>(&handle);
    refused::<Mutex<u64>>(&handle);
    let bytes = postcard::to_allocvec(&array).unwrap();
    assert!(postcard::from_bytes::<Mutex<u64>>(&bytes).is_err());
    // A segment that holds something else, or nothing yet.
    let lock = Mutex::new(5_u64).unwrap();
    let lock = serde_json::to_value(&lock).unwrap();
    let mut forged = handle.clone();
    forged["segment"] = lock.get("segment").unwrap_or(&lock).clone();
    forged["frozen"] = json!(false);
    refused::<RawArray<f64, Ix2>>(&forged);
    let segment = Segment::create(4096).unwrap();
    forged["segment"] = serde_json::to_value(&segment).unwrap();
    assert!(refused::<RawArray<f64, Ix2>>(&forged).contains("headers"));
    // The type that the handle says is not what the header says.
    let mut forged = handle;
    forged["dtype"] = json!("I64");
    let text = refused::<FrozenArray<i64, Ix2>>(&forged);
    assert!(text.contains("element types"), "{text}");
}

#[test]
fn a_part_cannot_be_claimed_as_an_array() {
    let offered = SharedArray::<f64, _>::zeros((4, 6))
        .unwrap()
        .into_handle()
        .unwrap();
    let good = serde_json::to_value(&offered).unwrap();
    for (field, value) in [
        ("shape", json!([2, 6])),
        ("offset", json!(64 + 48)),
        ("strides", json!([-6, 1])),
        ("strides", json!([12, 1])),
    ] {
        let mut handle = good.clone();
        if field == "offset" {
            handle["array"]["shape"] = json!([3, 6]);
        }
        handle["array"][field] = value;
        if let Ok(handle) = serde_json::from_value::<ArrayHandle<f64, Ix2>>(handle) {
            let error = handle.claim().unwrap_err();
            assert!(error.is_mismatch() || error.is_out_of_bounds(), "{error}");
        }
    }
    // None of them took the offer.
    assert_eq!(offered.claim().unwrap().len(), 24);
}

#[test]
fn a_number_that_was_given_to_another_segment_is_refused() {
    let array = frozen();
    let other = SharedArray::<f64, _>::zeros((4, 6))
        .unwrap()
        .freeze()
        .unwrap();
    let mut handle = serde_json::to_value(&array).unwrap();
    let others = serde_json::to_value(&other).unwrap();
    drop(array);
    handle["segment"]["fd"] = others["segment"]["fd"].clone();
    let text = refused::<FrozenArray<f64, Ix2>>(&handle);
    assert!(
        text.contains("is another segment than the handle says"),
        "{text}"
    );
}

#[test]
fn a_private_copy_is_of_a_frozen_array_only_and_of_its_part_only() {
    let array = SharedArray::from_shape_fn((100, 100), |(i, j)| (100 * i + j) as f64);
    let frozen = array.unwrap().freeze().unwrap();
    let mut part = frozen
        .slice(s![90..;-3, 5..7])
        .unwrap()
        .to_private()
        .unwrap();
    let before = part.view().to_owned();
    assert_eq!(before, frozen.view().slice(s![90..;-3, 5..7]));
    part.view_mut().fill(-1.0);
    assert!(part.view().iter().all(|&x| x == -1.0) && part.len() == 8);
    assert_eq!(frozen.view().slice(s![90..;-3, 5..7]), before);
    assert!(frozen.view().iter().all(|&x| x >= 0.0));
    let empty = frozen.slice(s![..0, ..]).unwrap().to_private().unwrap();
    assert!(empty.is_empty() && empty.view().is_empty());
}
