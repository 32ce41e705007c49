//! What the queues in another order than first in, first out promise, inside one process.

use pool_queue::{
    GetError, JoinError, JoinableQueue, LifoQueue, LossCause, PriorityQueue, PutError, Queue,
};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::time::Duration;

const FOR_EVER: Duration = Duration::from_secs(60);

proptest! {
    #[test]
    fn a_lifo_queue_gives_the_newest_first(steps in proptest::collection::vec(proptest::option::of(0..200_usize), 1..200)) {
        let stack = LifoQueue::<Vec<u8>>::builder().items(10).bytes(1000).build().unwrap();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for (i, step) in (0_u8..=255).cycle().zip(steps) {
            match step {
                Some(len) => {
                    let room = model.len() < 10 && model.iter().map(Vec::len).sum::<usize>() + len <= 1000;
                    let put = stack.try_put(vec![i; len]);
                    prop_assert_eq!(put.is_ok(), room);
                    if room {
                        model.push(vec![i; len]);
                    }
                }
                None => prop_assert_eq!(stack.try_get().ok(), model.pop()),
            }
            prop_assert_eq!(stack.len(), model.len());
        }
        model.reverse();
        prop_assert_eq!(stack.try_get_many(100).unwrap_or_default(), model);
    }

    #[test]
    fn a_priority_queue_is_ordered_and_stable_among_equals(puts in proptest::collection::vec((0..5_i32, any::<u16>()), 0..200)) {
        let queue = PriorityQueue::<i32, (u16, String)>::new(200).unwrap();
        for &(priority, number) in &puts {
            queue.put(priority, (number, "x".repeat(usize::from(number) % 300))).unwrap();
        }
        let mut expected = puts.clone();
        expected.sort_by_key(|&(priority, _)| priority); // a stable sort
        let got: Vec<_> = queue.try_iter().map(Result::unwrap).map(|(priority, (number, _))| (priority, number)).collect();
        prop_assert_eq!(got, expected);
        prop_assert!(queue.is_empty());
    }
}

#[test]
fn a_priority_queue_can_give_the_largest_first() {
    let queue = PriorityQueue::<Reverse<f64>, u8>::new(10).unwrap();
    queue
        .put_many([(Reverse(0.5), 1), (Reverse(9.0), 2), (Reverse(-3.0), 3)])
        .unwrap();
    assert_eq!(
        queue
            .get_many(5)
            .unwrap()
            .iter()
            .map(|got| got.1)
            .collect::<Vec<_>>(),
        [2, 1, 3]
    );
}

#[test]
fn capacities_in_items_and_bytes_are_exact() {
    let queue = PriorityQueue::<u8, Vec<u8>>::builder()
        .items(3)
        .bytes(100)
        .build()
        .unwrap();
    assert_eq!((queue.capacity(), queue.capacity_bytes()), (3, 100));
    queue.try_put(1, vec![1; 33]).unwrap();
    queue.try_put(1, vec![2; 33]).unwrap();
    let refused = queue.try_put(0, vec![3; 35]).unwrap_err();
    assert!(
        matches!(&refused, PutError::Full(value) if value.len() == 35),
        "{refused}"
    );
    queue.try_put(0, vec![3; 34]).unwrap();
    assert!(queue.is_full());
    let error = queue.put(0, vec![4; 101]).unwrap_err();
    assert!(
        matches!(
            error,
            PutError::TooLarge {
                need: 101,
                capacity: 100,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.into_value().len(), 101);
    let timeout = queue.put_timeout(0, vec![5; 34], Duration::from_millis(1));
    assert!(matches!(timeout, Err(PutError::Timeout(_))));
    assert_eq!(queue.get().unwrap(), (0, vec![3; 34]));
    assert!(!queue.is_full());
}

#[test]
fn batches_larger_than_the_queue_flow_through_it() {
    let stack = LifoQueue::<u64>::new(16).unwrap();
    let queue = JoinableQueue::<u64>::new(16).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(stack.put_many(0..5000).unwrap(), 5000);
            stack.close();
        });
        scope.spawn(|| {
            assert_eq!(queue.put_many_timeout(0..5000, FOR_EVER).unwrap(), 5000);
            queue.close();
        });
        let sum: u64 = stack.iter().map(Result::unwrap).sum();
        assert_eq!(sum, 5000 * 4999 / 2);
        let mut next = 0;
        for claim in queue.iter() {
            assert_eq!(claim.unwrap().task_done().unwrap(), next);
            next += 1;
        }
        assert_eq!(next, 5000);
    });
    queue.join().unwrap();
}

#[test]
fn closing_wakes_everybody_and_loses_nothing() {
    let queue = LifoQueue::<u8>::new(1).unwrap();
    queue.put(1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.put(2));
        let empty = LifoQueue::<u8>::new(1).unwrap();
        let getter = scope.spawn({
            let empty = empty.clone();
            move || empty.get()
        });
        queue.close();
        empty.close();
        assert!(matches!(waiting.join().unwrap(), Err(PutError::Closed(2))));
        assert!(matches!(getter.join().unwrap(), Err(GetError::Closed)));
    });
    assert_eq!(queue.get().unwrap(), 1);
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.put(3), Err(PutError::Closed(3))));
}

#[test]
fn join_waits_until_every_item_is_done() {
    let queue = JoinableQueue::<String>::new(10).unwrap();
    queue.join().unwrap(); // nothing was put
    queue.put_many(["a".to_owned(), "b".to_owned()]).unwrap();
    let timeout = queue.join_timeout(Duration::from_millis(1));
    assert_eq!(timeout, Err(JoinError::Timeout { unfinished: 2 }));
    let (a, b) = (queue.get().unwrap(), queue.get().unwrap());
    assert_eq!((queue.len(), queue.unfinished()), (0, 2));
    assert_eq!(a.task_done().unwrap(), "a");
    std::thread::scope(|scope| {
        let join = scope.spawn(|| queue.join());
        // A claim may move to another thread.
        scope.spawn(move || b.task_done().unwrap());
        join.join().unwrap().unwrap();
    });
}

