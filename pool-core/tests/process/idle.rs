//! Workers that have nothing to do: what they let go of.

use std::time::Instant;

use ndarray::Ix1;
use pool_core::{Pool, StartMethod};
use pool_shm::{FrozenArray, SharedArray};

use crate::common::{LIMIT, Leftovers, METHODS};

/// A pool of one worker, and the worker's process.
fn one(method: StartMethod) -> (Pool, u32) {
    let builder = Pool::builder().workers(1).start_method(method);
    let pool = builder.build().unwrap();
    let pid = pool.workers()[0].pid;
    (pool, pid)
}

fn first(array: FrozenArray<f64, Ix1>) -> f64 {
    array.view()[0]
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// How many segments of shared memory a process has mapped.
fn mapped(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.matches("memfd:pool-shm").count()
}

#[test]
fn an_idle_worker_gives_the_memory_of_dropped_arrays_back() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let (pool, pid) = one(method);
        let before = mapped(pid);
        let array = SharedArray::from_elem(100_000, 2.5).unwrap();
        let array = array.freeze().unwrap();
        assert_eq!(pool.apply(first, array.clone()).unwrap(), 2.5);
        assert_eq!(mapped(pid), before + 1, "kept for the next task");
        drop(array);
        until("it keeps the array for ever", || mapped(pid) == before);
    }
    guard.assert_none();
}

/// KiB of code that a process has mapped.
fn code(pid: u32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut is_code = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Rss:"), Some(size)) if is_code => sum += size.parse::<u64>().unwrap(),
            (Some(name), Some(rights)) if !name.ends_with(':') => is_code = rights == "r-xp",
            _ => {}
        }
    }
    sum
}

#[test]
fn an_idle_worker_lets_go_of_code_whenever_it_fell_asleep() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let (pool, pid) = one(method);
        // At once, and again when it has let go of it, which it does once in a second at most.
        for _ in 0..3 {
            pool.apply(|i: u32| i.to_string(), 1).unwrap();
            let busy = code(pid);
            until("it keeps its code for ever", || code(pid) < busy / 2);
        }
    }
    guard.assert_none();
}
