//! Arrays: what they hold, how they change kind, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array, Dimension, Ix1, Ix2, IxDyn, ShapeBuilder, array, s};
use num_complex::Complex;
use pool_shm::{ArrayHandle, Element, FrozenArray, RawArray, SharedArray, ShmError, transfer};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

fn travel<A: Serialize, B: DeserializeOwned>(value: &A) -> B {
    postcard::from_bytes(&postcard::to_allocvec(value).unwrap()).unwrap()
}

/// An array of this element and shape holds what is put in and becomes frozen.
fn round_trip<T: Element + PartialEq + Debug, D: Dimension + 'static>(
    shape: impl ShapeBuilder<Dim = D>,
    values: impl Fn(usize) -> T,
) {
    let mut array = SharedArray::<T, D>::zeros(shape).unwrap();
    assert!(
        array
            .view()
            .iter()
            .all(|x| bytemuck::bytes_of(x).iter().all(|&b| b == 0))
    );
    for (i, x) in array.view_mut().iter_mut().enumerate() {
        *x = values(i);
    }
    assert!(array.view().as_ptr().addr().is_multiple_of(64));
    let copy = SharedArray::from_array(&array.view()).unwrap();
    assert_eq!(copy.view(), array.view());
    assert_eq!(copy.view().strides(), array.view().strides());
    let frozen: FrozenArray<T, D> = travel(&array.freeze().unwrap());
    assert_eq!(frozen.view(), copy.view());
}

#[test]
fn all_elements() {
    round_trip((2, 3), |i| i as i8);
    round_trip((2, 3), |i| i as u16);
    round_trip((2, 3), |i| i as u32);
    round_trip((2, 3), |i| i as i64);
    round_trip((2, 3), |i| i as u128);
    round_trip((2, 3), |i| i);
    round_trip((2, 3), |i| i as f32);
    round_trip((2, 3), |i| i as f64);
    round_trip((2, 3), |i| Complex::new(i as f32, -1.0));
    round_trip((2, 3), |i| Complex::new(i as f64, -1.0));
    round_trip((2, 3), |i| [i as u8, 1, 2]);
}

#[test]
fn all_numbers_of_axes_in_both_orders() {
    round_trip((), |i| i);
    round_trip(5, |i| i);
    round_trip((3, 4).f(), |i| i);
    round_trip((3, 1, 4).f(), |i| i);
    round_trip((3, 2, 4, 2), |i| i);
    round_trip((3, 2, 4, 2, 2).f(), |i| i);
    round_trip([2, 1, 2, 3, 2, 1], |i| i);
    round_trip(IxDyn(&[2, 2, 1, 2, 1, 1, 2, 3]), |i| i);
    round_trip(IxDyn(&[2, 3]).f(), |i| i);
}

#[test]
fn axes_of_length_zero() {
    round_trip(0, |i| i);
    round_trip((5, 0), |i| i);
    round_trip((0, 5).f(), |i| i);
    round_trip((2, 0, 3), |i| i as f32);
    let array = SharedArray::<f64, _>::zeros((3, 0)).unwrap();
    assert!(array.is_empty() && array.shape() == [3, 0]);
    assert_eq!(array.into_complex().unwrap().shape(), [3, 0]);
}

#[test]
fn constructors_agree_with_ndarray() {
    assert_eq!(
        SharedArray::from_elem((2, 2), 7_u8).unwrap().view(),
        array![[7, 7], [7, 7]]
    );
    let f = |(i, j)| 10 * i + j;
    for column_major in [false, true] {
        let ours = SharedArray::from_shape_fn((3, 4).set_f(column_major), f).unwrap();
        let theirs = Array::from_shape_fn((3, 4).set_f(column_major), f);
        assert_eq!(ours.view(), theirs);
        assert_eq!(ours.view().strides(), theirs.strides());
    }
}

