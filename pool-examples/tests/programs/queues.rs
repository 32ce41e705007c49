use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use pool_examples::process::{self, Process};

use crate::run::{help, refuse_arguments, status_without_output, succeed, sum, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_queues");
/// Ends a deadlock; nothing that works comes near it.
const LIMIT: Duration = Duration::from_secs(120);

/// The beginnings of the ranges of which lines tell, in the order of the lines.
fn beginnings(output: &str) -> Vec<usize> {
    let lines = output.lines().filter(|line| line.starts_with("worker "));
    lines
        .map(|line| {
            line.split(" from ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

/// Checks that each range of `block` numbers below `below` was told of, and what the table sums up to.
fn check(output: &str, below: usize, block: usize, primes: usize) {
    let expected: BTreeSet<usize> = (0..below).step_by(block).collect();
    let told: BTreeSet<usize> = beginnings(output).into_iter().collect();
    assert_eq!(told, expected, "{output}");
    let rows = table(output, "worker");
    assert_eq!(
        (sum(&rows, 2), sum(&rows, 3)),
        (expected.len(), primes),
        "{output}"
    );
    assert!(
        output.contains(&format!(
            "\n{primes} primes below {below}, in {} ranges\n",
            expected.len()
        )),
        "{output}"
    );
}

#[test]
fn results_are_printed_as_they_come() {
    for method in ["forkserver", "spawn", "thread"] {
        let output = succeed(
            PROGRAM,
            &[
                "--below",
                "10007",
                "--block",
                "500",
                "--start-method",
                method,
            ],
        );
        check(&output, 10_007, 500, 1229);
        assert_eq!(beginnings(&output).len(), 21, "{output}");
        assert!(!output.contains("died"), "{output}");
    }
}

#[test]
fn a_full_queue_holds_the_workers_back() {
    let output = succeed(
        PROGRAM,
        &["--below", "2000", "--block", "10", "--capacity", "1"],
    );
    check(&output, 2000, 10, 303);
    let nothing = succeed(PROGRAM, &["--below", "0"]);
    assert!(
        nothing.contains("0 primes below 0, in 0 ranges"),
        "{nothing}"
    );
}

#[test]
fn a_worker_that_is_killed_meanwhile_loses_nothing() {
    let args = [
        "--below",
        "40000",
        "--block",
        "10",
        "--workers",
        "2",
        "--capacity",
        "4",
    ];
    let mut command = Command::new(PROGRAM);
    let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // Neither the pipe nor the queue holds 4000 lines: until somebody reads on, the program cannot end.
    let mut text = String::new();
    output.read_line(&mut text).unwrap();
    let (_, pid) = text.split_once("(pid ").unwrap();
    let pid: u32 = pid.split(')').next().unwrap().parse().unwrap();
    let family = process::descendants(child.id()).unwrap();
    let worker = *family.iter().find(|status| status.pid == pid).unwrap();
    let family: Vec<Process> = family.into_iter().flat_map(Process::open).collect();
    Process::open(worker).unwrap().kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    check(&text, 40_000, 10, 4203);
    assert!(text.contains("\n1 worker died; "), "{text}");
    let pids: BTreeSet<String> = table(&text, "worker")
        .into_iter()
        .map(|mut row| row.remove(1))
        .collect();
    assert_eq!(
        pids.len(),
        3,
        "two workers, and one that took a place: {text}"
    );
    for process in family {
        assert!(process.wait(LIMIT).unwrap(), "{process:?} is left behind");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let args = ["--below", "40000", "--block", "10", "--capacity", "4"];
    assert_eq!(status_without_output(PROGRAM, &args), Some(0));
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(
        PROGRAM,
        &["--capacity", "0"],
        &["--capacity", "must be at least 1"],
    );
    refuse_arguments(
        PROGRAM,
        &["--block", "0"],
        &["--block", "must be at least 1"],
    );
    help(
        PROGRAM,
        &[
            "--below",
            "--block",
            "--capacity",
            "--workers",
            "--retries",
            "--start-method",
        ],
    );
}
