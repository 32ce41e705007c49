//! Processes that are killed inside of the LIFO, priority and joinable queues: every item is accounted for, nobody else is stopped, nothing is left behind.
//!
//! `POOL_QUEUE_KILL_SECONDS` makes them as long as one likes; one minute is the long form.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/random.rs"]
mod random;

use common::{FOR_EVER, Killed, Leftovers, start};
use pool_queue::{GetError, JoinError, JoinableQueue, LifoQueue, LossCause, PriorityQueue, Queue};
use pool_shm::Segment;
use random::Random;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KILLS: u32 = 60;
const PRODUCERS_AT_ONCE: usize = 3;
/// Producers that a test can count.
const MOST: usize = 100_000;

/// Who sent it, its number, and bytes that follow from both.
type Item = (u32, u64, Vec<u8>);

/// One of the queues, by the verbs that the tests use.
#[derive(Clone, Serialize, Deserialize)]
enum Any {
    Fifo(Queue<Item>),
    Lifo(LifoQueue<Item>),
    Priority(PriorityQueue<u8, Item>),
    Joinable(JoinableQueue<Item>),
}

impl Any {
    fn put(&self, item: Item) -> bool {
        match self {
            Any::Fifo(queue) => queue.put_timeout(item, FOR_EVER).is_ok(),
            Any::Lifo(queue) => queue.put_timeout(item, FOR_EVER).is_ok(),
            Any::Priority(queue) => queue.put_timeout(item.1 as u8 % 5, item, FOR_EVER).is_ok(),
            Any::Joinable(queue) => queue.put_timeout(item, FOR_EVER).is_ok(),
        }
    }

    fn get(&self, timeout: Duration) -> Result<Item, GetError> {
        match self {
            Any::Fifo(queue) => queue.get_timeout(timeout),
            Any::Lifo(queue) => queue.get_timeout(timeout),
            Any::Priority(queue) => queue.get_timeout(timeout).map(|(_, item)| item),
            Any::Joinable(queue) => {
                let claim = queue.get_timeout(timeout)?;
                Ok(claim.task_done().unwrap())
            }
        }
    }

