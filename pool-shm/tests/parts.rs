//! Parts of arrays: any slice of one that is frozen or raw is a value that can
//! be sent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array, Array2, Axis, Ix1, Ix2, Ix3, IxDyn, ShapeBuilder, array, s};
use num_complex::Complex;
use pool_shm::{FrozenArray, RawArray, SharedArray, ShmError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What arrives at another process.
fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    postcard::from_bytes(&postcard::to_allocvec(value).unwrap()).unwrap()
}

fn numbers(shape: (usize, usize, usize)) -> Array<i32, Ix3> {
    Array::from_shape_fn(shape, |(i, j, k)| (100 * i + 10 * j + k) as i32)
}

#[test]
fn any_slice_of_a_frozen_array_can_be_sent() {
    let source = numbers((4, 5, 6));
    for column_major in [false, true] {
        let mut array = SharedArray::<i32, Ix3>::zeros((4, 5, 6).set_f(column_major)).unwrap();
        array.view_mut().assign(&source);
        let frozen = array.freeze().unwrap();
        let backwards = sent(&frozen.slice(s![..;-1, 2.., ..;2]).unwrap());
        assert_eq!(backwards.view(), source.slice(s![..;-1, 2.., ..;2]));
        let matrix: FrozenArray<i32, Ix2> = sent(&frozen.slice(s![1, ..;-2, ..]).unwrap());
        assert_eq!(matrix.view(), source.slice(s![1, ..;-2, ..]));
        // A part of a part.
        let row: FrozenArray<i32, Ix1> = sent(&matrix.slice(s![-1, 1..;3]).unwrap());
        assert_eq!(row.view(), source.slice(s![1, 0, 1..;3]));
        assert_eq!(row.shape(), [2]);
        let point = sent(&row.slice(s![1]).unwrap());
        assert_eq!(point.view()[()], source[[1, 0, 4]]);
        let wide = sent(&row.slice(s![.., ndarray::NewAxis]).unwrap());
        assert_eq!(wide.shape(), [2, 1]);
        let none = sent(&frozen.slice(s![4.., .., ..;-1]).unwrap());
        assert_eq!((none.shape(), none.len()), (&[0, 5, 6][..], 0));
    }
}

#[test]
fn a_part_of_unknown_dimension_can_be_sent() {
    let frozen = SharedArray::from_shape_fn(IxDyn(&[3, 4]), |index| index[0] * 10 + index[1]);
    let frozen = frozen.unwrap().freeze().unwrap();
    let slice = [
        ndarray::SliceInfoElem::from(..),
        ndarray::SliceInfoElem::from(1),
    ];
    let part = sent(&frozen.slice(&slice[..]).unwrap());
    assert_eq!(part.view(), array![1, 11, 21].into_dyn());
}

#[test]
fn slices_that_lie_outside_are_errors() {
    let frozen = SharedArray::<f64, _>::zeros((4, 5))
        .unwrap()
        .freeze()
        .unwrap();
    let outside: [Result<_, ShmError>; 3] = [
        frozen.slice(s![5.., ..]),
        frozen.slice(s![..-5, ..]),
        frozen.slice(s![.., ..6]),
    ];
    for part in outside {
        let error = part.unwrap_err();
        assert!(error.is_invalid_cut());
        assert!(error.to_string().contains("outside the axis"), "{error}");
    }
    assert!(
        frozen
            .slice(s![4, ..])
            .unwrap_err()
            .to_string()
            .contains("index")
    );
}

#[test]
fn parts_of_raw_arrays_are_written_by_whoever_has_them() {
    let raw = RawArray::<i32, _>::zeros((6, 4)).unwrap();
    let part = sent(&raw.slice(s![1..;2, ..;-1]).unwrap());
    // SAFETY: nobody else looks at it.
    unsafe { part.view_mut() }.assign(&array![[1, 2, 3, 4]]);
    // SAFETY: as above.
    let whole = unsafe { raw.view() };
    let expected = Array2::from_shape_fn((6, 4), |(i, j)| (4 - j as i32) * (i as i32 % 2));
    assert_eq!(whole, expected);
    assert_eq!(part.strides(), [8, -1]);
    // SAFETY: its element of index 0 lies in the array, and nobody writes.
    assert_eq!(unsafe { *part.as_ptr() }, 1);
}

#[test]
fn parts_are_reshaped_and_paired_where_memory_allows_it() {
    let frozen = SharedArray::from_shape_fn((6, 4), |(i, j)| (4 * i + j) as f64);
    let frozen = frozen.unwrap().freeze().unwrap();
    let rows = frozen.slice(s![2..4, ..]).unwrap().into_shape(8).unwrap();
    assert_eq!(rows.view(), Array::range(8.0, 16.0, 1.0));
    let columns = frozen.slice(s![.., 1..3]).unwrap();
    let error = columns.clone().into_shape(12).unwrap_err();
    assert!(
        error.is_invalid_shape() && error.to_string().contains("not contiguous"),
        "{error}"
    );
    let pairs = sent(
        &columns
            .slice(s![..;-3, ..])
            .unwrap()
            .into_complex()
            .unwrap(),
    );
    assert_eq!(
        pairs.view(),
        array![[Complex::new(21.0, 22.0)], [Complex::new(9.0, 10.0)]]
    );
    assert_eq!(
        pairs.into_real().unwrap().view(),
        array![[21.0, 22.0], [9.0, 10.0]]
    );
}

#[test]
fn blocks_of_a_part_lie_where_they_should() {
    let source = numbers((7, 5, 3));
    let array = SharedArray::from_array(&source).unwrap();
    let part = array.slice(s![1.., ..;-2, 2]).unwrap();
    assert_eq!(part.view(), source.slice(s![1.., ..;-2, 2]));
    let corner = part.slice(s![..2, 1..]).unwrap();
    assert_eq!(corner.view(), source.slice(s![1..3, ..3;-2, 2]));
    assert_eq!(
        format!("{:?}", part.axis_chunks(Axis(0), 2)),
        "AxisChunks { shape: [6, 3], cut: Axis { axis: 0, size: 2 } }"
    );
}
