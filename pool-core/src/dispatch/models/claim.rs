//! A job, its workers, and the deaths of one of them.

use std::cell::Cell;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::{Event, Job, Kernel, check};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::dispatch::claim::{Claimed, Claimer, Entry, Left, Lost};
use crate::dispatch::cut::Cut;
use crate::dispatch::join;
use crate::dispatch::park::Bell;
use crate::dispatch::word::{ClaimWord, Owner};
use crate::inject::model::mortal;

/// A pool with one open job, for two workers.
struct Pool {
    job: Job,
    cut: Cut,
    number: AtomicU64,
    joined: [AtomicU64; 2],
    /// How often each chunk was run. No atomics: loom sees two at once, and results that are read too early.
    runs: Vec<UnsafeCell<u32>>,
    bell: Bell,
    wake: [AtomicU32; 2],
    kernel: Kernel,
    event: Event,
    leave: AtomicU32,
}

impl Pool {
    fn new(chunks: usize) -> Pool {
        Pool {
            job: Job::new(chunks, 2),
            cut: Cut::even(chunks as u32, 1),
            number: AtomicU64::new(1),
            joined: [AtomicU64::new(0), AtomicU64::new(0)],
            runs: (0..chunks).map(|_| UnsafeCell::new(0)).collect(),
            bell: Bell::default(),
            wake: [AtomicU32::new(0), AtomicU32::new(0)],
            kernel: Kernel::new(),
            event: Event::new(),
            leave: AtomicU32::new(0),
        }
    }

    /// With all chunks in the batch of worker 0.
    fn with_batch(chunks: usize) -> Arc<Pool> {
        let pool = Pool::new(chunks);
        pool.job.lines[0]
            .batch
            .store(chunks as u64, Ordering::Relaxed);
        pool.job
            .words
            .cursor
            .store(chunks as u32, Ordering::Relaxed);
        Arc::new(pool)
    }

    /// With one chunk for each worker, which nobody else takes.
    fn dealt() -> Arc<Pool> {
        let mut pool = Pool::new(2);
        pool.cut = Cut::parts(2, 2);
        pool.job.table().deal(&[0, 1]);
        Arc::new(pool)
    }

    /// With an equal share for each worker, of which the other one may take what it has not begun.
    fn shared_out(chunks: usize) -> Arc<Pool> {
        let pool = Pool::new(chunks);
        pool.job.table().deal(&[0, 1]);
        Arc::new(pool)
    }

    /// The worker of `slot` runs what it can of the job. Whether it ran anything.
    fn visit(&self, slot: usize) -> bool {
        self.visit_if(slot, || true)
    }

    fn may_enter(&self) -> bool {
        self.job.table().enter() != Entry::Refused
    }

    /// The same if it may enter.
    fn visit_if(&self, slot: usize, may_enter: impl Fn() -> bool) -> bool {
        let Some(_) = join::join(&self.number, &self.joined[slot]) else {
            return false;
        };
        if !may_enter() {
            join::leave(&self.joined[slot]);
            return false;
        }
        let mut worked = false;
        let owner = Owner::new(slot, 1);
        let mut claimer = Claimer::enter(self.job.table(), owner, 2, self.cut);
        while let Some(claimed) = claimer.claim() {
            worked = true;
            // SAFETY: the chunk is claimed; loom checks that nobody else is at it.
            self.runs[claimed.chunk as usize].with_mut(|runs| unsafe { *runs += 1 });
            claimer.finish(&claimed);
        }
        let left = claimer.leave();
        join::leave(&self.joined[slot]);
        if left == Left::WakePool {
            self.event.signal();
        }
        worked
    }

    fn serve(&self, slot: usize) {
        self.serve_if(slot, || true);
    }

    fn serve_if(&self, slot: usize, may_enter: impl Fn() -> bool) {
        loop {
            let news = self.bell.news();
            if self.leave.load(Ordering::Acquire) != 0 {
                return;
            }
            if !self.visit_if(slot, &may_enter) {
                self.bell.sleep(slot, &self.wake[slot], news, &self.kernel);
            }
        }
    }

    /// The caller waits for its job.
    fn wait(&self) {
        self.wait_after(|| ());
    }

