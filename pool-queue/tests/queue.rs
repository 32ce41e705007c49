//! What a queue promises, inside one process.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

use num_complex::Complex;
use pool_queue::{GetError, GetManyError, PutError, Queue};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Report {
    name: String,
    values: Vec<(usize, f64)>,
    next: Option<Box<Report>>,
}

fn round_trip<T: pool_queue::Message + Clone + PartialEq + std::fmt::Debug>(values: &[T]) {
    let queue = Queue::<T>::new(values.len().max(1)).unwrap();
    for value in values {
        queue.put(value.clone()).unwrap();
    }
    for value in values {
        assert_eq!(queue.get().unwrap(), *value);
    }
    assert_eq!(queue.put_many(values.to_vec()).unwrap(), values.len());
    if !values.is_empty() {
        assert_eq!(queue.get_many(values.len()).unwrap(), values);
    }
    assert!(queue.is_empty());
}

#[test]
fn values_of_every_kind_come_back() {
    round_trip(&[0_u8, 1, 255]);
    round_trip(&[i128::MIN, 0, i128::MAX]);
    round_trip(&[f64::MIN_POSITIVE, -0.0, f64::INFINITY]);
    round_trip(&[Complex::new(1.0_f32, -2.0), Complex::new(0.0, 0.5)]);
    round_trip(&[
        vec![Complex::new(1.0_f64, 2.0); 3],
        vec![],
        vec![Complex::new(0.0, 9.0)],
    ]);
    round_trip(&[vec![1_u16, 2, 3], vec![], vec![7; 1000]]);
    round_trip(&[String::new(), "żółw".to_owned(), "x".repeat(5000)]);
    round_trip(&[true, false]);
    round_trip(&[(), ()]);
    round_trip(&['a', 'ß']);
    round_trip(&[(3_usize, 0.5_f64)]);
    round_trip::<u8>(&[]);
    let inner = Report {
        name: "inner".into(),
        values: vec![],
        next: None,
    };
    round_trip(&[Report {
        name: "outer".into(),
        values: vec![(1, 2.0)],
        next: Some(Box::new(inner)),
    }]);
}

#[test]
fn the_order_is_kept_while_the_ring_goes_round() {
    let queue = Queue::<Vec<u8>>::builder()
        .items(7)
        .bytes(100)
        .build()
        .unwrap();
    let message = |i: u8| vec![i; usize::from(i % 37)];
    let (mut put, mut got) = (0, 0);
    while got < 250 {
        while put < 250 && queue.try_put(message(put)).is_ok() {
            put += 1;
        }
        assert!(queue.len() <= 7);
        assert_eq!(queue.get().unwrap(), message(got));
        got += 1;
    }
}

#[test]
fn capacity_in_items_is_exact() {
    let queue = Queue::<u64>::new(3).unwrap();
    assert_eq!((queue.len(), queue.capacity()), (0, 3));
    for i in 0..3 {
        assert!(!queue.is_full());
        queue.try_put(i).unwrap();
        assert_eq!(queue.len(), i as usize + 1);
    }
    assert!(queue.is_full());
    let refused = queue.try_put(3).unwrap_err();
    assert!(matches!(refused, PutError::Full(3)), "{refused}");
    assert_eq!(queue.get().unwrap(), 0);
    queue.try_put(3).unwrap();
}

#[test]
fn capacity_in_bytes_is_what_the_largest_message_takes() {
    let queue = Queue::<Vec<u8>>::builder()
        .items(100)
        .bytes(64)
        .build()
        .unwrap();
    assert_eq!(queue.capacity_bytes(), 64);
    queue.try_put(vec![1; 64]).unwrap();
    assert!(queue.is_full());
    assert!(matches!(queue.try_put(vec![]), Err(PutError::Full(_))));
    assert_eq!(queue.get().unwrap(), [1; 64]);
    let error = queue.put(vec![2; 65]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("65 bytes") && text.contains("holds 64"),
        "{text}"
    );
    let PutError::TooLarge {
        value,
        need,
        capacity,
    } = error
    else {
        panic!("{text}")
    };
    assert_eq!((value, need, capacity), (vec![2; 65], 65, 64));
    queue.try_put(vec![3; 40]).unwrap();
    assert!(matches!(queue.try_put(vec![4; 40]), Err(PutError::Full(value)) if value == [4; 40]));
}

