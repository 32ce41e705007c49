//! Queues as arguments of a pool's tasks.

use pool_core::Pool;
use pool_queue::{GetError, Queue};

fn produce((i, queue): (usize, Queue<(usize, f64)>)) -> usize {
    queue
        .put((i, i as f64 / 4.0))
        .expect("nobody closes it while tasks run");
    i
}

#[test]
fn results_flow_through_a_queue_while_a_map_runs() {
    const TASKS: usize = 500;
    let pool = Pool::new(2).unwrap();
    // Far smaller than what is sent: the map can only end if somebody gets meanwhile.
    let queue = Queue::<(usize, f64)>::new(16).unwrap();
    let mut got = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| queue.iter().map(Result::unwrap).collect::<Vec<_>>());
        let done = pool
            .map(produce, (0..TASKS).map(|i| (i, queue.clone())))
            .unwrap();
        assert_eq!(done, (0..TASKS).collect::<Vec<_>>());
        queue.close();
        consumer.join().unwrap()
    });
    got.sort_by_key(|&(i, _)| i);
    let expected: Vec<_> = (0..TASKS).map(|i| (i, i as f64 / 4.0)).collect();
    assert_eq!(got, expected);
}

fn relay((from, to): (Queue<u64>, Queue<u64>)) -> u64 {
    let mut count = 0;
    for number in &from {
        to.put(number.expect("numbers are always well-formed") * 2)
            .expect("nobody closes the queue of results");
        count += 1;
    }
    count
}

#[test]
fn workers_share_a_queue_of_work() {
    let pool = Pool::new(2).unwrap();
    let (work, results) = (
        Queue::<u64>::new(2000).unwrap(),
        Queue::<u64>::new(2000).unwrap(),
    );
    work.put_many(0..2000).unwrap();
    work.close();
    let counts = pool
        .map(relay, [(); 2].map(|()| (work.clone(), results.clone())))
        .unwrap();
    assert_eq!(counts.iter().sum::<u64>(), 2000);
    let mut all: Vec<u64> = results.try_iter().map(Result::unwrap).collect();
    all.sort_unstable();
    assert!(all.iter().copied().eq((0..2000).map(|i| i * 2)));
    assert!(matches!(results.try_get(), Err(GetError::Empty)));
}
