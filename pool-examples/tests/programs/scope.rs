use crate::run::{help, refuse, refuse_arguments, status_without_errors, succeed, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_scope");

/// A size as the program prints it, in bytes.
fn bytes(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').unwrap();
    let exponent = ["B", "KiB", "MiB", "GiB"]
        .iter()
        .position(|known| *known == unit)
        .unwrap();
    number.parse::<f64>().unwrap() * 1024_f64.powi(exponent as i32)
}

#[test]
fn workers_do_not_hold_what_the_parent_holds() {
    let output = succeed(PROGRAM, &["--elements", "8388608", "--workers", "2"]);
    assert!(
        output.starts_with("the parent holds an unrelated array of 8388608 doubles (64.0 MiB)\n"),
        "{output}"
    );
    let held = f64::from(1 << 26);
    for method in ["forkserver", "spawn"] {
        let rows: Vec<Vec<String>> = table(&output, "start method")
            .into_iter()
            .filter(|row| row[0] == method && row.len() == 6)
            .collect();
        assert_eq!(rows.len(), 3, "the parent and two workers: {output}");
        assert_eq!(rows[0][1], "parent");
        assert!(
            rows[0][3..].iter().all(|size| bytes(size) > held),
            "{output}"
        );
        for worker in &rows[1..] {
            assert!(worker[1].starts_with("worker "), "{output}");
            // The binary of a test build is large; the parent's array is larger by far.
            assert!(
                worker[3..].iter().all(|size| bytes(size) < held / 2.0),
                "{output}"
            );
        }
    }
}

#[test]
fn every_start_method_has_a_time() {
    let output = succeed(PROGRAM, &["--elements", "0", "--workers", "1"]);
    let (_, times) = output.split_once("\n\n| start method | workers |").unwrap();
    let methods: Vec<&str> = times
        .lines()
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').next().unwrap().trim())
        .collect();
    assert_eq!(methods, ["forkserver", "spawn", "thread"]);
}

#[test]
fn an_array_for_which_there_is_no_memory_is_one_clear_line() {
    for elements in ["999999999999999", "9999999999999999999"] {
        let line = refuse(PROGRAM, &["--elements", elements]);
        assert!(
            line.contains("no memory for") && line.contains("--elements"),
            "{line}"
        );
    }
    let args = ["--elements", "999999999999999"];
    assert_eq!(status_without_errors(PROGRAM, &args), Some(2));
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(PROGRAM, &["--workers", "none"], &["--workers"]);
    help(PROGRAM, &["--elements", "--workers", "proportional"]);
}