#[test]
fn any_view_is_copied() {
    let source = Array::from_shape_fn((4, 5, 3), |(i, j, k)| 100 * i + 10 * j + k);
    let mut views = vec![source.view(), source.t()];
    views.push(source.slice(s![1.., ..;2, ..]));
    views.push(source.slice(s![..;-1, .., ..]));
    views.push(source.view().permuted_axes([1, 0, 2]));
    for view in views {
        assert_eq!(SharedArray::from_array(&view).unwrap().view(), view);
    }
    let reversed = array![1, 2, 3];
    let reversed = reversed.slice(s![..;-1]);
    assert_eq!(
        SharedArray::from_array(&reversed).unwrap().view(),
        array![3, 2, 1]
    );
}

#[test]
fn eighteen_doubles_are_a_complex_matrix() {
    let numbers = SharedArray::from_shape_fn(18, |i| i as f64).unwrap();
    let address = numbers.view().as_ptr().addr();
    let z = numbers.into_complex().unwrap().into_shape((3, 3)).unwrap();
    assert_eq!(z.view().as_ptr().addr(), address);
    assert_eq!(z.view()[[2, 2]], Complex::new(16.0, 17.0));
    let back = z.into_real().unwrap();
    assert_eq!(back.shape(), [3, 6]);
    let frozen = back.freeze().unwrap().into_complex().unwrap();
    let frozen: FrozenArray<Complex<f64>, Ix2> = travel(&frozen);
    assert_eq!(
        frozen.into_real().unwrap().into_shape(18).unwrap().view()[17],
        17.0
    );
    let small = SharedArray::<f32, _>::zeros((2, 2)).unwrap();
    assert_eq!(small.into_complex().unwrap().shape(), [2, 1]);
}

#[test]
fn impossible_shapes_say_so() {
    let odd = SharedArray::<f64, _>::zeros((2, 3))
        .unwrap()
        .into_complex()
        .unwrap_err();
    assert!(
        odd.is_invalid_shape() && odd.to_string().contains("[2, 3]"),
        "{odd}"
    );
    let column = SharedArray::<f64, _>::zeros((2, 4).f())
        .unwrap()
        .into_complex()
        .unwrap_err();
    assert!(column.to_string().contains("[2, 4]") && column.to_string().contains("[1, 2]"));
    let point = SharedArray::<f64, _>::zeros(())
        .unwrap()
        .into_complex()
        .unwrap_err();
    assert!(point.to_string().contains("without axes"), "{point}");
    let other = SharedArray::<f64, _>::zeros((2, 3))
        .unwrap()
        .into_shape(7)
        .unwrap_err();
    assert!(other.to_string().contains("7 elements") && other.to_string().contains("[2, 3] has 6"));
    assert!(
        SharedArray::<f64, _>::zeros((usize::MAX, 2))
            .unwrap_err()
            .is_invalid_shape()
    );
    assert!(
        SharedArray::<f64, _>::zeros((usize::MAX, 0))
            .unwrap_err()
            .is_invalid_shape()
    );
    assert!(
        SharedArray::<(), _>::zeros(3)
            .unwrap_err()
            .is_invalid_shape()
    );
    assert!(
        SharedArray::<u8, _>::zeros(1 << 46)
            .unwrap_err()
            .is_out_of_memory()
    );
}

#[test]
fn column_major_is_reshaped_in_the_order_of_memory() {
    let array = SharedArray::from_shape_fn((2, 3).f(), |(i, j)| 10 * i + j).unwrap();
    let array = array.into_shape((3, 2)).unwrap();
    assert_eq!(array.view(), array![[0, 11], [10, 2], [1, 12]]);
    assert_eq!(
        array.into_shape(6).unwrap().view(),
        array![0, 10, 1, 11, 2, 12]
    );
}