    /// The caller of a job that was open to one worker waits for it.
    fn wait_for_one(&self) {
        let asked = Cell::new(false);
        self.wait_after(|| {
            if !asked.replace(true) {
                self.job.table().open_to_all();
                self.ring(2);
            }
        });
    }

    /// Tells workers of the job.
    fn ring(&self, wanted: u32) {
        self.bell
            .ring(wanted, |slot| self.wake.get(slot), &self.kernel);
    }

    /// `prepare` is called before it sleeps.
    fn wait_after(&self, prepare: impl Fn()) {
        let table = self.job.table();
        loop {
            let (seen, exits) = (self.event.seen(), table.exits());
            if table.is_complete() {
                return;
            }
            table.announce_sleep();
            prepare();
            if table.exits() == exits || !table.is_complete() {
                self.event.wait(seen);
            }
            table.announce_awake();
        }
    }

    /// The watcher settles the account of the worker in slot 0. The chunk that it held, if any.
    fn bury(&self, again: bool) -> Option<usize> {
        let table = self.job.table();
        let lost = match table.settle_dead(Owner::new(0, 1)) {
            Lost::Nothing => None,
            Lost::Chunk(chunk) if again => {
                table.release(chunk, 0);
                Some(chunk)
            }
            Lost::Chunk(chunk) => {
                table.give_up(chunk);
                Some(chunk)
            }
        };
        table.offer_again();
        join::leave(&self.joined[0]);
        self.bell.forget(0);
        self.bell.ring_all(self.wake.iter(), &self.kernel);
        self.event.signal();
        lost.map(|chunk| chunk as usize)
    }

    fn shut_down(&self) {
        self.leave.store(1, Ordering::Release);
        self.bell.ring_all(self.wake.iter(), &self.kernel);
    }

    fn runs(&self, chunk: usize) -> u32 {
        // SAFETY: the job is complete; loom checks that nobody writes any more.
        self.runs[chunk].with(|runs| unsafe { *runs })
    }

    fn word(&self, chunk: usize) -> ClaimWord {
        ClaimWord::from_bits(self.job.states[chunk].load(Ordering::Relaxed))
    }
}

/// Two workers, of which this thread is one, visit the job and leave it complete.
fn run_by_two(pool: &Arc<Pool>) {
    let other = {
        let pool = pool.clone();
        thread::spawn(move || pool.visit(0))
    };
    let _ = pool.visit(1);
    let _ = other.join().expect("leaves");
    for chunk in 0..pool.runs.len() {
        assert_eq!(pool.runs(chunk), 1);
    }
    assert_eq!(pool.job.table().completed() as usize, pool.runs.len());
}

#[test]
fn two_workers_run_each_of_three_chunks_once() {
    check(1, || run_by_two(&Arc::new(Pool::new(3))));
}

#[test]
fn chunks_are_stolen_from_a_batch_and_none_is_lost() {
    check(1, || run_by_two(&Pool::with_batch(2)));
}

#[test]
fn dealt_chunks_are_run_by_those_they_were_dealt_to() {
    check(2, || {
        let pool = Pool::dealt();
        run_by_two(&pool);
        for slot in 0..2 {
            assert_eq!(pool.word(slot), ClaimWord::Done(Owner::new(slot, 1)));
        }
    });
}

#[test]
fn the_dealt_chunk_of_a_dead_worker_is_run_by_another() {
    // Before it has claimed its chunk, in it, and behind it.
    for fuel in 0..6 {
        check(2, move || die_at(fuel, true, &Pool::dealt()));
    }
}

#[test]
fn shares_are_run_once_by_those_who_have_them_or_by_thieves() {
    for chunks in [2, 3] {
        check(1, move || run_by_two(&Pool::shared_out(chunks)));
    }
}

#[test]
fn the_share_of_a_worker_that_does_not_come_is_run_by_another() {
    check(2, || {
        let pool = Pool::shared_out(3);
        let _ = pool.visit(1);
        assert_eq!([0, 1, 2].map(|chunk| pool.runs(chunk)), [1; 3]);
        assert!(pool.job.table().is_complete());
    });
}

