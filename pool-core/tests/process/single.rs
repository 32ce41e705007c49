//! Single child processes: what `Process` promises.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use ndarray::array;
use pool_core::{Process, ProcessError, TaskError, WorkerExit};
use pool_shm::{FrozenArray, SharedArray};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::common::{self, Board, LIMIT, Leftovers, is_stopped};

/// Tells that it runs, and runs for ever.
fn spin(board: Board) {
    board.count(0);
    loop {
        std::hint::spin_loop();
    }
}

fn spinning() -> Process<()> {
    let board = Board::new();
    let process = Process::spawn(spin, board.clone()).unwrap();
    board.wait(0, 1);
    process
}

#[test]
fn a_single_child_process_returns_its_value() {
    let guard = Leftovers::watch();
    let process = Process::builder()
        .name("squares")
        .env("POOL_CORE_TEST_SQUARES", "yes")
        .spawn(
            |n: u32| {
                let set = std::env::var("POOL_CORE_TEST_SQUARES").unwrap();
                let name = std::fs::read_to_string("/proc/self/comm").unwrap();
                (
                    (0..n).map(|i| i * i).collect::<Vec<u32>>(),
                    set,
                    name,
                    std::process::id(),
                )
            },
            4,
        )
        .unwrap();
    let (name, pid) = (process.name().to_owned(), process.pid());
    assert_eq!(name, "squares");
    let value = process.join().unwrap();
    assert_eq!(
        value,
        (
            vec![0, 1, 4, 9],
            "yes".to_owned(),
            "squares\n".to_owned(),
            pid
        )
    );
    // A large argument and a large value, which nobody reads before the process has ended.
    let large: Vec<u8> = (0..8 << 20).map(|i| (i % 251) as u8).collect();
    let process = Process::spawn(|bytes: Vec<u8>| bytes, large.clone()).unwrap();
    await_end(&process);
    assert_eq!(process.exit(), Some(WorkerExit::Code(0)));
    assert!(process.join().unwrap() == large);
    guard.assert_none();
}

/// Waits by the handle's descriptor.
fn await_end<R>(process: &Process<R>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec::try_from(LIMIT).unwrap();
    let mut polled = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    assert_eq!(poll(&mut polled, Some(&limit)).unwrap(), 1);
    assert!(!process.is_alive());
}

#[test]
fn the_end_of_a_single_process_says_how_it_ended() {
    let guard = Leftovers::watch();
    let exit = |code: i32| -> u32 { std::process::exit(code) };
    for code in [0, 3] {
        let error = Process::spawn(exit, code).unwrap().join().unwrap_err();
        assert_eq!(error.exit(), WorkerExit::Code(code));
        assert!(matches!(error, ProcessError::Ended { .. }), "{error}");
        assert_eq!(error.task(), None);
    }
    let error = Process::spawn(|()| -> u32 { std::process::abort() }, ());
    assert_eq!(
        error.unwrap().join().unwrap_err().exit(),
        WorkerExit::Signal(6)
    );

    let process = Process::builder()
        .name("faulty")
        .spawn(|x: u32| 1 / x, 0)
        .unwrap();
    let error = process.join().unwrap_err();
    let Some(TaskError::Panicked(panic)) = error.task() else {
        panic!("{error}")
    };
    assert_eq!(panic.message, "attempt to divide by zero");
    assert!(panic.location.as_ref().unwrap().contains("single.rs:"));
    assert_eq!(error.exit(), WorkerExit::Code(101));
    assert!(error.to_string().contains("`faulty`"), "{error}");
    guard.assert_none();
}

#[test]
fn signals_reach_a_single_process() {
    let guard = Leftovers::watch();
    type Ask = fn(&Process<()>);
    let ways: [(Ask, i32); 3] = [
        (Process::terminate, 15),
        (Process::interrupt, 2),
        (Process::kill, 9),
    ];
    for (ask, signal) in ways {
        let process = spinning();
        assert!(process.is_alive());
        assert_eq!(process.exit(), None);
        ask(&process);
        await_end(&process);
        ask(&process); // one that is gone is no error
        assert_eq!(process.exit(), Some(WorkerExit::Signal(signal)));
        assert_eq!(
            process.join().unwrap_err().exit(),
            WorkerExit::Signal(signal)
        );
    }
    guard.assert_none();
}

#[test]
fn a_join_with_a_timeout_gives_the_process_back() {
    let guard = Leftovers::watch();
    let process = spinning();
    let process = process.join_timeout(Duration::ZERO).unwrap_err();
    let process = process.join_timeout(Duration::from_millis(1)).unwrap_err();
    process.kill();
    let ended = process.join_timeout(LIMIT).unwrap();
    assert_eq!(ended.unwrap_err().exit(), WorkerExit::Signal(9));
    let process = Process::spawn(|x: u8| x, 7).unwrap();
    assert_eq!(process.join_timeout(LIMIT).unwrap(), Ok(7));
    guard.assert_none();
}

