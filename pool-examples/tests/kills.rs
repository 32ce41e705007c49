//! The whole program under kills: its parent, its workers, its fork server, busy and stopped ones.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic, its helpers too"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ndarray::Array2;
use pool_examples::process::{self, Process, State, Status};

/// Ends a deadlock; nothing that works comes near it.
const LIMIT: Duration = Duration::from_secs(120);

const WORKERS: usize = 4;

/// The program while its workers work: they were ready when it printed its first line.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(method: &str, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_populate"))
            .args(["--start-method", method, "--workers", "4"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains("4 workers"), "{line}");
        Self { child, output }
    }

    /// All that the program has started, held.
    fn descendants(&self) -> Vec<Process> {
        let found = process::descendants(self.child.id()).unwrap();
        found
            .into_iter()
            .filter_map(|status| Process::open(status).ok())
            .collect()
    }

    /// Those that have no children of their own and have not ended, oldest first.
    fn workers(&self) -> Vec<Status> {
        let mut found = process::descendants(self.child.id()).unwrap();
        let parents: BTreeSet<u32> = found.iter().map(|process| process.parent).collect();
        found.retain(|process| !parents.contains(&process.pid) && process.state != State::Ended);
        found.sort_by_key(|process| (process.started, process.pid));
        found
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end in order; what it printed after its first line.
    fn finish(mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert!(self.child.wait().unwrap().success(), "{errors}");
        text
    }
}

fn assert_gone(processes: &[Process]) {
    for process in processes {
        assert!(
            process.wait(LIMIT).unwrap(),
            "still there: {:?}",
            process.status()
        );
    }
}

/// The matrix that `populate --block 50` prints.
fn assert_populated(output: &str) {
    let expected = Array2::from_shape_fn((2000, 10), |(row, _)| (row / 50 * 50) as f64);
    assert!(output.contains(&expected.to_string()), "{output}");
    let figures = output.lines().filter(|line| line.starts_with('|')).skip(2);
    let blocks = figures.map(|line| {
        line.split('|')
            .nth(3)
            .unwrap()
            .trim()
            .parse::<usize>()
            .unwrap()
    });
    assert_eq!(
        blocks.sum::<usize>(),
        40,
        "every block counts once: {output}"
    );
}

/// Waits until each of these processes is in `state`.
fn await_state(processes: &[Status], state: State) {
    let start = Instant::now();
    let is_there = |process: &Status| Status::of(process.pid).is_ok_and(|now| now.state == state);
    while !processes.iter().all(is_there) {
        assert!(start.elapsed() < LIMIT, "never {state:?}: {processes:?}");
        std::thread::yield_now();
    }
}

/// Kills the parent while the workers do what `args` say, one of them stopped; `state` is what the others are then seen to do.
fn kill_parent(method: &str, args: &[&str], state: Option<State>) {
    let mut running = Running::start(method, args);
    let descendants = running.descendants();
    let servers = usize::from(method == "forkserver");
    assert_eq!(descendants.len(), WORKERS + servers, "{descendants:?}");
    let workers = running.workers();
    assert_eq!(workers.len(), WORKERS, "{workers:?}");
    if let Some(state) = state {
        await_state(&workers, state);
    }
    Process::open(workers[1]).unwrap().stop().unwrap();
    await_state(&workers[1..2], State::Stopped);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_gone(&descendants);
}

#[test]
fn when_the_parent_is_killed_idle_and_stopped_workers_go() {
    // Without rows there is nothing to do, so all workers wait for work, again and again.
    let idle = ["--rows", "0", "--repeat", "1000000000000"];
    kill_parent("forkserver", &idle, Some(State::Waiting));
    kill_parent("spawn", &idle, Some(State::Waiting));
}

#[test]
fn when_the_parent_is_killed_busy_and_stopped_workers_go() {
    // Each block keeps its worker in user code for an hour.
    kill_parent("forkserver", &["--work", "3600000"], Some(State::Running));
    kill_parent("spawn", &["--work", "3600000"], Some(State::Running));
}

