use crate::run::{help, refuse_arguments, succeed, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_weighted_sum");

#[test]
fn workers_and_the_sequential_sum_agree() {
    for method in ["forkserver", "spawn", "thread"] {
        let output = succeed(PROGRAM, &["--len", "1000", "--start-method", method]);
        let rows = table(&output, "weight");
        assert_eq!(rows.len(), 3);
        let sums: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
        assert!(
            rows.iter()
                .all(|row| row[1] == row[2] && row[3] == "0.000000"),
            "{output}"
        );
        assert!(
            (sums[1] - 2.0 * sums[0]).abs() < 1e-5 && (sums[2] - 3.0 * sums[0]).abs() < 1e-5,
            "{output}"
        );
        assert!(
            (300.0..700.0).contains(&sums[0]),
            "a thousand numbers between 0 and 1: {output}"
        );
    }
}

#[test]
fn the_seed_decides_the_numbers() {
    let output = |seed| succeed(PROGRAM, &["--len", "100", "--seed", seed]);
    assert_eq!(output("5"), output("5"));
    assert_ne!(output("5"), output("6"));
}

#[test]
fn an_array_without_elements_sums_to_zero() {
    let output = succeed(PROGRAM, &["--len", "0", "--workers", "1"]);
    assert!(
        table(&output, "weight")
            .iter()
            .all(|row| row[1..] == ["0.000000"; 3]),
        "{output}"
    );
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(
        PROGRAM,
        &["--workers", "0"],
        &["--workers", "must be at least 1"],
    );
    refuse_arguments(PROGRAM, &["--seed", "x"], &["--seed"]);
    help(PROGRAM, &["--len", "--workers", "--seed", "--start-method"]);
}
