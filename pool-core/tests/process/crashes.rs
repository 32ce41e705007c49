//! The crash matrix: each way to fail, at each step of a task, under each verb, with each start method.
//!
//! The table in `tests/README.md` is made of the same [`expected`] that the tests assert.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Axis, Ix1};
use pool_core::{Pool, StartMethod, TaskError, WorkerExit};
use pool_shm::{BlockMut, SharedArray};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::common::{Board, Leftovers, METHODS, alone, kill_stopped};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    Panic,
    PanicAny,
    Fail,
    Exit0,
    Exit3,
    Abort,
    Fault,
    Kill,
    Stop,
    StackOverflow,
    Allocation,
    CloseAll,
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    Decode,
    Run,
    Encode,
    /// In the process of the pool, before anything is sent.
    EncodeInParent,
}

const WAYS: [(Way, &str); 12] = [
    (Way::Panic, "panic"),
    (Way::PanicAny, "panic with a number"),
    (Way::Fail, "`Serialize`/`Deserialize` gives an error"),
    (Way::Exit0, "`exit(0)`"),
    (Way::Exit3, "`exit(3)`"),
    (Way::Abort, "`abort()`"),
    (Way::Fault, "write to address 8"),
    (Way::Kill, "SIGKILL"),
    (Way::Stop, "SIGSTOP, and later SIGKILL"),
    (Way::StackOverflow, "stack overflow"),
    (Way::Allocation, "allocation of 2^63 - 1 bytes"),
    (Way::CloseAll, "all descriptors closed"),
];
const STEPS: [(Step, &str); 3] = [
    (Step::Decode, "decoding the argument"),
    (Step::Run, "running"),
    (Step::Encode, "encoding the result"),
];

/// The steps of an exit hook: it has no argument of its own.
pub(crate) const AT_EXIT: [Step; 2] = [Step::Run, Step::Encode];

/// What is asserted of the task, the initializer or the exit hook that fails so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Panicked(&'static str),
    DecodeArgument,
    EncodeResult,
    Died(WorkerExit),
    Result,
}

pub(crate) fn expected(way: Way, step: Step) -> Option<Outcome> {
    Some(match (way, step) {
        (Way::Panic, _) => Outcome::Panicked("on purpose"),
        (Way::PanicAny, _) => Outcome::Panicked("a payload that is neither `&str` nor `String`"),
        (Way::Fail, Step::Decode) => Outcome::DecodeArgument,
        (Way::Fail, Step::Encode) => Outcome::EncodeResult,
        (Way::Fail, _) => return None,
        (Way::Exit0, _) => Outcome::Died(WorkerExit::Code(0)),
        (Way::Exit3, _) => Outcome::Died(WorkerExit::Code(3)),
        (Way::Abort | Way::Allocation, _) => Outcome::Died(WorkerExit::Signal(6)),
        (Way::Fault | Way::StackOverflow, _) => Outcome::Died(WorkerExit::Signal(11)),
        (Way::Kill | Way::Stop, _) => Outcome::Died(WorkerExit::Signal(9)),
        (Way::CloseAll, _) => Outcome::Result,
    })
}

impl Outcome {
    /// `is_located`: a panic of a process tells where it was, one of a thread of the program does not.
    pub(crate) fn check(self, result: Result<u32, TaskError>, value: u32, is_located: bool) {
        match (self, result) {
            (Outcome::Panicked(message), Err(TaskError::Panicked(panic))) => {
                assert_eq!(panic.message, message);
                let here = |location: &String| location.contains("crashes.rs:");
                assert_eq!(panic.location.as_ref().is_some_and(here), is_located);
            }
            (Outcome::DecodeArgument, Err(TaskError::DecodeArgument { .. })) => {}
            (Outcome::EncodeResult, Err(TaskError::EncodeResult { .. })) => {}
            (Outcome::Died(exit), Err(TaskError::WorkerDied(death))) => {
                assert_eq!((death.exit, death.attempts), (exit, 1), "{death}");
                assert!(death.pid != 0);
            }
            (Outcome::Result, Ok(result)) => assert_eq!(result, value),
            (expected, other) => panic!("{other:?} instead of {expected:?}"),
        }
    }