#[test]
fn an_item_takes_its_room_until_it_is_done() {
    let queue = JoinableQueue::<u8>::new(1).unwrap();
    queue.put(1).unwrap();
    let claim = queue.get().unwrap();
    assert!(matches!(queue.try_put(2), Err(PutError::Full(2))));
    claim.task_done().unwrap();
    queue.try_put(2).unwrap();
}

#[test]
fn a_dropped_claim_is_lost_and_join_says_so_once() {
    let queue = JoinableQueue::<u8>::new(4).unwrap();
    queue.put_many([1, 2]).unwrap();
    drop(queue.get().unwrap());
    queue.get().unwrap().task_done().unwrap();
    let Err(JoinError::Lost(losses)) = queue.join() else {
        panic!("a loss was not reported")
    };
    assert_eq!((losses.total, losses.latest.len()), (1, 1));
    assert_eq!(losses.latest[0].pid, std::process::id());
    assert_eq!(losses.latest[0].cause, LossCause::Dropped);
    queue.join().unwrap();
    assert_eq!(queue.losses().total, 1);
}

#[test]
fn a_dropped_claim_is_given_back_to_its_old_place() {
    let queue = JoinableQueue::<u8>::builder()
        .items(4)
        .give_back()
        .build()
        .unwrap();
    queue.put_many([1, 2]).unwrap();
    let first = queue.get().unwrap();
    assert_eq!((*first, first.attempts()), (1, 1));
    queue.close();
    drop(first);
    let again = queue.get().unwrap();
    assert_eq!((*again, again.attempts()), (1, 2));
    let second = queue.get().unwrap();
    // Closed, and nothing is queued; but what is taken may come back, so the queue is not at its end.
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
    again.task_done().unwrap();
    second.task_done().unwrap();
    assert!(matches!(queue.try_get(), Err(GetError::Closed)));
    queue.join().unwrap();
}

#[test]
fn a_panic_with_a_claim_gives_the_item_back() {
    let queue = JoinableQueue::<u8>::builder()
        .items(4)
        .give_back()
        .build()
        .unwrap();
    queue.put(5).unwrap();
    let worker = std::thread::spawn({
        let queue = queue.clone();
        move || {
            let _claim = queue.get().unwrap();
            panic!("on purpose");
        }
    });
    assert!(worker.join().is_err());
    assert_eq!(queue.get().unwrap().task_done().unwrap(), 5);
}

#[test]
fn handles_travel_and_those_of_something_else_are_refused() {
    let stack = LifoQueue::<u32>::new(4).unwrap();
    let bytes = postcard::to_allocvec(&stack).unwrap();
    let same: LifoQueue<u32> = postcard::from_bytes(&bytes).unwrap();
    same.put(7).unwrap();
    assert_eq!(stack.get().unwrap(), 7);
    assert!(postcard::from_bytes::<LifoQueue<i32>>(&bytes).is_err());
    assert!(postcard::from_bytes::<JoinableQueue<u32>>(&bytes).is_err());
    assert!(postcard::from_bytes::<PriorityQueue<u8, u32>>(&bytes).is_err());
    assert!(postcard::from_bytes::<Queue<u32>>(&bytes).is_err());
    let queue = postcard::to_allocvec(&Queue::<u32>::new(4).unwrap()).unwrap();
    assert!(postcard::from_bytes::<LifoQueue<u32>>(&queue).is_err());
}

#[test]
fn arrays_in_items_live_until_they_were_got() {
    use pool_shm::{FrozenArray, SharedArray};
    let frozen = |value| {
        SharedArray::from_elem(100, value)
            .unwrap()
            .freeze()
            .unwrap()
    };
    let queue = JoinableQueue::<FrozenArray<f64, ndarray::Ix1>>::builder()
        .items(4)
        .give_back()
        .build()
        .unwrap();
    queue.put(frozen(1.0)).unwrap();
    queue.put_many([frozen(2.0)]).unwrap();
    drop(queue.get().unwrap()); // back again, and the array with it
    assert_eq!(
        queue.get().unwrap().task_done().unwrap().view().sum(),
        100.0
    );
    assert_eq!(
        queue.get().unwrap().task_done().unwrap().view().sum(),
        200.0
    );
}

proptest! {
    #[test]
    fn any_word_anywhere_is_survived(
        writes in proptest::collection::vec((192..1800_usize, prop_oneof![any::<u64>(), 0..9_u64, (0..9_u64, 0..9_u64).prop_map(|(a, b)| a << 32 | b)]), 1..6)
    ) {
        let queue = JoinableQueue::<Vec<u8>>::builder().items(6).bytes(400).give_back().build().unwrap();
        queue.put_many((0..5).map(|i| vec![i; 70])).unwrap();
        let claim = queue.get().unwrap();
        let handle = postcard::to_allocvec(&queue).unwrap();
        let memory: pool_shm::Segment = postcard::from_bytes(&handle).unwrap();
        for (at, word) in writes {
            memory.cells::<u64>(at / 8 * 8, 1).unwrap().set(0, word);
        }
        for _ in 0..4 {
            let _ = queue.try_put(vec![7; 30]);
            let _ = queue.try_get();
            let _ = queue.try_get_many(2);
        }
        let _ = (queue.len(), queue.is_full(), queue.losses(), claim.task_done());
        let _ = postcard::from_bytes::<JoinableQueue<Vec<u8>>>(&handle);
    }
}
