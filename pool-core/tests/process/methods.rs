//! The same programs give the same results by every start method.

use ndarray::{Axis, Ix2};
use pool_core::{Pool, Process, StartMethod, TaskError, current};
use pool_shm::{BlockMut, FrozenArray, SharedArray};

use crate::common::{ALL_METHODS, Leftovers, alone};

struct State {
    weights: FrozenArray<f64, Ix2>,
    tag: String,
}

fn populate(state: &mut State, mut block: BlockMut<'_, f64, Ix2>) -> usize {
    let start = block.start();
    let weights = state.weights.view();
    for (row, mut line) in block.view_mut().outer_iter_mut().enumerate() {
        line.fill((start + row) as f64 * weights[[(start + row) % 4, 0]]);
    }
    start
}

fn uneven(state: &mut State, i: u32) -> String {
    assert!(i % 17 != 3, "{} refuses {i}", state.tag);
    format!("{}-{}", state.tag, "x".repeat(i as usize % 5))
}

fn seed(_: &mut State, _: u32) -> (u64, u64) {
    let here = current().unwrap();
    (here.index(), here.seed())
}

/// What a program said, as text.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn say(&mut self, what: impl std::fmt::Debug) {
        self.0.push(format!("{what:?}"));
    }

    /// Each item's result or its error, without where it was.
    fn say_each(&mut self, results: Vec<Result<String, TaskError>>) {
        let text = |error| match error {
            TaskError::Panicked(panic) => panic.message,
            other => other.to_string(),
        };
        let results = results.into_iter().map(|result| result.map_err(text));
        self.say(results.collect::<Vec<_>>());
    }
}

/// Every verb, over integers, values and blocks, with results and errors of every kind.
fn program(method: StartMethod) -> Vec<String> {
    let weights = SharedArray::from_array(&ndarray::array![[1.0], [2.0], [3.0], [4.0]]).unwrap();
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .seed(7)
        .initializer(
            |(weights, tag)| State { weights, tag },
            (weights.freeze().unwrap(), "tag".to_owned()),
        )
        .build()
        .unwrap();
    let mut said = Said::default();
    maps(&pool, &mut said);
    blocks(&pool, &mut said);
    handles_and_streams(&pool, &mut said);
    pool.join();
    said.0
}

fn maps(pool: &Pool<State>, said: &mut Said) {
    said.say(pool.map(|_: &mut State, i: u64| i * i, 0..1000).unwrap());
    let roots = pool.map(|_: &mut State, x: f64| x.sqrt(), [1.0, 2.0, 4.0]);
    said.say(roots.unwrap());
    let texts = ["a".to_owned(), "b".to_owned()];
    said.say(
        pool.map(|_: &mut State, text: String| text + "!", texts)
            .unwrap(),
    );
    said.say(pool.job(seed).chunk(3).map(0..20).unwrap());
    said.say(pool.map(seed, vec![5; 20]).unwrap());
    said.say_each(pool.try_map(uneven, 0..40).unwrap());
    said.say_each(pool.try_map(uneven, (0..40).collect::<Vec<_>>()).unwrap());
    let first = pool.map(uneven, 0..40).unwrap_err();
    said.say(first.task().map(|(index, _)| index));
    // Results larger than a worker's ring.
    let large = pool.map(|_: &mut State, i: usize| vec![i as u8; 300_000 + i], 0..6);
    let large = large.unwrap();
    said.say(
        large
            .iter()
            .map(|bytes| (bytes.len(), bytes[0]))
            .collect::<Vec<_>>(),
    );
}

fn blocks(pool: &Pool<State>, said: &mut Said) {
    let mut matrix = SharedArray::<f64, _>::zeros((23, 3)).unwrap();
    said.say(
        pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 4))
            .unwrap(),
    );
    said.say(matrix.view());
    let sum = matrix.freeze().unwrap().view().sum();
    said.say(sum);
    let ones = |_: &mut State, n: usize| {
        let ones = SharedArray::from_array(&ndarray::Array1::<f32>::ones(n));
        ones.unwrap().freeze().unwrap()
    };
    said.say(pool.apply(ones, 5).unwrap().view());
}

fn handles_and_streams(pool: &Pool<State>, said: &mut Said) {
    let handles: Vec<_> = (0..2000u32)
        .map(|i| pool.apply_async(|_: &mut State, i: u32| i + 1, i).unwrap())
        .collect();
    let results = handles.into_iter().map(|handle| handle.get().unwrap());
    said.say(results.map(u64::from).sum::<u64>());
    let triple = |_: &mut State, i: u64| i * 3;
    let stream = pool.imap(triple, 0..).take(500);
    said.say(stream.collect::<Result<Vec<_>, _>>().unwrap());
    let stream = pool.imap_unordered(triple, 0..300);
    let mut unordered: Vec<u64> = stream.collect::<Result<_, _>>().unwrap();
    unordered.sort_unstable();
    said.say(unordered);
}

