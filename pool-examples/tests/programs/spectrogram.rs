use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use tempfile::TempDir;

use crate::run::{help, refuse, refuse_arguments, succeed};

const PROGRAM: &str = env!("CARGO_BIN_EXE_spectrogram");

/// Half a second of 1 kHz with half of full scale, at 8 kHz; each channel the same.
fn write_tone(path: &Path, bits_per_sample: u16, sample_format: SampleFormat, channels: u16) {
    let spec = WavSpec {
        channels,
        sample_rate: 8000,
        bits_per_sample,
        sample_format,
    };
    let mut writer = WavWriter::create(path, spec).unwrap();
    for i in 0..4000 {
        let value = 0.5 * (TAU * 1000.0 * f64::from(i) / 8000.0).sin();
        for _ in 0..channels {
            match sample_format {
                SampleFormat::Float => writer.write_sample(value as f32).unwrap(),
                SampleFormat::Int => {
                    let scale = f64::from(1_u32 << (bits_per_sample - 1));
                    writer.write_sample((value * scale) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
}

/// A folder with `tone.wav`, 16 bits and mono; where it is, and where a picture may go.
fn with_tone() -> (TempDir, String, String) {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (tone, picture) = (path("tone.wav"), path("picture.png"));
    write_tone(Path::new(&tone), 16, SampleFormat::Int, 1);
    (folder, tone, picture)
}

#[test]
fn without_input_a_chirp_is_drawn() {
    let (_folder, _, picture) = with_tone();
    let output = succeed(PROGRAM, &[&picture]);
    assert!(
        output.starts_with("a chirp made by this program, 4.000 s\n250 frames x 513 frequencies"),
        "{output}"
    );
    let image = image::open(&picture).unwrap().to_rgb8();
    assert_eq!(image.dimensions(), (1200, 640));
    // The rising tone: bright at 2 s and 3.55 kHz; dark at 2.25 s and 6.5 kHz. The axes go from (86, 582) to (1080, 37).
    let brightness = |seconds: f64, hertz: f64| {
        let (x, y) = (86.0 + seconds / 4.0 * 994.0, 582.0 - hertz / 8000.0 * 545.0);
        let area = (-8..=8).flat_map(|dx| (-8..=8).map(move |dy| (x as i32 + dx, y as i32 + dy)));
        area.map(|(x, y)| {
            image
                .get_pixel(x as u32, y as u32)
                .0
                .iter()
                .map(|&c| u32::from(c))
                .sum::<u32>()
        })
        .max()
        .unwrap()
    };
    assert!(brightness(2.0, 3550.0) > 500, "{}", brightness(2.0, 3550.0));
    assert!(
        brightness(2.25, 6500.0) < 150,
        "{}",
        brightness(2.25, 6500.0)
    );
}

#[test]
fn every_kind_of_recording_is_read() {
    let (folder, _, picture) = with_tone();
    let kinds = [
        (8, SampleFormat::Int),
        (16, SampleFormat::Int),
        (24, SampleFormat::Int),
        (32, SampleFormat::Int),
        (32, SampleFormat::Float),
    ];
    for (bits, format) in kinds {
        for (channels, name) in [(1, "mono"), (2, "stereo"), (3, "3 channels")] {
            let path = folder
                .path()
                .join(format!("{bits}-{format:?}-{channels}.wav"));
            write_tone(&path, bits, format, channels);
            let output = succeed(
                PROGRAM,
                &[
                    path.to_str().unwrap(),
                    &picture,
                    "--fft-size",
                    "256",
                    "--workers",
                    "2",
                ],
            );
            let kind = if format == SampleFormat::Float {
                "float"
            } else {
                "PCM"
            };
            assert!(
                output.starts_with(&format!("8000 Hz, {bits}-bit {kind}, {name}, 0.500 s\n")),
                "{output}"
            );
            // Half of full scale is -6.02 dB; eight bits round it.
            assert!(
                output.contains("\nloudest: -6.0 dB at 1000.0 Hz, "),
                "{bits} {format:?} {channels}: {output}"
            );
        }
    }
}

#[test]
fn the_picture_does_not_depend_on_the_workers() {
    let (folder, tone, _) = with_tone();
    let mut pictures = Vec::new();
    for (workers, method) in [
        ("1", "forkserver"),
        ("3", "spawn"),
        ("2", "thread"),
        ("3", "spawn"),
    ] {
        let path = folder.path().join("again.png");
        succeed(
            PROGRAM,
            &[
                &tone,
                path.to_str().unwrap(),
                "--workers",
                workers,
                "--start-method",
                method,
                "--hop",
                "10",
            ],
        );
        pictures.push(fs::read(path).unwrap());
    }
    assert!(pictures.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_recording_shorter_than_a_frame_and_silence_are_drawn() {
    let (folder, _, picture) = with_tone();
    let path = folder.path().join("short.wav");
    let spec = WavSpec {
        channels: 1,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(&path, spec).unwrap();
    writer.write_sample(0).unwrap();
    writer.finalize().unwrap();
    let output = succeed(
        PROGRAM,
        &[path.to_str().unwrap(), &picture, "--workers", "1"],
    );
    assert!(
        output.contains("1 frame x 513 frequencies") && output.contains("loudest: -200.0 dB"),
        "{output}"
    );
    let image = image::open(&picture).unwrap().to_rgb8();
    assert!(
        image.get_pixel(500, 300).0.iter().all(|&c| c < 30),
        "silence is dark"
    );
}

#[test]
fn options_change_frames_window_and_size() {
    let (_folder, tone, picture) = with_tone();
    let args = [
        &tone,
        &picture,
        "--fft-size",
        "100",
        "--hop",
        "50",
        "--window",
        "blackman",
        "--width",
        "500",
        "--height",
        "400",
        "--range",
        "60",
    ];
    let output = succeed(PROGRAM, &args);
    assert!(output.contains("\n80 frames x 51 frequencies"), "{output}");
    assert_eq!(image::image_dimensions(&picture).unwrap(), (500, 400));
}

#[test]
fn input_that_is_no_recording_is_one_clear_line() {
    let (folder, tone, picture) = with_tone();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        path(name)
    };
    let bytes = fs::read(&tone).unwrap();
    let mut adpcm = bytes.clone();
    adpcm[20] = 2;
    let cases = [
        (path("none.wav"), "cannot read"),
        (path("none.wav"), "No such file"),
        (
            folder.path().to_str().unwrap().to_owned(),
            "it is a directory",
        ),
        (write("empty.wav", b""), "is empty (0 bytes)"),
        ("/dev/null".to_owned(), "is empty (0 bytes)"),
        (
            write(
                "text.wav",
                b"this is no recording, but a text that is long enough",
            ),
            "is no valid WAV file: no RIFF tag found",
        ),
        (write("short.wav", &bytes[..10]), "is truncated"),
        (write("header.wav", &bytes[..36]), "is truncated"),
        (
            write("cut.wav", &bytes[..bytes.len() - 1001]),
            "is truncated",
        ),
        (
            write("silent.wav", &[&bytes[..40], &[0; 4]].concat()),
            "holds no samples",
        ),
        (write("adpcm.wav", &adpcm), "not supported"),
    ];
    for (input, words) in &cases {
        let line = refuse(PROGRAM, &[input, &picture]);
        assert!(
            line.contains(words) && line.contains(input.as_str()),
            "{words}: {line}"
        );
        assert!(
            !Path::new(&picture).exists(),
            "{words}: no picture is begun"
        );
    }
}

/// The bytes of a recording of 64-bit floats: the tone, whose header says that it has `length` bytes.
fn doubles(length: Option<u32>) -> Vec<u8> {
    let tone = |i: u32| 0.5 * (TAU * 1000.0 * f64::from(i) / 8000.0).sin();
    let samples: Vec<u8> = (0..4000).flat_map(|i| tone(i).to_le_bytes()).collect();
    let length = length.unwrap_or(samples.len() as u32);
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
    // Float, one channel, 8000 in a second, 64000 bytes in a second, 8 bytes, 64 bits.
    bytes.extend(
        [3, 1, 8000, 0, 64_000, 0, 8, 64]
            .map(u16::to_le_bytes)
            .concat(),
    );
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples);
    bytes
}

#[test]
fn doubles_are_read() {
    let (folder, _, picture) = with_tone();
    let path = folder.path().join("doubles.wav");
    let path = path.to_str().unwrap();
    for length in [None, Some(u32::MAX)] {
        fs::write(path, doubles(length)).unwrap();
        let output = succeed(PROGRAM, &[path, &picture, "--fft-size", "256"]);
        assert!(
            output.starts_with("8000 Hz, 64-bit float, mono, 0.500 s\n"),
            "{output}"
        );
        assert!(
            output.contains("\nloudest: -6.0 dB at 1000.0 Hz, "),
            "{output}"
        );
    }
    fs::write(path, doubles(Some(33_000))).unwrap();
    assert!(refuse(PROGRAM, &[path, &picture]).contains("is truncated"));
}

#[test]
fn of_a_streamed_recording_everything_is_read() {
    let (folder, tone, picture) = with_tone();
    let mut bytes = fs::read(&tone).unwrap();
    let data = bytes.windows(4).position(|name| name == b"data").unwrap();
    bytes[data + 4..data + 8].fill(0xff);
    // The writer was interrupted in the middle of a sample.
    bytes.push(1);
    let path = folder.path().join("streamed.wav");
    fs::write(&path, bytes).unwrap();
    let output = succeed(
        PROGRAM,
        &[path.to_str().unwrap(), &picture, "--fft-size", "256"],
    );
    assert!(
        output.starts_with("8000 Hz, 16-bit PCM, mono, 0.500 s\n"),
        "{output}"
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    let (folder, _, picture) = with_tone();
    let path = folder.path().join("nan.wav");
    let spec = WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let mut writer = WavWriter::create(&path, spec).unwrap();
    [0.0, 0.5, f32::NAN]
        .iter()
        .for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    assert!(
        refuse(PROGRAM, &[path.to_str().unwrap(), &picture])
            .ends_with("sample 2 is not a finite number")
    );
}

#[test]
fn a_picture_that_cannot_be_written_is_one_clear_line() {
    let (folder, tone, _) = with_tone();
    let nowhere = folder.path().join("no/such/folder.png");
    let line = refuse(PROGRAM, &[&tone, nowhere.to_str().unwrap()]);
    assert!(
        line.starts_with("cannot write ") && line.contains("No such file"),
        "{line}"
    );
}

#[test]
fn a_recording_given_alone_is_not_taken_for_the_picture() {
    let (folder, tone, _) = with_tone();
    let before = fs::read(&tone).unwrap();
    refuse_arguments(
        PROGRAM,
        &[&tone],
        &["must end in .png", "in.wav out.png", "tone.wav"],
    );
    assert_eq!(fs::read(&tone).unwrap(), before);

    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (link, hard) = (path("link.png"), path("hard.png"));
    std::os::unix::fs::symlink("tone.wav", &link).unwrap();
    fs::hard_link(&tone, &hard).unwrap();
    for output in [link, hard] {
        let line = refuse(PROGRAM, &[&tone, &output]);
        assert!(line.contains("is the recording"), "{line}");
        assert_eq!(fs::read(&tone).unwrap(), before);
    }
}

#[test]
fn a_picture_is_replaced_and_nothing_else_is_left() {
    let (folder, tone, picture) = with_tone();
    fs::write(&picture, "old").unwrap();
    succeed(PROGRAM, &[&tone, &picture, "--workers", "1"]);
    assert!(image::open(&picture).is_ok());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(PROGRAM, &[], &["OUTPUT"]);
    refuse_arguments(PROGRAM, &["a.png", "--fft-size", "1"], &["--fft-size", "2"]);
    refuse_arguments(PROGRAM, &["a.png", "--hop", "0"], &["--hop"]);
    refuse_arguments(
        PROGRAM,
        &["a.png", "--window", "round"],
        &["hann", "rectangular"],
    );
    refuse_arguments(
        PROGRAM,
        &["a.png", "--workers", "0"],
        &["--workers", "must be at least 1"],
    );
    refuse_arguments(PROGRAM, &["a.png", "--width", "3"], &["--width"]);
    help(
        PROGRAM,
        &[
            "--fft-size",
            "--hop",
            "--window",
            "--workers",
            "[INPUT] <OUTPUT>",
        ],
    );
}