#[test]
fn large_messages_go_through_a_small_queue_in_segments_of_their_own() {
    let queue = Queue::<Vec<f64>>::builder().items(8).bytes(200);
    let queue = queue.own_segment_above(100).build().unwrap();
    let bytes = postcard::to_allocvec(&queue).unwrap();
    let same: Queue<Vec<f64>> = postcard::from_bytes(&bytes).unwrap();
    // Small ones among large ones: the order is that of the puts.
    for len in [100_000, 3, 13, 12, 0] {
        same.put(vec![len as f64; len]).unwrap();
        assert_eq!(queue.get().unwrap(), vec![len as f64; len]);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| same.put_many((0..50).map(|i| vec![0.5; i * 100])));
        for i in 0..50 {
            assert_eq!(queue.get().unwrap().len(), i * 100);
        }
    });
    same.put_many([vec![1.0; 1000], vec![2.0], vec![3.0; 1000]])
        .unwrap();
    let all = queue.get_many(3).unwrap();
    assert_eq!(all, [vec![1.0; 1000], vec![2.0], vec![3.0; 1000]]);
    let without = Queue::<Vec<f64>>::builder().items(8).bytes(200);
    let refused = without.build().unwrap().put(vec![0.5; 1000]);
    assert!(matches!(refused, Err(PutError::TooLarge { .. })));
}

#[test]
fn large_values_that_are_serialised_and_name_memory_come_back_too() {
    use pool_shm::{FrozenArray, SharedArray};
    let queue = Queue::builder().own_segment_above(1000).build().unwrap();
    let array = SharedArray::from_elem(100, 1.5).unwrap().freeze().unwrap();
    let texts: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    queue.put((texts.clone(), array)).unwrap();
    let (found, array): (Vec<String>, FrozenArray<f64, ndarray::Ix1>) = queue.get().unwrap();
    assert_eq!((found, array.view().sum()), (texts, 150.0));
}

#[test]
fn impossible_capacities_are_errors() {
    for (items, bytes) in [(0, 8), (1, 0), (usize::MAX, 8), (1, usize::MAX)] {
        let error = Queue::<u8>::builder()
            .items(items)
            .bytes(bytes)
            .build()
            .unwrap_err();
        assert!(error.is_invalid_capacity(), "{error}");
    }
}

#[test]
fn waiting_ends_with_its_time() {
    let queue = Queue::<u32>::new(1).unwrap();
    let moment = Duration::from_millis(2);
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    assert!(matches!(queue.get_timeout(moment), Err(GetError::Timeout)));
    assert!(matches!(
        queue.get_many_timeout(4, moment),
        Err(GetManyError::Get(GetError::Timeout))
    ));
    queue.put_timeout(1, Duration::MAX).unwrap();
    assert!(matches!(
        queue.put_timeout(2, moment),
        Err(PutError::Timeout(2))
    ));
    assert_eq!(queue.get_timeout(Duration::ZERO).unwrap(), 1);
}

#[test]
fn a_batch_larger_than_the_queue_flows_through_it() {
    let queue = Queue::<u64>::new(10).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(queue.put_many(0..1000).unwrap(), 1000);
            queue.close();
        });
        let mut next = 0;
        loop {
            match queue.get_many(64) {
                Ok(values) => {
                    assert!(!values.is_empty() && values.len() <= 10);
                    for value in values {
                        assert_eq!(value, next);
                        next += 1;
                    }
                }
                Err(GetManyError::Get(GetError::Closed)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(next, 1000);
    });
}

#[test]
fn a_batch_that_stops_gives_back_what_it_took() {
    let queue = Queue::<u64>::new(4).unwrap();
    let mut values = 0..1000;
    let error = queue.try_put_many(&mut values).unwrap_err();
    assert_eq!(error.put, 4);
    assert!(matches!(error.error, PutError::Full(())), "{error}");
    let all: Vec<u64> = queue
        .try_iter()
        .map(Result::unwrap)
        .chain(error.rest)
        .chain(values)
        .collect();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());

    let queue = Queue::<Vec<u8>>::builder()
        .items(9)
        .bytes(100)
        .build()
        .unwrap();
    let error = queue
        .put_many([vec![1; 8], vec![2; 105], vec![3; 8]])
        .unwrap_err();
    assert_eq!((error.put, &error.rest), (1, &vec![vec![2; 105]]));
    assert!(
        matches!(
            error.error,
            PutError::TooLarge {
                need: 105,
                capacity: 104,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(queue.len(), 1);
}

#[test]
fn closing_wakes_everybody_and_loses_nothing() {
    let queue = Queue::<u32>::new(2).unwrap();
    std::thread::scope(|scope| {
        let getters = [(); 3].map(|()| scope.spawn(|| queue.get()));
        queue.close();
        for getter in getters {
            assert!(matches!(getter.join().unwrap(), Err(GetError::Closed)));
        }
    });
    let queue = Queue::<u32>::new(2).unwrap();
    queue.put_many([1, 2]).unwrap();
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| queue.put(3));
        queue.close();
        assert!(matches!(putter.join().unwrap(), Err(PutError::Closed(3))));
    });
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(queue.iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    assert!(matches!(queue.try_get(), Err(GetError::Closed)));
}

