//! Two processes and one memory. The child is this same test binary, told by
//! its environment to play one of the parts below.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use ndarray::{Axis, Ix1};
use pool_shm::{ArrayHandle, AxisChunksMut, Blocks, FrozenArray, LeaseCache, Segment, SharedArray};
use serde::Serialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const PART: &str = "POOL_SHM_TEST_PART";
/// What a child prints before its answer; libtest prints too.
const ANSWER: &str = "answer: ";

type Rows<'a> = AxisChunksMut<'a, f64, Ix1>;

/// A child and its answer.
struct Peer {
    child: Child,
    answer: String,
}

impl Peer {
    /// Starts a child that plays `part` with `argument`, and waits for its
    /// answer.
    fn start(part: &str, argument: &impl Serialize) -> Peer {
        let this = Command::new(std::env::current_exe().unwrap());
        Self::start_by(this, part, argument)
    }

    /// As [`start`](Self::start), by a command that lacks its last arguments.
    fn start_by(mut command: Command, part: &str, argument: &impl Serialize) -> Peer {
        let mut child = command
            .args(["--exact", "plays_its_part", "--nocapture"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let argument = serde_json::to_string(argument).unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{argument}").unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let answer = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once(ANSWER)?.1.to_owned()));
        Peer {
            answer: answer.expect("the child should have answered"),
            child,
        }
    }

    /// Lets the child end, and waits for it.
    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The child's side: does nothing in an ordinary run.
#[test]
fn plays_its_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let mut argument = String::new();
    let mut stdin = std::io::stdin().lock();
    stdin.read_line(&mut argument).unwrap();
    match part.as_str() {
        "count" => {
            let segment: Segment = serde_json::from_str(&argument).unwrap();
            let count = segment.get::<AtomicU64>(0).unwrap();
            answer(&mut stdin, &count.fetch_add(1, Ordering::Relaxed));
        }
        "sum" => {
            let array: FrozenArray<f64, Ix1> = serde_json::from_str(&argument).unwrap();
            answer(&mut stdin, &array.view().sum());
        }
        "private" => {
            let array: FrozenArray<f64, Ix1> = serde_json::from_str(&argument).unwrap();
            let mut mine = array.to_private().unwrap();
            mine.view_mut().slice_mut(ndarray::s![..500]).fill(100.0);
            // What it has stays, though the array is gone here.
            drop(array);
            answer(&mut stdin, &mine.view().sum());
        }
        "populate" => {
            let plan = serde_json::from_str(&argument).unwrap();
            let attached = Rows::attach(&plan, &mut LeaseCache::default()).unwrap();
            for index in 0..Rows::count(&attached) {
                // SAFETY: the parent keeps the array lent until we are gone,
                // and nobody else makes blocks of it.
                let mut block = unsafe { Rows::block(&attached, index) }.unwrap();
                let start = block.start();
                block.view_mut().fill(start as f64);
            }
            answer(&mut stdin, &Rows::count(&attached));
        }
        "make" => {
            let array = SharedArray::from_shape_fn(100, |i| i as f64).unwrap();
            answer(&mut stdin, &array.into_handle().unwrap());
        }
        other => panic!("there is no part {other}"),
    }
}

/// Answers, and stays until the parent lets go.
fn answer(stdin: &mut impl Read, value: &impl Serialize) {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ANSWER}{}", serde_json::to_string(value).unwrap()).unwrap();
    stdin.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_segment_is_one_memory_in_two_processes() {
    let segment = Segment::create(8).unwrap();
    let count = segment.get::<AtomicU64>(0).unwrap();
    count.store(41, Ordering::Relaxed);
    let peer = Peer::start("count", &segment);
    assert_eq!(peer.answer, "41");
    assert_eq!(count.load(Ordering::Relaxed), 42);
    peer.end();
}

/// What runs a command where nothing is mounted on `/proc`.
fn without_proc() -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    command.args(["--mount", "sh", "-c", script]);
    command
}

#[test]
fn a_segment_is_attached_where_proc_is_hidden() {
    match without_proc()
        .args(["test", "!", "-e", "/proc/self"])
        .status()
    {
        Ok(status) if status.success() => {}
        hidden => {
            eprintln!("skipped: this user cannot hide /proc ({hidden:?})");
            return;
        }
    }
    let segment = Segment::create(8).unwrap();
    let array = SharedArray::from_elem(1000, 0.5).unwrap().freeze().unwrap();
    let count = segment.get::<AtomicU64>(0).unwrap();
    let mut hidden = without_proc();
    hidden.arg(std::env::current_exe().unwrap());
    let peer = Peer::start_by(hidden, "count", &segment);
    assert_eq!(peer.answer, "0");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    peer.end();
    let mut hidden = without_proc();
    hidden.arg(std::env::current_exe().unwrap());
    let peer = Peer::start_by(hidden, "sum", &array);
    assert_eq!(peer.answer, "500.0");
    peer.end();
}

#[test]
fn a_frozen_array_is_read_by_another_process() {
    let array = SharedArray::from_elem(1000, 0.5).unwrap().freeze().unwrap();
    let peer = Peer::start("sum", &array);
    assert_eq!(peer.answer, "500.0");
    peer.end();
}

#[test]
fn a_private_copy_is_written_by_its_process_alone() {
    let array = SharedArray::from_elem(1000, 0.5).unwrap().freeze().unwrap();
    let peer = Peer::start("private", &array);
    assert_eq!(peer.answer, "50250.0");
    assert_eq!(array.view().sum(), 500.0);
    let (mut one, other) = (array.to_private().unwrap(), array.to_private().unwrap());
    one.view_mut()[3] = 7.0;
    assert_eq!((other.view()[3], array.view()[3]), (0.5, 0.5));
    drop(array);
    assert_eq!(one.view().sum(), 506.5);
    peer.end();
}

#[test]
fn freezing_names_the_process_that_has_the_array_mapped() {
    // So large that it has a segment of its own.
    let mut array = SharedArray::<f64, _>::zeros(20_000).unwrap();
    let plan = array.axis_chunks_mut(Axis(0), 10_000).plan().unwrap().1;
    let peer = Peer::start("populate", &plan);
    assert_eq!(peer.answer, "2");
    // Nobody is registered who could ask the child to unmap.
    let error = array.freeze().unwrap_err();
    assert!(error.error().is_busy());
    let pid = format!("(pid {})", peer.child.id());
    assert!(error.to_string().contains(&pid), "{error}");
    let array = error.into_array().unwrap();
    peer.kill();
    let frozen = array.freeze().unwrap();
    assert_eq!(frozen.view().sum(), 1e8);
}

#[test]
fn an_array_moves_to_another_process_and_outlives_its_maker() {
    let peer = Peer::start("make", &());
    let handle: ArrayHandle<f64, Ix1> = serde_json::from_str(&peer.answer).unwrap();
    let again: ArrayHandle<f64, Ix1> = serde_json::from_str(&peer.answer).unwrap();
    peer.kill();
    let array = handle.claim().unwrap();
    assert!(again.claim().unwrap_err().is_claimed());
    assert_eq!(array.freeze().unwrap().view().sum(), 4950.0);
}

#[test]
fn a_handle_whose_maker_has_ended_says_so() {
    let peer = Peer::start("make", &());
    let (pid, answer) = (peer.child.id(), peer.answer.clone());
    peer.kill();
    let error = serde_json::from_str::<ArrayHandle<f64, Ix1>>(&answer).unwrap_err();
    let expected = format!("is gone: process {pid} has ended");
    assert!(error.to_string().contains(&expected), "{error}");
}
