use tempfile::TempDir;

use crate::run::{help, refuse, refuse_arguments, succeed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_heat");

/// The number behind `words` in what was printed.
fn number(output: &str, words: &str) -> f64 {
    let (_, rest) = output.split_once(words).unwrap();
    let number = rest.trim_start().split([' ', '\n']).next().unwrap();
    number.parse().unwrap()
}

#[test]
fn heat_spreads_as_if_computed_in_one_piece() {
    let output = succeed(PROGRAM, &["--rows", "96", "--cols", "130", "--steps", "60"]);
    assert!(
        output.starts_with("96 x 130 cells by tiles of 128 x 128, 4 workers (forkserver)\n"),
        "{output}"
    );
    assert_eq!(number(&output, "warmest:"), 100.0);
    let after = number(&output, "at the start,");
    assert!(10.0 < after && after < 99.0, "{output}");
    let equal = "equal to the computation in one piece, bit for bit: 12480 cells";
    assert!(output.contains(equal), "{output}");
}

#[test]
fn tiles_of_any_size_and_any_start_method_give_the_same() {
    let shape = [
        "--rows",
        "33",
        "--cols",
        "41",
        "--steps",
        "25",
        "--workers",
        "2",
    ];
    let results = [
        ("1000", "forkserver"),
        ("7", "forkserver"),
        ("8", "spawn"),
        ("10", "thread"),
    ]
    .map(|(tile, method)| {
        let args = [&shape[..], &["--tile", tile, "--start-method", method]].concat();
        let output = succeed(PROGRAM, &args);
        assert!(output.contains("bit for bit: 1353 cells"), "{output}");
        let (_, result) = output.split_once('\n').unwrap();
        result.to_owned()
    });
    assert!(
        results.iter().all(|result| *result == results[0]),
        "{results:?}"
    );
}

#[test]
fn the_smallest_plates_do() {
    let one = succeed(
        PROGRAM,
        &["--rows", "1", "--cols", "1", "--steps", "3", "--tile", "1"],
    );
    assert!(one.contains("bit for bit: 1 cell\n"), "{one}");
    let none = succeed(
        PROGRAM,
        &[
            "--rows",
            "5",
            "--cols",
            "9",
            "--steps",
            "0",
            "--workers",
            "1",
        ],
    );
    assert!(none.contains("after 0 steps"), "{none}");
}

#[test]
fn both_plates_are_drawn() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("heat.png");
    let args = [
        "--rows",
        "100",
        "--cols",
        "100",
        "--steps",
        "300",
        path.to_str().unwrap(),
    ];
    let output = succeed(PROGRAM, &args);
    assert!(output.contains("picture: "), "{output}");
    let image = image::open(&path).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (1110, 506));
    // The middle of the ring, at (0.35, 0.4) of the plate, is cold at first and warm later. The plates go from (60, 37) to (490, 466).
    let brightness = |left: f64| {
        let (x, y) = (left + 60.0 + 0.35 * 430.0, 37.0 + 0.4 * 429.0);
        image
            .get_pixel(x as u32, y as u32)
            .0
            .iter()
            .map(|&part| u32::from(part))
            .sum::<u32>()
    };
    assert!(brightness(0.0) < 30, "{}", brightness(0.0));
    assert!(brightness(500.0) > 60, "{}", brightness(500.0));
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(PROGRAM, &["--tile", "0"], &["--tile", "must be at least 1"]);
    refuse_arguments(PROGRAM, &["--rows", "0"], &["--rows", "must be at least 1"]);
    let text = refuse(
        PROGRAM,
        &["--rows", "4", "--steps", "1", "/nonexistent/heat.png"],
    );
    assert!(
        text.contains("cannot write /nonexistent/heat.png"),
        "{text}"
    );
}

#[test]
fn the_help_names_every_option() {
    help(
        PROGRAM,
        &[
            "--rows",
            "--cols",
            "--steps",
            "--tile",
            "--workers",
            "--start-method",
        ],
    );
}
