//! Whatever a handle or a plan says: it is attached as what it is, or refused,
//! and nothing else happens.

use ndarray::{Axis, Ix2, IxDyn};
use pool_shm::{AxisChunksMut, Blocks, FrozenArray, LeaseCache, RawArray, SharedArray, TilesMut};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A number that may be small, near a power of two, or anything.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..20,
        (0_u32..64, -2_i64..3).prop_map(|(bit, more)| (1_u64 << bit).wrapping_add_signed(more)),
        any::<u64>(),
    ]
}

/// Changes one field of the handle of an array.
fn change(handle: &mut Value, field: usize, numbers: &[u64]) {
    let first = numbers[0];
    match field {
        0 => handle["shape"] = json!(numbers),
        1 => handle["strides"] = numbers.iter().map(|&n| n.cast_signed()).collect(),
        2 => {
            handle[if first.is_multiple_of(3) {
                "array"
            } else {
                "offset"
            }] = json!(first)
        }
        3 => handle["frozen"] = json!(first.is_multiple_of(2)),
        4 => handle["segment"]["len"] = json!(first),
        5 => handle["segment"]["id"]["ino"] = json!(first),
        6 => handle["segment"]["fd"] = json!(first as i32),
        7 => handle["dtype"] = json!({"Other": {"size": 8, "align": 8, "name": first}}),
        _ => handle["segment"]["pid"] = json!(first as u32),
    }
}

proptest! {
    #[test]
    fn changed_handles_of_arrays(
        changes in prop::collection::vec(
            (0_usize..9, prop::collection::vec(number(), 1..4)),
            1..3,
        ),
        frozen: bool,
    ) {
        let array = SharedArray::<f64, _>::zeros((4, 6)).unwrap();
        let (raw, sealed);
        let mut handle = if frozen {
            sealed = array.freeze().unwrap();
            serde_json::to_value(&sealed).unwrap()
        } else {
            raw = array.into_raw().unwrap();
            serde_json::to_value(&raw).unwrap()
        };
        for (field, numbers) in &changes {
            change(&mut handle, *field, numbers);
        }
        if let Ok(array) = serde_json::from_value::<RawArray<f64, IxDyn>>(handle.clone()) {
            prop_assert!(!frozen && array.len() <= 24);
        }
        if let Ok(array) = serde_json::from_value::<FrozenArray<f64, IxDyn>>(handle) {
            prop_assert!(frozen);
            prop_assert_eq!(array.view().sum(), 0.0);
            prop_assert!(array.len() <= 24);
        }
    }

    #[test]
    fn changed_plans(
        cut in prop_oneof![
            (number(), number()).prop_map(|(axis, size)| json!({"Axis": {"axis": axis, "size": size}})),
            prop::collection::vec(number(), 0..4).prop_map(|tile| json!({"Tiles": tile})),
            (number(), number(), prop::collection::vec((number(), number()), 0..7)).prop_map(
                |(count, axes, ranges)| {
                    json!({"Regions": {"count": count, "axes": axes, "ranges": ranges}})
                }
            ),
        ],
        field in 0_usize..18,
        numbers in prop::collection::vec(number(), 1..4),
        index in number(),
    ) {
        let mut array = SharedArray::<f64, _>::zeros((4, 6)).unwrap();
        let lent = array.axis_chunks_mut(Axis(0), 3);
        let mut plan = serde_json::to_value(lent.plan().unwrap().1).unwrap();
        plan["cut"] = cut;
        if field < 9 {
            change(&mut plan["array"], field, &numbers);
        }
        let plan = serde_json::from_value(plan).unwrap();
        type Rows<'a> = AxisChunksMut<'a, f64, Ix2>;
        if let Ok(attached) = Rows::attach(&plan, &mut LeaseCache::default()) {
            let index = index as usize;
            // SAFETY: `lent` keeps the array borrowed, and there is no other
            // block.
            if let Some(mut block) = unsafe { Rows::block(&attached, index) } {
                prop_assert!(index < Rows::count(&attached));
                block.view_mut().fill(1.0);
            }
        }
        prop_assert!(TilesMut::<'_, f32, Ix2>::attach(&plan, &mut LeaseCache::default()).is_err());
    }

    #[test]
    fn any_bytes_as_a_handle(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(postcard::from_bytes::<FrozenArray<f64, Ix2>>(&bytes).is_err());
        prop_assert!(postcard::from_bytes::<RawArray<f64, Ix2>>(&bytes).is_err());
    }
}
