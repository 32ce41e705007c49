use std::num::NonZeroUsize;

use pool_examples::histogram::{Histogram, draw};
use tempfile::TempDir;

use crate::run::{fail, help, refuse, refuse_arguments, succeed, sum, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_histogram");

/// The counts of each bin, as a process alone counts them.
fn alone(seed: u64, tasks: usize, values: usize, bins: usize) -> Vec<String> {
    let mut histogram = Histogram::new(-5.0..5.0, NonZeroUsize::new(bins).unwrap());
    for share in 0..tasks {
        draw(seed, share, values).for_each(|value| histogram.add(value));
    }
    histogram.counts().iter().map(u64::to_string).collect()
}

#[test]
fn workers_count_what_one_process_counts_and_after_a_crash_too() {
    let few = [
        "--tasks", "40", "--values", "500", "--bins", "30", "--seed", "7", "--counts",
    ];
    let expected = alone(7, 40, 500, 30);
    for more in [
        &["--workers", "1"][..],
        &["--workers", "3"],
        &["--crash", "0"],
        &["--start-method", "spawn", "--crash", "39"],
        &["--start-method", "thread"],
    ] {
        let output = succeed(PROGRAM, &[&few[..], more].concat());
        let counts = table(&output, "from").into_iter();
        let counts: Vec<String> = counts.map(|mut row| row.remove(2)).collect();
        assert_eq!(counts, expected, "{more:?}");
        assert!(
            output.contains("equal to the counts of one process: 20000 values in 30 bins"),
            "{output}"
        );
        let workers = table(&output, "worker");
        assert_eq!(
            (sum(&workers, 1), sum(&workers, 2)),
            (40, 20_000),
            "{output}"
        );
        // The share of the worker that died was in the histogram already.
        assert_eq!(
            sum(&workers, 3),
            usize::from(more.contains(&"--crash")),
            "{output}"
        );
    }
}

#[test]
fn the_counts_are_drawn() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("histogram.png");
    let output = succeed(PROGRAM, &["--tasks", "20", path.to_str().unwrap()]);
    assert!(output.contains("picture: "), "{output}");
    let image = image::open(&path).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (900, 520));
    // The bars stand between -5, at 96 pixels, and 5, at 888. The highest is at -1, none is seen at -4.9.
    let coloured = |value: f64| {
        let x = 96.0 + (value + 5.0) / 10.0 * 792.0;
        (0..520)
            .filter(|&y| image.get_pixel(x as u32, y).0 == [87, 119, 173])
            .count()
    };
    assert!(
        coloured(-1.0) > 350 && coloured(-4.9) < 3,
        "{} {}",
        coloured(-1.0),
        coloured(-4.9)
    );
    assert!((80..300).contains(&coloured(1.5)), "{}", coloured(1.5));
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(PROGRAM, &["--bins", "0"], &["--bins", "must be at least 1"]);
    refuse_arguments(
        PROGRAM,
        &["--tasks", "0"],
        &["--tasks", "must be at least 1"],
    );
    let text = refuse(PROGRAM, &["--tasks", "1", "/nonexistent/histogram.png"]);
    assert!(
        text.contains("cannot write /nonexistent/histogram.png"),
        "{text}"
    );
    fail(
        PROGRAM,
        &["--crash", "0", "--start-method", "thread"],
        "thread",
    );
    help(
        PROGRAM,
        &[
            "--tasks",
            "--values",
            "--bins",
            "--counts",
            "--workers",
            "--seed",
            "--crash",
            "--start-method",
        ],
    );
}