#[test]
fn every_start_method_runs_the_same_programs_with_the_same_results() {
    let guard = Leftovers::watch();
    let expected = program(StartMethod::ForkServer);
    assert!(expected.len() > 12);
    for method in ALL_METHODS {
        let name = method.to_string();
        let results = if method == StartMethod::Fork {
            Process::spawn(|()| program(StartMethod::Fork), ())
                .unwrap()
                .join()
                .unwrap()
        } else {
            program(method)
        };
        for (got, expected) in results.iter().zip(&expected) {
            assert_eq!(got, expected, "{name}");
        }
        assert_eq!(results.len(), expected.len());
    }
    guard.assert_none();
}

#[test]
fn tasks_run_in_the_calling_thread_for_debugging() {
    let guard = Leftovers::watch();
    // A state that may not leave its thread.
    let pool = Pool::builder()
        .workers(4)
        .start_method(StartMethod::InProcess)
        .initializer(|n: u32| std::rc::Rc::new(std::cell::Cell::new(n)), 5)
        .build()
        .unwrap();
    assert_eq!(pool.size(), 1);
    let id = |_: &mut std::rc::Rc<std::cell::Cell<u32>>, _: u32| {
        format!("{:?} {}", std::thread::current().id(), std::process::id())
    };
    let here = format!("{:?} {}", std::thread::current().id(), std::process::id());
    assert!(
        pool.map(id, 0..10)
            .unwrap()
            .iter()
            .all(|there| *there == here)
    );
    let count = |state: &mut std::rc::Rc<std::cell::Cell<u32>>, _: u32| {
        state.set(state.get() + 1);
        state.get()
    };
    assert_eq!(pool.map(count, 0..3).unwrap(), [6, 7, 8]);
    // It has run when the handle comes, and the handle may go to another thread; a call may not.
    let handle = pool.apply_async(count, 0).unwrap();
    assert!(handle.is_ready());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(handle.get().unwrap(), 9);
            let error = pool.apply(count, 0).unwrap_err().to_string();
            assert!(error.contains("thread that built it"), "{error}");
        });
    });
    assert!(current().is_none());
    drop(pool);
    guard.assert_none();
}

#[test]
fn pools_of_the_calling_thread_may_be_nested_but_not_called_by_their_own_tasks() {
    let guard = Leftovers::watch();
    fn build() -> Pool {
        Pool::builder()
            .start_method(StartMethod::InProcess)
            .build()
            .unwrap()
    }
    thread_local! {
        static OUTER: Pool = build();
    }
    let inner = |i: u32| {
        let index = || current().unwrap().index();
        let before = index();
        let refused = OUTER.with(|outer| outer.apply(|()| (), ()).is_err());
        let sum: u32 = build().map(|x: u32| x + 1, 0..=i).unwrap().iter().sum();
        assert_eq!(index(), before);
        (refused, sum)
    };
    let results = OUTER.with(|outer| outer.map(inner, 0..3).unwrap());
    assert_eq!(results, [(true, 1), (true, 3), (true, 6)]);
    let pool = Pool::new(1).unwrap();
    // The same inside of a worker process.
    let sums = pool.map(
        |i: u32| build().map(|x: u32| x + 1, 0..=i).unwrap().len(),
        0..3,
    );
    assert_eq!(sums.unwrap(), [1, 2, 3]);
    drop(pool);
    OUTER.with(|outer| outer.terminate());
    drop(guard); // the pool of the thread ends with it
}

#[test]
fn a_failing_initializer_in_the_calling_thread_is_the_error_of_build() {
    let guard = Leftovers::watch();
    let error = Pool::builder()
        .start_method(StartMethod::InProcess)
        .initializer(|n: u32| 1 / n, 0)
        .build()
        .unwrap_err();
    assert!(error.is_initializer(), "{error}");
    guard.assert_none();
}

#[test]
fn fork_beside_threads_is_refused_with_their_number_and_names() {
    let guard = Leftovers::watch();
    alone(|()| {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let bystander = std::thread::Builder::new().name("bystander".to_owned());
        let bystander = bystander
            .spawn(move || receiver.recv().unwrap_err())
            .unwrap();
        let fork = Pool::builder().start_method(StartMethod::Fork);
        let refused = [
            fork.build().map(drop).unwrap_err(),
            Pool::builder()
                .fork_initializer(|| 1)
                .build()
                .map(drop)
                .unwrap_err(),
            Process::builder().fork(|| 1).map(drop).unwrap_err(),
        ];
        drop(sender);
        bystander.join().unwrap();
        for error in refused {
            assert!(error.is_start());
            let text = error.to_string();
            assert!(
                text.contains("other threads: it has 1 (bystander)"),
                "{text}"
            );
        }
        // A pool has a thread of its own, until it is gone.
        let pool = Pool::new(1).unwrap();
        let error = Process::builder().fork(|| 1).unwrap_err().to_string();
        assert!(error.contains("pool-watcher"), "{error}");
        drop(pool);
        assert_eq!(Process::builder().fork(|| 1).unwrap().join(), Ok(1));
    });
    guard.assert_none();
}

