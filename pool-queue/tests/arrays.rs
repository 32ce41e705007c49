//! Messages that name arrays: the memory lives while the message is in the queue.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

#[path = "common/mod.rs"]
mod common;

use common::{FOR_EVER, Leftovers, start};
use ndarray::Ix1;
use pool_queue::{GetError, GetManyError, Queue};
use pool_shm::{ArrayHandle, FrozenArray, RawArray, SharedArray};
use serde::{Deserialize, Serialize};

type Frozen = FrozenArray<f64, Ix1>;

fn frozen(value: f64) -> Frozen {
    let array = SharedArray::from_elem(1000, value).unwrap();
    array.freeze().unwrap()
}

#[derive(Serialize, Deserialize)]
enum Role {
    /// Puts an array, drops everything, says so, and waits until it is let go.
    Producer {
        queue: Queue<(u32, Frozen)>,
        put: Queue<u32>,
        go: Queue<()>,
    },
}

#[test]
fn child() {
    if let Some(Role::Producer { queue, put, go }) = common::role() {
        queue.put((7, frozen(1.5))).unwrap();
        queue
            .put_many([(8, frozen(2.5)), (9, frozen(3.5))])
            .unwrap();
        drop(queue);
        put.put(std::process::id()).unwrap();
        let _ = go.get_timeout(FOR_EVER);
    }
}

#[test]
fn arrays_in_messages_outlive_the_producers_handles() {
    let _guard = Leftovers::watch();
    let queue = Queue::new(10).unwrap();
    let (put, go) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    let mut child = start(&Role::Producer {
        queue: queue.clone(),
        put: put.clone(),
        go: go.clone(),
    });
    put.get_timeout(FOR_EVER).unwrap();
    let (number, array): (u32, Frozen) = queue.get_timeout(FOR_EVER).unwrap();
    assert_eq!((number, array.view().sum()), (7, 1500.0));
    let rest = queue.get_many_timeout(5, FOR_EVER).unwrap();
    go.put(()).unwrap();
    assert!(child.0.wait().unwrap().success());
    // The producer has ended; what was got is here to stay.
    let sums = rest.iter().map(|(_, array)| array.view().sum());
    assert_eq!(sums.collect::<Vec<_>>(), [2500.0, 3500.0]);
}

#[test]
fn arrays_of_a_producer_that_died_before_they_were_got_are_an_error_each() {
    let _guard = Leftovers::watch();
    let queue = Queue::new(10).unwrap();
    let (put, go) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    let child = start(&Role::Producer {
        queue: queue.clone(),
        put: put.clone(),
        go: go.clone(),
    });
    let pid: u32 = put.get_timeout(FOR_EVER).unwrap();
    drop(child); // killed and reaped
    queue.put((1, frozen(4.0))).unwrap();
    let error = queue.get_timeout(FOR_EVER).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GetError::Decode(_)), "{text}");
    assert!(text.contains(&pid.to_string()), "{text}");
    // The others are not affected.
    let error = queue.get_many_timeout(10, FOR_EVER).unwrap_err();
    let GetManyError::Decode { values, errors } = error else {
        panic!("{error}")
    };
    assert_eq!((values.len(), errors.len()), (1, 2));
    assert_eq!(values[0].1.view().sum(), 4000.0);
}

#[test]
fn arrays_of_every_kind_go_through_a_queue_without_a_copy() {
    let _guard = Leftovers::watch();
    type All = (Frozen, RawArray<u8, Ix1>, ArrayHandle<f32, Ix1>);
    let queue = Queue::<All>::new(4).unwrap();
    let raw = RawArray::zeros(5).unwrap();
    let owned = SharedArray::from_elem(3, 2.0_f32).unwrap();
    queue
        .put((frozen(1.0), raw, owned.into_handle().unwrap()))
        .unwrap();
    let (frozen, raw, owned) = queue.get().unwrap();
    assert_eq!(frozen.view().sum(), 1000.0);
    assert_eq!(raw.shape(), [5]);
    assert_eq!(owned.claim().unwrap().view().sum(), 6.0);
    drop((frozen, raw));
    // What was kept for the messages goes with the next operation.
    assert!(queue.try_get().is_err());
}

#[test]
fn what_is_kept_for_messages_is_let_go_when_they_were_got() {
    let _guard = Leftovers::watch();
    let queue = Queue::<Frozen>::new(100).unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..3 {
        queue
            .put_many((0..100).map(|i| frozen(f64::from(i))))
            .unwrap();
        assert!(open() >= before + 100);
        for got in queue.try_iter() {
            drop(got.unwrap());
        }
        assert_eq!(open(), before);
    }
}