    fn close(&self) {
        match self {
            Any::Fifo(queue) => queue.close(),
            Any::Lifo(queue) => queue.close(),
            Any::Priority(queue) => queue.close(),
            Any::Joinable(queue) => queue.close(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Any::Fifo(queue) => queue.len(),
            Any::Lifo(queue) => queue.len(),
            Any::Priority(queue) => queue.len(),
            Any::Joinable(queue) => queue.unfinished(),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Role {
    /// Puts 0, 1, 2 … and writes down how many puts have returned.
    Producer {
        me: u32,
        queue: Any,
        acknowledged: Segment,
    },
    /// Gets until the queue is closed and writes down what it got, after it reported it done.
    Consumer { queue: Any, seen: Segment },
    /// Puts some and ends in good order.
    Leaver { queues: Vec<Any> },
    /// Gets one item, says so, and waits to be killed.
    Holder {
        queue: JoinableQueue<Item>,
        has: Queue<u32>,
    },
}

#[test]
fn child() {
    match common::role() {
        None => {}
        Some(Role::Producer {
            me,
            queue,
            acknowledged,
        }) => {
            let returned = acknowledged.get::<AtomicU64>(me as usize * 8).unwrap();
            for i in 0.. {
                if !queue.put(item(me, i)) {
                    return;
                }
                returned.store(i + 1, Ordering::SeqCst);
            }
        }
        Some(Role::Consumer { queue, seen }) => {
            while let Ok((me, i, bytes)) = queue.get(FOR_EVER) {
                assert_eq!((me, i, bytes), item(me, i));
                let place = seen.get::<AtomicU8>(i as usize).unwrap();
                place.fetch_add(1, Ordering::SeqCst);
            }
        }
        Some(Role::Leaver { queues }) => {
            for queue in queues {
                (0..20).for_each(|i| assert!(queue.put((7, i, Vec::new()))));
            }
        }
        Some(Role::Holder { queue, has }) => {
            let claim = queue.get_timeout(FOR_EVER).unwrap();
            has.put(std::process::id()).unwrap();
            // Nobody puts into it: this waits for the kill.
            let _ = Queue::<()>::new(1).unwrap().get_timeout(FOR_EVER);
            drop(claim);
        }
    }
}

fn item(me: u32, i: u64) -> Item {
    let len = (i * 37 + u64::from(me) * 11) % 900;
    (me, i, (0..len).map(|k| (k + i) as u8).collect())
}

/// How long a test goes on killing: for some kills, or for as long as was asked for.
struct Storm {
    end: Option<Instant>,
    kills: u32,
}

impl Storm {
    fn new() -> Self {
        let seconds = std::env::var("POOL_QUEUE_KILL_SECONDS").ok();
        let seconds = seconds.map(|text| text.parse().expect("a number of seconds"));
        Self {
            end: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            kills: 0,
        }
    }

    /// One kill more?
    fn goes_on(&mut self) -> bool {
        self.kills += 1;
        match self.end {
            Some(end) => Instant::now() < end && (self.kills as usize) < MOST - 10,
            None => self.kills <= KILLS,
        }
    }
}

fn killed_producers(make: impl Fn() -> Any) {
    let _guard = Leftovers::watch();
    let queue = make();
    let acknowledged = Segment::create(8 * MOST).unwrap();
    let start = |me| {
        start(&Role::Producer {
            me,
            queue: queue.clone(),
            acknowledged: acknowledged.clone(),
        })
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut me = 0;
    let mut next = || {
        me += 1;
        me
    };
    let mut producers: Vec<(u32, Killed)> = (0..PRODUCERS_AT_ONCE)
        .map(|_| next())
        .map(|me| (me, start(me)))
        .collect();
    let mut received: HashMap<u32, Vec<u64>> = HashMap::new();
    let mut receive = |item_: Item| {
        let (me, i, bytes) = item_;
        assert_eq!((me, i, &bytes), (me, i, &item(me, i).2));
        received.entry(me).or_default().push(i);
    };
    let mut storm = Storm::new();
    while storm.goes_on() {
        for _ in 0..random.below(120) {
            receive(queue.get(FOR_EVER).unwrap());
        }
        let victim = random.below(PRODUCERS_AT_ONCE as u64) as usize;
        let me = next();
        producers[victim] = (me, start(me));
    }
    // The living ones still put: nobody is stopped by the dead. Of a stack what comes may all be of one, so each is waited for by its own account.
    for (me, _) in &producers {
        let returned = acknowledged.get::<AtomicU64>(*me as usize * 8).unwrap();
        while returned.load(Ordering::SeqCst) == 0 {
            receive(queue.get(FOR_EVER).unwrap());
        }
    }
    producers.clear();
    while let Ok(item) = queue.get(Duration::ZERO) {
        receive(item);
    }
    assert_eq!(queue.len(), 0);
    for me in 1..next() {
        let mut numbers = received.remove(&me).unwrap_or_default();
        numbers.sort_unstable();
        let whole = (0..numbers.len() as u64).eq(numbers.iter().copied());
        assert!(whole, "producer {me}: some are missing or came twice");
        let returned = acknowledged.get::<AtomicU64>(me as usize * 8).unwrap();
        let returned = returned.load(Ordering::SeqCst);
        let count = numbers.len() as u64;
        assert!(
            (returned..=returned + 1).contains(&count),
            "producer {me}: {returned} puts returned, {count} items came"
        );
    }
}

fn killed_consumers(make: impl Fn() -> Any, at_least_once: bool) {
    let _guard = Leftovers::watch();
    let queue = make();
    const MESSAGES: usize = 4_000_000;
    let seen = Segment::create(MESSAGES).unwrap();
    let start = || {
        start(&Role::Consumer {
            queue: queue.clone(),
            seen: seen.clone(),
        })
    };
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut consumers = [(); 3].map(|()| start());
    let (mut kills, mut messages) = (0, 0);
    let mut storm = Storm::new();
    while storm.goes_on() && messages + 400 < MESSAGES as u64 {
        for _ in 0..random.below(300) {
            assert!(queue.put(item(7, messages)));
            messages += 1;
        }
        consumers[random.below(3) as usize] = start();
        kills += 1;
    }
    queue.close();
    for consumer in &mut consumers {
        // Nobody hangs: everyone gets to the end.
        assert!(consumer.0.wait().unwrap().success());
    }
    let count = |i| seen.get::<AtomicU8>(i).unwrap().load(Ordering::SeqCst);
    let counts: Vec<u8> = (0..messages as usize).map(count).collect();
    let lost = counts.iter().filter(|&&count| count == 0).count();
    let twice = counts.iter().filter(|&&count| count > 1).count();
    // Killed after it was done and before it was written down.
    assert!(lost <= kills, "{lost} of {messages} lost in {kills} kills");
    if at_least_once {
        assert!(twice <= kills, "{twice} came twice in {kills} kills");
    } else {
        assert_eq!(twice, 0, "came twice");
    }
    assert_eq!(queue.len(), 0);
}

fn fifo() -> Any {
    let queue = Queue::builder().items(40).bytes(6000);
    Any::Fifo(queue.build().unwrap())
}

fn lifo() -> Any {
    let queue = LifoQueue::builder().items(40).bytes(6000);
    Any::Lifo(queue.build().unwrap())
}

fn priority() -> Any {
    let queue = PriorityQueue::builder().items(40).bytes(6000);
    Any::Priority(queue.build().unwrap())
}

fn joinable() -> JoinableQueue<Item> {
    let queue = JoinableQueue::builder().items(40).bytes(6000);
    queue.give_back().build().unwrap()
}

#[test]
fn killed_producers_of_a_lifo_queue_lose_nothing_that_was_acknowledged() {
    killed_producers(lifo);
}

#[test]
fn killed_producers_of_a_priority_queue_lose_nothing_that_was_acknowledged() {
    killed_producers(priority);
}

#[test]
fn killed_producers_of_a_joinable_queue_lose_nothing_that_was_acknowledged() {
    killed_producers(|| Any::Joinable(joinable()));
}

#[test]
fn killed_consumers_of_a_lifo_queue_take_at_most_one_item_each_with_them() {
    killed_consumers(lifo, false);
}

#[test]
fn killed_consumers_of_a_priority_queue_take_at_most_one_item_each_with_them() {
    killed_consumers(priority, false);
}

#[test]
fn items_of_killed_consumers_of_a_joinable_queue_are_done_by_others() {
    killed_consumers(|| Any::Joinable(joinable()), true);
}

/// The long form: a minute of kills for each kind.
#[test]
#[ignore = "takes minutes; run with POOL_QUEUE_KILL_SECONDS=60"]
fn a_storm_of_kills_for_each_kind() {
    for make in [fifo, lifo, priority] {
        killed_producers(make);
        killed_consumers(make, false);
    }
    killed_producers(|| Any::Joinable(joinable()));
    killed_consumers(|| Any::Joinable(joinable()), true);
}

#[test]
fn exit_with_unread_items_neither_hangs_nor_loses_them() {
    let _guard = Leftovers::watch();
    let queues = vec![fifo(), lifo(), priority(), Any::Joinable(joinable())];
    let mut child = start(&Role::Leaver {
        queues: queues.clone(),
    });
    assert!(child.0.wait().unwrap().success());
    for queue in &queues {
        assert_eq!(queue.len(), 20);
        let mut numbers: Vec<u64> = (0..20).map(|_| queue.get(FOR_EVER).unwrap().1).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..20));
    }
}

#[test]
fn an_item_of_a_killed_consumer_is_given_back() {
    let _guard = Leftovers::watch();
    let (queue, has) = (joinable(), Queue::new(1).unwrap());
    queue.put(item(1, 1)).unwrap();
    queue.put(item(1, 2)).unwrap();
    let holder = start(&Role::Holder {
        queue: queue.clone(),
        has: has.clone(),
    });
    let pid: u32 = has.get_timeout(FOR_EVER).unwrap();
    drop(holder);
    // Found by the one who waits; it comes before what was put later.
    let claim = queue.get_timeout(FOR_EVER).unwrap();
    assert_eq!(claim.1, 2);
    let again = queue.get_timeout(FOR_EVER).unwrap();
    assert_eq!((again.1, again.attempts()), (1, 2));
    claim.task_done().unwrap();
    again.task_done().unwrap();
    queue.join().unwrap();
    let losses = queue.losses();
    assert_eq!((losses.total, losses.latest[0].pid), (1, pid));
    assert_eq!(losses.latest[0].cause, LossCause::Died);
}

#[test]
fn a_consumer_that_dies_with_an_item_is_reported_by_join() {
    let _guard = Leftovers::watch();
    let queue = JoinableQueue::new(10).unwrap();
    let has = Queue::new(1).unwrap();
    queue.put(item(1, 1)).unwrap();
    let holder = start(&Role::Holder {
        queue: queue.clone(),
        has: has.clone(),
    });
    let pid: u32 = has.get_timeout(FOR_EVER).unwrap();
    let error = std::thread::scope(|scope| {
        let join = scope.spawn(|| queue.join());
        drop(holder); // while somebody joins
        join.join().unwrap().unwrap_err()
    });
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
    let JoinError::Lost(losses) = error else {
        panic!("{error}")
    };
    assert_eq!((losses.total, losses.latest[0].pid), (1, pid));
    assert_eq!(queue.unfinished(), 0);
}
