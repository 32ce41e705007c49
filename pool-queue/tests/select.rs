//! Waiting for several queues at once.

use pool_queue::{GetError, JoinableQueue, LifoQueue, PriorityQueue, Queue, Select, Selectable};
use std::time::Duration;

const FOR_EVER: Duration = Duration::from_secs(60);

#[test]
fn select_finds_what_is_ready_among_queues_of_different_types() {
    let numbers = Queue::<u64>::new(4).unwrap();
    let names = LifoQueue::<String>::new(4).unwrap();
    let urgent = PriorityQueue::<u8, f64>::new(4).unwrap();
    let work = JoinableQueue::<u8>::new(4).unwrap();
    let mut select = Select::new();
    assert_eq!(select.try_wait(), None);
    let places = [
        select.add(&numbers),
        select.add(&names),
        select.add(&urgent),
        select.add(&work),
    ];
    assert_eq!(places, [0, 1, 2, 3]);
    assert_eq!(select.try_wait(), None);
    assert_eq!(select.wait_timeout(Duration::from_millis(1)), None);
    urgent.put(1, 0.5).unwrap();
    assert_eq!(select.wait(), 2);
    assert_eq!(select.try_wait(), Some(2)); // nobody has got it
    assert_eq!(urgent.try_get().unwrap(), (1, 0.5));
    work.put(1).unwrap();
    assert_eq!(select.wait(), 3);
    let claim = work.try_get().unwrap();
    names.close();
    assert_eq!(select.wait(), 1);
    assert!(matches!(names.try_get(), Err(GetError::Closed)));
    claim.task_done().unwrap();
}

#[test]
fn select_takes_turns() {
    let queues = [(); 3].map(|()| Queue::<u8>::new(100).unwrap());
    let mut select = Select::new();
    for queue in &queues {
        queue.put_many(0..100).unwrap();
        select.add(queue);
    }
    let mut counts = [0; 3];
    for _ in 0..30 {
        let ready = select.wait();
        queues[ready].try_get().unwrap();
        counts[ready] += 1;
    }
    assert_eq!(counts, [10; 3]);
}

/// A queue, and how to get from it.
type Source<'a> = (
    &'a dyn Selectable,
    &'a (dyn Fn() -> Result<u32, GetError> + Sync),
);

/// Gets from all of them until they are closed; returns how many came.
fn consume(mut sources: Vec<Source<'_>>) -> usize {
    let mut count = 0;
    while !sources.is_empty() {
        let mut select = Select::new();
        for (queue, _) in &sources {
            select.add(*queue);
        }
        let ready = select.wait_timeout(FOR_EVER).expect("nothing came");
        match sources[ready].1() {
            Ok(_) => count += 1,
            Err(GetError::Empty) => {}
            Err(_) => drop(sources.remove(ready)),
        }
    }
    count
}

#[test]
fn select_wakes_for_each_of_them_and_no_item_is_left() {
    const ITEMS: u32 = 2000;
    let (a, b) = (
        Queue::<u32>::new(8).unwrap(),
        LifoQueue::<u32>::new(8).unwrap(),
    );
    let (get_a, get_b) = (|| a.try_get(), || b.try_get());
    let total: usize = std::thread::scope(|scope| {
        let producer = scope.spawn(|| (0..ITEMS).for_each(|i| a.put_timeout(i, FOR_EVER).unwrap()));
        // A consumer of one of them beside two that select.
        let consumers = [false, true, true].map(|both| {
            let mut sources: Vec<Source<'_>> = vec![(&a, &get_a)];
            if both {
                sources.push((&b, &get_b));
            }
            scope.spawn(move || consume(sources))
        });
        (0..ITEMS).for_each(|i| b.put_timeout(i, FOR_EVER).unwrap());
        producer.join().unwrap();
        a.close();
        b.close();
        consumers
            .map(|consumer| consumer.join().unwrap())
            .iter()
            .sum()
    });
    assert_eq!(total, 2 * ITEMS as usize);
}
