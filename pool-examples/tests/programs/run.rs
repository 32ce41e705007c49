//! Running a program and reading what it prints.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pool_examples::process::{Process, Status};

/// Ends a deadlock; nothing that works comes near it.
const LIMIT: Duration = Duration::from_secs(300);

/// What a program left when it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs `program` with `args` to its end, without a terminal.
pub(crate) fn run(program: &str, args: &[&str]) -> Ended {
    let mut command = Command::new(Path::new(program));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // What the programs print here fits into a pipe, so that they end without a reader.
    let process = Process::open(Status::of(child.id()).unwrap()).unwrap();
    if !process.wait(LIMIT).unwrap() {
        process.kill().unwrap();
        panic!("{program} {args:?} does not end");
    }
    let output = child.wait_with_output().unwrap();
    Ended {
        status: output
            .status
            .code()
            .unwrap_or_else(|| panic!("{program} {args:?}: {}", output.status)),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a program whose standard error nobody reads any more, to its end; its exit status.
pub(crate) fn status_without_errors(program: &str, args: &[&str]) -> Option<i32> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stderr(unread());
    command.status().unwrap().code()
}

/// Runs a program whose standard output nobody reads any more, to its end; its exit status.
pub(crate) fn status_without_output(program: &str, args: &[&str]) -> Option<i32> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(unread());
    command.status().unwrap().code()
}

/// The end of a pipe of which nobody holds the other.
fn unread() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

/// Runs a program that must succeed and print no errors; what it printed.
pub(crate) fn succeed(program: &str, args: &[&str]) -> String {
    let ended = run(program, args);
    assert_eq!((ended.status, ended.errors.as_str()), (0, ""), "{ended:?}");
    ended.output
}

/// Runs a program that must refuse its input: status 2, nothing printed, and one line of error, which is returned.
pub(crate) fn refuse(program: &str, args: &[&str]) -> String {
    let ended = run(program, args);
    assert_eq!((ended.status, ended.output.as_str()), (2, ""), "{ended:?}");
    let line = ended.errors.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "more than one line: {line}");
    line.strip_prefix("error: ").unwrap().to_owned()
}

/// Runs a program that must fail for another reason than its input: status 1, nothing printed, and one line of error, which
/// holds `word`.
pub(crate) fn fail(program: &str, args: &[&str], word: &str) {
    let ended = run(program, args);
    let lines = ended.errors.lines().count();
    assert_eq!(
        (ended.status, ended.output.as_str(), lines),
        (1, "", 1),
        "{ended:?}"
    );
    let is_told = ended.errors.starts_with("error: ") && ended.errors.contains(word);
    assert!(is_told, "{ended:?}");
}

/// Runs a program that must refuse its arguments: status 2 and an explanation that names each of `words`.
pub(crate) fn refuse_arguments(program: &str, args: &[&str], words: &[&str]) {
    let ended = run(program, args);
    assert_eq!((ended.status, ended.output.as_str()), (2, ""), "{ended:?}");
    for word in words {
        assert!(
            ended.errors.contains(word),
            "{word} is missing: {}",
            ended.errors
        );
    }
}

/// A program's help, which must name each of `words`.
pub(crate) fn help(program: &str, words: &[&str]) {
    let help = succeed(program, &["--help"]);
    for word in words {
        assert!(help.contains(word), "{word} is missing: {help}");
    }
}

/// The table whose header begins with `first`: its rows, cell by cell, without the header.
pub(crate) fn table(output: &str, first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    let mut lines = output
        .lines()
        .skip_while(|line| !line.starts_with('|') || cells(line)[0] != first);
    assert!(lines.next().is_some(), "no table of {first}: {output}");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

/// The sum of the whole numbers in a column of a table.
pub(crate) fn sum(rows: &[Vec<String>], column: usize) -> usize {
    let numbers = rows.iter().map(|row| row[column].parse::<usize>().unwrap());
    numbers.sum()
}