    fn describe(self) -> String {
        match self {
            Outcome::Panicked(message) => format!("`Panicked`: \"{}\"", message.replace('`', "'")),
            Outcome::DecodeArgument => "`DecodeArgument`".into(),
            Outcome::EncodeResult => "`EncodeResult`".into(),
            Outcome::Died(exit) => format!(
                "`WorkerDied`: {}",
                exit.to_string()
                    .split(':')
                    .next()
                    .unwrap()
                    .replace(" (", ", ")
            ),
            Outcome::Result => "the result".into(),
        }
    }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box([depth; 64])[0] + recurse(depth + 1)
}

/// Fails, or comes back if the way is one after which a process goes on.
fn act(way: Way) {
    use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, no_core).unwrap();
    match way {
        Way::Panic => panic!("on purpose"),
        Way::PanicAny => std::panic::panic_any(7),
        Way::Fail => {}
        Way::Exit0 => std::process::exit(0),
        Way::Exit3 => std::process::exit(3),
        Way::Abort => std::process::abort(),
        Way::Fault => {
            // SAFETY: none: the first page is never mapped, and the process ends here, which is what is tested.
            unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(1) }
        }
        Way::Kill => kill_process(getpid(), Signal::KILL).unwrap(),
        // Somebody kills it then.
        Way::Stop => kill_process(getpid(), Signal::STOP).unwrap(),
        Way::StackOverflow => {
            recurse(0);
        }
        Way::Allocation => drop(std::hint::black_box(Vec::<u8>::with_capacity(
            isize::MAX as usize,
        ))),
        Way::CloseAll => {
            // SAFETY: what uses the descriptors in this process gets errors from now on, and copes: that is what is tested.
            unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
        }
    }
}

/// A value that fails while it travels.
#[derive(Clone, Debug)]
pub(crate) struct Poison {
    fails: Option<(Way, Step)>,
    parent: u32,
    value: u32,
}

impl Poison {
    fn new(fails: Option<(Way, Step)>, value: u32) -> Poison {
        Poison {
            fails,
            parent: std::process::id(),
            value,
        }
    }

    /// Fails in whatever process it is.
    pub(crate) fn anywhere(fails: (Way, Step), value: u32) -> Poison {
        Poison {
            fails: Some(fails),
            parent: 0,
            value,
        }
    }

    pub(crate) fn none() -> Poison {
        Poison::new(None, 0)
    }

    pub(crate) fn in_parent() -> Poison {
        Poison::new(Some((Way::Fail, Step::EncodeInParent)), 0)
    }

    pub(crate) fn value(&self) -> u32 {
        self.value
    }

    /// Does it, if it is to be done at this step and this is a worker; whether serde shall fail.
    pub(crate) fn act(&self, step: Step) -> bool {
        let is_parent = self.parent == std::process::id() && pool_core::current().is_none();
        match self.fails {
            Some((way, Step::EncodeInParent)) => {
                is_parent && step == Step::Encode && way == Way::Fail
            }
            Some((way, at)) if at == step && !is_parent => {
                act(way);
                way == Way::Fail
            }
            _ => false,
        }
    }
}

impl Serialize for Poison {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.act(Step::Encode) {
            return Err(ser::Error::custom("on purpose"));
        }
        (self.fails, self.parent, self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Poison {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Poison, D::Error> {
        let (fails, parent, value) = Deserialize::deserialize(deserializer)?;
        let poison = Poison {
            fails,
            parent,
            value,
        };
        if poison.act(Step::Decode) {
            return Err(de::Error::custom("on purpose"));
        }
        Ok(poison)
    }
}

const ITEMS: u32 = 20;
/// The item that fails.
const BAD: u32 = 13;

/// What the workers are told about the failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    board: Board,
    parent: u32,
}

impl Plan {
    fn set(&self, way: Way, step: Step) {
        let position = WAYS.iter().position(|(other, _)| *other == way).unwrap();
        self.board.set(0, position as u32);
        self.board.set(
            1,
            STEPS.iter().position(|(other, _)| *other == step).unwrap() as u32,
        );
    }