#[test]
fn when_the_parent_is_killed_between_many_small_tasks_workers_go() {
    let small = ["--block", "1", "--work", "0", "--repeat", "1000000000"];
    kill_parent("forkserver", &small, None);
    kill_parent("spawn", &small, None);
}

#[test]
fn when_the_parent_is_killed_a_stopped_fork_server_goes_and_its_workers_too() {
    let mut running = Running::start("forkserver", &["--work", "3600000"]);
    let descendants = running.descendants();
    let parent = running.child.id();
    let server: Vec<Status> = descendants
        .iter()
        .map(Process::status)
        .filter(|process| process.parent == parent)
        .collect();
    Process::open(server[0]).unwrap().stop().unwrap();
    await_state(&server, State::Stopped);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert_gone(&descendants);
}

#[test]
fn without_retries_the_death_of_a_worker_is_told() {
    for method in ["forkserver", "spawn"] {
        // One block, so that one worker is busy; the others wait, or look for work for a moment.
        let args = ["--rows", "100", "--work", "3600000", "--retries", "0"];
        let mut running = Running::start(method, &args);
        let mut killed = Vec::new();
        while !running.has_ended() {
            let workers = running.workers().into_iter();
            match workers
                .filter(|worker| worker.state == State::Running)
                .map(Process::open)
                .next()
            {
                Some(Ok(busy)) if busy.kill().is_ok() => {
                    assert!(busy.wait(LIMIT).unwrap());
                    killed.push(busy.status().pid);
                }
                _ => std::thread::yield_now(),
            }
        }
        assert_eq!(running.child.wait().unwrap().code(), Some(1));
        let mut errors = String::new();
        running
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert!(
            errors.starts_with("error: task 0 failed: ") && errors.contains("SIGKILL"),
            "{errors}"
        );
        assert!(
            killed
                .iter()
                .any(|pid| errors.contains(&format!("pid {pid}"))),
            "{killed:?}: {errors}"
        );
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn an_orderly_end_leaves_no_process() {
    for method in ["forkserver", "spawn"] {
        let running = Running::start(method, &["--block", "50", "--work", "20"]);
        let descendants = running.descendants();
        assert!(descendants.len() >= WORKERS, "{descendants:?}");
        assert_populated(&running.finish());
        assert_gone(&descendants);
    }
}

#[test]
fn workers_that_are_killed_are_replaced_and_the_matrix_is_right() {
    for method in ["forkserver", "spawn"] {
        let mut running = Running::start(
            method,
            &["--block", "50", "--work", "50", "--retries", "100"],
        );
        let mut kills = 0;
        while kills < 12 && !running.has_ended() {
            let workers = running.workers();
            // The oldest has been at work for the longest; its replacement comes before the next one is killed.
            match workers.first().map(|oldest| Process::open(*oldest)) {
                Some(Ok(oldest)) if workers.len() == WORKERS && oldest.kill().is_ok() => {
                    assert!(oldest.wait(LIMIT).unwrap());
                    kills += 1;
                }
                _ => std::thread::yield_now(),
            }
        }
        assert!(kills > 0, "the program ended before a worker was killed");
        assert_populated(&running.finish());
    }
}

#[test]
fn a_worker_that_is_killed_while_stopped_is_replaced() {
    let running = Running::start(
        "forkserver",
        &["--block", "50", "--work", "20", "--retries", "100"],
    );
    let worker = Process::open(running.workers()[0]).unwrap();
    worker.stop().unwrap();
    worker.kill().unwrap();
    assert_populated(&running.finish());
}

#[test]
fn a_fork_server_that_is_killed_is_replaced_with_its_workers() {
    let running = Running::start(
        "forkserver",
        &["--block", "50", "--work", "20", "--retries", "100"],
    );
    let children = process::descendants(running.child.id()).unwrap();
    let server = children
        .into_iter()
        .find(|process| process.parent == running.child.id())
        .unwrap();
    Process::open(server).unwrap().kill().unwrap();
    assert_populated(&running.finish());
}
