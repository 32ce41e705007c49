use crate::run::{fail, help, refuse_arguments, succeed, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_monte_carlo");

#[test]
fn the_same_digits_for_any_number_of_workers_any_chunk_and_after_a_crash() {
    let output = |more: &[&str]| {
        let few = ["--tasks", "60", "--points", "200"];
        succeed(PROGRAM, &[&few[..], more].concat())
    };
    let expected = output(&["--workers", "1"]);
    for more in [
        &["--workers", "2"][..],
        &["--workers", "7"],
        &["--workers", "2", "--chunk", "1"],
        &["--workers", "7", "--chunk", "13"],
        &["--workers", "2", "--chunk", "1000"],
        &["--workers", "2", "--crash", "0"],
        &["--workers", "3", "--chunk", "20", "--crash", "47"],
        &["--start-method", "spawn", "--crash", "59"],
        &["--start-method", "thread"],
    ] {
        assert_eq!(output(more), expected, "{more:?}");
    }
    assert_ne!(output(&["--seed", "2"]), expected);
}

#[test]
fn the_integral_is_right() {
    let output = succeed(PROGRAM, &["--tasks", "200"]);
    let row = &table(&output, "integral")[0];
    let [error, difference] = [1, 3].map(|column: usize| row[column].parse::<f64>().unwrap());
    assert!(error > 0.0 && difference.abs() < 5.0 * error, "{output}");
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(PROGRAM, &["--tasks", "0"], &["--tasks"]);
    fail(PROGRAM, &["--chunk", "0"], "`chunk`");
    fail(
        PROGRAM,
        &["--crash", "0", "--start-method", "thread"],
        "thread",
    );
    help(
        PROGRAM,
        &[
            "--tasks",
            "--points",
            "--workers",
            "--chunk",
            "--seed",
            "--crash",
        ],
    );
}