    fn poison(&self, value: u32) -> Poison {
        let (way, step) = (
            WAYS[self.board.get(0) as usize].0,
            STEPS[self.board.get(1) as usize].0,
        );
        Poison {
            fails: (value == BAD).then_some((way, step)),
            parent: self.parent,
            value,
        }
    }
}

fn run(poison: Poison) -> Poison {
    poison.act(Step::Run);
    poison
}

fn run_index(plan: &mut Plan, index: u32) -> Poison {
    run(plan.poison(index))
}

fn run_index_plain(plan: &mut Plan, index: u32) -> u32 {
    run(plan.poison(index)).value
}

fn run_block(plan: &mut Plan, mut block: BlockMut<'_, u32, Ix1>) -> Poison {
    let poison = run(plan.poison(block.index() as u32));
    block.view_mut().fill(poison.value + 1);
    poison
}

fn run_block_plain(plan: &mut Plan, block: BlockMut<'_, u32, Ix1>) -> u32 {
    run_block(plan, block).value
}

/// A call of `ITEMS` tasks of which one fails.
type Verb = fn(&Pool<Plan>, &Plan, Way, Step) -> Vec<Result<u32, TaskError>>;
/// Name, call, and the steps at which it can fail.
const VERBS: [(&str, Verb, &[Step]); 6] = [
    (
        "values",
        over_values,
        &[Step::Decode, Step::Run, Step::Encode],
    ),
    ("apply", by_apply, &[Step::Decode, Step::Run, Step::Encode]),
    ("range", over_range, &[Step::Run, Step::Encode]),
    ("range, plain results", over_range_plain, &[Step::Run]),
    ("blocks", over_blocks, &[Step::Run, Step::Encode]),
    ("blocks, plain results", over_blocks_plain, &[Step::Run]),
];

fn values(results: Vec<Result<Poison, TaskError>>) -> Vec<Result<u32, TaskError>> {
    results
        .into_iter()
        .map(|result| result.map(|poison| poison.value))
        .collect()
}

fn over_values(pool: &Pool<Plan>, _: &Plan, way: Way, step: Step) -> Vec<Result<u32, TaskError>> {
    let items = (0..ITEMS).map(|value| Poison::new((value == BAD).then_some((way, step)), value));
    values(pool.job(run).chunk(4).try_map(items).unwrap())
}

fn by_apply(pool: &Pool<Plan>, _: &Plan, way: Way, step: Step) -> Vec<Result<u32, TaskError>> {
    let items = (0..ITEMS).map(|value| Poison::new((value == BAD).then_some((way, step)), value));
    let results = items.map(|item| match pool.apply(run, item) {
        Ok(poison) => Ok(poison.value),
        Err(error) => Err(error.task().unwrap().1.clone()),
    });
    results.collect()
}

fn over_range(pool: &Pool<Plan>, _: &Plan, _: Way, _: Step) -> Vec<Result<u32, TaskError>> {
    values(pool.job(run_index).chunk(4).try_map(0..ITEMS).unwrap())
}

fn over_range_plain(pool: &Pool<Plan>, _: &Plan, _: Way, _: Step) -> Vec<Result<u32, TaskError>> {
    pool.job(run_index_plain)
        .chunk(4)
        .try_map(0..ITEMS)
        .unwrap()
}

/// Checks that blocks were written, but for the one whose task failed before it wrote.
fn check_blocks(array: &SharedArray<u32, Ix1>, step: Step) {
    for (i, value) in array.view().iter().enumerate() {
        let block = i as u32 / 3;
        let is_written = *value == block + 1;
        assert!(
            is_written || (block == BAD && step == Step::Run && *value == 0),
            "{block}: {value}"
        );
    }
}

fn over_blocks(pool: &Pool<Plan>, _: &Plan, _: Way, step: Step) -> Vec<Result<u32, TaskError>> {
    let mut array = SharedArray::<u32, _>::zeros(3 * ITEMS as usize).unwrap();
    let results = pool
        .job(run_block)
        .chunk(4)
        .try_map_blocks(array.axis_chunks_mut(Axis(0), 3));
    check_blocks(&array, step);
    values(results.unwrap())
}

fn over_blocks_plain(
    pool: &Pool<Plan>,
    _: &Plan,
    _: Way,
    step: Step,
) -> Vec<Result<u32, TaskError>> {
    let mut array = SharedArray::<u32, _>::zeros(3 * ITEMS as usize).unwrap();
    let results = pool
        .job(run_block_plain)
        .chunk(4)
        .try_map_blocks(array.axis_chunks_mut(Axis(0), 3));
    check_blocks(&array, step);
    results.unwrap()
}

/// The ways to fail that workers survive, or that they alone do not.
pub(crate) fn ways(method: StartMethod) -> impl Iterator<Item = Way> {
    let is_thread = matches!(method, StartMethod::Thread | StartMethod::InProcess);
    let harmless = move |way: &Way| matches!(way, Way::Panic | Way::PanicAny | Way::Fail);
    let ways = WAYS.into_iter().map(|(way, _)| way);
    ways.filter(move |way| !is_thread || harmless(way))
}

/// Runs `body`; while it does, whatever it started and is stopped is killed.
pub(crate) fn killing_the_stopped<R>(way: Way, body: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(way != Way::Stop);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                kill_stopped();
                std::thread::yield_now();
            }
        });
        let result = catch_unwind(AssertUnwindSafe(body));
        done.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        result.unwrap_or_else(|payload| resume_unwind(payload))
    })
}