#[test]
fn many_producers_and_consumers_share_it() {
    const EACH: u64 = 20_000;
    let queue = Queue::<(u8, u64)>::builder()
        .items(50)
        .bytes(700)
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let producers = [0, 1, 2].map(|me| {
            let queue = &queue;
            scope.spawn(move || (0..EACH).for_each(|i| queue.put((me, i)).unwrap()))
        });
        let consumers = [(); 3].map(|()| {
            let queue = &queue;
            scope.spawn(move || {
                let mut last = BTreeMap::new();
                let mut sum = [0; 3];
                for got in queue {
                    let (from, i) = got.unwrap();
                    assert!(last.insert(from, i).is_none_or(|before| before < i));
                    sum[usize::from(from)] += i;
                }
                sum
            })
        });
        for producer in producers {
            producer.join().unwrap();
        }
        queue.close();
        let sums = consumers.map(|consumer| consumer.join().unwrap());
        for from in 0..3 {
            assert_eq!(
                sums.iter().map(|sum| sum[from]).sum::<u64>(),
                EACH * (EACH - 1) / 2
            );
        }
    });
}

#[test]
fn a_handle_is_the_same_queue() {
    let queue = Queue::<f64>::new(4).unwrap();
    let bytes = postcard::to_allocvec(&(7, queue.clone())).unwrap();
    let (_, same): (i32, Queue<f64>) = postcard::from_bytes(&bytes).unwrap();
    same.put(1.5).unwrap();
    assert_eq!(queue.get().unwrap(), 1.5);
    queue.close();
    assert!(same.is_closed());
}

#[test]
fn a_handle_can_travel_through_a_queue() {
    let replies = Queue::<u32>::new(1).unwrap();
    let requests = Queue::<(u32, Queue<u32>)>::new(1).unwrap();
    requests.put((20, replies.clone())).unwrap();
    let (number, to) = requests.get().unwrap();
    to.put(number + 1).unwrap();
    assert_eq!(replies.get().unwrap(), 21);
}

#[test]
fn handles_of_something_else_are_refused() {
    let queue = Queue::<u32>::new(1).unwrap();
    let bytes = postcard::to_allocvec(&queue).unwrap();
    assert!(postcard::from_bytes::<Queue<f32>>(&bytes).is_err());
    let no_queue = pool_shm::Segment::create(10_000).unwrap();
    let bytes = postcard::to_allocvec(&no_queue).unwrap();
    assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
    drop(no_queue);
    assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
}

/// What postcard makes a `u8` and reads as nothing but 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct One;

impl Serialize for One {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::sync::atomic::{AtomicU8, Ordering};
        static NEXT: AtomicU8 = AtomicU8::new(0);
        serializer.serialize_u8(NEXT.fetch_add(1, Ordering::Relaxed) % 2)
    }
}

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(One),
            other => Err(serde::de::Error::custom(format!("{other} is not one"))),
        }
    }
}

#[test]
fn a_message_that_cannot_be_decoded_takes_no_other_with_it() {
    let queue = Queue::<One>::new(10).unwrap();
    queue.put_many([One; 4]).unwrap();
    let error = queue.get_many(10).unwrap_err();
    assert!(error.to_string().contains("2 of 4"), "{error}");
    let GetManyError::Decode { values, errors } = error else {
        panic!("{error}")
    };
    assert_eq!((values.len(), errors.len()), (2, 2));
    assert!(queue.is_empty());
}

/// A type whose `Serialize` fails.
#[derive(Debug, PartialEq, Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[test]
fn a_value_that_cannot_be_serialised_comes_back() {
    let queue = Queue::<Unwritable>::new(1).unwrap();
    let error = queue.put(Unwritable).unwrap_err();
    assert!(matches!(error, PutError::Encode { .. }), "{error}");
    assert_eq!(error.into_value(), Unwritable);
    assert!(queue.is_empty());
}

#[test]
fn errors_can_be_sent_on() {
    fn sendable<T: Send + Sync + std::error::Error + 'static>() {}
    sendable::<PutError<u8>>();
    sendable::<pool_queue::PutManyError<u8>>();
    sendable::<GetError>();
    sendable::<GetManyError<u8>>();
    sendable::<pool_queue::QueueError>();
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Queue<Vec<u8>>>();
}