#[test]
fn a_process_that_is_dropped_is_killed_or_waited_for() {
    let guard = Leftovers::watch();
    let process = spinning();
    let held = common::Process::of_ours(process.pid()).unwrap();
    held.signal(Signal::STOP);
    while !is_stopped(held.pid) {
        std::thread::yield_now();
    }
    drop(process);
    assert!(held.ends_within(Duration::ZERO));
    drop(held);

    let board = Board::new();
    let waits = |board: Board| {
        board.wait(0, 1);
        board.count(1);
    };
    let process = Process::builder()
        .daemon(false)
        .spawn(waits, board.clone())
        .unwrap();
    board.count(0);
    drop(process);
    assert_eq!(board.get(1), 1);
    drop(board);
    guard.assert_none();
}

fn make(n: usize) -> FrozenArray<f64, ndarray::Ix1> {
    let mut array = SharedArray::<f64, _>::zeros(n).unwrap();
    array.view_mut().fill(2.0);
    array.freeze().unwrap()
}

#[test]
fn shared_arrays_go_to_a_single_process_and_come_back() {
    let guard = Leftovers::watch();
    let sum = |array: FrozenArray<f64, ndarray::Ix1>| array.view().sum();
    assert_eq!(Process::spawn(sum, make(1000)).unwrap().join(), Ok(2000.0));
    let array = Process::spawn(make, 3).unwrap().join().unwrap();
    assert_eq!(array.view(), array![2.0, 2.0, 2.0]);
    // One whose value nobody takes over goes too.
    drop(Process::builder().daemon(false).spawn(make, 3).unwrap());
    // A process that offers its value is killed: there is none then, and the error says so.
    let process = Process::spawn(make, 3).unwrap();
    process.kill();
    match process.join() {
        Ok(array) => assert_eq!(array.view().len(), 3),
        Err(error) => assert!(error.exit() == WorkerExit::Signal(9), "{error}"),
    }
    drop(array);
    guard.assert_none();
}

struct Unfit;

impl Serialize for Unfit {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom("unfit"))
    }
}

impl<'de> Deserialize<'de> for Unfit {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("unfit"))
    }
}

#[derive(Serialize)]
struct Illegible;

impl<'de> Deserialize<'de> for Illegible {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("illegible")
    }
}

#[test]
fn values_that_cannot_travel_are_errors_of_the_process() {
    let guard = Leftovers::watch();
    let error = Process::spawn(|_: Unfit| (), Unfit).unwrap_err();
    assert!(error.to_string().contains("argument 0"), "{error}");
    let error = Process::spawn(|()| Unfit, ())
        .unwrap()
        .join()
        .err()
        .unwrap();
    assert!(
        matches!(error.task(), Some(TaskError::EncodeResult { .. })),
        "{error}"
    );
    let error = Process::spawn(|_: Illegible| (), Illegible)
        .unwrap()
        .join()
        .unwrap_err();
    assert!(
        matches!(error.task(), Some(TaskError::Panicked(_))),
        "{error}"
    );
    let error = Process::builder()
        .env("a=b", "c")
        .spawn(|()| (), ())
        .unwrap_err();
    assert!(error.is_option(), "{error}");
    let error = Process::builder()
        .name("a\0b")
        .spawn(|()| (), ())
        .unwrap_err();
    assert!(
        error.is_option() && error.to_string().contains("NUL"),
        "{error}"
    );
    guard.assert_none();
}

/// Processes that start processes, without end.
fn recurse(depth: u32) -> Result<u32, String> {
    match Process::spawn(recurse, depth + 1) {
        Ok(process) => process.join().map_err(|error| error.to_string())?,
        Err(error) if error.is_too_deep() => Ok(depth),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn processes_that_start_processes_end_at_a_depth() {
    let guard = Leftovers::watch();
    assert_eq!(recurse(0), Ok(8));
    guard.assert_none_after_end();
}

const PROGRAM: &str = "POOL_CORE_TESTS_SINGLE";

#[expect(clippy::print_stdout, reason = "it is a program")]
fn say(text: &str) {
    println!("> {text}");
}

/// Not a test by itself: a program that holds three processes: busy, stopped, and no daemon.
#[test]
fn program() {
    if std::env::var(PROGRAM).is_err() {
        return;
    }
    let stopped = spinning();
    common::Process::open(stopped.pid())
        .unwrap()
        .signal(Signal::STOP);
    let board = Board::new();
    let kept = Process::builder()
        .daemon(false)
        .spawn(spin, board.clone())
        .unwrap();
    board.wait(0, 1);
    say(&format!(
        "{} {} {}",
        spinning_for_ever(),
        stopped.pid(),
        kept.pid()
    ));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Its handle is never dropped, and the thread that made it ends at once.
fn spinning_for_ever() -> u32 {
    let thread = std::thread::spawn(|| {
        let process = spinning();
        let pid = process.pid();
        std::mem::forget(process);
        pid
    });
    thread.join().unwrap()
}

#[test]
fn single_processes_end_when_the_program_is_killed() {
    let guard = Leftovers::watch();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "single::program",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(PROGRAM, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let said = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("> ")?.1.to_owned()));
    let processes: Vec<_> = said
        .unwrap()
        .split(' ')
        .map(|pid| common::Process::of_ours(pid.parse().unwrap()).unwrap())
        .collect();
    assert_eq!(processes.len(), 3);
    assert!(
        processes
            .iter()
            .all(|process| !process.ends_within(Duration::ZERO))
    );
    program.kill().unwrap();
    program.wait().unwrap();
    processes.iter().for_each(common::Process::await_end);
    drop(processes);
    guard.assert_none_after_end();
}