#[test]
fn the_kernel_refuses_to_write_a_frozen_array() {
    let frozen = SharedArray::from_elem(1000, 1.5).unwrap().freeze().unwrap();
    let handle = serde_json::to_value(&frozen).unwrap();
    let path = format!("/proc/self/fd/{}", handle["segment"]["fd"]);
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let again = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(
        rustix::io::pwrite(&again, b"x", 64).unwrap_err(),
        Errno::PERM
    );
    assert_eq!(rustix::fs::ftruncate(&again, 0).unwrap_err(), Errno::PERM);
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert_eq!(
        rustix::fs::fallocate(&again, punch, 0, 4096).unwrap_err(),
        Errno::PERM
    );
    assert!(memmap2::MmapOptions::new().map_raw(&again).is_err());
    assert!(pool_shm::Segment::from_fd(again).unwrap_err().is_frozen());
    assert_eq!(frozen.view().sum(), 1500.0);
}

#[test]
fn freezing_what_is_mapped_elsewhere_names_who_and_keeps_the_array() {
    // So large that it has a segment of its own.
    let array = SharedArray::from_elem((2, 20_000), 3).unwrap();
    let raw = array.into_handle().unwrap();
    // A stranger's mapping of the same memory, in this very process.
    let handle = serde_json::to_value(&raw).unwrap();
    let path = format!("/proc/self/fd/{}", handle["array"]["segment"]["fd"]);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let stranger = memmap2::MmapOptions::new().map_raw(&file).unwrap();

    let error = raw.claim().unwrap().freeze().unwrap_err();
    assert!(error.error().is_busy());
    let text = error.to_string();
    assert!(
        text.contains(&format!("(pid {})", std::process::id())),
        "{text}"
    );
    let mut array = error.into_array().unwrap();
    array.view_mut()[[0, 0]] = 4;
    drop(stranger);
    assert_eq!(array.freeze().unwrap().view().sum(), 120_001);
}

#[test]
fn an_array_is_claimed_once() {
    let array = SharedArray::from_shape_fn(10, |i| i).unwrap();
    let sent = array.into_handle().unwrap();
    assert_eq!(sent.shape(), [10]);
    let [first, second]: [ArrayHandle<usize, Ix1>; 2] = [travel(&sent), travel(&sent)];
    drop(sent);
    let passed_on: ArrayHandle<usize, Ix1> = travel(&second);
    let mut array = first.claim().unwrap();
    for late in [second, passed_on] {
        let error = late.claim().unwrap_err();
        assert!(error.is_claimed(), "{error}");
    }
    array.view_mut()[0] = 9;
    // A second offer is another one.
    let again = array.into_handle().unwrap().claim().unwrap();
    assert_eq!(again.view()[0], 9);
    assert_eq!(again.freeze().unwrap().view().sum(), 54);
}

#[test]
fn raw_arrays_are_shared_by_all_who_have_them() {
    let raw = RawArray::<i32, _>::zeros((2, 2)).unwrap();
    let other: RawArray<i32, Ix2> = travel(&raw);
    // SAFETY: nobody else uses the array meanwhile.
    unsafe { other.view_mut() }.fill(3);
    // SAFETY: as above.
    assert_eq!(unsafe { raw.view() }.sum(), 12);
    assert_eq!(raw.clone().as_ptr(), other.as_ptr());
}

