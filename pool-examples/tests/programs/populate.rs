use ndarray::Array2;
use num_complex::Complex64;

use crate::run::{fail, help, refuse_arguments, succeed, sum, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_populate");

/// What is printed between the first line and the table.
fn matrix(output: &str) -> String {
    let (_, rest) = output.split_once("\n\n").unwrap();
    rest.split_once("\n\n").unwrap().0.to_owned()
}

#[test]
fn the_main_job_prints_the_matrix_and_who_made_it() {
    let output = succeed(PROGRAM, &[]);
    assert!(
        output.starts_with("2000 x 10 f64 by blocks of 100 rows, 4 workers (forkserver)\n"),
        "{output}"
    );
    let expected = Array2::from_shape_fn((2000, 10), |(row, _)| (row / 100 * 100) as f64);
    assert_eq!(matrix(&output), expected.to_string());
    let workers = table(&output, "worker");
    assert_eq!(workers.len(), 4);
    assert_eq!((sum(&workers, 2), sum(&workers, 3)), (20, 2000));
    let mut pids: Vec<&str> = workers.iter().map(|row| row[1].as_str()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4, "workers are processes of their own");
}

#[test]
fn blocks_that_do_not_divide_the_rows_are_populated() {
    let expected = Array2::from_shape_fn((11, 3), |(row, _)| (row / 4 * 4) as f64);
    for method in ["forkserver", "spawn", "thread"] {
        let args = [
            "--rows",
            "11",
            "--cols",
            "3",
            "--block",
            "4",
            "--workers",
            "2",
            "--start-method",
            method,
        ];
        let output = succeed(PROGRAM, &args);
        assert_eq!(matrix(&output), expected.to_string(), "{method}");
        let workers = table(&output, "worker");
        assert_eq!((sum(&workers, 2), sum(&workers, 3)), (3, 11), "{method}");
        let untold = workers.iter().all(|row| row[4..] == ["-", "-"]);
        assert_eq!(untold, method == "thread", "{output}");
    }
}

#[test]
fn complex_elements_are_populated() {
    let output = succeed(
        PROGRAM,
        &[
            "--rows",
            "5",
            "--cols",
            "2",
            "--block",
            "2",
            "--dtype",
            "complex128",
        ],
    );
    let expected = Array2::from_shape_fn((5, 2), |(row, _)| Complex64::from((row / 2 * 2) as f64));
    assert_eq!(matrix(&output), expected.to_string());
    assert!(output.starts_with("5 x 2 complex128"), "{output}");
}

#[test]
fn a_block_larger_than_the_matrix_and_a_matrix_without_elements_do() {
    let output = succeed(
        PROGRAM,
        &[
            "--rows",
            "3",
            "--cols",
            "1",
            "--block",
            "1000",
            "--workers",
            "1",
        ],
    );
    assert_eq!(matrix(&output), Array2::<f64>::zeros((3, 1)).to_string());
    let output = succeed(PROGRAM, &["--rows", "0", "--cols", "4", "--workers", "1"]);
    assert_eq!(sum(&table(&output, "worker"), 2), 0);
    let output = succeed(
        PROGRAM,
        &[
            "--rows",
            "250",
            "--cols",
            "0",
            "--workers",
            "1",
            "--work",
            "0",
        ],
    );
    assert_eq!(sum(&table(&output, "worker"), 3), 250);
}

#[test]
fn a_repeated_job_counts_every_block() {
    let output = succeed(
        PROGRAM,
        &[
            "--rows",
            "40",
            "--block",
            "10",
            "--repeat",
            "25",
            "--work",
            "0",
            "--workers",
            "2",
        ],
    );
    let workers = table(&output, "worker");
    assert_eq!((sum(&workers, 2), sum(&workers, 3)), (100, 1000));
}

#[test]
fn a_long_job_draws_no_bar_without_a_terminal() {
    // Longer than the second after which a bar would come; `succeed` wants no output on standard error.
    let output = succeed(
        PROGRAM,
        &["--rows", "400", "--work", "300", "--workers", "1"],
    );
    assert_eq!(sum(&table(&output, "worker"), 2), 4);
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(
        PROGRAM,
        &["--block", "0"],
        &["--block", "must be at least 1"],
    );
    refuse_arguments(
        PROGRAM,
        &["--workers", "0"],
        &["--workers", "must be at least 1"],
    );
    refuse_arguments(PROGRAM, &["--rows=-5"], &["--rows", "must be at least 0"]);
    refuse_arguments(
        PROGRAM,
        &["--rows", "many"],
        &["--rows", "must be a whole number"],
    );
    refuse_arguments(PROGRAM, &["--workers", "1001"], &["must be at most 1000"]);
    refuse_arguments(PROGRAM, &["--work", "99999999999"], &["must be at most"]);
    refuse_arguments(PROGRAM, &["--dtype", "f16"], &["f64", "complex128"]);
    refuse_arguments(
        PROGRAM,
        &["--start-method", "magic"],
        &["forkserver", "spawn", "thread"],
    );
    refuse_arguments(PROGRAM, &["--colour"], &["--colour"]);
}

#[test]
fn too_much_memory_is_one_clear_line() {
    let args = ["--rows", "1000000000000", "--cols", "100"];
    fail(PROGRAM, &args, "memory");
}

#[test]
fn the_help_names_every_option() {
    help(
        PROGRAM,
        &[
            "--rows",
            "--cols",
            "--block",
            "--workers",
            "--dtype",
            "--start-method",
            "--repeat",
            "--work",
            "--retries",
        ],
    );
}
