//! A queue whose memory somebody wrote over: an error each time, or well-formed values; never a panic, a hang or an access outside.

use pool_queue::{GetError, GetManyError, JoinableQueue, PriorityQueue, PutError, Queue};
use pool_shm::Segment;
use proptest::prelude::*;

/// Where the words lie, in bytes; the locks at 128 and 256 are the C library's and left alone.
const HEADER: usize = 0;
const TAIL: usize = 192;
const HEAD: usize = 320;
const DATA: usize = 512;

fn memory<Q: serde::Serialize>(queue: &Q) -> Segment {
    // A handle is that of its segment.
    let handle = postcard::to_allocvec(queue).expect("a handle is plain numbers");
    postcard::from_bytes(&handle).expect("the segment is this process's own")
}

fn set(segment: &Segment, offset: usize, word: u64) {
    let cells = segment
        .cells::<u64>(offset, 1)
        .expect("an aligned offset in the segment");
    cells.set(0, word);
}

/// Uses the queue in every way that does not wait.
fn use_it(queue: &Queue<Vec<u8>>) {
    for len in [0, 5, 100] {
        let _ = queue.try_put(vec![1; len]);
        let _ = queue.try_put_many([vec![2; len], vec![]]);
    }
    for _ in 0..4 {
        let _ = queue.try_get();
        let _ = queue.try_get_many(3);
    }
    let _ = (queue.len(), queue.is_full(), queue.is_empty());
    assert!(!format!("{queue:?}").is_empty());
}

fn filled() -> Queue<Vec<u8>> {
    let queue = Queue::<Vec<u8>>::builder()
        .items(8)
        .bytes(256)
        .build()
        .expect("a small queue");
    queue
        .put_many((0..6).map(|i| vec![i; 20]))
        .expect("it has room for six");
    queue
}

proptest! {
    #[test]
    fn any_word_anywhere_is_survived(
        writes in proptest::collection::vec(
            (prop_oneof![Just(TAIL), Just(TAIL + 8), Just(HEAD), Just(HEAD + 8), (0..34_usize).prop_map(|i| DATA + 8 * i)],
             prop_oneof![any::<u64>(), 0..40_u64, (0..40_u64, 0..80_u64).prop_map(|(a, b)| a << 32 | b)]),
            1..6,
        )
    ) {
        let queue = filled();
        let segment = memory(&queue);
        for (offset, word) in writes {
            set(&segment, offset, word);
        }
        use_it(&queue);
    }

    #[test]
    fn any_header_is_refused_or_harmless(at in 0..4_usize, word: u64) {
        let queue = filled();
        let handle = postcard::to_allocvec(&queue).expect("a handle is plain numbers");
        set(&memory(&queue), HEADER + 8 * at, word);
        if let Ok(other) = postcard::from_bytes::<Queue<Vec<u8>>>(&handle) {
            use_it(&other);
        }
        // Who was attached before has its own copy of the header.
        assert_eq!((queue.capacity(), queue.capacity_bytes()), (8, 256));
    }
}

#[test]
fn damage_is_told_as_what_it_is() {
    let queue = filled();
    set(&memory(&queue), TAIL, u64::MAX);
    let error = queue.try_get().unwrap_err();
    assert!(matches!(error, GetError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("wrote over it"), "{error}");
    let error = queue.put(vec![7]).unwrap_err();
    assert!(
        matches!(&error, PutError::Damaged { value, .. } if *value == [7]),
        "{error}"
    );

    let queue = filled();
    set(&memory(&queue), DATA, 1 << 33 | 20);
    let error = queue.get_many(2).unwrap_err();
    assert!(
        matches!(error, GetManyError::Get(GetError::Damaged(_))),
        "{error}"
    );
    assert!(error.to_string().contains("header"), "{error}");
}

/// Puts `word` in place of each word of a store's memory by turns, but its lock, and uses the queue in every way that does not wait.
fn each_word_of<Q: serde::Serialize>(make: impl Fn() -> Q, word: u64, use_it: impl Fn(&Q)) {
    let len = memory(&make()).len();
    for offset in (0..len).step_by(8).filter(|at| !(128..192).contains(at)) {
        let queue = make();
        set(&memory(&queue), offset, word);
        use_it(&queue);
    }
}

#[test]
fn any_word_of_a_store_is_survived() {
    let joinable = || {
        let queue = JoinableQueue::<Vec<u8>>::builder().items(4).bytes(200);
        let queue = queue.give_back().build().expect("a small queue");
        queue
            .put_many((0..3).map(|i| vec![i; 40]))
            .expect("it has room for three");
        queue
    };
    let priority = || {
        let queue = PriorityQueue::<u8, u64>::new(4).expect("a small queue");
        let items = (0..3).map(|i| (3 - i, u64::from(i)));
        queue.put_many(items).expect("it has room for three");
        queue
    };
    // All ones; a number that is just about possible; halves that are, or one of them.
    for word in [u64::MAX, 3, 1 << 32 | 2, u64::MAX << 32 | 1] {
        each_word_of(joinable, word, |queue| {
            let _ = queue.try_put(vec![7; 30]);
            let claim = queue.try_get();
            let _ = queue.try_get_many(2);
            let _ = claim.map(pool_queue::Claim::task_done);
            let _ = (queue.losses(), queue.len(), queue.is_full());
        });
        each_word_of(priority, word, |queue| {
            let _ = queue.try_put(3, 9);
            for _ in 0..5 {
                let _ = queue.try_get();
            }
        });
    }
}