#[test]
fn the_share_of_a_dead_worker_is_run_by_another() {
    // Before its first claim, in the first chunk, and behind it.
    for fuel in [0, 1, 2, 4] {
        check(1, move || die_at(fuel, true, &Pool::shared_out(2)));
    }
}

#[test]
fn the_last_of_two_workers_to_leave_wakes_the_caller() {
    check(2, || {
        let pool = Arc::new(Pool::new(2));
        let workers = [0, 1].map(|slot| {
            let pool = pool.clone();
            thread::spawn(move || {
                // One chunk each: both have something to say when they leave.
                let claim = Claimed {
                    chunk: slot as u32,
                    first: 0,
                };
                let owner = Owner::new(slot, 1);
                let mut claimer = Claimer::enter(pool.job.table(), owner, 2, pool.cut);
                // SAFETY: nobody else runs this chunk.
                pool.runs[slot].with_mut(|runs| unsafe { *runs += 1 });
                claimer.finish(&claim);
                if claimer.leave() == Left::WakePool {
                    pool.event.signal();
                }
            })
        });
        pool.wait();
        assert_eq!([0, 1].map(|chunk| pool.runs(chunk)), [1, 1]);
        for worker in workers {
            worker.join().expect("leaves");
        }
    });
}

#[test]
fn a_sleeping_worker_is_woken_for_a_job_and_for_leaving() {
    check(2, || {
        let pool = Pool::new(2);
        pool.number.store(0, Ordering::Relaxed);
        let pool = Arc::new(pool);
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.serve(0))
        };
        join::open(&pool.number, 1);
        pool.ring(2);
        pool.wait();
        assert_eq!([0, 1].map(|chunk| pool.runs(chunk)), [1, 1]);
        pool.shut_down();
        worker.join().expect("leaves");
    });
}

/// A worker of `slot`, in a thread of its own, that obeys who may enter.
fn worker(pool: &Arc<Pool>, slot: usize) -> thread::JoinHandle<()> {
    let pool = pool.clone();
    thread::spawn(move || pool.serve_if(slot, || pool.may_enter()))
}

/// The job is opened to one worker, then waited for.
fn open_to_one(pool: &Arc<Pool>) {
    pool.job.table().open_to(true);
    join::open(&pool.number, 1);
    pool.ring(1);
    pool.wait_for_one();
    for chunk in 0..pool.runs.len() {
        assert_eq!(pool.runs(chunk), 1);
    }
    pool.shut_down();
}

/// Not open yet.
fn to_be_opened(chunks: usize) -> Arc<Pool> {
    let pool = Pool::new(chunks);
    pool.number.store(0, Ordering::Relaxed);
    Arc::new(pool)
}

#[test]
fn a_job_for_one_is_run_by_whichever_worker_comes() {
    check(1, || {
        let pool = to_be_opened(1);
        let worker = worker(&pool, 1);
        let passer_by = {
            let pool = pool.clone();
            thread::spawn(move || pool.visit_if(0, || pool.may_enter()))
        };
        open_to_one(&pool);
        worker.join().expect("leaves");
        let _ = passer_by.join().expect("leaves");
    });
}

#[test]
fn a_job_for_one_that_does_nothing_is_run_by_the_others() {
    check(2, || {
        let pool = to_be_opened(2);
        // Worker 0 was told, and is stopped right behind the door.
        pool.bell.lookout.store(1, Ordering::Relaxed);
        let stopped = pool.clone();
        let worker = worker(&pool, 1);
        let stopped = thread::spawn(move || stopped.may_enter());
        open_to_one(&pool);
        worker.join().expect("leaves");
        let _ = stopped.join().expect("stays where it is");
    });
}

#[test]
fn a_job_for_one_that_dies_is_run_by_another() {
    // Behind the door, with a chunk announced, in it, behind it.
    for fuel in [0, 1, 3, 4, 6] {
        check(1, move || {
            let pool = to_be_opened(1);
            let dying = {
                let pool = pool.clone();
                thread::spawn(move || {
                    let ended = mortal(fuel, || {
                        let _ = pool.visit_if(0, || pool.may_enter());
                    });
                    if !ended {
                        let _ = pool.bury(true);
                    }
                })
            };
            let worker = worker(&pool, 1);
            pool.job.table().open_to(true);
            join::open(&pool.number, 1);
            pool.ring(1);
            pool.wait_for_one();
            assert!((1..=2).contains(&pool.runs(0)));
            pool.shut_down();
            worker.join().expect("leaves");
            dying.join().expect("dies or ends");
        });
    }
}