/// The same where there may be no other thread.
fn killing_the_stopped_from_another_process<R>(way: Way, body: impl FnOnce() -> R) -> R {
    if way != Way::Stop {
        return body();
    }
    let board = Board::new();
    let kill = |board: Board| {
        while board.get(0) == 0 {
            kill_stopped();
            std::thread::yield_now();
        }
    };
    let killer = pool_core::Process::spawn(kill, board.clone()).unwrap();
    let result = body();
    board.set(0, 1);
    killer.join().unwrap();
    result
}

/// One row of the matrix under one verb.
fn check(
    pool: &Pool<Plan>,
    plan: &Plan,
    method: StartMethod,
    (name, verb, steps): (&str, Verb, &[Step]),
) {
    let is_located = !matches!(method, StartMethod::Thread | StartMethod::InProcess);
    for way in ways(method) {
        for step in steps {
            let Some(outcome) = expected(way, *step) else {
                continue;
            };
            plan.set(way, *step);
            let results = killing_the_stopped(way, || verb(pool, plan, way, *step));
            assert_eq!(results.len(), ITEMS as usize);
            for (i, result) in (0..ITEMS).zip(results) {
                if i == BAD {
                    outcome.check(result, i, is_located);
                } else {
                    assert_eq!(result, Ok(i), "{name}, {way:?} at {step:?}");
                }
            }
            assert_eq!(
                pool.map(|i: u64| i * i, 0..30).unwrap(),
                (0..30).map(|i| i * i).collect::<Vec<_>>()
            );
        }
    }
}

fn matrix(method: StartMethod, busy: bool) {
    let guard = Leftovers::watch();
    VERBS.into_iter().for_each(|verb| under(method, busy, verb));
    guard.assert_none();
}

/// The same for copies of a process that has one thread.
fn matrix_of_copies(busy: impl Fn() -> bool + Copy + 'static) {
    let guard = Leftovers::watch();
    alone(move |()| {
        let copies = |verb| under(StartMethod::Fork, busy(), verb);
        VERBS.into_iter().for_each(copies);
    });
    guard.assert_none();
}

fn under(method: StartMethod, busy: bool, verb: (&str, Verb, &[Step])) {
    let plan = Plan {
        board: Board::new(),
        parent: std::process::id(),
    };
    let pool = Pool::builder()
        .workers(3)
        .start_method(method)
        .env("RUST_BACKTRACE", "0")
        .initializer(|plan: Plan| plan, plan.clone())
        .build()
        .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (pool, done) = (&pool, &done);
        let traffic = scope.spawn(move || {
            while busy && !done.load(Ordering::Relaxed) {
                let results = pool.map(
                    |i: u32| (0..2000).fold(i, |x, y| x ^ std::hint::black_box(y)),
                    0..200,
                );
                assert_eq!(
                    results.unwrap(),
                    (0..200)
                        .map(|i| (0..2000).fold(i, |x, y| x ^ y))
                        .collect::<Vec<u32>>()
                );
            }
        });
        // In this thread, which built the pool.
        let matrix = catch_unwind(AssertUnwindSafe(|| check(pool, &plan, method, verb)));
        done.store(true, Ordering::Relaxed);
        traffic.join().unwrap();
        matrix.unwrap_or_else(|payload| resume_unwind(payload));
    });
}

#[test]
fn fork_server_among_idle_neighbours() {
    matrix(StartMethod::ForkServer, false);
}

#[test]
fn fork_server_among_busy_neighbours() {
    matrix(StartMethod::ForkServer, true);
}

#[test]
fn spawn_among_idle_neighbours() {
    matrix(StartMethod::Spawn, false);
}

#[test]
fn spawn_among_busy_neighbours() {
    matrix(StartMethod::Spawn, true);
}

#[test]
fn copies_among_idle_neighbours() {
    matrix_of_copies(|| false);
}

#[test]
fn copies_among_busy_neighbours() {
    matrix_of_copies(|| true);
}

#[test]
fn threads_among_idle_and_busy_neighbours() {
    matrix(StartMethod::Thread, false);
    matrix(StartMethod::Thread, true);
}