/// The error of reading `handle` as an array.
fn refused<A: DeserializeOwned>(handle: &Value) -> String {
    match serde_json::from_value::<A>(handle.clone()) {
        Ok(_) => panic!("a handle that does not fit was accepted: {handle}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn handles_that_do_not_fit_show_both_sides() {
    let frozen = SharedArray::<f64, _>::zeros((2, 3))
        .unwrap()
        .freeze()
        .unwrap();
    let handle = serde_json::to_value(&frozen).unwrap();
    let text = refused::<FrozenArray<f32, Ix2>>(&handle);
    assert!(text.contains("asked for f32, found f64"), "{text}");
    let text = refused::<FrozenArray<f64, Ix1>>(&handle);
    assert!(
        text.contains("asked for 1, found 2 (shape [2, 3])"),
        "{text}"
    );
    let text = refused::<RawArray<f64, Ix2>>(&handle);
    assert!(text.contains("is frozen"), "{text}");
    let raw = RawArray::<f64, _>::zeros((2, 3)).unwrap();
    let mut handle = serde_json::to_value(&raw).unwrap();
    let text = refused::<FrozenArray<f64, Ix2>>(&handle);
    assert!(text.contains("is not frozen"), "{text}");
    handle["frozen"] = json!(true);
    let text = refused::<FrozenArray<f64, Ix2>>(&handle);
    assert!(text.contains("is not frozen"), "{text}");
    handle["frozen"] = json!(false);
    handle["dtype"] = json!("I64");
    let text = refused::<RawArray<i64, Ix2>>(&handle);
    assert!(
        text.contains("element types") && text.contains("asked for i64"),
        "{text}"
    );
}

#[test]
fn forged_shapes_strides_and_offsets_are_refused() {
    let raw = RawArray::<f64, _>::zeros((2, 3)).unwrap();
    let good = serde_json::to_value(&raw).unwrap();
    for (field, value, text) in [
        ("shape", json!([3, 3]), "do not lie in an array of 48 bytes"),
        ("shape", json!([1000, 3]), "do not lie in an array of 48"),
        ("shape", json!([u64::MAX, 3]), "is not possible"),
        ("shape", json!([u64::MAX, 0]), "is not possible"),
        ("shape", json!([6]), "numbers of axes"),
        ("strides", json!([3, 2]), "found strides [3, 2]"),
        ("strides", json!([-3, 1]), "do not lie in an array of 48"),
        ("strides", json!([0, 0]), "found strides [0, 0]"),
        ("strides", json!([3]), "numbers of strides"),
        ("offset", json!(0), "do not lie in an array of 48"),
        ("offset", json!(68), "not a multiple of 8"),
        ("array", json!(64), "found 0000000000000000"),
        ("array", json!(8), "not a multiple of 64"),
        ("array", json!(1_u64 << 40), "do not lie in a segment"),
        ("offset", json!(u64::MAX - 7), "do not lie in a segment"),
        ("dtype", json!("F32"), "asked for f64, found f32"),
    ] {
        let mut handle = good.clone();
        handle[field] = value;
        let error = refused::<RawArray<f64, Ix2>>(&handle);
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn a_handle_whose_array_is_gone_is_refused() {
    let frozen = SharedArray::<f64, _>::zeros(3).unwrap().freeze().unwrap();
    let (mut handle, exports) = transfer::export(|| serde_json::to_value(&frozen).unwrap());
    drop(frozen);
    assert!(serde_json::from_value::<FrozenArray<f64, Ix1>>(handle.clone()).is_ok());
    drop(exports);
    handle["segment"]["fd"] = json!(1_000_000);
    let text = refused::<FrozenArray<f64, Ix1>>(&handle);
    assert!(text.contains("is gone"), "{text}");
}

#[test]
fn a_header_that_was_overwritten_is_refused() {
    let raw = RawArray::<f64, _>::zeros(8).unwrap();
    let header = raw.as_ptr().wrapping_byte_sub(64).cast::<u64>();
    for word in 0..4 {
        // SAFETY: the header's words lie in the mapping, and no other thread
        // uses this segment.
        let word = unsafe {
            &*header
                .wrapping_add(word)
                .cast::<std::sync::atomic::AtomicU64>()
        };
        let before = word.swap(77, std::sync::atomic::Ordering::Relaxed);
        let text = refused::<RawArray<f64, Ix1>>(&serde_json::to_value(&raw).unwrap());
        assert!(text.contains("do not agree"), "{text}");
        word.store(before, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn errors_and_arrays_may_go_to_other_threads() {
    fn sendable<T: Send + Sync + 'static>() {}
    sendable::<ShmError>();
    sendable::<SharedArray<f64, Ix2>>();
    sendable::<FrozenArray<f64, Ix2>>();
    sendable::<RawArray<f64, Ix2>>();
    sendable::<ArrayHandle<f64, Ix2>>();
    sendable::<pool_shm::FreezeError<f64, Ix2>>();
}