#[test]
fn cancelled_chunks_are_run_or_given_up_but_accounted_for_once() {
    check(3, || {
        let pool = Pool::with_batch(2);
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.visit(0))
        };
        pool.job.table().cancel();
        pool.wait();
        assert_eq!(pool.job.table().completed(), 2);
        for chunk in 0..2 {
            let was_run = matches!(pool.word(chunk), ClaimWord::Done(_));
            assert_eq!(pool.runs(chunk), u32::from(was_run));
        }
        let _ = worker.join().expect("leaves");
    });
}

/// What must hold once the job is complete in which the worker of slot 0 lost the chunk `lost`.
fn check_account(pool: &Pool, lost: Option<usize>, again: bool) {
    for chunk in 0..pool.runs.len() {
        let (runs, word) = (pool.runs(chunk), pool.word(chunk));
        if lost != Some(chunk) {
            assert_eq!(runs, 1, "chunk {chunk} is {word:?}");
        } else if again {
            assert!(
                (1..=2).contains(&runs),
                "chunk {chunk} was run {runs} times"
            );
            assert_eq!(word, ClaimWord::Done(Owner::new(1, 1)));
        } else {
            assert!(runs <= 1 && word == ClaimWord::Void);
        }
    }
    assert_eq!(pool.job.table().completed() as usize, pool.runs.len());
}

/// A worker dies at its `fuel`-th step while another one works. Its thread goes on as the watcher, and then as the caller.
fn die_at(fuel: u32, again: bool, pool: &Arc<Pool>) {
    let rest = {
        let pool = pool.clone();
        thread::spawn(move || {
            let ended = mortal(fuel, || {
                let _ = pool.visit(0);
            });
            let lost = (!ended).then(|| pool.bury(again)).flatten();
            pool.wait();
            check_account(&pool, lost, again);
            pool.shut_down();
        })
    };
    pool.serve(1);
    rest.join().expect("ends");
}

/// Steps of a worker that runs both chunks alone, and a few more, so that some case ends without a death.
const STEPS: u32 = 20;
/// The steps around the first chunk: from before its claim until after its end.
const FIRST_CHUNK: std::ops::Range<u32> = 4..8;

#[test]
fn whatever_step_a_worker_dies_at_its_chunks_are_run_by_another() {
    for fuel in 0..STEPS {
        check(1, move || die_at(fuel, true, &Arc::new(Pool::new(2))));
    }
}

#[test]
fn the_chunk_that_a_worker_dies_in_can_be_given_up() {
    for fuel in FIRST_CHUNK {
        check(1, move || die_at(fuel, false, &Arc::new(Pool::new(2))));
    }
}

#[test]
fn the_batch_of_a_dead_worker_is_run_by_another() {
    // It has the first chunk; has run it; has the second.
    for fuel in [2, 3, 6] {
        check(1, move || die_at(fuel, true, &Pool::with_batch(2)));
    }
}

#[test]
fn a_caller_that_sleeps_while_a_worker_dies_learns_of_the_end() {
    for (fuel, again) in FIRST_CHUNK.flat_map(|fuel| [(fuel, true), (fuel, false)]) {
        check(3, move || {
            let pool = Arc::new(Pool::new(1));
            let watcher = {
                let pool = pool.clone();
                // The worker until it is dead, then the watcher, then another worker.
                thread::spawn(move || {
                    let ended = mortal(fuel, || {
                        let _ = pool.visit(0);
                    });
                    let lost = (!ended).then(|| pool.bury(again)).flatten();
                    let _ = pool.visit(1);
                    lost
                })
            };
            pool.wait();
            let lost = watcher.join().expect("dies or ends");
            check_account(&pool, lost, again);
        });
    }
}
