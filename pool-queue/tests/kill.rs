//! Processes that are killed inside `put` and `get`: every message is accounted for, nobody else is stopped, nothing is left behind.
//!
//! A child is this very test binary, started again for the test `child` with its role in the environment.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/random.rs"]
mod random;

use common::{FOR_EVER, Killed, Leftovers, start};
use pool_queue::{GetError, PutError, Queue};
use pool_shm::Segment;
use random::Random;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const KILLS: u32 = 60;

/// Who sent it, its number, and bytes that follow from both.
type Item = (u32, u64, Vec<u8>);

#[derive(Serialize, Deserialize)]
enum Role {
    /// Puts 0, 1, 2 … and writes down how many puts have returned.
    Producer {
        me: u32,
        queue: Queue<Item>,
        acknowledged: Segment,
        batch: bool,
    },
    /// Puts large ones, each in a segment of its own, and writes down how many puts have returned.
    Large {
        me: u32,
        queue: Queue<Item>,
        acknowledged: Segment,
    },
    /// Gets until the queue is closed and writes down what it got.
    Consumer { queue: Queue<Item>, seen: Segment },
}

#[test]
fn child() {
    match common::role() {
        None => {}
        Some(Role::Producer {
            me,
            queue,
            acknowledged,
            batch,
        }) => produce(me, &queue, &acknowledged, batch),
        Some(Role::Large {
            me,
            queue,
            acknowledged,
        }) => {
            let returned = acknowledged.get::<AtomicU64>(me as usize * 8).unwrap();
            for i in 0.. {
                if queue.put_timeout(large(me, i), FOR_EVER).is_err() {
                    return;
                }
                returned.store(i + 1, Ordering::SeqCst);
            }
        }
        Some(Role::Consumer { queue, seen }) => consume(&queue, &seen),
    }
}

fn produce(me: u32, queue: &Queue<Item>, acknowledged: &Segment, batch: bool) {
    let returned = acknowledged.get::<AtomicU64>(me as usize * 8).unwrap();
    let step = if batch { 5 } else { 1 };
    for first in (0..).step_by(step) {
        let result = match batch {
            true => queue
                .put_many_timeout((first..first + 5).map(|i| item(me, i)), FOR_EVER)
                .map(drop)
                .map_err(|e| e.error),
            false => queue
                .put_timeout(item(me, first), FOR_EVER)
                .map_err(|_| PutError::Closed(())),
        };
        if result.is_err() {
            return;
        }
        returned.store(first + step as u64, Ordering::SeqCst);
    }
}

fn consume(queue: &Queue<Item>, seen: &Segment) {
    while let Ok((me, i, bytes)) = queue.get_timeout(FOR_EVER) {
        assert_eq!((me, i, bytes), item(me, i));
        seen.get::<AtomicU8>(i as usize)
            .unwrap()
            .fetch_add(1, Ordering::SeqCst);
    }
}

fn item(me: u32, i: u64) -> Item {
    let len = (i * 37 + u64::from(me) * 11) % 900;
    (me, i, (0..len).map(|k| (k + i) as u8).collect())
}

#[test]
fn killed_producers_lose_nothing_that_was_acknowledged() {
    for batch in [false, true] {
        let _guard = Leftovers::watch();
        let queue = Queue::<Item>::builder()
            .items(40)
            .bytes(6000)
            .build()
            .unwrap();
        let acknowledged = Segment::create(8 * 1000).unwrap();
        let start = |me| {
            start(&Role::Producer {
                me,
                queue: queue.clone(),
                acknowledged: acknowledged.clone(),
                batch,
            })
        };
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut producers: Vec<(u32, Killed)> = (0..3).map(|me| (me, start(me))).collect();
        let mut received = BTreeMap::new();
        for me in 3..3 + KILLS {
            for _ in 0..random.below(120) {
                receive(&mut received, queue.get_timeout(FOR_EVER).unwrap());
            }
            let victim = random.below(3) as usize;
            producers[victim] = (me, start(me));
        }
        // The living ones still put: nobody is stopped by the dead.
        for (me, _) in &producers {
            while !received.contains_key(me) {
                receive(&mut received, queue.get_timeout(FOR_EVER).unwrap());
            }
        }
        producers.clear();
        for rest in queue.try_iter() {
            receive(&mut received, rest.unwrap());
        }
        assert!(queue.is_empty());
        let step = if batch { 5 } else { 1 };
        for me in 0..3 + KILLS {
            let count = received.get(&me).copied().unwrap_or(0);
            let returned = acknowledged
                .get::<AtomicU64>(me as usize * 8)
                .unwrap()
                .load(Ordering::SeqCst);
            assert!(
                (returned..=returned + step).contains(&count),
                "producer {me}: {returned} puts returned, {count} messages came"
            );
        }
    }
}