#[test]
fn the_calling_thread() {
    matrix(StartMethod::InProcess, false);
}

#[test]
fn a_panic_brings_its_backtrace_if_it_is_asked_for() {
    let guard = Leftovers::watch();
    for (variable, is_wanted, is_whole) in [
        ("0", false, false),
        ("1", true, false),
        ("full", true, true),
    ] {
        let pool = Pool::builder()
            .workers(1)
            .env("RUST_BACKTRACE", variable)
            .build()
            .unwrap();
        let error = pool.apply(|i: u32| 1 / i, 0).unwrap_err();
        let (_, TaskError::Panicked(panic)) = error.task().unwrap() else {
            panic!("{error}")
        };
        assert_eq!(panic.message, "attempt to divide by zero");
        let holds = |part: &str| {
            panic
                .backtrace
                .as_ref()
                .is_some_and(|text| text.contains(part))
        };
        // The way from the program's entrance to the task is the pool's.
        for (part, is_there) in [
            ("a_panic_brings_its_backtrace", is_wanted),
            ("libc_start", is_whole),
        ] {
            assert_eq!(holds(part), is_there, "{part}: {:?}", panic.backtrace);
        }
    }
    guard.assert_none();
}

#[test]
fn a_panic_that_was_caught_is_not_taken_for_a_later_one() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let task = |first: String| {
        let caught = std::panic::catch_unwind(|| panic!("{first}"));
        assert!(caught.is_err());
        // Without the hook: as a library does that carries a panic from one of its threads to another.
        std::panic::resume_unwind(Box::new("second"))
    };
    let error = pool
        .apply(task, "first".to_owned())
        .map(|(): ()| ())
        .unwrap_err();
    let (_, TaskError::Panicked(panic)) = error.task().unwrap() else {
        panic!("{error}")
    };
    assert_eq!((&*panic.message, &panic.location), ("second", &None));
    drop(pool);
    guard.assert_none();
}

/// In the initializer: the same outcome, as the error of `build`.
#[test]
fn initializers() {
    let guard = Leftovers::watch();
    METHODS.into_iter().for_each(check_initializers);
    guard.assert_none();
}

#[test]
fn initializers_of_copies() {
    let guard = Leftovers::watch();
    alone(|()| check_initializers(StartMethod::Fork));
    guard.assert_none();
}

fn check_initializers(method: StartMethod) {
    for (way, _) in WAYS {
        for step in [Step::Decode, Step::Run] {
            let Some(outcome) = expected(way, step) else {
                continue;
            };
            let builder = Pool::builder()
                .workers(2)
                .start_method(method)
                .env("RUST_BACKTRACE", "0")
                .initializer(run, Poison::new(Some((way, step)), 5));
            let built = if method == StartMethod::Fork {
                killing_the_stopped_from_another_process(way, || builder.build())
            } else {
                killing_the_stopped(way, || builder.build())
            };
            match (outcome, built) {
                (Outcome::Result, Ok(pool)) => {
                    assert_eq!(
                        pool.map(|poison: &mut Poison, i: u32| poison.value + i, 0..3)
                            .unwrap(),
                        [5, 6, 7]
                    );
                }
                (Outcome::Died(exit), Err(error)) => {
                    assert!(error.is_initializer(), "{error}");
                    let (_, TaskError::WorkerDied(death)) = error.task().unwrap() else {
                        panic!("{error}")
                    };
                    assert_eq!((death.exit, death.attempts), (exit, 3));
                }
                (outcome, Err(error)) => {
                    assert!(error.is_initializer(), "{error}");
                    outcome.check(Err(error.task().unwrap().1.clone()), 0, true);
                }
                (outcome, Ok(_)) => panic!("no error instead of {outcome:?}"),
            }
        }
    }
}

#[test]
fn the_table_in_the_repository_is_this_one() {
    let mut table = String::from(
        "| what fails by | while decoding the argument | while running | while encoding the result | in an exit hook | while encoding its result |\n|---|---|---|---|---|---|\n",
    );
    for (way, name) in WAYS {
        let of_task = STEPS.map(|(step, _)| step);
        let cell = |step| expected(way, step).map_or("-".into(), Outcome::describe);
        let cells: Vec<String> = of_task.into_iter().chain(AT_EXIT).map(cell).collect();
        writeln!(table, "| {name} | {} |", cells.join(" | ")).unwrap();
    }
    let page = include_str!("../README.md");
    assert!(
        page.contains(&table),
        "tests/README.md has to hold:\n\n{table}"
    );
}
