//! Threads that attach, claim and drop at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use crossbeam::thread;
use ndarray::{Axis, Ix1};
use pool_shm::{
    ArrayHandle, AxisChunksMut, BlockMut, Blocks, LeaseCache, Segment, SharedArray, ShmError,
};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const THREADS: usize = 4;

/// Runs `f` in several threads that start together.
fn together<R: Send>(f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let start = Barrier::new(THREADS);
    let run = |i| {
        start.wait();
        f(i)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|i| scope.spawn(move |_| run(i))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
    .unwrap()
}

#[test]
fn of_all_who_claim_one_becomes_the_owner() {
    for round in 0..100_u64 {
        let array = SharedArray::from_elem(10, round).unwrap();
        let message = postcard::to_allocvec(&array.into_handle().unwrap());
        // The handle is gone before anybody has attached: too late for all.
        let late = postcard::from_bytes::<ArrayHandle<u64, Ix1>>(&message.unwrap());
        assert!(late.is_err());

        let handle = SharedArray::from_elem(10, round)
            .unwrap()
            .into_handle()
            .unwrap();
        let message = postcard::to_allocvec(&handle).unwrap();
        let claims = together(|_| {
            let handle: ArrayHandle<u64, Ix1> = postcard::from_bytes(&message).unwrap();
            handle.claim().map(|array| array.view().sum())
        });
        let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
        assert_eq!(
            won.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [10 * round]
        );
        assert!(
            lost.into_iter()
                .map(Result::unwrap_err)
                .all(|e: ShmError| e.is_claimed())
        );
    }
}

#[test]
fn attaching_and_dropping_at_once_gives_the_same_memory() {
    let segment = Segment::create(4096).unwrap();
    let handle = segment.handle();
    let kept = segment.fd().try_clone_to_owned().unwrap();
    // From here on the mapping comes and goes with the threads.
    let kept_handle = {
        use std::os::fd::AsRawFd;
        let mut fields = serde_json::to_value(&handle).unwrap();
        fields["fd"] = kept.as_raw_fd().into();
        serde_json::from_value(fields).unwrap()
    };
    drop(segment);
    together(|_| {
        for _ in 0..500 {
            let segment = Segment::attach(&kept_handle).unwrap();
            let count = segment.get::<AtomicU64>(8).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let segment = Segment::from_fd(kept).unwrap();
    let count = segment.get::<AtomicU64>(8).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 500 * THREADS as u64);
}

#[test]
fn blocks_are_written_by_several_threads() {
    type Rows<'a> = AxisChunksMut<'a, f64, Ix1>;
    let mut array = SharedArray::<f64, _>::zeros(1000).unwrap();
    let cut = array.axis_chunks_mut(Axis(0), 7);
    let (count, plan) = cut.plan().unwrap();
    let next = AtomicUsize::new(0);
    together(|_| {
        let attached = Rows::attach(&plan, &mut LeaseCache::default()).unwrap();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            // SAFETY: `cut` borrows the array, and each index is taken once.
            let Some(block) = (unsafe { Rows::block(&attached, index) }) else {
                return;
            };
            write(block);
        }
    });
    assert_eq!(count, 143);
    assert_eq!(array.view().sum(), 499_500.0);
    assert_eq!(array.freeze().unwrap().view()[999], 999.0);
}

fn write(mut block: BlockMut<'_, f64, Ix1>) {
    let start = block.start();
    for (i, x) in block.view_mut().iter_mut().enumerate() {
        *x = (start + i) as f64;
    }
}
