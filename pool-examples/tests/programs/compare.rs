use std::fs;

use crate::run::{help, refuse, refuse_arguments, succeed, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_compare");

#[test]
fn the_list_names_every_case_with_its_target() {
    let rows = table(&succeed(PROGRAM, &["--list"]), "case");
    assert!(rows.len() > 40, "{rows:?}");
    let map = rows.iter().find(|row| row[0] == "map-indices").unwrap();
    assert_eq!(map[2], "at most 1 x rayon");
    let mut names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "two cases have one name");
}

#[test]
fn a_case_is_measured_beside_its_peer_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = [
        "--quick",
        "--only",
        "lock",
        "--only",
        "grow-array-1k",
        "--out",
        out,
    ];
    let output = succeed(PROGRAM, &args);
    let rows = table(&output, "case");
    let contenders: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(contenders, ["pool", "std::sync::Mutex"]);
    for row in &rows {
        let [median, least, greatest] = [2, 3, 4].map(|cell| row[cell].parse::<f64>().unwrap());
        assert!(
            0.0 < least && least <= median && median <= greatest,
            "{row:?}"
        );
    }
    let written = fs::read_to_string(folder.path().join("results.md")).unwrap();
    assert!(output.starts_with(&written), "{written}");
    let figures = fs::read_to_string(folder.path().join("results.csv")).unwrap();
    // A header, and two contenders of each case.
    assert_eq!(figures.lines().count(), 5, "{figures}");
    for picture in ["ratios.svg", "growth-arrays.svg"] {
        let picture = fs::read_to_string(folder.path().join(picture)).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let text = refuse(PROGRAM, &["--only", "nothing"]);
    assert!(
        text.starts_with("no case begins with 'nothing'; `compare --list`"),
        "{text}"
    );
    refuse_arguments(
        PROGRAM,
        &["--workers", "0"],
        &["--workers", "must be at least 1"],
    );
    help(
        PROGRAM,
        &["--list", "--only", "--quick", "--with-python", "--out"],
    );
}
