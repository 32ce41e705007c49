use ndarray::Array2;

use crate::run::{help, refuse_arguments, run, succeed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_out_of_core");

#[test]
fn a_file_larger_than_the_limit_is_populated_and_reduced() {
    let dir = tempfile::tempdir().unwrap();
    let [file, picture] = ["waves.npy", "waves.png"].map(|name| dir.path().join(name));
    let [file_arg, picture_arg] = [&file, &picture].map(|path| path.to_str().unwrap());
    let args = [
        file_arg,
        "--picture",
        picture_arg,
        "--scale",
        "8",
        "--limit",
        "48",
    ];
    let output = succeed(PROGRAM, &args);
    assert!(
        output.contains("4096 x 4096 floats: 64 MiB, under a limit of 48 MiB"),
        "{output}"
    );
    assert!(
        output.contains("populated 16777216 elements in 512 blocks"),
        "{output}"
    );
    if output.contains("a cgroup for all processes") {
        let peak = output.split("in use was ").nth(1).unwrap();
        let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
        assert!((1..=48).contains(&peak), "{output}");
    }
    let waves: Array2<f32> = ndarray_npy::read_npy(&file).unwrap();
    assert_eq!(waves.dim(), (4096, 4096));
    let mean = waves.iter().map(|x| f64::from(*x)).sum::<f64>() / waves.len() as f64;
    assert!(
        output.contains(&format!("the mean is {mean:.6}")),
        "{output}"
    );
    let picture = image::open(&picture).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (512, 512));
    let colours: std::collections::HashSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
    assert!(colours.len() > 100);

    let again = run(PROGRAM, &args);
    assert_eq!(again.status, 1);
    assert!(again.errors.contains("exists"), "{}", again.errors);
}

#[test]
fn arguments_are_explained_and_checked() {
    help(PROGRAM, &["--scale", "--limit", "--picture", "--workers"]);
    refuse_arguments(PROGRAM, &["--limit", "1"], &["at least 16"]);
    refuse_arguments(PROGRAM, &["--scale", "0"], &["at least 1"]);
}
