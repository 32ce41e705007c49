//! Processes that are killed while they hold a lock, or wait for it.
//!
//! A child is this very test binary, started again for the test `child` with the lock in the environment.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may fail")]

use pool_shm::sync::{LockError, Mutex};
use std::process::{Child, Command, Stdio};

const LOCK: &str = "POOL_SHM_KILL_TEST_LOCK";

/// Two counters that are equal whenever nobody holds the lock, and a third one that says how many died between the two.
type Counters = Mutex<[u64; 3]>;

#[test]
fn child() {
    let Ok(handle) = std::env::var(LOCK) else {
        return;
    };
    let bytes: Vec<u8> = handle
        .split(',')
        .map(|byte| byte.parse().unwrap())
        .collect();
    let counters: Counters = postcard::from_bytes(&bytes).unwrap();
    loop {
        count(&counters);
    }
}

fn count(counters: &Counters) {
    let mut guard = match counters.lock() {
        Err(LockError::OwnerDied(mut guard)) => {
            if guard[0] != guard[1] {
                guard[2] += 1;
                guard[1] = guard[0];
            }
            guard
        }
        guard => guard.unwrap(),
    };
    assert_eq!(guard[0], guard[1], "a half-done change without a word");
    guard[0] += 1;
    // A long change, so that many of them die in it.
    (0..200).for_each(|_| std::hint::spin_loop());
    guard[1] += 1;
}

#[test]
fn a_killed_holder_is_reported_to_the_next_one() {
    let counters = Counters::new([0; 3]).unwrap();
    let mut children = [(); 3].map(|()| start(&counters));
    let mut last = 0;
    for round in 0..60 {
        // Everybody gets on: wait until others have counted.
        while last + 50 > progress(&counters) {
            std::thread::yield_now();
        }
        last = progress(&counters);
        children[round % 3] = start(&counters);
    }
    drop(children);
    count(&counters);
    let guard = counters.lock().unwrap();
    assert_eq!(guard[0], guard[1]);
    // Sixty-three deaths, and nine tenths of the time somebody is in the middle of a change.
    assert!(
        guard[2] > 0,
        "no holder was killed: this test tested nothing"
    );
}

fn progress(counters: &Counters) -> u64 {
    count(counters);
    counters.lock().or_else(LockError::recover).unwrap()[0]
}

/// A child that is killed when this is dropped, and reaped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(counters: &Counters) -> Killed {
    let bytes: Vec<String> = postcard::to_allocvec(counters)
        .unwrap()
        .iter()
        .map(u8::to_string)
        .collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env(LOCK, bytes.join(","));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Killed(command.spawn().unwrap())
}