/// Larger than the queue that it goes through.
fn large(me: u32, i: u64) -> Item {
    (me, i, vec![(u64::from(me) + i) as u8; 30_000])
}

/// Bytes of memory without a name that this process has mapped.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let len = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some(usize::from_str_radix(to, 16).ok()? - usize::from_str_radix(from, 16).ok()?)
    };
    let lines = maps.lines().filter(|line| line.contains("/memfd:"));
    lines.map(|line| len(line).unwrap()).sum()
}

#[test]
fn killed_producers_of_large_messages_leave_no_memory() {
    let _guard = Leftovers::watch();
    let before = mapped();
    let queue = Queue::<Item>::builder().items(6).bytes(1000);
    let queue = queue.own_segment_above(500).build().unwrap();
    let acknowledged = Segment::create(8 * 1000).unwrap();
    let start = |me| {
        start(&Role::Large {
            me,
            queue: queue.clone(),
            acknowledged: acknowledged.clone(),
        })
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut producers: Vec<(u32, Killed)> = (0..2).map(|me| (me, start(me))).collect();
    let (mut whole, mut gone) = (BTreeMap::new(), 0);
    let mut receive = |got: Result<Item, GetError>| match got {
        Ok((me, i, bytes)) => {
            assert_eq!((me, i, bytes), large(me, i));
            let next: &mut u64 = whole.entry(me).or_insert(0);
            assert!(i >= *next, "producer {me}: {i} came again");
            *next = i + 1;
        }
        // Its producer was killed while it was in the queue.
        Err(GetError::Decode(error)) => {
            assert!(error.to_string().contains("gone"), "{error}");
            gone += 1;
        }
        Err(error) => panic!("{error}"),
    };
    let mut received = 0;
    for me in 2..2 + KILLS {
        for _ in 0..random.below(40) {
            receive(queue.get_timeout(FOR_EVER));
            received += 1;
        }
        producers[random.below(2) as usize] = (me, start(me));
    }
    producers.clear();
    for rest in queue.try_iter() {
        receive(rest);
        received += 1;
    }
    let returned: u64 = (0..2 + KILLS)
        .map(|me| acknowledged.get::<AtomicU64>(me as usize * 8).unwrap())
        .map(|returned| returned.load(Ordering::SeqCst))
        .sum();
    let most = returned + 2 + u64::from(KILLS);
    assert!(
        (returned..=most).contains(&received),
        "{returned} puts returned, {received} messages came"
    );
    // Only what lay in the queue at a kill: six at most.
    assert!(gone <= 6 * (2 + KILLS), "{gone} of {received}");
    drop((queue, acknowledged));
    assert_eq!(mapped(), before, "memory of messages is still mapped");
}

/// Counts a message; each producer's come in order, none missing, none twice.
fn receive(received: &mut BTreeMap<u32, u64>, (me, i, bytes): Item) {
    let next = received.entry(me).or_insert(0);
    assert_eq!(i, *next, "producer {me}");
    assert_eq!((me, i, bytes), item(me, i));
    *next += 1;
}

#[test]
fn killed_consumers_take_at_most_one_message_each_with_them() {
    let _guard = Leftovers::watch();
    const MESSAGES: u64 = 20_000;
    let queue = Queue::<Item>::builder()
        .items(30)
        .bytes(5000)
        .build()
        .unwrap();
    let seen = Segment::create(MESSAGES as usize).unwrap();
    let start = || {
        start(&Role::Consumer {
            queue: queue.clone(),
            seen: seen.clone(),
        })
    };
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut consumers = [(); 3].map(|()| start());
    let (mut kills, mut next_kill) = (0, 100);
    for i in 0..MESSAGES {
        queue.put_timeout(item(7, i), FOR_EVER).unwrap();
        if i == next_kill && kills < KILLS {
            consumers[random.below(3) as usize] = start();
            kills += 1;
            next_kill += 1 + random.below(MESSAGES / u64::from(KILLS));
        }
    }
    queue.close();
    for consumer in &mut consumers {
        // Nobody hangs: everyone gets to the end.
        assert!(consumer.0.wait().unwrap().success());
    }
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    let counts: Vec<u8> = (0..MESSAGES)
        .map(|i| {
            seen.get::<AtomicU8>(i as usize)
                .unwrap()
                .load(Ordering::SeqCst)
        })
        .collect();
    assert!(
        counts.iter().all(|&count| count <= 1),
        "a message came twice"
    );
    let lost = counts.iter().filter(|&&count| count == 0).count();
    assert!(
        lost <= kills as usize,
        "{lost} messages lost with {kills} consumers"
    );
}
