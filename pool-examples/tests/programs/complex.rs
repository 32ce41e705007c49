use crate::run::{help, refuse_arguments, succeed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_complex");

#[test]
fn eighteen_doubles_are_nine_complex_numbers_in_the_same_memory() {
    let output = succeed(PROGRAM, &["--cols", "1000"]);
    let before = "[[0+1i, 2+3i, 4+5i],\n [6+7i, 8+9i, 10+11i],\n [12+13i, 14+15i, 16+17i]]\n";
    let after = "[[0+1i, 2+3i, 4+5i],\n [6+7i, 8+9i, 10+11i],\n [12+13i, 14+15i, 2+3i]]\n";
    let doubles = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 2, 3]\n";
    let [before, after, doubles] = [before, after, doubles].map(|text| {
        output
            .find(text)
            .unwrap_or_else(|| panic!("{text}{output}"))
    });
    assert!(before < after && after < doubles, "{output}");
}

#[test]
fn the_large_array_is_copied_by_workers() {
    let output = succeed(PROGRAM, &[]);
    let line = "16 x 1000000 doubles copied into complex128 by 4 workers: all 16000000 elements are right\n";
    assert!(output.ends_with(line), "{output}");
}

#[test]
fn other_shapes_and_start_methods_do() {
    for method in ["spawn", "thread"] {
        let output = succeed(
            PROGRAM,
            &[
                "--rows",
                "3",
                "--cols",
                "7",
                "--workers",
                "2",
                "--start-method",
                method,
            ],
        );
        assert!(output.ends_with("all 21 elements are right\n"), "{output}");
    }
    let output = succeed(PROGRAM, &["--rows", "0", "--cols", "7", "--workers", "1"]);
    assert!(output.ends_with("all 0 elements are right\n"), "{output}");
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(
        PROGRAM,
        &["--workers", "0"],
        &["--workers", "must be at least 1"],
    );
    refuse_arguments(
        PROGRAM,
        &["--cols", "1e6"],
        &["--cols", "must be a whole number"],
    );
    help(
        PROGRAM,
        &["--rows", "--cols", "--workers", "--start-method"],
    );
}