#[test]
fn fork_makes_workers_of_what_the_program_holds() {
    let guard = Leftovers::watch();
    alone(|()| {
        let table: Vec<u64> = (0..1_000_000).collect();
        let suffix = String::from("there");
        let closed = std::fs::File::open("/proc/self/comm").unwrap();
        let pool = Pool::builder()
            .workers(2)
            .env("POOL_CORE_TEST_FORK", "set")
            .fork_initializer(|| {
                (
                    table.as_ptr() as usize,
                    table.iter().sum::<u64>(),
                    suffix.clone(),
                )
            })
            .build()
            .unwrap();
        let see = |state: &mut (usize, u64, String), _: u32| {
            let set = std::env::var("POOL_CORE_TEST_FORK").unwrap();
            (state.0, state.1, state.2.clone() + &set, std::process::id())
        };
        let seen = pool.map(see, 0..4).unwrap();
        let expected = (
            table.as_ptr() as usize,
            499_999_500_000,
            "thereset".to_owned(),
        );
        for (address, sum, text, pid) in seen {
            assert_eq!((address, sum, text), expected);
            assert_ne!(pid, std::process::id());
        }
        drop(closed);
        // A worker that is killed is replaced by another copy of the same.
        let error = pool.apply(
            |_: &mut (usize, u64, String), ()| -> () { std::process::abort() },
            (),
        );
        assert!(matches!(
            error.unwrap_err().task(),
            Some((_, TaskError::WorkerDied(_)))
        ));
        assert_eq!(pool.apply(see, 0).unwrap().1, expected.1);
        drop(pool);
        // When the pool is gone there is one thread again.
        let value = Process::builder()
            .name("copy")
            .fork(|| table.len())
            .unwrap()
            .join();
        assert_eq!(value, Ok(table.len()));
        let error = Pool::builder()
            .fork_initializer(|| assert!(table.is_empty(), "not empty"))
            .build();
        let error = error.map(drop).unwrap_err();
        assert!(
            error.is_initializer() && error.to_string().contains("not empty"),
            "{error}"
        );
    });
    guard.assert_none();
}

#[test]
fn a_copied_fork_server_that_is_killed_breaks_its_pool_with_the_cause() {
    let guard = Leftovers::watch();
    alone(|()| {
        let pool = Pool::builder()
            .workers(2)
            .start_method(StartMethod::Fork)
            .build()
            .unwrap();
        let server = crate::common::parent_of(pool.workers()[0].pid);
        assert_ne!(server, std::process::id());
        let held = crate::common::Process::open(server).unwrap();
        let handle = pool.apply_async(|()| std::thread::park(), ()).unwrap();
        held.kill();
        assert!(handle.get().is_err());
        let mut calls = std::iter::repeat_with(|| pool.map(|i: u32| i, 0..100));
        let error = calls.find_map(Result::err).unwrap().to_string();
        assert!(
            error.contains("copy of the program") || error.contains("stopped"),
            "{error}"
        );
    });
    guard.assert_none();
}

#[test]
fn when_the_program_is_killed_copies_of_it_go_too() {
    let guard = Leftovers::watch();
    let board = crate::common::Board::new();
    let hold = |board: crate::common::Board| {
        let first = Process::builder().fork(std::thread::park).unwrap();
        let pool = Pool::builder()
            .workers(2)
            .start_method(StartMethod::Fork)
            .build()
            .unwrap();
        let pids = pool.workers().into_iter().map(|worker| worker.pid);
        let server = crate::common::parent_of(pool.workers()[0].pid);
        for (counter, pid) in (1..).zip(pids.chain([server, first.pid()])) {
            board.set(counter, pid);
        }
        board.count(0);
        let spin = |()| loop {
            std::hint::spin_loop();
        };
        pool.apply(spin, ()).map(|(): ()| ()).unwrap();
    };
    let program = Process::spawn(hold, board.clone()).unwrap();
    board.wait(0, 1);
    let held: Vec<_> = (1..=4)
        .map(|counter| crate::common::Process::of_ours(board.get(counter)).unwrap())
        .collect();
    program.kill();
    assert!(program.join().is_err());
    held.iter().for_each(crate::common::Process::await_end);
    drop((held, board));
    guard.assert_none_after_end();
}
